"""Rows of the ledger, their sums and their CSV; and what a deletion leaves of a task."""

import csv
import io
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.builders import NOW, POLICY, done, failed, new_task, reading, submitting, task_in
from vidu_relay.domain import erasure, lifecycle
from vidu_relay.domain.billing import BillingState
from vidu_relay.domain.delivery import reopen
from vidu_relay.domain.errors import DeliveryUnderwayError, InvalidRequestError
from vidu_relay.domain.ledger import LedgerRow, bill_changed, ledger_row
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS, DELIVERY_GRACE_MS
from vidu_relay.domain.snapshot import ProgressState, TaskError, Usage
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.task import Task
from vidu_relay.domain.usage import Grouping, Period, focus_csv, read_period, usage_of

NONE, RESERVED, UNCERTAIN, BILLED = BillingState
TODAY = date(2027, 1, 15)
DAY = 86_400_000


def row(status: Status, **changes: Any) -> LedgerRow:
    return ledger_row(replace(task_in(status), reserved_usd="0.3", **changes), NOW)


def test_row_says_what_the_record_says() -> None:
    task = replace(task_in(Status.COMPLETED), reserved_usd="0.3", price_basis="list", revision=7)
    task = replace(task, request={**task.request, "prompt": "p" * 300})
    found = ledger_row(task, NOW)
    assert (found.day, found.status, found.state, found.reserved, found.cost, found.counted) == (
        "2027-01-15", "completed", BILLED, Decimal("0.3"), Decimal("0.4"), Decimal("0.4"),
    )  # fmt: skip
    assert (found.kind, found.parameters) == ("reference2video", {"duration": 5, "resolution": "720p"})
    assert (found.version, found.revision, found.evidence_source) == (task.version, 7, "callback")
    assert found.prompt == "p" * 200
    assert task.expires_at is not None
    assert found.expires_at == task.expires_at + 400 * 86_400


@pytest.mark.parametrize(
    ("before", "after", "at", "changed"),
    [
        (None, new_task(), NOW, True),
        (new_task(), submitting(), NOW, False),  # the create call may still be running
        (new_task(), submitting(), NOW + ATTEMPT_LIMIT_MS, True),  # it is over, and its outcome is unknown
        (submitting(), task_in(Status.SUBMITTED), NOW, False),
        (submitting(), task_in(Status.SUBMITTED), NOW + ATTEMPT_LIMIT_MS, True),
        (task_in(Status.SUBMITTED), replace(task_in(Status.PROCESSING), checks=3), NOW, False),
        (task_in(Status.PROCESSING), task_in(Status.GENERATED), NOW, True),
        (task_in(Status.GENERATED), task_in(Status.COMPLETED), NOW, False),
        (task_in(Status.GENERATED), replace(task_in(Status.GENERATED), status=Status.EXPIRED), NOW, True),
        (task_in(Status.EXPIRED), replace(task_in(Status.EXPIRED), due_at=None, lease=9), NOW, False),
        (task_in(Status.EXPIRED), replace(task_in(Status.EXPIRED), usage=Usage("0.2")), NOW, True),
        (task_in(Status.FAILED), replace(task_in(Status.FAILED), content_deleted_at=NOW), NOW, True),
    ],
)
def test_row_is_written_when_the_bill_changes(before: Task | None, after: Task, at: int, changed: bool) -> None:
    assert bill_changed(before, after, at) is changed


ROWS = [
    row(Status.COMPLETED),
    row(Status.COMPLETED, usage=None, created_at=NOW + DAY),
    row(Status.SUBMITTED),
    row(Status.EXPIRED),
    row(Status.CANCELED, remote_id=None, request={"model": "other"}),
]


@pytest.mark.parametrize(
    ("grouping", "tasks"),
    [
        (Grouping.DAY, {"2027-01-15": 4, "2027-01-16": 1}),
        (Grouping.MODEL, {"other": 1, "viduq2_pro_fast_reference2video": 4}),
        (Grouping.STATUS, {"canceled": 1, "completed": 2, "expired": 1, "open": 1}),
    ],
)
def test_usage_adds_up_to_what_budgets_count(grouping: Grouping, tasks: dict[str, int]) -> None:
    usage = usage_of(ROWS, Period(TODAY, TODAY, grouping))
    assert {group["group"]: group["tasks"] for group in usage["groups"]} == tasks
    total = usage["total"]
    assert total["billing"] == {"none": 1, "reserved": 1, "uncertain": 1, "settled": 2}
    amounts = [total["cost_usd"], total["reserved_usd"], total["uncertain_usd"], total["unstated_usd"]]
    assert amounts == ["0.4", "0.3", "0.3", "0.3"]
    assert sum(map(Decimal, amounts)) == sum(one.counted for one in ROWS)
    for name in ("cost_usd", "reserved_usd", "uncertain_usd", "unstated_usd"):
        assert sum(Decimal(group[name]) for group in usage["groups"]) == Decimal(total[name])


