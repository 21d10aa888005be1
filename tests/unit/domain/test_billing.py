"""The bill of a task in every state that it can be in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.builders import new_task
from vidu_relay.domain.billing import BillingState, billing_of
from vidu_relay.domain.snapshot import TaskError, Usage
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Attempt, Candidate, HistoryEntry, Output

NONE, RESERVED, UNCERTAIN, SETTLED = BillingState
LOST = TaskError("submission_unconfirmed", "…")
REMOTE = {"remote_id": "r1"}
MADE = {**REMOTE, "outputs": (Output("1", "done", ("d",)),)}


@pytest.mark.parametrize(
    ("status", "fields", "state", "cost"),
    [
        (Status.ACCEPTED, {}, RESERVED, None),
        (Status.ACCEPTED, {"attempt": Attempt("t", 1, 2)}, RESERVED, None),
        (Status.ACCEPTED, {"candidates": (Candidate("r1"),)}, UNCERTAIN, None),
        (Status.SUBMITTING, {"attempt": Attempt("t", 1)}, UNCERTAIN, None),
        (Status.SUBMITTED, REMOTE, RESERVED, None),
        (Status.PROCESSING, REMOTE, RESERVED, None),
        (Status.GENERATED, {**MADE, "usage": Usage("0.0450")}, SETTLED, "0.045"),
        (Status.COMPLETED, {**MADE, "usage": Usage(credits="11")}, SETTLED, "0.055"),
        (Status.COMPLETED, MADE, SETTLED, None),
        (Status.COMPLETED, {**MADE, "usage": Usage("free")}, SETTLED, None),
        (Status.FAILED, {}, NONE, None),
        (Status.FAILED, REMOTE, UNCERTAIN, None),
        (Status.FAILED, {**REMOTE, "usage": Usage("0.01")}, SETTLED, "0.01"),
        (Status.FAILED, {**REMOTE, "usage": Usage(credits="0")}, SETTLED, "0"),
        (Status.CANCELED, {}, NONE, None),
        (Status.CANCELED, REMOTE, UNCERTAIN, None),
        (Status.EXPIRED, {"attempt": Attempt("t", 1, 2)}, NONE, None),
        (Status.EXPIRED, {"error": LOST}, UNCERTAIN, None),
        (Status.EXPIRED, {"candidates": (Candidate("r1"),)}, UNCERTAIN, None),
        (Status.EXPIRED, REMOTE, UNCERTAIN, None),
        (Status.EXPIRED, {**MADE, "usage": Usage("0.2")}, SETTLED, "0.2"),
    ],
)
def test_bill_follows_from_the_record(
    status: Status, fields: dict[str, Any], state: BillingState, cost: str | None
) -> None:
    billing = billing_of(new_task(status=status, reserved_usd="0.3", credit_usd="0.005", **fields))
    amount = Decimal(cost) if cost else None
    counted = Decimal(0) if state is NONE else amount if amount is not None else Decimal("0.3")
    assert (billing.state, billing.cost, billing.counted) == (state, amount, counted)
    assert billing.reserved == Decimal("0.3")


def test_evidence_is_the_provider_s_end_and_not_the_copy() -> None:
    made = HistoryEntry(5, Status.GENERATED, "callback")
    history = (HistoryEntry(1, Status.ACCEPTED, "http"), made, HistoryEntry(9, Status.COMPLETED, "deliver"))
    assert billing_of(new_task(status=Status.COMPLETED, history=history)).evidence == made


def test_task_of_an_earlier_release_has_no_reservation() -> None:
    billing = billing_of(new_task(status=Status.SUBMITTED, remote_id="r1"))
    assert (billing.state, billing.reserved, billing.counted) == (RESERVED, None, Decimal(0))
