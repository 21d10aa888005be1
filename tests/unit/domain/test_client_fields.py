"""What a client writes for its own use: within its limits, part of the request's identity, sent to no provider."""

import json
from typing import Any
from urllib.parse import unquote

import pytest

from tests.unit.builders import OFFERING
from vidu_relay.domain.client_fields import MAX_METADATA_BYTES, object_metadata
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.request import Request
from vidu_relay.domain.request_model import parse_request

BASE = {"model": "viduq2_pro_fast_reference2video", "prompt": "a cat", "images": ["https://images.example/a.png"]}
FULL = {f"{n:a>16}": "v" * 92 for n in range(16)}
"""With 17 bytes of `x-amz-meta-label-`, 2,000 bytes in S3."""


def parse(**fields: Any) -> Request:
    return parse_request(json.dumps({**BASE, **fields}), OFFERING)


@pytest.mark.parametrize(
    "fields",
    [
        {"external_id": "o"},
        {"priority": 10},
        {"priority": -10},
        {"external_id": "Bestellung 4711/ä 🦊" + "x" * 109},
        {"labels": {"k" * 64: "", "0": "v" * 256, "a.B_c-d": " ä\u00a0🦊".replace("\u00a0", " ")}},
        {"labels": FULL | {f"{15:a>16}": "v" * 140}},
        {"external_id": "x" * 128, "labels": {"authorization": "Bearer: no; header", "xamz": "1"}},
    ],
)
def test_fields_within_their_limits_are_kept_and_never_sent(fields: dict[str, Any]) -> None:
    request = parse(**fields)
    assert {name: value for name in fields if (value := getattr(request, name))} == fields
    assert set(request.sent(["x"])) == {"prompt", "images"}
    assert set(request.for_record()[0]) == set(request.parameters) == set(BASE)
    metadata = object_metadata(request.external_id, request.labels)
    assert "".join(value for _, value in metadata).isascii()
    assert " " not in "".join(value for _, value in metadata), "a signature takes blanks together"
    given = {"external-id": fields.get("external_id")} if "external_id" in fields else {}
    given |= {f"label-{key}": value for key, value in fields.get("labels", {}).items() if value}
    assert {name: unquote(value) for name, value in metadata} == given


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        *(
            ("external_id", {"external_id": value})
            for value in ("x" * 129, 5, ["x"], "a\nb", "a\x00", "\u202e", "\x7f")
        ),
        *(("priority", {"priority": value}) for value in (11, -11, 1.5, "1", True, ["1"])),
        *(("labels", {"labels": value}) for value in ("a=b", ["a"], 5, True)),
        ("labels", {"labels": {str(n): "v" for n in range(17)}}),
        ("labels", {"labels": FULL | {f"{15:a>16}": "v" * 141}}),
        ("labels", {"labels": {"a": "🦊" * 171}}),
        *((f"labels.{key}", {"labels": {key: "v"}}) for key in ("", "k" * 65, "ä", "a b", "-a", "_a", "a:b", "a\r\nb")),
        *((f"labels.{key}", {"labels": {key: "v"}}) for key in ("x-amz-acl", "X-Amz-Meta-a", "Content-Type", "aws:a")),
        *(("labels.a", {"labels": {"a": value}}) for value in (None, 1, True, {"b": "c"}, ["b"])),
        *(("labels.a", {"labels": {"a": value}}) for value in ("v" * 257, "a\r\nb", "\u2028", "\x1b[31m")),
        ("labels.Order", {"labels": {"order": "1", "Order": "2"}}),
    ],
)
def test_field_outside_its_limits_is_refused_at_its_place(place: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse(**fields)
    assert [(fault.loc, bool(fault.msg)) for fault in refused.value.faults] == [(place, True)]
    with pytest.raises(InvalidRequestError) as refused:  # beside another fault, too
        parse(**fields, duration=99)
    assert [fault.loc for fault in refused.value.faults] == ["duration", place]


def test_external_id_and_labels_are_bound_together_by_what_s3_takes() -> None:
    labels = {f"label{n}": "v" * 256 for n in range(7)}
    assert parse(labels=labels).labels == labels
    with pytest.raises(InvalidRequestError) as refused:
        parse(labels=labels, external_id="ä" * 30)
    assert str(MAX_METADATA_BYTES) in refused.value.faults[0].msg


def test_nothing_is_the_same_as_leaving_the_field_out() -> None:
    for empty in (None, ""):
        assert parse(external_id=empty, labels=empty) == parse()
    assert parse(labels={}) == parse()


def test_digest_tells_requests_with_other_fields_apart_in_whatever_order() -> None:
    digests = {parse(**f).digest for f in ({}, {"external_id": "a"}, {"external_id": "b"}, {"labels": {"a": "b"}})}
    assert len(digests) == 4
    assert parse(labels={"a": "1", "b": "2"}).digest == parse(labels={"b": "2", "a": "1"}).digest
