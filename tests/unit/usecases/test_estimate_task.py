"""An estimate checks what a submission checks, says what would be sent and paid, and makes nothing."""

from typing import Any

import pytest

from tests.simulation.provider import NOON
from tests.simulation.simulation import MODEL, TENANT, Simulation
from tests.unit.pictures import data_uri, png
from vidu_relay.adapters.price_book import PriceLists
from vidu_relay.domain import model_documents
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.limit_errors import HourlyLimitReachedError
from vidu_relay.usecases.estimate_task import HOURLY_ESTIMATES, estimate_task

COUNTER = f"hour#{TENANT}#2026-11-23T09"
PRICES = [
    {"model": MODEL, "usd": "0.04", "per": "second", "since": "2026-01-01"},
    {"model": MODEL, "usd": "9", "per": "video", "since": "2026-11-24"},  # not yet
]


def estimate(sim: Simulation, **fields: Any) -> model_documents.Estimate:
    return estimate_task(sim.request(**fields), TENANT, sim.acceptance)


def price(sim: Simulation, *lines: dict[str, Any]) -> None:
    PriceLists(sim.account.clients["dynamodb"], sim.account.table).write({"prices": list(lines)}, seen=0, now=NOON)


def test_estimate_is_the_price_by_the_list_of_today(sim: Simulation) -> None:
    price(sim, *PRICES)
    found = estimate(sim, duration=8)
    assert (found["usd"], found["reserved_usd"], found["basis"]) == ("0.32", "0.32", "list")
    assert (found["model"], found["provider"], found["off_peak"]) == (MODEL, "gateway", False)
    assert estimate(sim, duration=8, off_peak=True)["off_peak"] is True


def test_unknown_price_is_no_price_and_reserves_what_is_assumed(sim: Simulation) -> None:
    found = estimate(sim)
    assert (found["usd"], found["reserved_usd"], found["basis"]) == (None, "1.5", "unknown")


def test_estimate_shows_what_a_submission_then_sends(sim: Simulation) -> None:
    asked: dict[str, Any] = {
        "images": [data_uri(png(300, 300))],
        "callback_url": "https://client.example.com/hook",
        "seed": 7,
    }
    shown = estimate(sim, **asked)["request"]
    sim.submit(**asked)
    (call,) = sim.provider.calls
    ((params,),) = (shown["body"].pop("input"),)
    (image,) = params["params"].pop("images")
    assert image.startswith("ni:///sha-256;"), "an embedded image is named, never shown"
    assert (shown["path"], shown["body"]) == ("/generation", {"model": MODEL})
    assert params["params"] == {name: value for name, value in call.params.items() if name != "images"}


def test_estimate_writes_the_hours_counter_and_nothing_else(sim: Simulation) -> None:
    before = sim.items()
    estimate(sim, images=[data_uri(png(300, 300))])
    assert [item for item in sim.items() if item not in before] == [sim.item(COUNTER)]
    assert (sim.provider.calls, sim.executions(), sim.stream) == ([], [], [])
    assert sim.effects.names == ["dynamodb.update_item", "dynamodb.batch_get_item"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"images": [data_uri(png(64, 64))]}, "invalid_image"),
        ({"images": [f"s3://relay-inbox/uploads/{TENANT}/none.png"]}, "invalid_image"),
        ({"callback_url": "https://10.0.0.1/hook"}, "invalid_callback_url"),
    ],
)
def test_estimate_is_refused_as_the_submission_is(sim: Simulation, fields: dict[str, Any], code: str) -> None:
    if "callback_url" in fields:
        sim.addresses = ["10.0.0.1"]
    for run in (estimate, Simulation.submit):
        with pytest.raises(InvalidRequestError) as raised:
            run(sim, **fields)
        assert raised.value.code == code


def test_estimates_of_an_hour_are_bounded_and_the_next_hour_has_its_own(sim: Simulation) -> None:
    sim.clock.advance(3599)
    for _ in range(HOURLY_ESTIMATES):
        sim.quota.take_hourly("estimates", TENANT, HOURLY_ESTIMATES, sim.clock())
    with pytest.raises(HourlyLimitReachedError) as raised:
        estimate(sim, images=[data_uri(png(64, 64))])  # refused before an image is looked at
    assert 1 <= raised.value.retry_after_seconds <= 3601
    sim.clock.advance(raised.value.retry_after_seconds)
    estimate(sim)
    sim.quota.take(TENANT, 1, sim.clock())  # the day's tasks are counted apart
