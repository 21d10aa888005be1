"""Two copies of each model's limits, the catalogue's and the simulator's, compared by what they take and refuse."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from local.simulator import models as simulated
from local.simulator.validation import Rules, validate
from tests.unit.pictures import data_uri, png
from vidu_relay.domain.catalogue import Model, Offering, Parameter, models
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.request_model import parse_request
from vidu_relay.usecases.check_references import ReferenceCheck, check_references

Body = dict[str, Any]
URL = "https://images.example/a.png"
OURS = {"seed": "64 bits", "meta_data": "an object of at most 65,536 characters", "voice_id": "at most 200 characters"}
"""What the relay limits and no page does."""


def copy_of(model: Model, provider: str) -> simulated.Model:
    """The simulator's copy of a model."""
    offer = model.offers[provider]
    found = (
        simulated.at_gateway(offer.model)
        if provider == "gateway"
        else simulated.at_vidu(offer.path, offer.model, unlisted=False)
    )
    assert found, f"the simulator has no {offer.model} at {provider}"
    return found


OFFERS = [(model, provider, copy_of(model, provider)) for model in models().values() for provider in model.offers]
CASES = [
    pytest.param(model, provider, copy, name, id=f"{model.id}-{provider}-{name}")
    for model, provider, copy in OFFERS
    for name in sorted({*model.offers[provider].parameters, *copy.parameters})
]
"""The parameters proven, one of a model at a provider each."""


def subjects(*counts: int) -> list[Body]:
    return [{"id": str(number), "images": [URL] * count} for number, count in enumerate(counts)]


def values(kind: str, choices: tuple[Any, ...], least: int | None, most: int | None) -> Iterator[Any]:
    """Values at the limits and just beyond them, and one of another type."""
    yield from (choice for choice in choices)
    bounds = [bound for bound in (least, most) if bound is not None]
    around = sorted({bound + step for bound in bounds for step in (-1, 0, 1)})
    match kind:
        case "integer":
            yield from [*range(20), "5"] if choices else [*around, "5"]
        case "boolean":
            yield from (False, True, "true", 1)
        case "text" | "string":
            yield from ("other", 5) if choices else (5, *("é" * length for length in around if length > 0))
        case "images":
            yield from ([URL] * count for count in around)
            yield ["no url"]
        case "subjects":
            yield from (subjects(*[1] * count) for count in around)
            yield from (subjects(*counts) for counts in ((0,), (3,), (4,), (3, 3, 1), (3, 3, 2)))
            yield [{"images": [URL]}]
        case "ratio":
            yield from ("16:9", "21:9", "16x9", "0:1")
        case "url":
            yield from (URL, "no url")
        case "json":
            yield from ('{"Label": "x"}', "x")


def known_values(spec: Parameter | None, copied: Mapping[str, Any] | None) -> list[Any]:
    """The values that either copy has a limit at."""
    found = list(values(spec.type, spec.choices, spec.least, spec.most)) if spec else []
    if copied:
        by = [copied[choice]["enum"] for choice in ("4", "8") if "by" in copied]
        choices = [*copied.get("enum", ()), *(value for each in by for value in each)]
        least, most = (
            next((copied[name] for name in names if name in copied), None)
            for names in (("min", "min_items"), ("max", "max_items", "max_length"))
        )
        found += values(copied["type"], tuple(choices), least, most)
    return [value for number, value in enumerate(found) if value not in found[:number] or isinstance(value, bool | int)]


def contexts(model: Model, provider: str, copy: simulated.Model, name: str) -> list[Body]:
    """The values of the parameters that a rule of either copy ties to this one, and none at all."""
    spec = copy.parameters.get(name, {})
    tied = {*spec.get("requires", ()), *([spec["by"]] if "by" in spec else ())}
    tied |= {each for each, its in copy.parameters.items() if name in (*its.get("requires", ()), its.get("by"))}
    tied |= {other for rule in model.offers[provider].rules if name in rule.names for other in rule.names}
    found: list[Body] = [{}]
    for other in sorted(tied - {name, "images", "subjects"}):
        its = model.offers[provider].parameters[other]
        found += [{other: value} for value in ((False, True) if its.type == "boolean" else its.choices or ("x",))]
    return found


