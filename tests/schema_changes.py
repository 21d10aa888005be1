"""Whether a schema may replace a published one.

Readers of events rely on the published schema: every event must fit it, and each property that it names must exist.
Senders of requests rely on it, too: whatever fits it must be taken. Both ask whether everything that fits one schema
fits another. That is answered for the keywords that our schemas use; another keyword is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["incompatibilities"]

Schema = Mapping[str, Any]

ANNOTATIONS = {"$id", "$schema", "default", "description", "examples", "title"}
LOWER = {"minimum", "minLength", "minItems"}
UPPER = {"maximum", "maxLength", "maxItems"}
SAME = {"pattern", "format"}
OTHER = {"additionalProperties", "anyOf", "const", "enum", "items", "properties", "required", "type"}
KNOWN = ANNOTATIONS | LOWER | UPPER | SAME | OTHER
JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def incompatibilities(published: Schema, today: Schema, *, received: bool) -> list[str]:
    """What breaks a reader of the published schema, each with its place; empty if nothing does.

    `received` is for what others send to us. Raises `ValueError` for a keyword that is not known here.
    """
    return list(_unfit(published, today, "") if received else _unfit(today, published, ""))


def _unfit(one: Schema, other: Schema, at: str) -> Iterator[str]:
    """Why something that fits `one` might not fit `other`."""
    for schema in (one, other):
        if unknown := set(schema) - KNOWN:
            raise ValueError(f"{at}: cannot compare {', '.join(sorted(unknown))}")
    if "anyOf" in one or "anyOf" in other:
        yield from _unfit_choices(_choices(one), _choices(other), at)
        return
    yield from _unfit_values(one, other, at)
    yield from _unfit_limits(one, other, at)
    if "items" in other:
        yield from _unfit(one.get("items", {}), other["items"], f"{at}[]")
    if "properties" in other:
        yield from _unfit_object(one, other, at)
    elif other.get("additionalProperties", True) is not True:
        raise ValueError(f"{at}: cannot compare additionalProperties")


def _choices(schema: Schema) -> list[Schema]:
    found: list[Schema] = schema.get("anyOf", [schema])
    if "anyOf" in schema and set(schema) - ANNOTATIONS != {"anyOf"}:
        raise ValueError("cannot compare other keywords beside anyOf")
    return found


def _unfit_choices(ones: list[Schema], others: list[Schema], at: str) -> Iterator[str]:
    """Each choice must fit one of the others: the one whose faults are fewest says why it does not."""
    for one in ones:
        faults = [list(_unfit(one, other, at)) for other in others]
        yield from min(faults, key=len)


def _unfit_values(one: Schema, other: Schema, at: str) -> Iterator[str]:
    values, wanted = _values(one), _values(other)
    types, taken = _types(one), _types(other)
    if wanted is not None and (values is None or not all(value in wanted for value in values)):
        yield f"{at}: {'any value' if values is None else values} where {wanted} was said"
    elif taken is not None and (types is None or not types <= taken):
        yield f"{at}: {'any type' if types is None else sorted(types)} where {sorted(taken)} was said"


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _types(schema: Schema) -> set[str] | None:
    """The types that a value may have; None for any."""
    if "type" in schema:
        said = schema["type"]
        types = {said} if isinstance(said, str) else set(said)
    elif (values := _values(schema)) is not None:
        types = {JSON_TYPES[type(value)] for value in values}
    else:
        return None
    return types | {"integer"} if "number" in types else types


def _unfit_limits(one: Schema, other: Schema, at: str) -> Iterator[str]:
    for word in sorted(LOWER & set(other)):
        if one.get(word, float("-inf")) < other[word]:
            yield f"{at}: {word} {one.get(word, 'none')} where {other[word]} was said"
    for word in sorted(UPPER & set(other)):
        if one.get(word, float("inf")) > other[word]:
            yield f"{at}: {word} {one.get(word, 'none')} where {other[word]} was said"
    for word in sorted(SAME & set(other)):
        if one.get(word) != other[word]:
            yield f"{at}: {word} {one.get(word, 'none')} where {other[word]} was said"


def _unfit_object(one: Schema, other: Schema, at: str) -> Iterator[str]:
    for name in other.get("required", ()):
        if name not in one.get("required", ()):
            yield f"{at}.{name}: may be missing where it was, or is, required"
    mine, theirs = one.get("properties", {}), other["properties"]
    mine_closed, theirs_closed = (s.get("additionalProperties", True) is False for s in (one, other))
    for name, schema in theirs.items():
        if name in mine:
            yield from _unfit(mine[name], schema, f"{at}.{name}")
        elif not mine_closed:
            yield f"{at}.{name}: is gone"
    if theirs_closed:
        yield from (f"{at}.{name}: is not taken" for name in mine if name not in theirs)
        if not mine_closed:
            yield f"{at}: any further property where none is taken"
