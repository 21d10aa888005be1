"""`relay usage`: the ledger in words, as JSON and as CSV, and what it refuses."""

import csv
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.builders import NOW, task_in
from tests.unit.cli.conftest import Ask, Deployment, Refused, Run
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.domain.ledger import ledger_row
from vidu_relay.domain.states import Status


@pytest.fixture(autouse=True)
def rows(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A billed task of acme, and one of globex whose bill is to come, a day later."""
    monkeypatch.setattr("cli.usage.now", lambda: NOW + 2 * 86_400_000)
    ledger = Ledger(deployment.client("dynamodb"), deployment.account.ledger)
    billed = ledger_row(replace(task_in(Status.COMPLETED), reserved_usd="0.3"), NOW)
    coming = ledger_row(replace(task_in(Status.SUBMITTED), reserved_usd="1.50", created_at=NOW + 86_400_000), NOW)
    for row in (replace(billed, reserved=billed.counted), replace(coming, tenant_id="globex")):
        assert ledger.record(row)


@pytest.mark.parametrize(
    ("options", "groups", "total"),
    [
        ([], {"2027-01-15": "0.4", "2027-01-16": "0"}, ("0.4", "1.5")),
        (["--tenant", "acme"], {"2027-01-15": "0.4"}, ("0.4", "0")),
        (["--group-by", "status"], {"completed": "0.4", "open": "0"}, ("0.4", "1.5")),
        (["--from", "2027-01-16"], {"2027-01-16": "0"}, ("0", "1.5")),
    ],
)
def test_usage_is_that_of_the_tenant_and_the_days(
    ask: Ask, relay: Run, options: list[str], groups: dict[str, str], total: tuple[str, str]
) -> None:
    shown: Any = ask("usage", *options)
    assert {group["group"]: group["cost_usd"] for group in shown["groups"]} == groups
    assert (shown["total"]["cost_usd"], shown["total"]["reserved_usd"]) == total
    lines = relay("usage", *options)[1].splitlines()
    assert [line.split()[0] for line in lines[2:]] == [*groups, "total"]


def test_csv_has_one_line_a_task(relay: Run) -> None:
    shown = list(csv.DictReader(relay("usage", "--csv")[1].splitlines()))
    assert [(one["SubAccountId"], one["BilledCost"], one["x_CountedCost"]) for one in shown] == [
        ("acme", "0.4", "0.4"),
        ("globex", "0", "1.5"),
    ]


def test_malformed_period_is_refused(refused: Refused) -> None:
    assert "must be a date" in refused("usage", "--from", "yesterday")
    assert "must not be after" in refused("usage", "--from", "2027-01-16", "--to", "2027-01-15")
