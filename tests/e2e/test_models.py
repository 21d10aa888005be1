"""Each model of the catalogue, from the client's request to the video in S3, through both APIs of the provider."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.client import RelayClient
from tests.e2e.sweeps import without_sweeps
from tests.e2e.watched import watched_stack
from vidu_relay.domain.catalogue import Model, Parameter, models

Body = dict[str, Any]
Asked = tuple[str, RelayClient]


@pytest.fixture(params=["gateway", "vidu"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A provider, and a client of a stack that asks it."""
    if request.param == "gateway":
        yield "gateway", request.getfixturevalue("relay")
    else:
        with watched_stack(tmp_path_factory.mktemp("vidu"), ProviderName="vidu") as client:
            yield "vidu", client


def request_for(relay: RelayClient, model: Model, provider: str, *, whole: bool) -> Body:
    """A short video's request with what is required, or with every parameter that the model takes."""
    parameters = model.offers[provider].parameters
    names = parameters.keys() & (parameters.keys() if whole else {"images", "subjects", "duration"})
    names -= {"prompt", "off_peak", "images" if "subjects" in parameters else ""}
    given = {name: value_of(relay, name, parameters[name]) for name in sorted(names)}
    return {"model": model.id, "prompt": f"{model.id} makes its video, whole: {whole}", **given}


def value_of(relay: RelayClient, name: str, spec: Parameter) -> Any:
    if spec.choices:
        return spec.choices[0]
    match spec.type:
        case "images":
            return [relay.image("fox.png"), relay.image("fox.jpg")][: spec.least]
        case "subjects":
            return [{"id": "fox", "images": [relay.image("fox.webp")], "voice_id": "warm"}]
        case "integer":
            return 7 if name == "seed" else spec.least
    others = {"boolean": True, "ratio": "4:3", "url": relay.image("fox.png"), "json": '{"Label": "x"}'}
    return others.get(spec.type, "warm")


def sent_for(request: Body, provider: str) -> Body:
    """The parameters that the provider must get for a request, in its own words."""
    sent = {name: value for name, value in request.items() if name != "model"}
    renamed = {"id": "name"} if provider == "vidu" else {}
    if subjects := sent.get("subjects"):
        sent["subjects"] = [{renamed.get(key, key): value for key, value in each.items()} for each in subjects]
    return sent


def test_each_model_makes_its_video(asked: Asked) -> None:
    provider, relay = asked
    offered = [model for model in models().values() if provider in model.offers]
    first_of_kind = {model.kind: model for model in reversed(offered)}.values()
    requests = [(model, request_for(relay, model, provider, whole=False)) for model in offered]
    requests += [(model, request_for(relay, model, provider, whole=True)) for model in first_of_kind]
    with without_sweeps(relay):
        submitted = [relay.submit(request)["task_id"] for _, request in requests]
        tasks = [relay.wait(task_id, "completed") for task_id in submitted]

    seen = {one["request"]["params"]["prompt"]: one for one in relay.seen_by_provider("makes its video")}
    for (model, request), task in zip(requests, tasks, strict=True):
        at_provider, offer = seen[request["prompt"]], model.offers[provider]
        params = dict(at_provider["request"]["params"])
        assert params.pop("callback_url").startswith(relay.stack.api_url)
        if "payload" not in request:
            params.pop("payload", None)
        assert params == sent_for(request, provider), model.id
        assert json.loads(at_provider["request"]["body"])["model"] == offer.model
        assert [image["fault"] for image in relay.images_at_provider(at_provider["id"])] == [None] * len(
            [*request.get("images", ()), *request.get("subjects", ())]
        )
        assert {entry["source"] for entry in task["history"]} == {"http", "create", "callback", "delivery"}, model.id
        assert task["videos"][0]["sha256"] == at_provider["videos"][0]["sha256"]
    paths = {call["path"].rpartition("/")[2] for call in relay.ask_provider("requests") if call.get("call") == "create"}
    assert paths == ({"generation"} if provider == "gateway" else {model.kind for model in offered})
