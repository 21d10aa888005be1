"""Models over HTTP: what is offered is listed, and what is not offered is refused with what is."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.functions.conftest import Relay, environment
from tests.unit.template import sample
from tests.unit.test_description import conforms
from vidu_relay.domain.catalogue import DEFAULT_MODEL, Offering, models
from vidu_relay.domain.errors import ConfigurationError

AT_GATEWAY = Offering(("gateway",)).model_ids()


def submit(relay: Relay, **request: Any) -> dict[str, Any]:
    event = sample("submit_task__two_subjects")
    return relay.invoke("submit_task", {**event, "body": json.dumps(request)})


def offering(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """The functions that are loaded from now on have these variables."""
    monkeypatch.setattr(
        "tests.functions.conftest.environment", lambda account: {**environment(account), **changes}, raising=True
    )


def test_each_model_is_described_so_that_a_form_can_be_drawn(relay: Relay) -> None:
    answer = relay.play("list_models__all")
    conforms(listed := json.loads(answer["body"]), "ModelList")
    for model in listed["models"]:
        assert json.loads(relay.invoke("list_models", one(model["id"]))["body"]) == model
        Draft202012Validator.check_schema(model["request"])
        offer = models()[model["id"]].offers["gateway"]
        assert set(model["request"]["properties"]) == {
            "model",
            *offer.parameters,
            "callback_url",
            "external_id",
            "labels",
            "priority",
        }
        assert (model["images"] is None) == (model["kind"] == "text2video")
        # the deployment of these tests has no off-peak mode
        assert not model["off_peak"]
        assert model["request"]["properties"].get("off_peak", {}).get("enum", [False]) == [False]


def one(model_id: str) -> dict[str, Any]:
    return {**sample("list_models__one"), "pathParameters": {"model_id": model_id}}


@pytest.mark.parametrize("name", ["list_models__all", "list_models__one"])
def test_unchanged_answer_is_not_sent_again(relay: Relay, name: str) -> None:
    event = sample(name)
    first = relay.invoke("list_models", event)
    event["headers"]["if-none-match"] = f'"other", W/{first["headers"]["etag"]}'
    second = relay.invoke("list_models", event)
    assert (second["statusCode"], second["body"], second["headers"]["etag"]) == (304, "", first["headers"]["etag"])
    event["headers"]["if-none-match"] = '"other"'
    assert relay.invoke("list_models", event) == first
    assert first["headers"]["cache-control"] == "private, max-age=300"


@pytest.mark.parametrize(
    ("request_", "place", "says"),
    [
        ({"model": "vidu9"}, "model", AT_GATEWAY),
        ({}, "model", AT_GATEWAY),
        ({"model": "viduq1_img2video"}, "model", ["not known to have", *AT_GATEWAY]),
        ({"model": "viduq2_text2video", "style": "anime"}, "style", ["does not take", "viduq1_text2video"]),
        ({"model": "viduq2_text2video", "images": []}, "images", ["does not take", DEFAULT_MODEL]),
        ({"model": "viduq2_text2video", "colour": "red"}, "colour", ["known are", "aspect_ratio"]),
    ],
)
def test_refusal_names_what_there_is(relay: Relay, request_: dict[str, Any], place: str, says: list[str]) -> None:
    answer = submit(relay, prompt="a fox", **request_)
    faults = {fault["loc"]: fault["msg"] for fault in json.loads(answer["body"])["errors"]}
    assert (answer["statusCode"], [word for word in says if word not in faults[place]]) == (422, [])
    assert relay.gateway.requests == []


def test_operator_chooses_which_models_are_listed_and_taken(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    offering(monkeypatch, OFFERED_MODELS="viduq2_text2video, viduq1_text2video")
    listed = json.loads(relay.play("list_models__all")["body"])["models"]
    assert {model["id"] for model in listed} == {"viduq2_text2video", "viduq1_text2video"}
    refused = json.loads(relay.invoke("list_models", one(DEFAULT_MODEL))["body"])
    assert "viduq1_text2video" in refused["detail"]
    assert submit(relay, model="viduq2_text2video", prompt="a fox")["statusCode"] == 202
    assert submit(relay, model=DEFAULT_MODEL, prompt="a fox")["statusCode"] == 422


@pytest.mark.parametrize("function", ["submit_task", "accept_request", "list_models"])
def test_unknown_model_of_the_operator_stops_the_function_at_its_start(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    offering(monkeypatch, OFFERED_MODELS="viduq2_text2video,vidu9,vidu8")
    with pytest.raises(ConfigurationError, match=r"Models names vidu8, vidu9, which .* viduq2_text2video"):
        relay.load(function)
