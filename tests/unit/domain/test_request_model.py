"""The request model: every limit of the provider's page, just inside and just outside."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.request import Request
from vidu_relay.domain.request_model import parse_request, request_type
from vidu_relay.domain.strict_json import MAX_MEMBERS

MODEL = "viduq2_pro_fast_reference2video"
OFFERING = Offering(("gateway",), off_peak=True)
FORM = request_type(MODEL, "gateway")
URL = "https://images.example/a.png"
PIXELS = base64.b64encode(b"\x89PNG not really").decode()
DATA_URI = f"data:image/png;base64,{PIXELS}"
BASE: dict[str, Any] = {"model": MODEL, "prompt": "a cat", "images": [URL]}


def body(**changes: Any) -> dict[str, Any]:
    """A good request with changes; `...` takes a parameter away."""
    return {name: value for name, value in {**BASE, **changes}.items() if value is not ...}


def parse(**changes: Any) -> Request:
    return parse_request(json.dumps(body(**changes)), OFFERING)


def refusal(**changes: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        parse(**changes)
    return caught.value


def subject(name: str = "1", images: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": name, "images": [URL] * images, **more}


def with_subjects(*subjects: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"images": ..., "subjects": list(subjects), **more}


# --- limits

JUST_INSIDE: list[dict[str, Any]] = [
    with_subjects(subject()),
    with_subjects(*(subject(str(n)) for n in range(7))),
    with_subjects(subject("1", 3), subject("2", 3), subject("3", 1)),
    with_subjects(subject("i" * 100)),
    with_subjects(subject(voice_id="v" * 200), audio=True),
    {"images": [URL] * 7},
    {"prompt": "x"},
    {"prompt": "é" * 2000},
    {"prompt": "🐈" * 2000},
    {"duration": 1},
    {"duration": 8},
    {"seed": 0},
    {"seed": 2**63 - 1},
    {"seed": -(2**63)},
    {"aspect_ratio": "16:9"},
    {"aspect_ratio": "21:9"},  # the page: q2 models support any ratio
    {"resolution": "720p"},
    {"resolution": "1080p"},
    {"payload": "p" * 1_048_576},
    {"wm_position": 1},
    {"wm_position": 4},
    {"wm_url": "https://a.example/" + "x" * (2048 - 18)},
    {"wm_url": "https://a.example/" + "é" * 1015},  # 2 bytes each
    {"meta_data": json.dumps({"Label": "x" * (65_536 - 13)})},
    {"callback_url": "https://client.example/hook?x=1"},
    {"watermark": True, "audio": False, "off_peak": True},
    {"images": [f"data:image/{kind};base64,{PIXELS}" for kind in ("png", "jpeg", "jpg", "webp")]},
]

JUST_OUTSIDE: list[tuple[str, dict[str, Any]]] = [
    ("subjects", with_subjects()),
    ("subjects", with_subjects(*(subject(str(n)) for n in range(8)))),
    ("subjects", with_subjects(subject("1", 3), subject("2", 3), subject("3", 2))),
    ("subjects.0.images", with_subjects(subject(images=0))),
    ("subjects.0.images", with_subjects(subject(images=4))),
    ("subjects.0.id", with_subjects(subject(""))),
    ("subjects.0.id", with_subjects(subject("i" * 101))),
    ("subjects.0.voice_id", with_subjects(subject(voice_id="v" * 201))),
    ("subjects.1.id", with_subjects(subject("1"), subject("1"))),
    ("images", {"images": []}),
    ("images", {"images": [URL] * 8}),
    ("images", {"subjects": [subject()]}),
    ("prompt", {"prompt": ""}),
    ("prompt", {"prompt": "x" * 2001}),
    ("duration", {"duration": 0}),
    ("duration", {"duration": 9}),
    ("seed", {"seed": 2**63}),
    ("seed", {"seed": -(2**63) - 1}),
    ("aspect_ratio", {"aspect_ratio": "16x9"}),
    ("aspect_ratio", {"aspect_ratio": "0:1"}),
    ("aspect_ratio", {"aspect_ratio": "16:9\n"}),
    ("aspect_ratio", {"aspect_ratio": "1६:9"}),
    ("aspect_ratio", {"aspect_ratio": "-16:9"}),
    ("resolution", {"resolution": "540p"}),
    ("payload", {"payload": "p" * 1_048_577}),
    ("wm_position", {"wm_position": 0}),
    ("wm_position", {"wm_position": 5}),
    ("wm_url", {"wm_url": "https://a.example/" + "x" * (2048 - 17)}),
    ("wm_url", {"wm_url": "https://a.example/" + "é" * 1016}),
    ("wm_url", {"wm_url": DATA_URI}),
    ("meta_data", {"meta_data": json.dumps({"Label": "x" * (65_536 - 12)})}),
    ("meta_data", {"meta_data": "[]"}),
    ("meta_data", {"meta_data": "Label: x"}),
    ("prompt", {"prompt": "@1 and @10", "subjects": [{"id": "1", "images": ["https://example.com/1.png"]}]}),
    ("meta_data", {"meta_data": '{"a":' * 13_000}),
    ("images.1", {"images": [URL, f"data:image/gif;base64,{PIXELS}"]}),
    ("off_peak", with_subjects(subject(), audio=True, off_peak=True)),
    ("model", {"model": "viduq2"}),
    ("model", {"model": ...}),
    ("prompt", {"prompt": ...}),
]


def faults(text: str | bytes) -> InvalidRequestError:
    """What is said of a body that is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_request(text, OFFERING)
    return caught.value


