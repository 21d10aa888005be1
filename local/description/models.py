"""The events as pydantic models, in a file that consumers copy."""

from __future__ import annotations

from local.description.events import VERSION, describe_events
from local.description.json_schema import Schema

__all__ = ["written_models"]

MODELS = ("VideoBatchEvent", "VideoTaskEvent", "VideoTaskNotificationFailed", "VideoTaskRejected")
"""What the file is for. Events of tasks differ in `status` alone, those of batches in `state`."""

HEAD = f'''"""The events of Vidu Relay as pydantic models: the `detail` of what comes over the bus. Copy this file.

Written by `make schemas` for version {VERSION} of the schemas beside it. What is not known here is ignored, and words
(`status`, `code`) are text, so an event that says more than today is read all the same.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

__all__ = [{", ".join(f'"{name}"' for name in MODELS)}]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)
'''

SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def written_models() -> str:
    """The file. Raises `KeyError` for a schema that no model can have."""
    every = describe_events()["$defs"]
    classes: dict[str, str] = {}
    for name in MODELS:
        _add_class(name, every, classes)
    return HEAD + "".join(classes.values())


def _add_class(name: str, every: dict[str, Schema], classes: dict[str, str]) -> None:
    """Add the class of an object behind those of the objects in it."""
    schema, lines = every[name], []
    for field, inner in schema["properties"].items():
        kind, default = _kind(inner, every, classes), ""
        if field not in schema.get("required", ()):
            kind, default = kind if kind.endswith(" | None") else f"{kind} | None", " = None"
        lines.append(f"    {field}: {kind}{default}\n")
    meaning = f'    """{schema["description"]}"""\n\n' if name in MODELS else ""
    classes.setdefault(name, f"\n\nclass {name}(_Model):\n{meaning}{''.join(lines)}")


def _kind(schema: Schema, every: dict[str, Schema], classes: dict[str, str]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"].rpartition("/")[2])
        _add_class(name, every, classes)
        return name
    if "anyOf" in schema:
        return f"{_kind(schema['anyOf'][0], every, classes)} | None"
    if "const" in schema or "enum" in schema:
        return "str"
    if schema["type"] == "array":
        return f"list[{_kind(schema['items'], every, classes)}]"
    if schema["type"] == "object":
        return "dict[str, object]"
    return "datetime" if schema.get("format") == "date-time" else SCALARS[schema["type"]]
