"""Compare a provider's books with ours: lost creates, bills and the balance. No task is changed on a guess.

A task that the provider lists and no task of ours owns is read. If it shows our correlation tag, its id becomes a
candidate of the tagged task, which the next check proves or not; without a tag it is listed as unclaimed, with tasks
that it may be. Each part goes on where the latest run has ended, within bounds; two runs at once repeat work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Literal, Protocol

from vidu_relay.adapters.books import BooksStore
from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import submission
from vidu_relay.domain.errors import (
    ConfigurationError,
    EventRefusedError,
    ProviderUnavailableError,
    RemoteTaskNotFoundError,
)
from vidu_relay.domain.ledger import PROMPT_CHARACTERS
from vidu_relay.domain.money import money_text, read_money
from vidu_relay.domain.provider_books import (
    EVENT_TYPE_BALANCE_LOW,
    EVENT_TYPE_BILL_DIFFERS,
    Balance,
    Books,
    BooksResult,
    ListedTask,
    Spending,
    UnclaimedTask,
    balance_detail,
    balance_of,
    bill_detail,
    possible_matches,
    tagged_task,
)
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Provider, clock
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["BooksDependencies", "ProviderBooks", "compare_books", "new_spending"]

HOUR_MS = 3_600_000
SETTLE_MS = 900_000
"""What is younger is left to the next run: its record may still be on the way."""
FIRST_MS = 6 * HOUR_MS
"""How far back the first run looks."""
LONGEST_MS = 6 * HOUR_MS
"""The period that one run lists."""
OVERLAP_MS = 300_000
KEEP_MS = 7 * 24 * HOUR_MS
"""How long an unclaimed task is shown."""
MAX_READS = 100
MAX_BILLS = 1_000
BILLS_AT_ONCE = 50
MAX_SHOWN = 200


class ProviderBooks(Protocol):
    """A provider's lists. See `adapters.provider_vidu_books` for what its methods raise."""

    name: str

    def list_tasks(self, first: int, last: int) -> Iterator[ListedTask]: ...

    def find_tasks(self, remote_ids: Sequence[str]) -> dict[str, ListedTask]: ...

    def balance(self) -> Decimal | None: ...


@dataclass(frozen=True, slots=True)
class BooksDependencies:
    """What comparing takes. `books` is None for a provider that shows none."""

    provider: Provider
    books: ProviderBooks | None
    results: BooksStore
    store: TaskStore
    bus: EventBus
    clock: Clock = clock


def new_spending(deps: BooksDependencies) -> Spending:
    """What collects the ledger's rows for `compare_books`."""
    now, latest = deps.clock(), deps.results.read(deps.provider.name)
    bills_from = latest["books"]["bills_to"] if latest and latest["books"] else now - FIRST_MS
    return Spending(deps.provider.name, now, bills_from, now - SETTLE_MS)


def compare_books(spending: Spending, deps: BooksDependencies, *, time_is_up: Callable[[], bool]) -> BooksResult:
    """One comparison; the result as stored. A provider that does not answer is the result's `fault`."""
    latest = deps.results.read(deps.provider.name)
    result: BooksResult = {"provider": deps.provider.name, "at": spending.now, "fault": None, "books": None}
    if deps.books is not None:
        books = latest["books"] if latest and latest["books"] else _first(spending)
        run = _Run(books, spending, deps, deps.books, time_is_up)
        for part in (run.find_creates, run.compare_bills, run.weigh_balance):
            try:
                part()
            except (ProviderUnavailableError, ConfigurationError, EventRefusedError) as error:
                logger.warning("books_not_read", reason=str(error))
                result["fault"] = str(error)
        result["books"] = books
    deps.results.write(result)
    return result


def _first(spending: Spending) -> Books:
    return {
        "creates_to": spending.now - FIRST_MS,
        "unclaimed": [],
        "unclaimed_left": 0,
        "bills_to": spending.bills_from,
        "bills_compared": 0,
        "bills_left": 0,
        "differences": [],
        "credits": None,
        "spent_24h": "0",
        "hours_left": None,
        "low_since": None,
    }