def with_number(name: str, written: str) -> str:
    """A good body with a number in this very spelling."""
    return json.dumps(BASE)[:-1] + f',"{name}":{written}}}'


@pytest.mark.parametrize("changes", JUST_INSIDE, ids=lambda changes: str(changes)[:60])
def test_what_the_page_allows_is_accepted_unchanged(changes: dict[str, Any]) -> None:
    assert parse(**changes) == Request.of(body(**changes))


@pytest.mark.parametrize(("where", "changes"), JUST_OUTSIDE, ids=lambda part: str(part)[:60])
def test_what_the_page_does_not_allow_is_refused_at_its_place(where: str, changes: dict[str, Any]) -> None:
    assert where in [fault.loc for fault in refusal(**changes).faults]


@pytest.mark.parametrize(
    "changes",
    [
        *({"duration": value} for value in ("5", 5.5, True)),
        *({"seed": value} for value in (False, "1")),
        *({"wm_position": value} for value in (0.999, 3.5)),
        *({"audio": value} for value in (1, "true")),
        *({"images": value} for value in (URL, {"0": URL}, [None])),
        {"watermark": 0},
        {"prompt": 5},
        {"payload": {}},
        {"meta_data": {"Label": "x"}},
        {"subjects": "1", "images": ...},
        with_subjects({"id": 1, "images": [URL]}),
        {"resolution": 720},
    ],
    ids=str,
)
def test_a_value_of_another_type_is_never_bent_into_shape(changes: dict[str, Any]) -> None:
    assert refusal(**changes).faults


CROWD = MAX_MEMBERS + 1
NAMES = {f"p{number}": 1 for number in range(CROWD)}


@pytest.mark.parametrize(
    ("changes", "places", "said"),
    [
        ({"durations": 5}, ["durations"], "unknown parameter; known are"),
        ({"Prompt": "x"}, ["Prompt"], "unknown parameter; known are"),
        # a subject that is refused does not make its list look empty
        (with_subjects(subject(voice="x")), ["subjects.0.voice"], "unknown field; known are"),
        (with_subjects(), ["", "subjects"], "must have at least 1 item"),
        (with_subjects(*(subject(str(n)) for n in range(8))), ["subjects"], "must have at most 7 items"),
        (
            {"duration": 9, "resolution": "8k", "prompt": ..., "images": [URL] * 8, "extra": 1},
            ["duration", "extra", "images", "prompt", "resolution"],
            "",
        ),
        ({"x" * 100_000: 1}, ["x" * 100], ""),
        # a crowd is one fault and not one for each of it
        (NAMES, [""], ""),
        ({"images": [1] * CROWD}, ["images"], ""),
        ({"images": ..., "subjects": [1] * CROWD}, ["subjects"], ""),
        (with_subjects(subject(), {**subject("2"), **NAMES}), ["subjects.1"], ""),
        (with_subjects({"id": "1", "images": [1] * CROWD}), ["subjects.0.images"], ""),
        ({"extra": [1] * CROWD, "images": NAMES}, ["extra", "images"], ""),
    ],
    ids=lambda part: str(part)[:50],
)
def test_each_fault_is_listed_once_at_its_place(changes: dict[str, Any], places: list[str], said: str) -> None:
    found = refusal(**changes).faults
    assert sorted({fault.loc for fault in found}) == places
    assert len(found) == len(places)
    assert any(said in fault.msg for fault in found)


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    error = refusal(payload=5, wm_url="ftp://user:hunter2@host/", meta_data="hunter2", prompt="x" * 2001)
    assert "hunter2" not in f"{error} {error.detail} {error.faults}"


