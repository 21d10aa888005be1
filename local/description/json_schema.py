"""JSON Schema of the types in `domain/documents.py`, and how it is written to a file."""

from __future__ import annotations

import inspect
import json
import re
from types import NoneType
from typing import Annotated, Any, Literal, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

__all__ = ["COMPONENTS", "Schema", "nullable", "object_of", "reachable", "ref", "schema_of", "written"]

Schema = dict[str, Any]

COMPONENTS = "#/components/schemas/"
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}
LINE = 120


def ref(name: str) -> Schema:
    """A reference to the schema of this name."""
    return {"$ref": COMPONENTS + name}


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def schema_of(kind: Any) -> Schema:
    """The schema of a type; a `TypedDict` is referred to. Raises `KeyError` for a type that documents do not use."""
    if is_typeddict(kind):
        return ref(kind.__name__)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is None:
        return {"type": SCALARS[kind]}
    if origin is Annotated:
        schema = schema_of(parts[0])
        for note in kind.__metadata__:
            schema |= {"description": note} if isinstance(note, str) else note
        return {key: value for key, value in schema.items() if key != "type" or not schema.keys() & {"enum", "$ref"}}
    if origin is NotRequired:
        return schema_of(parts[0])
    if origin is Literal:
        return {"const": parts[0]} if len(parts) == 1 else {"enum": list(parts)}
    if origin is list:
        return {"type": "array", "items": schema_of(parts[0])}
    if origin is dict:
        return {"type": "object"} | ({"additionalProperties": schema_of(parts[1])} if parts[1] is not Any else {})
    (one,) = (part for part in parts if part is not NoneType)
    return nullable(schema_of(one))


def object_of(kind: Any) -> Schema:
    """The schema of a `TypedDict`, closed: what it does not name is not in it."""
    hints = get_type_hints(kind, include_extras=True)
    meaning = {"description": " ".join(inspect.cleandoc(kind.__doc__).split())} if kind.__doc__ else {}
    return {
        "type": "object",
        **meaning,
        "required": [name for name, hint in hints.items() if get_origin(hint) is not NotRequired],
        "properties": {name: schema_of(hint) for name, hint in hints.items()},
        "additionalProperties": False,
    }


def reachable(part: Any, every: dict[str, Schema]) -> dict[str, Schema]:
    """Those of the schemas that a part of a document refers to, directly or through others."""
    found: set[str] = set()
    seen = _references(part)
    while new := seen - found:
        found |= new
        seen = _references([every[name] for name in new])
    return {name: schema for name, schema in every.items() if name in found}


def written(value: Any, indent: int = 0, before: int = 0) -> str:
    """The value as its file holds it: what fits into a line of 120 characters behind `before` others is not broken."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or before + len(line) < LINE:
        return line
    inner = " " * (indent + 2)
    heads = [f"{inner}{json.dumps(key)}: " for key in value] if isinstance(value, dict) else [inner] * len(value)
    values = value.values() if isinstance(value, dict) else value
    parts = ",\n".join(head + written(one, indent + 2, len(head)) for head, one in zip(heads, values, strict=True))
    return f"{line[0]}\n{parts}\n{' ' * indent}{line[-1]}"


def _references(part: Any) -> set[str]:
    return set(re.findall(rf'"\$ref": "{COMPONENTS}(\w+)"', json.dumps(part)))