@pytest.mark.parametrize(
    ("query", "first", "last", "grouping"),
    [
        ({}, "2026-12-17", "2027-01-15", "day"),
        ({"to": "2026-12-31"}, "2026-12-02", "2026-12-31", "day"),
        ({"from": "2027-01-15", "group_by": "model"}, "2027-01-15", "2027-01-15", "model"),
        ({"from": "2025-12-11", "to": "2026-03-20"}, "2025-12-11", "2026-03-20", "day"),
    ],
)
def test_period_is_read(query: dict[str, str], first: str, last: str, grouping: str) -> None:
    period = read_period(query, TODAY)
    assert (period.days[0], period.days[-1], period.grouping) == (first, last, grouping)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"from": "2027-01-16"}, "must not be after `to`"),
        ({"from": "2027-01-10", "to": "2027-01-09"}, "must not be after `to`"),
        ({"to": "2027-01-16"}, "after today"),
        ({"from": "2026-10-07"}, "these are 101"),
        ({"from": "2025-12-10", "to": "2025-12-31"}, "400 days ago"),
        ({"from": "15.1.2027"}, "`from` must be a date"),
        ({"from": "20270115"}, "`from` must be a date"),
        ({"to": "2027-02-30"}, "`to` must be a date"),
        ({"to": ""}, "`to` must be a date"),
        ({"group_by": "tenant"}, "day, model, status"),
        ({"since": "2027-01-01"}, "no parameter 'since'"),
    ],
)
def test_refused_period_says_what_to_change(query: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says) as caught:
        read_period(query, TODAY)
    assert caught.value.code == "invalid_query"


def test_csv_has_focus_columns_and_an_unknown_cost_stays_countable() -> None:
    shown = list(csv.DictReader(io.StringIO(focus_csv(ROWS))))
    assert [one["BilledCost"] for one in shown] == ["0.4", "0", "0", "0", "0"]
    assert [one["x_CountedCost"] for one in shown] == ["0.4", "0.3", "0.3", "0.3", "0"]
    first = shown[0]
    assert {name: first[name] for name in list(first)[1:15]} == {
        "BillingCurrency": "USD", "BillingPeriodEnd": "2027-02-01T00:00:00Z",
        "BillingPeriodStart": "2027-01-01T00:00:00Z", "ChargeCategory": "Usage",
        "ChargePeriodEnd": "2027-01-16T00:00:00Z", "ChargePeriodStart": "2027-01-15T00:00:00Z",
        "ConsumedQuantity": "1", "ConsumedUnit": "Tasks", "ProviderName": "gateway",
        "ResourceId": ROWS[0].task_id, "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Video generation", "SkuId": "viduq2_pro_fast_reference2video", "SubAccountId": "acme",
    }  # fmt: skip
    assert all(name.startswith("x_") for name in list(first)[15:])


# --- deletion


@pytest.mark.parametrize("status", Status)
def test_only_a_settled_task_is_deleted_and_not_while_a_copy_may_run(status: Status) -> None:
    task = task_in(status)
    late = task.updated_at + DELIVERY_GRACE_MS
    if status not in SETTLED:
        with pytest.raises(InvalidRequestError, match=status.value):
            erasure.begin_deletion(task, now=late)
        return
    if task.generated_at is not None:
        with pytest.raises(DeliveryUnderwayError):
            erasure.begin_deletion(task, now=late - 1)
    marked = erasure.begin_deletion(task, now=late)
    assert (marked.content_deleted_at, marked.version) == (late, task.version)
    assert erasure.begin_deletion(marked, now=late + 1) is marked


def test_deletion_keeps_money_states_and_sizes_and_nothing_that_was_written() -> None:
    wrote = {"payload": "x", "meta_data": "y", "callback_url": "https://client.example", "wm_url": "https://w.example"}
    task = replace(task_in(Status.COMPLETED), reserved_usd="0.3", request_key="k", image_versions=("v",))
    task = replace(task, request={**task.request, **wrote})
    kept = erasure.without_content(erasure.begin_deletion(task, now=NOW + DAY))
    assert kept.request == {"model": task.request["model"], "duration": 5, "resolution": "720p"}
    assert (kept.request_key, kept.image_versions, kept.content_deleted_at) == (None, (), NOW + DAY)
    unchanged = ("usage", "reserved_usd", "history", "videos", "version", "remote_id", "status", "request_digest")
    assert all(getattr(kept, name) == getattr(task, name) for name in unchanged)
    assert erasure.without_content(kept) is kept
    assert ledger_row(kept, NOW).counted == ledger_row(task, NOW).counted
    quoted = replace(task_in(Status.FAILED), error=TaskError("Policy", "your prompt …"))
    assert erasure.without_content(quoted).error == TaskError("Policy", "")


@pytest.mark.parametrize(
    ("snapshot", "state", "cost"),
    [
        (done(), BILLED, "0.4"),
        (replace(done(), usage=None), BILLED, None),
        (replace(failed(), usage=Usage(credits="0")), BILLED, "0"),
        (reading(ProgressState.CANCELED), UNCERTAIN, None),
    ],
)
def test_late_end_of_deleted_content_is_billed_and_not_delivered(snapshot: Any, state: Any, cost: str | None) -> None:
    deleted = erasure.without_content(erasure.begin_deletion(task_in(Status.EXPIRED), now=NOW))
    after = lifecycle.apply_snapshot(deleted, snapshot, now=NOW, source="check", policy=POLICY)
    found = ledger_row(after, NOW)
    assert (after.status, after.version, after.due_at) == (Status.EXPIRED, deleted.version, None)
    assert (found.state, found.cost) == (state, None if cost is None else Decimal(cost))
    assert lifecycle.apply_snapshot(after, snapshot, now=NOW, source="check", policy=POLICY) is after
    running = reading(ProgressState.PROCESSING)
    assert lifecycle.apply_snapshot(deleted, running, now=NOW, source="check", policy=POLICY) is deleted


def test_operator_does_not_copy_deleted_videos_again() -> None:
    lost = replace(task_in(Status.EXPIRED), error=TaskError("video_unavailable", "…"), content_deleted_at=NOW)
    assert reopen(lost, now=NOW) is lost