# --- URLs and images


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://a.example/x", "file:///etc/passwd", "javascript:alert(1)", "//a.example/x", "a.example/x"),
        *("https://", "https:///x", "https://a.example:99999/", "https://[::1", "https://a example/x"),
        *("https://a.example/a\nb", "https://a.example/\0", "https://a.example/\u2028"),
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    assert [fault.loc for fault in refusal(images=[url]).faults] == ["images.0"]
    assert [fault.loc for fault in refusal(callback_url=url).faults] == ["callback_url"]


@pytest.mark.parametrize("url", ["https://a.example/a b.png", "https://a.example/狐|{1}.png", "HTTPS://a.example/x"])
def test_an_address_that_must_be_encoded_to_be_opened_is_kept_as_given(url: str) -> None:
    assert parse(images=[f" {url}\n"], callback_url=url).parameters["images"] == [url]


BEGIN = "must begin with data:image/png;base64,"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        *((f"data:{kind};base64,{PIXELS}", "") for kind in ("image/gif", "image/svg+xml", "text/html")),
        *((image, "") for image in ("data:", "data:image/png,abc", "data:image/png;base64,")),
        ("DATA:image/png;base64," + PIXELS * 200, BEGIN),
        ("Data:image/PNG;base64," + PIXELS, BEGIN),
        ("data:image/PNG;base64," + PIXELS, BEGIN),
        ("data:image/PNG;base64,YWJj", "lower case"),
        ("data:image/png;base64,YWJj\r\nYWJj", "line breaks"),
        ("data:image/png;base64,YWJj\n", "line breaks"),
        ("data:image/png;base64, YWJj", "blanks"),
        ("data:image/png;base64,YW_-", "URL-safe alphabet"),
        ("data:image/png;base64,YWJ", "padding is missing"),
        ("data:image/png;base64,YW%2B", "percent-encoded"),
        ("data:image/png;base64,YW*j", "character '*'"),
        ("data:image/png;base64,Y===", "is cut"),
        ("data:image/png;charset=utf-8;base64,YWJj", "leave out the parameter charset=utf-8"),
        ("iVBORw0KGgoAAAANSUhEUgAA", "put data:image/png;base64,"),
        ("/9j/4AAQSkZJRgABAQAAAQABAAD", "put data:image/png;base64,"),
    ],
    ids=lambda part: repr(part)[:40],
)
def test_an_image_that_the_provider_could_not_read_is_refused_with_what_is_wrong(image: str, reason: str) -> None:
    (fault,) = refusal(images=[URL, image]).faults
    assert fault.loc == "images.1"
    assert reason in fault.msg


FOLDER = "s3://inbox/requests/acme/2026/"


def in_folder(**changes: Any) -> Request:
    """A request in a file of this folder."""
    return parse_request(json.dumps(body(**changes)), OFFERING, folder=FOLDER)


@pytest.mark.parametrize("key", ["fox.png", "img/fox 1.png", "R0lGOD.png", "a...png"])
def test_a_relative_key_is_below_the_folder_of_its_file(key: str) -> None:
    whole = [URL, "s3://theirs/x.png", DATA_URI]
    assert in_folder(images=[key, *whole]) == Request.of(body(images=[FOLDER + key, *whole]))
    one = with_subjects(subject(), {"id": "2", "images": [key]})
    assert in_folder(**one).parameters["subjects"][1]["images"] == [FOLDER + key]
    assert [fault.loc for fault in refusal(images=[key]).faults] == ["images.0"], "in a request without a folder"


