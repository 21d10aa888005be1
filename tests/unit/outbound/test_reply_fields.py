"""Fields of replies: valid Unicode, usable ids, links byte for byte, clocks."""

import json
import time
import tracemalloc
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.outbound.replies import bodies, json_values
from vidu_relay.outbound.reply_fields import clock_offset_ms, json_object, json_value, task_id, video_link


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts_in(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts_in(part)]
    return [value] if isinstance(value, str) else []


@given(bodies)
def test_every_text_of_a_reply_can_be_encoded(body: bytes) -> None:
    for text in texts_in(json_value(body)):
        text.encode()


@given(json_values)
def test_what_was_valid_is_left_as_it_was(value: Any) -> None:
    whole = json.loads(json.dumps(value).encode("utf-8", "replace"), parse_constant=lambda _: None)
    expected = [text for text in texts_in(whole) if not any("\ud800" <= c <= "\udfff" for c in text)]
    assert [text for text in texts_in(json_value(json.dumps(value).encode())) if "\ufffd" not in text] == [
        text for text in expected if "\ufffd" not in text
    ]


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"a \ud83d b"', "a \ufffd b"),
        (rb'"\ud83e\udd8a"', "\N{FOX FACE}"),
        (rb'"\udd8a\ud83e"', "\ufffd\ufffd"),
        (b'"\xed\xa0\xbd"', "\ufffd"),
        ('"é \ud83d"'.encode("utf-16-le", "surrogatepass"), "é \ufffd"),
        (b'{"data": {"id": "x", "m": ["\\ud83d"]}}', {"data": {"id": "x", "m": ["\ufffd"]}}),
    ],
    ids=str,
)
def test_half_of_a_character_is_replaced(body: bytes, left: Any) -> None:
    assert json_value(body) == left


def test_deep_nesting_is_made_valid_too() -> None:
    deep = json_object(b'{"a": ' + b"[" * 300 + rb'"\ud83d"' + b"]" * 300 + b"}")
    assert deep is not None
    assert texts_in(deep) == ["\ufffd"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a", "a"),
        (7, "7"),
        ("0", "0"),
        (0, None),
        ("", None),
        (None, None),
        (True, None),
        (["a"], None),
        ("..", None),
        ("a\n", None),
        ("x" * 513, None),
        ("a\ufffd", None),
    ],
    ids=lambda part: str(part)[:20],
)
def test_only_what_can_be_asked_for_is_a_task_id(value: Any, found: str | None) -> None:
    assert task_id(value) == found


@pytest.mark.parametrize(
    ("value", "link"),
    [
        ("https://h/a%2Fb?x=1&y=%20", "https://h/a%2Fb?x=1&y=%20"),
        (" \thttps://h/a \n", "https://h/a"),
        ("HTTPS://H/a", "HTTPS://H/a"),
        ("Http://h/a b", "Http://h/a b"),
        ("httpss://h", None),
        ("ftp://h", None),
        ("//h/a", None),
        (" ", None),
        (5, None),
        (None, None),
    ],
)
def test_a_link_is_kept_byte_for_byte_but_for_blanks_around_it(value: Any, link: str | None) -> None:
    assert video_link(value) == link


@pytest.mark.parametrize("seconds", [0, -120, 61, 80_000, -80_000])
def test_the_provider_s_clock_is_compared_with_ours(seconds: int) -> None:
    offset = clock_offset_ms({"date": formatdate(time.time() + seconds, usegmt=True)})
    assert offset is not None
    assert abs(offset - seconds * 1000) < 30_000


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"date": ""},
        {"date": "soon"},
        {"date": "Tue, 06 May 2025 12:09:42 GMT"},
        {"date": "Fri, 31 Dec 9999 23:59:59 GMT"},
        {"date": "Fri, 31 Dec 9999 23:59:59 -2359"},
        {"date": "Mon, 01 Jan 0001 00:00:00 +2359"},
        {"date": "now", "age": "600"},
    ],
    ids=str,
)
def test_a_date_that_proves_nothing_about_the_clock_is_none(headers: dict[str, str]) -> None:
    if headers.get("date") == "now":  # a case has the same name in every process
        headers = {**headers, "date": formatdate(usegmt=True)}
    assert clock_offset_ms(headers) is None


@given(st.text(max_size=30) | st.from_regex(r"(Mon, )?\d+ (Jan|May) \d+ [\d:]+ ?([+-]\d+|GMT)?", fullmatch=True))
def test_no_date_breaks_the_reader(date: str) -> None:
    clock_offset_ms({"date": date})


@pytest.mark.parametrize("part", [b"[],", b'{"":0},', b'"",', b"0,"])
def test_a_reply_of_brackets_is_no_reply_and_takes_no_memory(part: bytes) -> None:
    body = b'{"id":"a","x":[' + part * (4_000_000 // len(part)) + b"0]}"
    tracemalloc.start()
    assert json_value(body) is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


def test_a_long_text_is_no_structure() -> None:
    body = json.dumps({"id": "a", "payload": '[{"a":1},' * 100_000}).encode()
    assert json_value(body)["id"] == "a"
