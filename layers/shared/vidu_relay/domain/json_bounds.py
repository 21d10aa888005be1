"""Bounds on JSON from outside, checked on its bytes before anything is built from them, and text that is valid Unicode.

4 MB of brackets become 500 MB to 1.1 GB of Python objects. So every reader of a stranger's JSON looks here first. The
check takes a few linear passes over the bytes and no loop over them in Python.
"""

from __future__ import annotations

from vidu_relay.domain.errors import Fault, InvalidRequestError

__all__ = [
    "MAX_DEPTH",
    "MAX_NUMBER_CHARACTERS",
    "MAX_STRUCTURE",
    "check_bounds",
    "has_more_structure",
    "is_valid_text",
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


def check_bounds(raw: bytes) -> None:
    """Raises `InvalidRequestError` for JSON that no request comes near.

    The code is `malformed_json` for deeper nesting and longer numbers, `validation_error` for more structure than the
    bounds above. What is not JSON may pass: its reader stops at the first error, and up to there the count is right.
    """
    outside, structure = _outside_strings(raw, MAX_STRUCTURE)
    # A reader takes the brackets in their order: the first few thousand tell whether it goes too deep.
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
