"""What a task costs, as far as it is known: the table in `docs/money.md`, as code."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from vidu_relay.domain.lifecycle import SUBMISSION_UNCONFIRMED
from vidu_relay.domain.money import NO_MONEY, read_money
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import HistoryEntry, Task

__all__ = ["Billing", "BillingState", "billing_of", "cost_of"]


class BillingState(StrEnum):
    """Whether a task is paid for. The values are public.

    - `none`: nothing was created at the provider, and nothing will be;
    - `reserved`: the bill is still to come;
    - `uncertain`: it is not known whether the provider billed the task;
    - `settled`: the provider's books are closed for this task. Its cost is null where the provider stated none.
    """

    NONE = "none"
    RESERVED = "reserved"
    UNCERTAIN = "uncertain"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Billing:
    """A task's bill in US dollars. `evidence` is the change that it was learned from; `counted` is what budgets count.

    `reserved` is None for a task that version 1.0.0 accepted.
    """

    state: BillingState
    reserved: Decimal | None
    cost: Decimal | None
    evidence: HistoryEntry

    @property
    def counted(self) -> Decimal:
        """The cost where it is known, nothing where nothing was billed, the reservation otherwise."""
        if self.state is BillingState.NONE:
            return NO_MONEY
        return self.cost if self.cost is not None else self.reserved or NO_MONEY


def billing_of(task: Task) -> Billing:
    """The bill of a task as its record shows it."""
    cost = cost_of(task)
    state = _state(task, cost)
    known = cost if state is BillingState.SETTLED else None
    return Billing(state, read_money(task.reserved_usd), known, _evidence(task))


def cost_of(task: Task) -> Decimal | None:
    """What the provider stated, in US dollars: credits by the price that a credit had when the task was accepted."""
    usage = task.usage
    if usage is None:
        return None
    billed, rate = read_money(usage.credits), read_money(task.credit_usd)
    by_credits = billed * rate if billed is not None and rate is not None else None
    stated = read_money(usage.cost)
    return stated if stated is not None else NO_MONEY if billed == 0 else by_credits


def _state(task: Task, cost: Decimal | None) -> BillingState:
    created, unclear = task.remote_id is not None, bool(task.candidates)
    match task.status:
        case Status.ACCEPTED:
            return BillingState.UNCERTAIN if unclear else BillingState.RESERVED
        case Status.SUBMITTING:
            return BillingState.UNCERTAIN
        case Status.SUBMITTED | Status.PROCESSING:
            return BillingState.RESERVED
        case Status.GENERATED | Status.COMPLETED:
            return BillingState.SETTLED
        case _ if cost is not None or task.outputs:  # the provider stated its bill, or made the video
            return BillingState.SETTLED
        case _:
            lost = task.error is not None and task.error.code == SUBMISSION_UNCONFIRMED
            return BillingState.UNCERTAIN if created or unclear or lost else BillingState.NONE


def _evidence(task: Task) -> HistoryEntry:
    """The change that decided: the provider's end of the task where there is one, else the latest."""
    ends = (Status.GENERATED, Status.FAILED, Status.CANCELED)
    found = [entry for entry in task.history if entry.status in ends and not entry.notice]
    if found:
        return found[-1]
    return task.history[-1] if task.history else HistoryEntry(task.created_at, Status.ACCEPTED, "unknown")