@pytest.mark.parametrize("key", ["../fox.png", "/fox.png", "a//fox.png", "./fox.png", "a/..", "a/./b", "fox/"])
def test_a_key_that_could_lead_out_of_the_folder_is_told_with_all_other_faults(key: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        in_folder(images=["fox.png", key, ""], subjects=[{"id": "1", "images": [key]}], prompt=..., duration=9)
    found = {fault.loc: fault.msg for fault in caught.value.faults}
    assert sorted(found) == ["duration", "images.1", "images.2", "prompt", "subjects.0.images.0"]
    assert "relative to the folder" in found["images.1"]
    assert found["subjects.0.images.0"] == found["images.1"] != found["images.2"]


# --- rules between parameters, and the provider's codes


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("008017001", {"audio": True}),
        ("008017001", {"audio": True, "duration": 99}),
        ("008017002", {"images": ...}),
        ("008017002", {"images": None}),
        ("008017002", {"images": ..., "subjects": None, "duration": "x"}),
        ("008017003", {"images": []}),
        ("008017003", {"images": [URL] * 8, "prompt": 1}),
        ("008017003", {"images": [1] * CROWD}),
        ("008017003", with_subjects(subject("1", 3), subject("2", 3), subject("3", 2))),
        ("validation_error", {"duration": 9}),
        ("validation_error", NAMES),
    ],
    ids=lambda part: str(part)[:50],
)
def test_the_provider_s_code_is_given_where_one_fits(code: str, changes: dict[str, Any]) -> None:
    assert refusal(**changes).code == code


def test_off_peak_is_refused_while_the_provider_does_not_offer_it() -> None:
    text = json.dumps(body(off_peak=True))
    with pytest.raises(InvalidRequestError) as caught:
        parse_request(text, Offering(("gateway",)))
    assert [fault.loc for fault in caught.value.faults] == ["off_peak"]
    assert parse_request(text, OFFERING).off_peak
    assert not parse_request(json.dumps(body(off_peak=False)), Offering(("gateway",))).off_peak


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        # an id may be followed by text without a space: languages without spaces write it so
        *((prompt, None) for prompt in ("@1 and @cat", "@cat在跳舞", "让@1和@cat吃火锅", "@1@cat", "@@1")),
        *((prompt, None) for prompt in ("write to a@b.example", "josé@b.example", "5 @ 3", "@", "@-")),
        *((prompt, "2") for prompt in ("@2 runs", "@1그리고@2")),
        *((f"{before}@{name}", name) for before, name in (("@1 and ", "dog"), ("(", "Cat"), ("@1と", "犬"))),
        ("让@1和@2吃火锅", "2吃火锅"),  # no space before it: that is how Chinese is written
    ],
)
def test_a_prompt_mentions_subjects_that_exist_and_no_others(prompt: str, unknown: str | None) -> None:
    changes = with_subjects(subject("1"), subject("cat"), prompt=prompt)
    if unknown is None:
        assert parse(**changes).parameters["prompt"] == prompt
        return
    (fault,) = refusal(**changes).faults
    assert fault.loc == "prompt"
    assert f"@{unknown}" in fault.msg
    assert "1, cat" in fault.msg, "the ids there are"
    assert parse(prompt=prompt).parameters["prompt"] == prompt, "without subjects it may hold any @"


@pytest.mark.parametrize(("prompt", "known"), [("@caf\u00e9 runs", "cafe\u0301"), ("@cafe\u0301 runs", "caf\u00e9")])
def test_a_mention_that_only_looks_like_an_id_is_refused_with_the_reason(prompt: str, known: str) -> None:
    """The relay cannot know how the provider compares: another spelling may be no mention there, and is paid for."""
    (fault,) = refusal(**with_subjects(subject(known), prompt=prompt)).faults
    assert fault.msg.endswith(
        f"{known} looks the same but has other characters (Unicode NFC and NFD): write both in NFC"
    )


# --- bodies that are odd


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        *(
            ({"malformed_json"}, text)
            for text in (
                *(b"", b"null,", b"{", b"\xff\xfe{}", b'{"prompt":"\xff"}', b"{'prompt':'x'}", b'{"prompt":"x"} {}'),
                *(rb'{"prompt":"\ud800"}', rb'{"prompt":"\udc00\ud800"}', b'{"prompt":"a\0b"}'),
                *(b"[" * 100_000, b'{"a":' * 100_000, b"NaN", b'{"seed":NaN}', b'{"seed":-Infinity}'),
            )
        ),
        *(({"validation_error", "008017002"}, text) for text in (b"null", b"[]", b'"x"', b"5", b"true", b"{}")),
        *(
            ({"validation_error"}, text)
            for text in (json.dumps([1] * CROWD).encode(), b'[{"prompt":"x","prompt":"y"}]')
        ),
    ],
    ids=lambda part: repr(sorted(part) if isinstance(part, set) else part)[:30],
)
def test_a_body_that_is_no_request_is_refused_as_what_it_is(codes: set[str], text: bytes) -> None:
    assert faults(text).code in codes


