"""The ledger: one row a task that says what it costs, kept far longer than the task's record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from vidu_relay.domain.billing import Billing, BillingState, billing_of
from vidu_relay.domain.catalogue import find_model
from vidu_relay.domain.money import NO_MONEY
from vidu_relay.domain.price import PRICED
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.task import Task

__all__ = ["OPEN", "PROMPT_CHARACTERS", "LedgerRow", "bill_changed", "day_of", "ledger_row"]

KEEP_SECONDS = 400 * 86_400
"""How long a row outlives the record of its task."""
PROMPT_CHARACTERS = 200
OPEN = "open"
"""The status of a task before its end at the provider: a row is not written at each state on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What one task costs, as its record showed it at (`version`, `revision`). Amounts are in US dollars.

    - `created_at` and `evidence_at` are in milliseconds since the epoch, `expires_at` is in seconds.
    - `parameters` are those that prices depend on, as the client gave them.
    - `reserved` is None for a task that version 1.0.0 accepted, `cost` where none is known.
    - `counted` is what budgets count for the task.
    - `prompt` is its beginning; None once the task's content is deleted.
    """

    task_id: str
    tenant_id: str
    version: int
    revision: int
    created_at: int
    provider: str
    model: str
    kind: str | None
    parameters: Mapping[str, Any]
    status: str
    state: BillingState
    reserved: Decimal | None
    cost: Decimal | None
    credits: str | None
    counted: Decimal
    price_basis: str | None
    evidence_source: str
    evidence_at: int
    prompt: str | None
    expires_at: int
    external_id: str | None = None
    labels: Mapping[str, str] | None = None
    batch_id: str | None = None

    @property
    def day(self) -> str:
        """The UTC day of creation, `YYYY-MM-DD`."""
        return day_of(self.created_at)

    @property
    def first_counted(self) -> Decimal:
        """What budgets count for the task from its acceptance until its first row."""
        return self.reserved or NO_MONEY


def ledger_row(task: Task, now: int) -> LedgerRow:
    """The row of a task by its record as it was read at `now` (ms)."""
    billing, model_id = _billing(task, now), str(task.request.get("model", ""))
    model = find_model(model_id)
    prompt = str(task.request.get("prompt") or "")[:PROMPT_CHARACTERS]
    return LedgerRow(
        task_id=task.task_id,
        tenant_id=task.tenant_id,
        version=task.version,
        revision=task.revision,
        created_at=task.created_at,
        provider=task.provider,
        model=model_id,
        kind=model.kind if model else None,
        parameters={name: task.request[name] for name in PRICED if task.request.get(name) is not None},
        status=_status(task),
        state=billing.state,
        reserved=billing.reserved,
        cost=billing.cost,
        credits=task.usage.credits if task.usage else None,
        counted=billing.counted,
        price_basis=task.price_basis,
        evidence_source=billing.evidence.source,
        evidence_at=billing.evidence.at,
        prompt=prompt if task.content_deleted_at is None else None,
        expires_at=(task.expires_at or task.deadline_at // 1000) + KEEP_SECONDS,
        external_id=task.external_id,
        labels=task.labels,
        batch_id=task.batch_id,
    )


def bill_changed(before: Task | None, after: Task, now: int) -> bool:
    """Whether a write of a task's record changed what its row says. `before` is None for a new record."""
    return before is None or _facts(before, now) != _facts(after, now)


def day_of(at: int) -> str:
    """The UTC day of a moment in milliseconds: `YYYY-MM-DD`."""
    return time.strftime("%Y-%m-%d", time.gmtime(at / 1000))


def _facts(task: Task, now: int) -> tuple[Any, ...]:
    billing, billed = _billing(task, now), task.usage.credits if task.usage else None
    amounts = billing.reserved, billing.cost, billing.counted, billed
    return _status(task), billing.state, amounts, task.content_deleted_at


def _status(task: Task) -> str:
    """`completed` from `generated` on: the copy of the videos changes no bill."""
    if task.status is Status.GENERATED:
        return Status.COMPLETED.value
    return task.status.value if task.status in SETTLED else OPEN


def _billing(task: Task, now: int) -> Billing:
    """The bill; `reserved` while the create call may still be running, as nothing is lost yet."""
    billing = billing_of(task)
    running = task.status is Status.SUBMITTING and not task.candidates and not task.attempt_is_over(now)
    return replace(billing, state=BillingState.RESERVED) if running else billing
