"""The catalogue: each parameter of each model at each provider, just inside and just outside its limits."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from vidu_relay.domain.catalogue import GIVEN, Model, Offer, Offering, Parameter, When, by_id, models
from vidu_relay.domain.errors import ConfigurationError, InvalidRequestError
from vidu_relay.domain.model_schema import describe_models
from vidu_relay.domain.request_model import parse_request

URL = "https://images.example/a.png"
OFFERS = [(model, provider) for model in models().values() for provider in model.offers]
NAMES = [f"{model.id} at {provider}" for model, provider in OFFERS]


def smallest(model: Model, provider: str) -> dict[str, Any]:
    """A request with what is required, and nothing else."""
    offer = model.offers[provider]
    needed = {name: inside(spec)[0] for name, spec in offer.parameters.items() if spec.required}
    first = {} if {"images", "subjects"} & set(needed) or "images" not in offer.parameters else {"images": [URL]}
    return {"model": model.id, **needed, **first}


def inside(spec: Parameter) -> list[Any]:
    """Values at the limits, from inside."""
    if spec.choices:
        return list(spec.choices)
    match spec.type:
        case "boolean":
            return [False, True]
        case "integer":
            return [spec.least, spec.most]
        case "images":
            return [[URL] * (spec.least or 1), [URL] * (spec.most or 1)]
        case "subjects":
            return [[{"id": str(n), "images": [URL]} for n in range(count or 1)] for count in (spec.least, spec.most)]
        case "ratio":
            return ["16:9", "21:9"]
        case "url":
            return [URL]
        case "json":
            return ['{"Label": "x"}']
        case "text":
            return ["x", "é" * (spec.most or 1)]


def outside(spec: Parameter) -> list[Any]:
    """Values just beyond the limits, and of another type."""
    match spec.type:
        case "boolean":
            return ["true", 1]
        case "integer":
            values = [value for value in range(20) if value not in spec.choices] if spec.choices else []
            return [*values, *([] if spec.choices else [spec.least - 1, spec.most + 1]), "5"]  # type: ignore[operator]
        case "images":
            return [[], [URL] * ((spec.most or 0) + 1), ["file:///etc/passwd"]]
        case "subjects":
            return [[], [{"id": str(n), "images": [URL]} for n in range((spec.most or 0) + 1)]]
        case "ratio":
            return ["16x9", "0:1"]
        case "url":
            return ["no url"]
        case "json":
            return ["[]", "x"]
        case "text":
            return ["other", 5] if spec.choices else ["x" * ((spec.most or 0) + 1), 5]


def parameters() -> Iterator[Any]:
    for model, provider in OFFERS:
        for name, spec in model.offers[provider].parameters.items():
            yield pytest.param(model, provider, name, spec, id=f"{model.id}-{provider}-{name}")


def whole(model: Model, provider: str, name: str, value: Any) -> dict[str, Any]:
    """The smallest request with this parameter, and with what its rules then demand."""
    request = {**smallest(model, provider), name: value}
    if name in ("subjects", "images"):
        request = {key: given for key, given in request.items() if key == name or key not in ("subjects", "images")}
    for rule in model.offers[provider].rules:
        if isinstance(rule, When) and request.get(name) and name in rule.when and rule.when[name] in (value, GIVEN):
            for other, allowed in rule.then.items():
                if allowed == (GIVEN,):
                    request = {key: given for key, given in request.items() if key != "images"}
                    request[other] = inside(model.offers[provider].parameters[other])[0]
                else:
                    request[other] = allowed[0]
    return request


def parse(request: dict[str, Any], provider: str) -> Any:
    return parse_request(json.dumps(request), Offering((provider,), off_peak=True))


@pytest.mark.parametrize(("model", "provider"), OFFERS, ids=NAMES)
def test_the_smallest_request_is_taken_and_nothing_is_added(model: Model, provider: str) -> None:
    request = smallest(model, provider)
    assert parse(request, provider).parameters == request


@pytest.mark.parametrize(("model", "provider", "name", "spec"), list(parameters()))
def test_each_parameter_is_held_to_its_limits(model: Model, provider: str, name: str, spec: Parameter) -> None:
    for value in inside(spec):
        assert parse(whole(model, provider, name, value), provider).parameters[name] == value
    for value in outside(spec):
        with pytest.raises(InvalidRequestError) as refused:
            parse(whole(model, provider, name, value), provider)
        assert any(fault.loc.split(".")[0] == name for fault in refused.value.faults), value


@pytest.mark.parametrize(("model", "provider"), OFFERS, ids=NAMES)
def test_a_parameter_of_other_models_is_refused_and_they_are_named(model: Model, provider: str) -> None:
    taken = model.offers[provider].parameters
    others = {name: other for other, at in OFFERS for name in other.offers[at].parameters if name not in taken}
    for name, other in others.items():
        with pytest.raises(InvalidRequestError) as refused:
            parse({**smallest(model, provider), name: "x"}, provider)
        (fault,) = [fault for fault in refused.value.faults if fault.loc == name]
        assert {other.id, model.id} <= set(re.findall(r"\w+", fault.msg))


@pytest.mark.parametrize(
    ("model_id", "provider", "given", "at"),
    [
        ("vidu20_img2video", "gateway", {"duration": 8, "resolution": "1080p"}, "resolution"),
        ("viduq2_turbo_img2video", "vidu", {"voice_id": "v"}, "voice_id"),
        ("viduq2_turbo_img2video", "vidu", {"audio": True, "off_peak": True}, "off_peak"),
        ("viduq3_pro_text2video", "vidu", {"audio": False, "off_peak": True}, "off_peak"),
        ("viduq2_reference2video", "vidu", {"prompt": "@fox runs"}, "prompt"),
    ],
)
def test_rules_between_parameters(model_id: str, provider: str, given: dict[str, Any], at: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse({**smallest(models()[model_id], provider), **given}, provider)
    assert [fault.loc for fault in refused.value.faults] == [at]


@pytest.mark.parametrize(
    ("given", "says"), [({}, "Field required"), ({"model": "vidu9"}, "unknown model"), ({"model": 5}, "unknown")]
)
def test_an_unknown_model_is_answered_with_the_list(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse({"prompt": "x", **given}, "gateway")
    (fault,) = refused.value.faults
    assert fault.loc == "model"
    assert says in fault.msg
    assert "viduq2_reference2video" in fault.msg


def test_the_first_provider_that_has_a_model_is_asked_and_the_operator_chooses_models() -> None:
    both = Offering(("vidu", "gateway"))
    seed = "viduq2_pro_fast_reference2video"
    assert [(choice := both.find(name)) and choice.provider for name in ("viduq2_text2video", seed)] == [
        "vidu",
        "gateway",
    ]
    assert Offering(("vidu",)).find(seed) is None
    unlisted = Offering(("vidu",), unlisted=True).find(seed)
    assert unlisted
    assert (unlisted.provider, unlisted.limits_of) == ("vidu", "gateway")
    assert Offering(("gateway",), only=frozenset({seed})).model_ids() == [seed]
    with pytest.raises(InvalidRequestError, match="See") as refused:
        parse_request(
            json.dumps({"model": "viduq2_text2video", "prompt": "x"}), Offering(("gateway",), only=frozenset({seed}))
        )
    assert "does not offer" in refused.value.faults[0].msg


GOOD = Model(
    "new_model",
    "text2video",
    {
        "gateway": Offer(
            model="m", parameters={"prompt": Parameter(type="text")}, evidence="page", source="s", read_on="d"
        )
    },
)


def with_offer(**changes: Any) -> Model:
    return replace(GOOD, offers={"gateway": replace(GOOD.offers["gateway"], **changes)})


def with_parameter(**spec: Any) -> Model:
    return with_offer(parameters={**GOOD.offers["gateway"].parameters, "extra": Parameter(**spec)})


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (replace(GOOD, id="No Good"), "its id"),
        (replace(GOOD, offers={}), "an offer"),
        (replace(GOOD, offers={"other": GOOD.offers["gateway"]}), "an offer"),
        (with_offer(source=""), "source"),
        (with_offer(parameters={}), "prompt"),
        (with_offer(rules=(When({"audio": True}, {"prompt": (GIVEN,)}, "prompt", "x"),)), "audio"),
        (with_parameter(type="integer", choices=("5",)), "no integer"),
        (with_parameter(type="boolean", default=0), "no boolean"),
        (with_parameter(type="text", choices=("a",), default="b"), "none of its choices"),
        (with_parameter(type="integer", least=1), "no limits"),
        (with_parameter(type="integer", least=3, most=1), "above its upper"),
    ],
)
def test_a_malformed_entry_is_named(entry: Model, says: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{entry.id} is malformed: .*{says}"):
        by_id([entry])


def test_two_entries_with_one_id_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two entries with the id new_model"):
        by_id([GOOD, GOOD])


def test_what_a_form_is_drawn_from_agrees_with_the_check() -> None:
    from jsonschema import Draft202012Validator

    for described in describe_models(Offering(("gateway", "vidu"), off_peak=True)):
        schema = described["request"]
        Draft202012Validator.check_schema(schema)
        valid = Draft202012Validator(schema).is_valid
        model = models()[described["id"]]
        assert valid(smallest(model, described["provider"]))
        for name, spec in model.offers[described["provider"]].parameters.items():
            assert all(valid(whole(model, described["provider"], name, value)) for value in inside(spec)), (
                model.id,
                name,
            )
            wrong = [
                value for value in outside(spec) if spec.type not in ("json", "url") and value != ["file:///etc/passwd"]
            ]
            assert not any(valid(whole(model, described["provider"], name, value)) for value in wrong), (model.id, name)
