"""The provider's books beside ours: tasks that it made and no task of ours owns, bills that differ, and its balance.

Pure. Moments are in milliseconds since the epoch, amounts in the provider's credits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypedDict

from vidu_relay.domain.billing import BillingState
from vidu_relay.domain.catalogue import find_model
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.ledger import PROMPT_CHARACTERS, LedgerRow
from vidu_relay.domain.money import NO_MONEY, money_text, read_money
from vidu_relay.domain.states import Status
from vidu_relay.domain.submission import TAG_PREFIX
from vidu_relay.domain.task import Task
from vidu_relay.domain.utc_day import DAY_MS

if TYPE_CHECKING:
    from vidu_relay.domain import money_documents

__all__ = [
    "EVENT_TYPE_BALANCE_LOW",
    "EVENT_TYPE_BILL_DIFFERS",
    "Balance",
    "Books",
    "BooksResult",
    "ListedTask",
    "Spending",
    "UnclaimedTask",
    "balance_detail",
    "balance_of",
    "bill_detail",
    "possible_matches",
    "tagged_task",
]

EVENT_TYPE_BILL_DIFFERS = "VideoTaskBillDiffers"
"""Published when the provider's books show another bill for a task than its record."""
EVENT_TYPE_BALANCE_LOW = "ProviderBalanceLow"
"""Published when a provider's balance lasts for less than a day, once until it lasts for longer again."""

LOW_HOURS = 24
MATCH_BEFORE_MS = 60_000
MATCH_AFTER_MS = 3 * 3_600_000
"""How long before and after its acceptance a task of ours may have been created at the provider."""
MAX_MATCHES = 3
MAX_UNCERTAIN = 200
MADE = frozenset({Status.GENERATED.value, Status.COMPLETED.value})


class UnclaimedTask(TypedDict):
    """A task that the provider made and no task of ours owns. Moments are in ms since the epoch."""

    remote_id: str
    created_at: int | None
    seen_at: int
    model: str | None
    prompt: str | None
    credits: str | None
    why: Literal["not_read", "no_tag", "unknown_task", "not_waiting", "candidate"]
    task_id: str | None
    matches: list[str]


class Books(TypedDict):
    """What was compared. Both `…_to` are moments in ms, up to which it is done."""

    creates_to: int
    unclaimed: list[UnclaimedTask]
    unclaimed_left: int
    bills_to: int
    bills_compared: int
    bills_left: int
    differences: list[money_documents.BillDifference]
    credits: str | None
    spent_24h: str
    hours_left: int | None
    low_since: int | None


class BooksResult(TypedDict):
    """The latest comparison with a provider's books. `books` is null for a provider that shows none."""

    provider: str
    at: int
    fault: str | None
    books: Books | None


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task as the provider lists it; None for what the list does not show."""

    remote_id: str
    created_at: int | None = None
    model: str | None = None
    prompt: str | None = None
    credits: str | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left at a provider, what tasks of the last 24 hours cost, and for how many hours that lasts.

    `hours` is None where nothing was spent, or the balance is not known.
    """

    left: Decimal | None
    spent: Decimal
    hours: int | None

    @property
    def low(self) -> bool:
        """Whether it runs out within a day."""
        return self.hours is not None and self.hours < LOW_HOURS


@dataclass(slots=True)
class Spending:
    """Collects what the ledger's rows say of one provider at `now`, with the bills that settled after `bills_from`."""

    provider: str
    now: int
    bills_from: int
    bills_to: int
    spent: Decimal = NO_MONEY
    billed: list[tuple[int, str]] = field(default_factory=list)
    """When a bill was learned, and of which task: of videos that were made, with the bill in credits."""
    uncertain: list[LedgerRow] = field(default_factory=list)

    def add(self, row: LedgerRow) -> None:
        """Take a row of the ledger into account."""
        if row.provider != self.provider:
            return
        bill = read_money(row.credits)
        if bill is not None and row.created_at >= self.now - DAY_MS:
            self.spent += bill
        if bill is not None and row.status in MADE and self.bills_from < row.evidence_at <= self.bills_to:
            self.billed.append((row.evidence_at, row.task_id))
        if row.state is BillingState.UNCERTAIN and len(self.uncertain) < MAX_UNCERTAIN:
            self.uncertain.append(row)


def balance_of(left: Decimal | None, spent: Decimal) -> Balance:
    """How long a balance lasts at the pace of the last 24 hours."""
    hours = int(left * 24 / spent) if left is not None and spent else None
    return Balance(left, spent, hours)


def tagged_task(tag: str | None) -> str | None:
    """The id of the task that a correlation tag names; None if it is none of a relay. The tag is not proven by this."""
    if tag is None or not tag.startswith(TAG_PREFIX):
        return None
    task_id = tag.removeprefix(TAG_PREFIX).partition(":")[0]
    return task_id if TASK_ID.fullmatch(task_id) else None


def possible_matches(listed: ListedTask, uncertain: Iterable[LedgerRow]) -> list[str]:
    """Ids of tasks that a listed one may be: the same model, prompt and time. Never a proof."""
    if listed.created_at is None or not listed.prompt:
        return []
    prompt = listed.prompt[:PROMPT_CHARACTERS]
    found = [
        row.task_id
        for row in uncertain
        if row.prompt == prompt
        and listed.model in _names(row)
        and row.created_at - MATCH_BEFORE_MS <= listed.created_at <= row.created_at + MATCH_AFTER_MS
    ]
    return found[:MAX_MATCHES]


def _names(row: LedgerRow) -> set[str]:
    model = find_model(row.model)
    offer = model.offers.get(row.provider) if model else None
    return {row.model, *([offer.model] if offer else [])}


def bill_detail(task: Task, recorded: str, billed: str) -> money_documents.BillDifference:
    """The detail of `VideoTaskBillDiffers`; the same difference of a task has the same `event_id`."""
    return {
        "event_id": f"{task.task_id}:bill:{billed}",
        "tenant_id": task.tenant_id,
        "task_id": task.task_id,
        "provider": task.provider,
        "remote_task_id": task.remote_id,
        "recorded_credits": recorded,
        "billed_credits": billed,
    }


def balance_detail(provider: str, balance: Balance, since: int) -> money_documents.LowBalance:
    """The detail of `ProviderBalanceLow`. `since` is when it was first seen."""
    return {
        "event_id": f"{provider}:balance:{since}",
        "tenant_id": None,
        "provider": provider,
        "credits": money_text(balance.left or NO_MONEY),
        "spent_24h": money_text(balance.spent),
        "hours_left": balance.hours or 0,
    }
