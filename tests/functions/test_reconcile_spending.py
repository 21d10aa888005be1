"""The run as Lambda calls it: each part leaves what it is for, and one that fails keeps back no other."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.functions.conftest import Context, Relay
from tests.unit.builders import new_task
from vidu_relay.adapters.daily_quota import DailyQuota, quota_key
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.domain.ledger import LedgerRow, day_of, ledger_row
from vidu_relay.domain.utc_day import BUCKET_MS, DAY_MS
from vidu_relay.usecases import export_ledger, reconcile_spending
from vidu_relay.usecases.ports import clock

WHOLE = {"now": True}


def record(relay: Relay, **changes: Any) -> LedgerRow:
    """A row of a video that was made yesterday."""
    made = ledger_row(new_task(created_at=clock() - DAY_MS), clock())
    row = replace(made, **{"status": "completed", "cost": Decimal("0.3"), "counted": Decimal("0.3"), **changes})
    assert Ledger(relay.account.clients["dynamodb"], relay.account.ledger, relay.account.table).record(row)
    return row


def items(relay: Relay, prefix: str) -> list[dict[str, Any]]:
    found = relay.account.clients["dynamodb"].scan(TableName=relay.account.table)["Items"]
    return [item for item in found if item["pk"]["S"].startswith(prefix)]


def files(relay: Relay) -> list[str]:
    found = relay.account.clients["s3"].list_objects_v2(Bucket=relay.account.inbox, Prefix="ledger/")
    return [each["Key"] for each in found.get("Contents", [])]


def test_whole_run_frees_learns_and_says_that_the_gateway_shows_no_books(relay: Relay) -> None:
    table = relay.account.clients["dynamodb"]
    relay.directory().create_tenant("acme", 1)
    lost = clock() - 2 * BUCKET_MS
    DailyQuota(table, relay.account.table, once=table).take("acme", 9, lost, price=Decimal("0.4"))
    record(relay)
    answer = relay.invoke("reconcile_spending", WHOLE, remaining_ms=300_000)
    assert answer["reservations"] == {"verified": 1, "left": 0, "freed_usd": "0.4"}
    assert (answer["bills"], answer["models_learned"], answer["books_gateway"]) == (1, 1, "shows none")
    counters = table.get_item(TableName=relay.account.table, Key=quota_key("acme", lost))["Item"]
    assert Decimal(counters["committed"]["N"]) == 0
    assert len(items(relay, "learned#gateway#")) == len(items(relay, "billed#gateway#")) == 1
    ((books,),) = ([json.loads(item["document"]["S"]) for item in items(relay, "books#")],)
    assert (books["provider"], books["books"]) == ("gateway", None)
    again = relay.invoke("reconcile_spending", WHOLE, remaining_ms=300_000)
    assert (again["reservations"]["verified"], again["models_learned"]) == (0, 0)


def test_run_without_time_leaves_everything_to_the_next(relay: Relay) -> None:
    record(relay)
    assert relay.invoke("reconcile_spending", WHOLE, remaining_ms=1)["bills"] == 0
    assert not files(relay)
    assert not items(relay, "learned#")


def test_part_that_fails_is_an_error_of_the_function_and_the_others_are_done(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(relay)

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("broken")

    module = relay.load("reconcile_spending")
    monkeypatch.setattr(reconcile_spending, "verify_reservations", broken)
    with pytest.raises(reconcile_spending.ReconciliationFailedError, match="reservations"):
        module.handler(WHOLE, Context(remaining_ms=300_000))
    assert items(relay, "learned#")


@pytest.mark.parametrize(("hour", "written"), [(0, 0), (1, 4), (23, 4)])
def test_ledger_is_written_once_a_day_with_the_days_that_may_have_changed(
    relay: Relay, hour: int, written: int
) -> None:
    row = record(relay)
    deps = relay.load("reconcile_spending").deps
    now = int(datetime.fromisoformat(f"{day_of(clock())}T{hour:02}:05:00").replace(tzinfo=UTC).timestamp() * 1000)

    def export(at: int = now, *, up: bool = False) -> list[str]:
        return export_ledger.export_ledger(deps.ledger, deps.files, deps.results, now=at, time_is_up=lambda: up)

    assert export(up=True) == []
    assert len(export()) == len(files(relay)) == written
    assert export() == [], "once a day"
    if written:
        body = relay.account.clients["s3"].get_object(Bucket=relay.account.inbox, Key=f"ledger/{row.day}.csv")
        header, line = body["Body"].read().decode().splitlines()
        assert header.startswith("BilledCost,")
        assert line.startswith("0.3,USD,")
        assert export(now + DAY_MS)[0] == day_of(now - 3 * DAY_MS)