def smallest(model: Model, copy: simulated.Model) -> Body:
    first: Body = {
        name: [URL] * spec["min_items"] for name, spec in copy.parameters.items() if spec["type"] == "images"
    }
    if "subjects" in copy.parameters:
        first = {"subjects": subjects(1)}
    return {"model": model.id, "prompt": "x", **first}


TAKEN = "taken"
NOTHING_STORED = ReferenceCheck(bucket=cast("Any", None), source=None, tenants=cast("Any", None))


def answers(request: Body, provider: str, copy: simulated.Model) -> tuple[str, str]:
    """What the relay says of a request, and what the provider says of what is sent for it: taken, or a code."""
    relay = TAKEN
    try:
        checked = parse_request(json.dumps(request), Offering((provider,), off_peak=True))
        check_references(checked, "acme", NOTHING_STORED)
    except InvalidRequestError as error:
        relay = error.code
    sent = {name: value for name, value in request.items() if name != "model"}
    if provider == "vidu" and isinstance(sent.get("subjects"), list):
        sent["subjects"] = [{"name" if key == "id" else key: v for key, v in each.items()} for each in sent["subjects"]]
    refused = validate(sent, copy, Rules(off_peak_available=True))
    codes = [fault.code for fault in refused if fault.code]
    return relay, (codes or ["validation_error"])[0] if refused else TAKEN


@pytest.mark.parametrize(("model", "provider", "copy", "name"), CASES)
def test_both_copies_take_and_refuse_the_same_values(
    model: Model, provider: str, copy: simulated.Model, name: str
) -> None:
    spec, copied = model.offers[provider].parameters.get(name), copy.parameters.get(name)
    seen = set()
    for value in known_values(spec, copied):
        for context in contexts(model, provider, copy, name):
            request = {**smallest(model, copy), **context, name: value}
            if name == "images":
                request.pop("subjects", None)
            relay, other = answers(request, provider, copy)
            assert relay == other or (name in OURS and relay != TAKEN), {**context, name: str(value)[:80]}
            seen.add(relay == TAKEN)
    assert seen == {True, False}
    defaults = {spec.default if spec else None, (copied or {}).get("default")} - {None}
    assert len(defaults) < 2
    without = {key: value for key, value in smallest(model, copy).items() if key != name}
    assert len(set(answers(without, provider, copy))) == 1


SIZES = [(1, 1), (4, 1), (5, 1), (127, 128), (128, 127), (128, 128), (512, 128), (513, 128), (128, 513)]
PAIRS = [
    *((size, size) for size in SIZES),
    *((first, (500, 500)) for first in ((625, 625), (626, 626), (400, 400), (399, 399))),
    *((first, (500, 500)) for first in ((550, 650), (650, 550), (400, 625), (450, 550))),
]


@pytest.mark.parametrize(
    ("model", "provider", "copy"),
    [pytest.param(*offer, id=f"{offer[0].id}-{offer[1]}") for offer in OFFERS if offer[0].kind != "text2video"],
)
def test_both_copies_take_and_refuse_images_of_the_same_sizes(
    model: Model, provider: str, copy: simulated.Model
) -> None:
    seen = set()
    for pair in PAIRS:
        request = smallest(model, copy)
        images = [data_uri(png(*size)) for size in pair][: len(request.get("images", URL))]
        if "subjects" in request:
            request["subjects"] = [{"id": "0", "images": images}]
        else:
            request["images"] = images
        taken = [answer == TAKEN for answer in answers(request, provider, copy)]
        assert taken[0] == taken[1], pair
        seen.add(taken[0])
    assert seen == {True, False}


def test_each_model_of_the_simulator_is_in_the_catalogue() -> None:
    whole = simulated.every()
    at_gateway = {model.offers["gateway"].model for model in models().values() if "gateway" in model.offers}
    at_vidu = {(offer.path, offer.model) for model in models().values() if (offer := model.offers.get("vidu"))}
    assert at_gateway == set(whole["gateway"])
    assert at_vidu == {(kind, name) for kind, entries in whole["vidu"].items() for name in entries}
