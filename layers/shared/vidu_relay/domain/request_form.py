"""The outer form of a request: its JSON is read, and its lists and objects are counted, before its values are checked.

No part has far more members than it could ever have: the model lists every fault it finds, and a request has room for
thousands. And no name stands twice in an object: readers differ in which one counts (RFC 8259, 4), and this one would
be paid for.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator
from typing import Any

from vidu_relay.domain.errors import Fault, InvalidRequestError
from vidu_relay.domain.json_bounds import check_bounds, is_valid_text, valid_text

__all__ = ["MAX_MEMBERS", "MAX_NAME_CHARACTERS", "TWICE", "form_faults", "read_json", "repeated_names"]

MAX_MEMBERS = 50
"""Of any object or list in a request: more than any may have, so that its own limit answers what is near it."""

MAX_NAME_CHARACTERS = 100
"""How much of an unknown name is repeated to the client."""

TWICE = "is given more than once: give it once"
"""What is said of such a name."""

EXACT_BELOW = 2**53
"""A float below it that is a whole number is exactly that number."""


class _Repeating(dict[str, Any]):
    """An object with names that were given more than once. Like every reader's, it holds the last value of each."""

    names: tuple[str, ...] = ()


def read_json(text: bytes | str) -> Any:
    """A stranger's JSON as Python values, in memory of a few times its size.

    A number without a fraction is an int, however it is written (`5.0`, `5e0`), as in JSON Schema. `repeated_names`
    knows the names that an object gives twice. Raises `InvalidRequestError`: as `check_bounds` does, and
    `malformed_json` for what is not JSON in UTF-8 or holds half a character.
    """
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if raw.startswith(BOM_UTF8):
        raise _malformed("it begins with a byte order mark; save it as UTF-8 without one")
    check_bounds(raw)
    try:
        value = json.loads(
            raw.decode(), object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse_constant
        )
    except ValueError as error:
        raise _malformed(str(error)) from None  # the error holds the whole text
    if b"\\ud" in raw or b"\\uD" in raw:  # nothing else makes a lone surrogate of valid UTF-8
        for place, part in _texts(value, ""):
            if not is_valid_text(part):
                where = f"{place} holds" if place else "it is"
                raise _malformed(f"{where} a text that was cut inside a character (half of a surrogate pair)")
    return value


def repeated_names(part: Any) -> tuple[str, ...]:
    """The names that stand more than once in an object that `read_json` gave; 50 of them at most."""
    return part.names if isinstance(part, _Repeating) else ()


def form_faults(request: Any) -> Iterator[Fault]:
    """What is wrong with the form of a request as `read_json` gave it, by place."""
    for place, part in _parts(request):
        if len(part) > MAX_MEMBERS:
            yield Fault(place, f"has {len(part)} members, far more than it may have: it is not looked at further")
        for name in repeated_names(part):
            yield Fault(f"{place}.{name}" if place else name, TWICE)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    found = _Repeating(plain)
    times = Counter(name for name, _ in pairs)
    found.names = tuple(name[:MAX_NAME_CHARACTERS] for name, number in times.items() if number > 1)[:MAX_MEMBERS]
    return found


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < EXACT_BELOW else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text of a JSON value, names included, by place."""
    if isinstance(value, str):
        yield place, value
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        inner = valid_text(str(name)[:MAX_NAME_CHARACTERS])
        inner = f"{place}.{inner}" if place else inner
        if isinstance(name, str):
            yield inner, name
        yield from _texts(member, inner)


def _malformed(why: str) -> InvalidRequestError:
    return InvalidRequestError("malformed_json", f"The request is not valid JSON: {why}.")


def _parts(request: Any) -> Iterator[tuple[str, Any]]:
    """Every object and list of a request that the model looks into, by place."""
    if not isinstance(request, dict):
        return
    yield "", request
    if isinstance(request.get("images"), list):
        yield "images", request["images"]
    if not isinstance(request.get("subjects"), list):
        return
    yield "subjects", request["subjects"]
    for number, subject in enumerate(request["subjects"][:MAX_MEMBERS]):
        if isinstance(subject, dict):
            yield f"subjects.{number}", subject
            if isinstance(subject.get("images"), list):
                yield f"subjects.{number}.images", subject["images"]
