"""The events as pydantic models, in a file that consumers copy."""

from __future__ import annotations

from vidu_relay.description.events import VERSION, published
from vidu_relay.description.schemas import Schema
from vidu_relay.domain.notification import EVENT_TYPE_NOTIFICATION_FAILED
from vidu_relay.domain.states import EVENT_TYPE_ACCEPTED, EVENT_TYPE_REJECTED

__all__ = ["MODELS", "written_models"]

MODELS = {
    "VideoTaskEvent": (EVENT_TYPE_ACCEPTED, "The detail of an event that tells of a task."),
    EVENT_TYPE_REJECTED: (EVENT_TYPE_REJECTED, "The detail of an event that tells of a refused request."),
    EVENT_TYPE_NOTIFICATION_FAILED: (
        EVENT_TYPE_NOTIFICATION_FAILED,
        "The detail of an event that tells of a client that was not told.",
    ),
}
"""Each model's name, the detail type it is made of, and what it is. Events of tasks differ in `status` alone."""

HEAD = f'''"""The events of Vidu Relay as pydantic models: the `detail` of what comes over the bus. Copy this file.

Written by `make schemas` for version {VERSION} of the schemas beside it. What is not known here is ignored, and words
(`status`, `code`) are text, so an event that says more than today is read all the same.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

__all__ = [{", ".join(f'"{name}"' for name in sorted(MODELS))}]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)
'''

SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}


def written_models() -> str:
    """The file. Raises `ValueError` for a schema that it has no words for."""
    every = published()
    classes: dict[str, str] = {}
    for name, (detail_type, meaning) in MODELS.items():
        _add_class(name, meaning, every[detail_type], classes)
    return HEAD + "".join(classes.values())


def _add_class(name: str, meaning: str, schema: Schema, classes: dict[str, str]) -> None:
    """Add the class of an object behind those of the objects in it."""
    lines = []
    for field, inner in schema["properties"].items():
        kind, default = _kind(inner, classes), ""
        if field not in schema.get("required", ()):
            kind, default = kind if kind.endswith(" | None") else f"{kind} | None", " = None"
        lines.append(f"    {field}: {kind}{default}\n")
    said = f'    """{meaning}"""\n\n' if meaning else ""
    made = f"\n\nclass {name}(_Told):\n{said}{''.join(lines)}"
    if classes.setdefault(name, made) != made:
        raise ValueError(f"two objects are called {name}")


def _kind(schema: Schema, classes: dict[str, str]) -> str:
    if "anyOf" in schema:
        one, _ = schema["anyOf"]
        return f"{_kind(one, classes)} | None"
    if "const" in schema or "enum" in schema:
        return "str"
    if schema["type"] == "array":
        return f"list[{_kind(schema['items'], classes)}]"
    if schema["type"] == "object":
        _add_class(schema["title"], "", schema, classes)
        return str(schema["title"])
    return "datetime" if schema.get("format") == "date-time" else SCALARS[schema["type"]]
