"""The bounds on JSON from outside: what they count is what a reader would build, and nothing in a string counts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_relay.domain import json_bounds
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.json_bounds import MAX_DEPTH, MAX_NUMBER_CHARACTERS, MAX_STRUCTURE, check_bounds, valid_text
from vidu_relay.domain.request_form import read_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(codec="utf-8") | st.sampled_from('\\"[]{},:'), max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('\\"[{,', max_size=3), inner, max_size=4),
    max_leaves=20,
)


def structure(value: Any) -> int:
    """How many brackets, commas and colons a value is written with."""
    if isinstance(value, dict):
        members = list(value.values())
        return 2 + max(0, len(members) - 1) + len(members) + sum(map(structure, members))
    if isinstance(value, list):
        return 2 + max(0, len(value) - 1) + sum(map(structure, value))
    return 0


def depth(value: Any) -> int:
    members = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(map(depth, members), default=0) if isinstance(value, dict | list) else 0


def passes(raw: bytes) -> bool:
    try:
        check_bounds(raw)
    except InvalidRequestError:
        return False
    return True


@given(value=values, escaped=st.booleans())
def test_exactly_the_structure_and_depth_outside_strings_are_counted(value: Any, escaped: bool) -> None:
    raw = json.dumps(value, ensure_ascii=escaped).encode()
    for name, found, other in (
        ("MAX_STRUCTURE", structure(value), "MAX_DEPTH"),
        ("MAX_DEPTH", depth(value), "MAX_STRUCTURE"),
    ):
        with pytest.MonkeyPatch.context() as bounds:
            bounds.setattr(json_bounds, other, 10_000)
            bounds.setattr(json_bounds, name, found)
            assert passes(raw)
            bounds.setattr(json_bounds, name, found - 1)
            assert not passes(raw) or not found
    assert read_json(json.dumps(value, ensure_ascii=escaped)) == value


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)),
        (b"9" * MAX_NUMBER_CHARACTERS, b"9" * (MAX_NUMBER_CHARACTERS + 1)),
        (b"-1." + b"0" * 33 + b"e+30", b"-1." + b"0" * 34 + b"e+30"),
        (b"[1" + b",1" * (MAX_STRUCTURE - 2) + b"]", b"[1" + b",1" * (MAX_STRUCTURE - 1) + b"]"),
    ],
    ids=["depth", "digits", "exponent", "structure"],
)
def test_bounds_are_exact(inside: bytes, outside: bytes) -> None:
    assert passes(inside)
    assert not passes(outside)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 100_000, ",:" * 50_000, '\\"[' * 30_000, "\\\\" * 30_000, '\\\\\\"{' * 9_000]
)
def test_nothing_in_a_string_counts(text: str) -> None:
    raw = json.dumps({"payload": text}).encode()
    check_bounds(raw)
    assert read_json(raw) == {"payload": text}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("a\ud83d", "a\ufffd"),
        ("\udc00a", "\ufffda"),
        ("\ud83d\udd8a", "\U0001f58a"),
        ("é🦊", "é🦊"),
        ("\ufeff\ud800", "\ufeff\ufffd"),
    ],
)
def test_half_a_character_becomes_the_replacement_character(text: str, valid: str) -> None:
    assert valid_text(text) == valid
