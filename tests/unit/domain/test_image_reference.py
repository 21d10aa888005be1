"""`s3://` references: what names an object, just inside and just outside."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.builders import OFFERING
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.image_reference import read_s3_uri
from vidu_relay.domain.request_model import parse_request

GOOD = [
    ("s3://abc/k", "abc", "k"),
    (f"s3://{'b' * 63}/k", "b" * 63, "k"),
    ("s3://in-box/uploads/acme/a b.png", "in-box", "uploads/acme/a b.png"),
    ("s3://inbox/k%2F..%2Fx?y#z", "inbox", "k%2F..%2Fx?y#z"),
    (f"s3://inbox/{'k' * 1024}", "inbox", "k" * 1024),
    (f"s3://inbox/{'é' * 512}", "inbox", "é" * 512),
    ("s3://inbox/...", "inbox", "..."),
]

BAD = [
    *("s3://", "s3://inbox", "s3://inbox/", "s3:///key", "s3://ab/k", f"s3://{'b' * 64}/k", "s3://Inbox/k"),
    *("s3://in.box/k", "s3://-inbox/k", "s3://inbox-/k", "s3://in_box/k", "s3://user@inbox/k", "s3://inbox:443/k"),
    *(f"s3://inbox/{'k' * 1025}", f"s3://inbox/{'é' * 512}k", "s3://inbox/uploads/acme/../other/a.png"),
    *("s3://inbox/..", "s3://inbox/./a.png", "s3://inbox/a\n.png", "s3://inbox/a\x7f.png", "s3://inbox/\ud800"),
]


@pytest.mark.parametrize(("uri", "bucket", "key"), GOOD, ids=lambda part: str(part)[:40])
def test_an_s3_uri_names_bucket_and_key_literally(uri: str, bucket: str, key: str) -> None:
    read = read_s3_uri(uri)
    assert (read.bucket, read.key, str(read)) == (bucket, key, uri)


@pytest.mark.parametrize("uri", BAD, ids=lambda uri: ascii(uri)[:40])
def test_what_names_no_object_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"must|key"):
        read_s3_uri(uri)


@given(st.text())
def test_whatever_is_read_is_written_back_the_same(rest: str) -> None:
    try:
        read = read_s3_uri(f"s3://{rest}")
    except ValueError:
        return
    assert str(read) == f"s3://{rest}"
    assert ".." not in read.key.split("/")


def test_a_request_takes_s3_images_in_both_places_and_nowhere_else() -> None:
    uri = "s3://inbox/uploads/acme/a.png"
    for place in ({"images": [uri]}, {"subjects": [{"id": "1", "images": [uri]}]}):
        sent = {"model": MODEL, "prompt": "a cat", **place}
        assert parse_request(json.dumps(sent), OFFERING).parameters == sent
    for name in ("wm_url", "callback_url"):
        sent = {"model": MODEL, "prompt": "a cat", "images": [uri], name: uri}
        with pytest.raises(InvalidRequestError) as caught:
            parse_request(json.dumps(sent), OFFERING)
        assert [fault.loc for fault in caught.value.faults] == [name]
    with pytest.raises(InvalidRequestError) as caught:
        parse_request(json.dumps({"model": MODEL, "prompt": "x", "images": [uri, BAD[0]]}), OFFERING)
    assert [fault.loc for fault in caught.value.faults] == ["images.1"]
