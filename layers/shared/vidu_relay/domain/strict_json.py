"""JSON from outside: bounded before anything is built from it, read strictly, its objects and lists counted.

4 MB of brackets become 500 MB to 1.1 GB of Python objects, so the bytes are checked first, in a few linear passes
without a loop over them in Python. No part may have far more members than a request could have, since validation lists
every fault. No name may stand twice in an object: readers differ in which one counts (RFC 8259, 4), and one would be
billed.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from vidu_relay.domain.errors import Fault, InvalidRequestError

__all__ = [
    "MAX_DEPTH",
    "MAX_MEMBERS",
    "MAX_NAME_CHARACTERS",
    "MAX_NUMBER_CHARACTERS",
    "MAX_STRUCTURE",
    "TWICE",
    "check_bounds",
    "form_faults",
    "has_more_structure",
    "is_valid_text",
    "read_json",
    "repeated_names",
    "valid_text",
]

MAX_STRUCTURE = 5_000
"""Brackets, commas and colons outside strings. The largest legal request has fewer than 200."""

MAX_DEPTH = 20
"""Levels of lists and objects. A request has 4, an event around it 6."""

MAX_NUMBER_CHARACTERS = 40
"""The longest legal number, a seed, has 20."""

_BRACKETS = b"[]{}"
_STRUCTURE = b"[]{},:"
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_NUMBERS_AS_ZEROS = bytes.maketrans(b"123456789.+-eE", b"0" * 14)
_LONG_NUMBER = b"0" * (MAX_NUMBER_CHARACTERS + 1)

MAX_MEMBERS = 50
"""Of any object or list in a request: more than any may have, so that its own limit answers what is near it."""

MAX_NAME_CHARACTERS = 100
"""How much of an unknown name is repeated to the client."""

TWICE = "is given more than once: give it once"
"""The message of such a fault."""

EXACT_BELOW = 2**53
"""A float below it that is a whole number is exactly that number."""


class _Repeating(dict[str, Any]):
    """An object with names that were given more than once. Like every reader's, it holds the last value of each."""

    names: tuple[str, ...] = ()


def read_json(text: bytes | str) -> Any:
    """Untrusted JSON as Python values, in memory of a few times its size.

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


def form_faults(value: Any, loc: str = "") -> Iterator[Fault]:
    """What is wrong with the objects and lists in what `read_json` gave: names given twice, too many members."""
    if not isinstance(value, dict | list):
        return
    for name in repeated_names(value):
        yield Fault(f"{loc}.{name}" if loc else name, TWICE)
    if len(value) > MAX_MEMBERS:
        yield Fault(loc, f"has {len(value)} members, far more than it may have: it is not checked further")
        return
    members: Iterable[tuple[object, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in members:
        inner = str(key)[:MAX_NAME_CHARACTERS]
        yield from form_faults(member, f"{loc}.{inner}" if loc else inner)


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


def check_bounds(raw: bytes) -> None:
    """Raises `InvalidRequestError` for JSON that no request comes near.

    The code is `malformed_json` for deeper nesting and longer numbers, `validation_error` for more structure than the
    bounds above. What is not JSON may pass: its reader stops at the first error, and up to there the count is right.
    """
    outside, structure = _outside_strings(raw, MAX_STRUCTURE)
    # A reader takes the brackets in order: the first few thousand decide whether it nests too deeply.
    if _depth(outside.translate(None, delete=_ALL_BUT_BRACKETS)[:MAX_STRUCTURE]) > MAX_DEPTH:
        raise InvalidRequestError(
            "malformed_json",
            f"The request nests lists and objects more than {MAX_DEPTH} levels deep. A request needs four: "
            "send `payload` and `meta_data` as strings.",
        )
    if structure > MAX_STRUCTURE:
        raise _too_much()
    if _LONG_NUMBER in outside.translate(_NUMBERS_AS_ZEROS):
        raise InvalidRequestError(
            "malformed_json",
            f"The request holds a number of more than {MAX_NUMBER_CHARACTERS} characters. "
            "No parameter takes one: write fewer digits.",
        )


def has_more_structure(raw: bytes, most: int) -> bool:
    """Whether JSON has more than so many brackets, commas and colons outside strings."""
    return _outside_strings(raw, most)[1] > most


def _outside_strings(raw: bytes, most: int) -> tuple[bytes, int]:
    """What stands outside strings, and how many brackets, commas and colons are in it; right up to `most`.

    A backslash counts in strings only: without escaped backslashes and escaped quotes, each quote begins or ends one.
    More strings than `most` and one need more commas and colons.
    """
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = 2 * (most + 1)
    outside = b'"'.join(plain.split(b'"', quotes + 1)[::2])
    many = plain.count(b'"') > quotes
    return outside, most + 1 if many else sum(outside.count(sign) for sign in _STRUCTURE)


def is_valid_text(text: str) -> bool:
    """Whether a text has no lone surrogate: half of a character, as `"\\ud83d"` makes one in JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def valid_text(text: str) -> str:
    """The text with U+FFFD in place of each lone surrogate, so that UTF-8 can carry it."""
    return text if is_valid_text(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _depth(brackets: bytes) -> int:
    depth = deepest = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _too_much() -> InvalidRequestError:
    return InvalidRequestError(
        "validation_error",
        "The request is not valid. See `errors`.",
        (
            Fault(
                "",
                f"has more than {MAX_STRUCTURE} brackets, commas and colons, far more than a request may have: "
                "send only the known parameters, and `payload` and `meta_data` as strings",
            ),
        ),
    )
