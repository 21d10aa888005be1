"""The provider page's limits: values just inside and just outside."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.simulator import Simulator, images
from local.simulator.validation import Rules, validate
from tests.contract.simulator_client import create

URL = "https://example.com/cat.png"
SUBJECT = {"id": "1", "images": [URL]}
GOOD = {"prompt": "@1 dances", "subjects": [SUBJECT]}


def subjects(*counts: int) -> list[dict[str, Any]]:
    return [{"id": str(number), "images": [URL] * count} for number, count in enumerate(counts)]


def data_uri(name: str, image_format: str, said: str | None = None) -> str:
    return f"data:image/{said or image_format};base64,{base64.b64encode(images.image(name, image_format)).decode()}"


def with_image(image: object) -> dict[str, Any]:
    return {"subjects": [{"id": "1", "images": [image]}]}


INSIDE: list[dict[str, Any]] = [
    {},
    {"model": "viduq2_pro_fast_reference2video"},
    {"prompt": "x"},
    {"prompt": "é" * 2000},
    {"duration": 1},
    {"duration": 8},
    {"seed": 0},
    {"seed": -1},
    *({"aspect_ratio": ratio} for ratio in ("16:9", "9:16", "1:1", "4:3", "21:9")),
    {"resolution": "720p"},
    {"resolution": "1080p"},
    {"payload": "x" * 1_048_576},
    {"payload": ""},
    {"audio": True},
    {"off_peak": False},
    {"watermark": True, "wm_position": 1, "wm_url": URL},
    {"wm_position": 4},
    {"meta_data": '{"Label": "x"}'},
    {"meta_data": ""},
    {"callback_url": "http://127.0.0.1:1/x?token=1"},
    {"subjects": subjects(1, 1, 1, 1, 1, 1, 1)},
    {"subjects": subjects(3, 3, 1)},
    {"subjects": [SUBJECT | {"voice_id": "v"}]},
    {"subjects": None, "images": [URL]},
    {"subjects": None, "images": [URL] * 7},
    *(with_image(data_uri("smallest", image_format)) for image_format in ("png", "jpeg", "webp")),
    with_image(data_uri("smallest", "jpeg", "jpg")),
    with_image(data_uri("widest", "png")),
]

OUTSIDE: list[tuple[dict[str, Any], str | None]] = [
    ({"subjects": None}, "008017002"),
    ({"subjects": []}, "008017002"),
    ({"subjects": None, "audio": True}, "008017001"),
    ({"subjects": None, "images": [URL], "audio": True}, "008017001"),
    ({"subjects": None, "images": []}, "008017003"),
    ({"subjects": None, "images": [URL] * 8}, "008017003"),
    ({"subjects": subjects(3, 3, 2)}, "008017003"),
    ({"subjects": subjects(4)}, None),
    ({"subjects": subjects(0)}, None),
    ({"subjects": subjects(*[1] * 8)}, None),
    ({"subjects": {"id": "1"}}, None),
    ({"subjects": ["1"]}, None),
    ({"subjects": [{"images": [URL]}]}, None),
    ({"subjects": [{"id": "", "images": [URL]}]}, None),
    ({"subjects": [{"id": 1, "images": [URL]}]}, None),
    ({"subjects": [{"id": "1"}]}, None),
    ({"subjects": [SUBJECT | {"voice_id": 3}]}, None),
    ({"prompt": None}, None),
    ({"prompt": ""}, None),
    ({"prompt": "é" * 2001}, None),
    ({"prompt": 5}, None),
    ({"model": "another"}, None),
    ({"duration": 0}, None),
    ({"duration": 9}, None),
    ({"duration": 5.0}, None),
    ({"duration": "5"}, None),
    ({"duration": True}, None),
    ({"seed": 1.5}, None),
    *(({"aspect_ratio": ratio}, None) for ratio in ("16x9", "0:1", "16:9 ", "", 1)),
    ({"resolution": "540p"}, None),
    ({"resolution": "720P"}, None),
    ({"payload": "x" * 1_048_577}, None),
    ({"payload": {}}, None),
    ({"audio": "true"}, None),
    ({"audio": 1}, None),
    ({"off_peak": True}, None),
    ({"off_peak": True, "audio": True}, None),
    ({"watermark": 0}, None),
    ({"wm_position": 0}, None),
    ({"wm_position": 5}, None),
    ({"wm_url": "cat.png"}, None),
    ({"meta_data": "{"}, None),
    ({"meta_data": {}}, None),
    ({"callback_url": "ftp://example.com/"}, None),
    ({"callback_url": "http://"}, None),
    (with_image(""), None),
    (with_image("s3://bucket/key"), None),
    (with_image(7), None),
    (with_image("data:image/gif;base64,R0lGODlh"), None),
    (with_image("data:image/png,abc"), None),
    (with_image("data:image/png;base64,%%%"), None),
    (with_image("data:image/png;base64,aGVsbG8="), None),
    (with_image(data_uri("smallest", "png", "webp")), None),
    (with_image(data_uri("too_small", "png")), None),
    (with_image(data_uri("too_small", "webp")), None),
    (with_image(data_uri("too_wide", "jpeg")), None),
]


def merged(change: dict[str, Any]) -> dict[str, Any]:
    """`GOOD` with a change; None takes a parameter away."""
    return {name: value for name, value in (GOOD | change).items() if value is not None}


def label(value: object) -> str | None:
    return json.dumps(value)[:60] if isinstance(value, dict) else None


@pytest.mark.parametrize("change", INSIDE, ids=label)
def test_inside_the_limits_is_taken(change: dict[str, Any]) -> None:
    assert validate(merged(change), Rules()) == []


@pytest.mark.parametrize(("change", "code"), OUTSIDE, ids=label)
def test_outside_the_limits_is_refused(change: dict[str, Any], code: str | None) -> None:
    faults = validate(merged(change), Rules())
    assert faults
    assert {fault.code for fault in faults} == {code}


def test_every_fault_is_found_at_its_place() -> None:
    params = merged({"duration": 9, "resolution": "4k", "subjects": [{"id": "", "images": ["x"]}]})
    locations = {fault.location for fault in validate(params, Rules())}
    assert locations == {"duration", "resolution", "subjects[0].id", "subjects[0].images[0]"}


def test_off_peak_depends_on_the_account_and_never_goes_with_audio() -> None:
    assert validate(merged({"off_peak": True}), Rules(off_peak_available=True)) == []
    assert validate(merged({"off_peak": True, "audio": True}), Rules(off_peak_available=True))


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0) as simulator:
        yield simulator


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"subjects": None, "audio": True}, "008017001"),
        ({"subjects": None}, "008017002"),
        ({"subjects": None, "images": []}, "008017003"),
    ],
)
def test_the_pages_codes_come_as_http_400(provider: Simulator, change: dict[str, Any], code: str) -> None:
    answer = create(provider, **change)
    assert answer.status == 400
    assert answer.json()["error"]["code"] == code
    assert provider.tasks() == []


def test_a_fault_without_a_code_comes_as_a_flat_message(provider: Simulator) -> None:
    answer = create(provider, duration=9)
    assert answer.status == 400
    assert answer.json() == {"message": "duration: must be 1 to 8"}
