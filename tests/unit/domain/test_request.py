"""A checked request: where its images stand, what is kept of it, what is sent, and what makes two the same."""

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.builders import OFFERING
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.domain.image_reference import S3Object
from vidu_relay.domain.request import MAX_RECORD_BYTES, MAX_SENT_BYTES, Request, body_bytes
from vidu_relay.domain.request_model import parse_request

URL = "https://images.example/a.png"
S3 = "s3://theirs/b.png"
CONTENT = b"\x89PNG\r\n\x1a\n not really"
DIGEST = base64.urlsafe_b64encode(hashlib.sha256(CONTENT).digest()).decode().rstrip("=")
NAME = f"ni:///sha-256;{DIGEST}?ct=image/png"
BASE: dict[str, Any] = {"model": MODEL, "prompt": "狐 🦊", "images": [URL]}
SUBJECTS = [{"id": "1", "images": [URL, S3], "voice_id": "v"}, {"id": "2", "images": [NAME]}]


def data_uri(kind: str = "png", content: bytes = CONTENT) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def request(**changes: Any) -> Request:
    return Request.of({**BASE, **changes})


# --- slots


def test_slots_stand_in_the_order_of_the_request_each_with_its_place() -> None:
    subjects = [{**SUBJECTS[0]}, {"id": "2", "images": [data_uri()]}]
    found = request(images=[S3], subjects=subjects)
    assert [(slot.loc, slot.reference, slot.content) for slot in found.slots] == [
        ("images.0", S3, None),
        ("subjects.0.images.0", URL, None),
        ("subjects.0.images.1", S3, None),
        ("subjects.1.images.0", NAME, CONTENT),
    ]
    assert found.parameters == {**BASE, "images": [S3], "subjects": SUBJECTS}
    kept = Request.of(found.parameters)
    assert [slot.reference for slot in kept.slots] == [slot.reference for slot in found.slots]
    assert [slot.content for slot in kept.slots] == [None] * 4, "of what is kept, the bytes lie elsewhere"


@pytest.mark.parametrize(
    ("image", "kept", "where"),
    [
        (URL, False, None),
        (S3, False, S3Object("theirs", "b.png")),
        (data_uri(), True, S3Object("inbox", f"tasks/acme/t/{DIGEST}.png")),
        (NAME, True, S3Object("inbox", f"tasks/acme/t/{DIGEST}.png")),
    ],
)
def test_slot_says_where_in_s3_its_image_is(image: str, kept: bool, where: S3Object | None) -> None:
    (slot,) = request(images=[image]).slots
    assert (slot.is_stored, slot.object("inbox", "acme", "t")) == (kept, where)
    assert slot.named_object == (None if kept else where)


def test_content_is_named_by_what_it_is_and_not_by_what_its_sender_calls_it() -> None:
    assert {slot.reference for slot in request(images=[data_uri("png"), data_uri("jpg")]).slots} == {NAME}
    (odd,) = request(images=[data_uri("jpg", b"no picture")]).slots
    assert odd.reference.endswith("?ct=image/jpg")


@pytest.mark.parametrize(
    "parameters",
    [{}, {"images": []}, {"images": None, "subjects": None}, {"subjects": [{"id": "1"}]}, {"frames": [S3, data_uri()]}],
    ids=str,
)
def test_where_no_image_stands_there_is_no_slot_and_nothing_changes(parameters: dict[str, Any]) -> None:
    assert Request.of(parameters) == Request(parameters, ())


def test_references_are_put_into_the_slots_in_their_order_and_nothing_else_changes() -> None:
    found = request(images=[URL], subjects=SUBJECTS, callback_url="https://client.example/hook")
    changed = found.with_references(str(number) for number in range(4))
    subjects = [{**SUBJECTS[0], "images": ["1", "2"]}, {**SUBJECTS[1], "images": ["3"]}]
    assert changed == {**found.parameters, "images": ["0"], "subjects": subjects}
    assert list(changed) == list(found.parameters)
    assert found.parameters["images"] == [URL]
    assert found.sent("abcd") == {"prompt": BASE["prompt"], "images": ["a"], "subjects": [
        {**SUBJECTS[0], "images": ["b", "c"]}, {**SUBJECTS[1], "images": ["d"]}
    ]}  # fmt: skip


# --- the create body


@pytest.mark.parametrize("size", [1, 2, 3, 100, 1_000_003])
def test_an_image_that_travels_in_the_body_is_counted_in_base_64(size: int) -> None:
    found = request(images=[NAME, URL, NAME])
    sent = found.sent([data_uri("jpeg", bytes(size)), URL, NAME])
    assert found.largest_body_bytes({"images.0": size}) == body_bytes(sent)


def test_the_size_of_a_body_counts_bytes_not_characters() -> None:
    sent = request(prompt="🦊" * 500).sent([URL])
    assert len(json.dumps(sent, ensure_ascii=False).encode()) <= body_bytes(sent) < MAX_SENT_BYTES


# --- what is kept


def test_a_record_names_image_bytes_in_place_of_holding_them() -> None:
    assert request(images=[data_uri(), URL]).for_record() == ({**BASE, "images": [NAME, URL]}, True)


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({"payload": "p" * 256, "meta_data": "m" * 256}, []),
        ({"payload": "p" * 257}, ["payload"]),
        ({"meta_data": "m" * 257, "payload": "p" * 300}, ["payload", "meta_data"]),
        ({"images": [URL + "x" * 2000] * 7}, []),
        ({"images": [URL + "é" * 1200] * 7}, ["images"]),
        ({"subjects": [{"id": "1", "images": [URL + "x" * MAX_RECORD_BYTES]}]}, ["images", "subjects"]),
    ],
    ids=lambda part: str(part)[:40],
)
def test_only_what_is_large_is_left_out_of_the_record_and_said_so(changes: dict[str, Any], left_out: list[str]) -> None:
    found = request(**changes)
    record = {name: value for name, value in found.parameters.items() if name not in left_out}
    assert found.for_record() == (record, not left_out)


# --- the digest


def test_the_digest_of_a_request_is_stable_across_releases() -> None:
    """It is stored: a release that computes another would answer 422 to every repeated request."""
    body = {"model": MODEL, "prompt": "a cat", "images": [URL], "seed": 7}
    assert parse_request(json.dumps(body), OFFERING).digest == "1CIjQ1nbBUEmkxLYrl3olg"


json_objects = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4) | st.booleans(), max_size=4)


@given(part=json_objects)
def test_a_digest_is_the_same_whatever_the_order_of_fields(part: dict[str, object]) -> None:
    turned = dict(reversed(part.items()))
    assert request(a=part, b=[1, part]).digest == Request.of({"b": [1, turned], "a": turned, **BASE}).digest


def test_a_digest_tells_values_of_different_types_and_orders_of_images_apart() -> None:
    digests = {request(v=value).digest for value in (1, "1", True, None, [1], {"v": 1}, 1.5)}
    digests |= {request(images=images).digest for images in ([URL, S3], [S3, URL], [data_uri()])}
    assert len(digests) == 7 + 3


def test_the_same_content_in_another_spelling_makes_the_same_request() -> None:
    one, other = (request(images=[data_uri(kind)]) for kind in ("png", "jpg"))
    assert one.digest == other.digest == Request.of(one.parameters).digest