TWICE = [
    (["duration"], '"duration":5,"duration":8'),
    (["duration"], '"duration":5,"duration":5'),
    (["prompt", "payload"], '"prompt":"second","payload":"a","payload":"b","payload":null'),
    (["prompt"], '"pr\\u006fmpt":"second"'),  # another spelling of the same name
    (["subjects.1.id"], '"images":null,"subjects":[{"id":"1","images":["%(url)s"]},{"id":"2","id":"2","images":[]}]'),
    (["subjects.0.images"], '"subjects":[{"id":"1","images":["%(url)s"],"images":["%(url)s"]}]'),
    (["extra.0.more.id"], '"extra":[{"more":{"id":"1","id":"2"}}]'),  # in whatever is no parameter, too
]


@pytest.mark.parametrize(("where", "more"), TWICE, ids=[more for _, more in TWICE])
def test_a_parameter_given_twice_is_refused_before_one_of_them_is_paid_for(where: list[str], more: str) -> None:
    base = {name: value for name, value in BASE.items() if f'"{name}"' not in more or name == "prompt"}
    error = faults(json.dumps(base)[:-1] + "," + more % {"url": URL} + "}")
    assert error.code == "validation_error"
    assert [fault.loc for fault in error.faults] == where
    assert all("more than once" in fault.msg for fault in error.faults)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(URL) | st.just(DATA_URI),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "images"]), inner, max_size=2),
    max_leaves=6,
)


@given(changes=st.dictionaries(st.sampled_from(sorted(FORM.model_fields)), json_values, max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_is_accepted_or_refused_but_never_a_crash(changes: dict[str, Any]) -> None:
    whole = {**BASE, **changes}
    try:
        request = parse_request(json.dumps(whole), OFFERING)
    except InvalidRequestError:
        return
    assert request == Request.of({name: value for name, value in whole.items() if value not in (None, "")})


# --- what counts as given


OPTIONAL = sorted(name for name, field in FORM.model_fields.items() if not field.is_required())


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
def test_an_optional_parameter_given_as_null_or_empty_counts_as_absent(nothing: str | None) -> None:
    for absent in set(OPTIONAL) - {"images"}:
        assert parse(**{absent: nothing}).parameters == BASE  # the provider refuses a null
    assert parse(images=nothing, subjects=[subject(voice_id=nothing)]).parameters == body(**with_subjects(subject()))
    for where, required in (
        ("model", {"model": nothing}),
        ("prompt", {"prompt": nothing}),
        ("subjects.0.id", with_subjects({"id": nothing, "images": [URL]})),
        ("subjects.0.images", with_subjects({"id": "1", "images": nothing})),
        ("images.0", {"images": [nothing]}),
        ("colour", {"colour": nothing}),
    ):
        assert where in [fault.loc for fault in refusal(**required).faults]


@pytest.mark.parametrize(
    ("name", "written", "number"),
    [
        *(("duration", written, 5) for written in ("5.0", "5e0", "0.5e1", "50E-1")),
        ("seed", "1e3", 1000),
        ("seed", "-7.0", -7),
        ("seed", "-0.0", 0),
        ("seed", "9007199254740991.0", 2**53 - 1),
    ],
)
def test_a_whole_number_is_the_same_however_it_is_written(name: str, written: str, number: int) -> None:
    request = parse_request(with_number(name, written), OFFERING)
    assert repr(request.parameters[name]) == repr(number)


@pytest.mark.parametrize(
    "written",
    [
        *("9007199254740993.0", "9007199254740992.5", "1e400", "-1e400", "1e" + "9" * 30, "1" + "0" * 30),
        *("1.5", "-0.5"),
    ],
)
def test_a_seed_that_is_no_whole_number_or_that_a_float_would_change_is_refused(written: str) -> None:
    assert [fault.loc for fault in faults(with_number("seed", written)).faults] == ["seed"]