@dataclass(slots=True)
class _Run:
    """The parts of one comparison. Each changes `books`, which is stored at the end."""

    books: Books
    spending: Spending
    deps: BooksDependencies
    provider: ProviderBooks
    time_is_up: Callable[[], bool]
    reads: int = 0

    def find_creates(self) -> None:
        """List what was created since the latest run, and read what no task of ours owns."""
        first = self.books["creates_to"] - OVERLAP_MS
        last = min(self.spending.now - SETTLE_MS, self.books["creates_to"] + LONGEST_MS)
        known = {entry["remote_id"]: entry for entry in self.books["unclaimed"]}
        listed = iter(self.provider.list_tasks(first, last))
        while True:
            if self.time_is_up():
                return
            if not (page := list(islice(listed, 100))):
                break
            owned = self.deps.results.owners(self.provider.name, (task.remote_id for task in page))
            for task in page:
                if task.remote_id not in owned:
                    known.setdefault(task.remote_id, self._unclaimed(task))
        owned = self.deps.results.owners(self.provider.name, known)
        left = [entry for name, entry in known.items() if name not in owned]
        left = [entry for entry in left if entry["seen_at"] > self.spending.now - KEEP_MS][-MAX_SHOWN:]
        shown = [entry for entry in left if entry["why"] != "not_read" or not self._may_read() or self._read(entry)]
        self.books["unclaimed"] = shown
        self.books["unclaimed_left"] = sum(entry["why"] == "not_read" for entry in shown)
        self.books["creates_to"] = max(last, self.books["creates_to"])

    def compare_bills(self) -> None:
        """Compare the bills that settled since the latest run with what the provider shows."""
        due = sorted(self.spending.billed)
        batch = [each for each in due if each[0] <= due[min(len(due), MAX_BILLS) - 1][0]]
        compared = 0
        for start in range(0, len(batch), BILLS_AT_ONCE):
            part = batch[start : start + BILLS_AT_ONCE]
            done = 0 if self.time_is_up() else self._compare_some(part)
            compared += done
            if done < len(part):
                break
        self.books["bills_compared"], self.books["bills_left"] = compared, len(due) - compared
        if compared == len(due):
            self.books["bills_to"] = self.spending.bills_to

    def _compare_some(self, part: Sequence[tuple[int, str]]) -> int:
        """Compare bills in their order; how many there was room for."""
        tasks = self.deps.store.get_many(task_id for _, task_id in part)
        ids = [task.remote_id for task in tasks.values() if task.remote_id]
        listed = self.provider.find_tasks(ids) if ids else {}
        for done, (at, task_id) in enumerate(part):
            task = tasks.get(task_id)
            if task is not None and task.remote_id is not None:
                known = listed.get(task.remote_id)
                billed = known.credits if known else None
                if billed is None and not self._may_read():
                    return done
                self._compare(task, self._billed(task.remote_id) if billed is None else billed)
            self.books["bills_to"] = at
        return len(part)

    def weigh_balance(self) -> None:
        """Compare what is left with what the last 24 hours cost."""
        balance = balance_of(self.provider.balance(), self.spending.spent)
        self.books["credits"] = None if balance.left is None else money_text(balance.left)
        self.books["spent_24h"], self.books["hours_left"] = money_text(balance.spent), balance.hours
        if not balance.low:
            self.books["low_since"] = None
            return
        count(Metric.BOOKS_DIFFER)
        if self.books["low_since"] is None and self._published_low(balance):
            self.books["low_since"] = self.spending.now

    def _published_low(self, balance: Balance) -> bool:
        detail = balance_detail(self.provider.name, balance, self.spending.now)
        logger.error("provider_balance_low", provider=self.provider.name, hours_left=balance.hours)
        return self.deps.bus.publish([Event(EVENT_TYPE_BALANCE_LOW, detail, self.spending.now // 1000)]) is None

    def _may_read(self) -> bool:
        """Whether another task may be read from the provider, counted."""
        if self.time_is_up() or self.reads >= MAX_READS:
            return False
        self.reads += 1
        return True

    def _unclaimed(self, task: ListedTask) -> UnclaimedTask:
        return {
            "remote_id": task.remote_id,
            "created_at": task.created_at,
            "seen_at": self.spending.now,
            "model": task.model,
            "prompt": task.prompt[:PROMPT_CHARACTERS] if task.prompt else None,
            "credits": task.credits,
            "why": "not_read",
            "task_id": None,
            "matches": possible_matches(task, self.spending.uncertain),
        }

    def _read(self, entry: UnclaimedTask) -> bool:
        """Find out whose task it is, by its correlation tag or not at all; False for one that cost nothing."""
        try:
            snapshot = self.deps.provider.read(entry["remote_id"])
        except ProviderUnavailableError as error:
            logger.warning("provider_read_failed", reason=str(error))
            return True
        if snapshot.tag is None:
            entry["why"] = "no_tag"
            return snapshot.state not in (ProgressState.FAILED, ProgressState.CANCELED)
        entry["task_id"] = tagged_task(snapshot.tag)
        task = self.deps.store.get(entry["task_id"]) if entry["task_id"] else None
        if task is None or task.provider != self.provider.name:
            entry["why"] = "unknown_task"
        else:
            entry["why"] = self._noted(task, entry["remote_id"], snapshot.tag)
        return True

    def _noted(self, task: Task, remote_id: str, tag: str) -> Literal["candidate", "not_waiting"]:
        """Make the id a candidate of the task that its tag proves; a task that has its remote task waits for none."""
        if task.attempt is None or submission.correlation_tag(task.task_id, task.attempt) != tag:
            return "not_waiting"
        noted = save_with_retry(
            self.deps.store,
            task,
            lambda current: submission.note_candidates(current, (remote_id,), now=self.deps.clock()),
        )
        logger.info("create_found_in_books", task_id=task.task_id, tenant_id=task.tenant_id, remote_id=remote_id)
        return "candidate" if remote_id in noted.candidate_ids else "not_waiting"

    def _billed(self, remote_id: str) -> str | None:
        """The bill that a read of the task shows; None for none, and for a task that the provider no longer knows."""
        try:
            usage = self.deps.provider.read(remote_id).usage
        except RemoteTaskNotFoundError:
            return None
        return usage.credits if usage else None

    def _compare(self, task: Task, billed: str | None) -> None:
        """Publish a bill that differs from the record, once: each bill is compared once."""
        recorded = task.usage.credits if task.usage else None
        if billed is None or recorded is None or read_money(recorded) == read_money(billed):
            return
        detail = bill_detail(task, recorded, billed)
        logger.error("bill_differs", task_id=task.task_id, tenant_id=task.tenant_id, recorded=recorded, billed=billed)
        if self.deps.bus.publish([Event(EVENT_TYPE_BILL_DIFFERS, detail, self.spending.now // 1000)]) is not None:
            raise EventRefusedError(f"{EVENT_TYPE_BILL_DIFFERS} could not be published")
        count(Metric.BOOKS_DIFFER)
        self.books["differences"] = [*self.books["differences"], detail][-MAX_SHOWN:]
