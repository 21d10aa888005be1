"""Arbitrary requests through the real function: what is accepted is sent as meant, what is refused has a reason."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.contract.handlers import Answer, Handlers, running
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.domain.request_model import request_type

Body = dict[str, Any]
PARAMETERS = request_type(MODEL, "gateway").model_fields
IMAGES = [f"@image/{name}" for name in ("fox.png", "robot.jpg", "tail.jpeg", "logo.webp")]
"""Stand-ins for the simulator's images: its port is not known here."""


@pytest.fixture(scope="module")
def relay() -> Iterator[Handlers]:
    with running() as handlers:
        yield handlers


# Characters that a JSON text can carry; half a surrogate pair has its own test.
texts = st.text(st.characters(codec="utf-8"), max_size=30)
images = st.lists(st.sampled_from(IMAGES), min_size=1, max_size=3)
ids = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs"]), min_size=1, max_size=8)


@st.composite
def references(draw: st.DrawFn) -> Body:
    """`images`, or `subjects` with a prompt that mentions some of them."""
    prompt = draw(texts.filter(bool)).replace("@", "")
    if draw(st.booleans()):
        return {"images": draw(st.lists(st.sampled_from(IMAGES), min_size=1, max_size=7)), "prompt": prompt or "x"}
    names = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    voices = st.none() | st.just("") | st.text("abc", max_size=5)
    subjects: list[Body] = []
    for name in names:
        subject: Body = {"id": name, "images": draw(images.map(lambda some: some[:2]))}
        if draw(st.booleans()):
            subject["voice_id"] = draw(voices)
        subjects.append(subject)
    mentioned = " ".join(f"@{name} " for name in draw(st.lists(st.sampled_from(names), max_size=3)))
    return {"subjects": subjects, "prompt": f"{prompt} {mentioned}".strip() or "x"}


json_texts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=2),
    max_leaves=4,
)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "audio": st.none() | st.just("") | st.booleans(),
    "duration": st.none() | st.integers(1, 8) | st.integers(1, 8).map(float),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "aspect_ratio": st.sampled_from(["16:9", "9:16", "1:1"]) | st.builds("{}:{}".format, *[st.integers(1, 99_999)] * 2),
    "resolution": st.sampled_from(["720p", "1080p"]),
    "payload": st.none() | texts | texts.map(lambda text: text * 40),
    "off_peak": st.booleans(),
    "watermark": st.booleans(),
    "wm_position": st.integers(1, 4),
    "wm_url": st.none() | st.just("") | st.sampled_from(IMAGES),
    "meta_data": st.none()
    | st.just("")
    | st.dictionaries(texts, json_texts, max_size=3).map(json.dumps)
    | st.dictionaries(texts, json_texts, max_size=3).map(lambda value: json.dumps(value, ensure_ascii=False, indent=1)),
    "callback_url": st.none() | st.just("") | st.just("https://client.example/hook?a=%20&b=1"),
}
good_requests = st.builds(
    lambda reference, more: {"model": MODEL, **reference, **more},
    references(),
    st.fixed_dictionaries({}, optional=GOOD),
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.sampled_from(
        [*IMAGES, MODEL, "720p", "16:9", "ftp://a", "https://[", "s3://", "data:", "@1", "{}", "9" * 400, 10**40, 5.0]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "images", "voice_id"]) | texts, inner, max_size=4)
    ),
    max_leaves=8,
)
names = st.sampled_from(sorted(PARAMETERS)) | texts


@st.composite
def odd_requests(draw: st.DrawFn) -> Any:
    """A good request with something odd in it, or something odd altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(anything)
    request = copy.deepcopy(draw(good_requests))
    for _ in range(draw(st.integers(1, 2))):
        name = draw(names)
        if draw(st.booleans()):
            request.pop(name, None)
        else:
            request[name] = draw(anything)
    return request


def sent(relay: Handlers, request: Any, *, escaped: bool) -> tuple[str, Any]:
    """A request as the text of a body, and as a JSON reader understands that text."""
    raw = json.dumps(request, ensure_ascii=escaped).replace("@image/", f"{relay.simulator.origin}/images/")
    return raw, json.loads(raw)


def without_nothing(value: Any) -> Any:
    """What is given as null or as an empty string was not given: whatever is required was refused."""
    if isinstance(value, dict):
        return {name: without_nothing(part) for name, part in value.items() if part not in (None, "")}
    return [without_nothing(part) for part in value] if isinstance(value, list) else value


def check(relay: Handlers, request: Any, answer: Answer) -> None:
    if answer.status == 202:
        event("accepted")
        request = without_nothing(request)
        assert (answer.body["status"], answer.body["error"]) == ("submitted", None)
        assert relay.received() == [{n: v for n, v in request.items() if n not in ("model", "callback_url")}]
        assert relay.read(answer.body["task_id"])["request"] == request
        return
    event("refused")
    assert answer.status in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["code"]
    assert relay.creates() == 0
    if answer.status == 422:
        assert answer.places  # where
        assert all(fault["msg"] for fault in answer.body["errors"])  # and why
        known = {"", *PARAMETERS, *(request if isinstance(request, dict) else ())}
        for place in answer.places:
            assert place in known or place.partition(".")[0] in known, place


@given(request=good_requests, escaped=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_accepted_reaches_the_provider_with_the_same_meaning(
    relay: Handlers, request: Body, escaped: bool
) -> None:
    relay.reset()
    raw, meant = sent(relay, request, escaped=escaped)
    check(relay, meant, relay.submit(None, raw=raw))


@given(request=odd_requests(), escaped=st.booleans())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_refused_says_where_and_why(relay: Handlers, request: Any, escaped: bool) -> None:
    relay.reset()
    raw, meant = sent(relay, request, escaped=escaped)
    check(relay, meant, relay.submit(None, raw=raw))
