"""A relay's books beside those of the simulated provider: nothing is claimed on a guess or published twice."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from local.simulator import Simulator
from tests.unit.account import Account, mock_aws, new_account
from tests.unit.builders import POLICY, new_task
from vidu_relay.adapters.books import BooksStore
from vidu_relay.adapters.event_bus import Event
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.adapters.provider_vidu_books import ViduBooks
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import lifecycle, submission
from vidu_relay.domain.billing import BillingState
from vidu_relay.domain.identifiers import task_id_from_random
from vidu_relay.domain.ledger import LedgerRow, ledger_row
from vidu_relay.domain.provider_books import Books, BooksResult
from vidu_relay.domain.task import Task
from vidu_relay.observability import metrics
from vidu_relay.usecases import compare_books as usecase
from vidu_relay.usecases.compare_books import BooksDependencies, compare_books, new_spending
from vidu_relay.usecases.ports import clock

MODEL = "viduq2_text2video"
REQUEST = {"model": MODEL, "prompt": "a fox", "duration": 1}
HOUR = 3_600_000


class Bus:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = False

    def publish(self, events: list[Event]) -> int | None:
        if not self.down:
            self.events += events
        return 0 if self.down else None


class World:
    """A relay's table and the simulated provider. Comparisons are made an hour later."""

    def __init__(self, account: Account, simulator: Simulator) -> None:
        self.simulator, self.bus, self.numbers = simulator, Bus(), iter(range(100))
        table = account.clients["dynamodb"]
        account_of = lambda: (simulator.vidu_url, simulator.api_key)  # noqa: E731
        self.provider = ViduProvider(account_of)
        self.store, self.results = TaskStore(table, account.table), BooksStore(table, account.table)
        bus: Any = self.bus
        books = ViduBooks(account_of)
        self.deps = BooksDependencies(self.provider, books, self.results, self.store, bus, clock=lambda: clock() + HOUR)

    def submit(self, *, payload: str = "", lost: bool = True) -> tuple[Task, str]:
        """A task whose create call went out, with its reply or without, and its remote id."""
        task_id = task_id_from_random(next(self.numbers).to_bytes(16, "big"))
        made = new_task(task_id=task_id, provider="vidu", created_at=clock(), request=REQUEST)
        begun = submission.begin_attempt(made, token=f"{task_id}.1", now=clock())
        assert begun.attempt
        tag = submission.correlation_tag(task_id, begun.attempt)
        request = {**REQUEST, "payload": payload} if payload else REQUEST
        shown = self.provider.create(MODEL, request, "http://127.0.0.1:9/v1/callbacks/t?token=k.x", tag=tag)
        if lost:
            return self.store.create(submission.record_unknown_outcome(begun, now=clock()))[0], shown.remote_id
        recorded, _ = self.store.create(begun)
        read = self.provider.read(shown.remote_id)
        known = submission.record_created(recorded, read, now=clock(), source="create", policy=POLICY)
        return self.store.save(known, (shown.remote_id,)), shown.remote_id

    def compare(self, *rows: LedgerRow, up: bool = False) -> BooksResult:
        spending = new_spending(self.deps)
        for row in rows:
            spending.add(row)
        result = compare_books(spending, self.deps, time_is_up=lambda: up)
        assert self.results.read("vidu") == result
        return result

    def books(self, *rows: LedgerRow) -> Books:
        result = self.compare(*rows)
        assert result["fault"] is None
        assert result["books"]
        return result["books"]


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0, callback_retry_seconds=0.01, callback_timeout_seconds=0.1) as simulator:
        yield simulator


@pytest.fixture
def world(running: Simulator) -> Iterator[World]:
    running.reset()
    running.buy_credits(10_000)
    with mock_aws():
        yield World(new_account(), running)
    metrics.provider.clear_metrics()


def unclaimed(books: Books) -> list[tuple[str, str, str | None, list[str]]]:
    return [(each["remote_id"], each["why"], each["task_id"], each["matches"]) for each in books["unclaimed"]]


@pytest.mark.parametrize("expired", [False, True])
def test_lost_create_becomes_a_candidate_of_the_task_that_its_tag_names(world: World, expired: bool) -> None:
    _, known = world.submit(lost=False)
    task, remote_id = world.submit()
    if expired:
        task = world.store.save(lifecycle.expire(task, now=clock(), source="check", policy=POLICY))
    assert unclaimed(world.books()) == [(remote_id, "candidate", task.task_id, [])]
    found = world.store.get(task.task_id)
    assert found is not None
    assert (found.candidate_ids, found.remote_id, found.status) == ((remote_id,), None, task.status)
    assert found.due_at is not None
    assert found.due_at <= clock() + HOUR, "the check that proves it is due"
    read = world.provider.read(remote_id)
    assert submission.match_candidate(found, read) is submission.Match.OURS
    proven = submission.record_created(found, read, now=clock(), source="check", policy=POLICY)
    world.store.save(proven, (remote_id,))
    assert unclaimed(world.books()) == []
    assert known not in str(world.results.read("vidu"))


def test_task_without_our_tag_is_listed_as_paid_with_what_it_may_be_and_nothing_changes(world: World) -> None:
    task, remote_id = world.submit(payload="the client's own")
    row = ledger_row(task, clock() + HOUR)
    assert row.state is BillingState.UNCERTAIN
    others = [replace(row, task_id="a" * 26, prompt="a cat"), replace(row, created_at=row.created_at - 24 * HOUR)]
    assert unclaimed(world.books(row, *others)) == [(remote_id, "no_tag", None, [task.task_id])]
    assert world.store.get(task.task_id) == task


@pytest.mark.parametrize("tag", ["vidu-relay:myswlg5gzefra7xdps2scd42jm:d", "vidu-relay:nonsense"])
def test_tag_of_no_task_of_ours_claims_nothing(world: World, tag: str) -> None:
    _, remote_id = world.submit(payload=tag)
    ((found, why, _, _),) = unclaimed(world.books())
    assert (found, why) == (remote_id, "unknown_task")


def test_forged_tag_of_a_waiting_task_claims_nothing(world: World) -> None:
    task, remote_id = world.submit()
    world.simulator.patch(remote_id, {"books": {"hidden": True}})
    _, forged = world.submit(payload=f"vidu-relay:{task.task_id}:{'0' * 32}")
    assert unclaimed(world.books()) == [(forged, "not_waiting", task.task_id, [])]
    assert world.store.get(task.task_id) == task


def test_failed_task_costs_nothing_and_is_not_listed(world: World) -> None:
    world.simulator.script({"outcome": {"fail": {"code": "x"}}}, times=1)
    world.submit(payload="the client's own")
    assert unclaimed(world.books()) == []


def test_what_cannot_be_read_in_one_run_is_read_in_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        world.submit(payload="the client's own")
    monkeypatch.setattr(usecase, "MAX_READS", 2)
    assert [why for _, why, _, _ in unclaimed(world.books())] == ["no_tag", "no_tag", "not_read"]
    assert [why for _, why, _, _ in unclaimed(world.books())] == ["no_tag"] * 3
    before = world.results.read("vidu")
    assert before
    assert before["books"]
    later = world.compare(up=True)["books"]
    assert later
    assert later["creates_to"] == before["books"]["creates_to"]


def settled(world: World, task: Task, **changes: Any) -> LedgerRow:
    row = replace(ledger_row(task, clock()), status="completed", state=BillingState.SETTLED)
    return replace(row, **changes)


@pytest.mark.parametrize("shown", [True, False], ids=["in the list", "in a read"])
def test_bill_that_differs_is_an_event_once_and_changes_no_record(world: World, shown: bool) -> None:
    task, remote_id = world.submit(lost=False)
    same, _ = world.submit(lost=False)
    world.simulator.patch(remote_id, {"books": {"credits": 7, "show_credits": shown}})
    rows = [settled(world, task), settled(world, same)]
    books = world.books(*rows)
    assert (books["bills_compared"], books["bills_left"]) == (2, 0)
    (event,) = world.bus.events
    assert (event.detail_type, event.detail["task_id"]) == ("VideoTaskBillDiffers", task.task_id)
    assert (event.detail["recorded_credits"], event.detail["billed_credits"]) == ("4", "7")
    assert [each["billed_credits"] for each in books["differences"]] == ["7"]
    assert len(world.books(*rows)["differences"]) == len(world.bus.events) == 1
    assert world.store.get(task.task_id) == task


def test_bills_that_one_run_has_no_room_for_are_compared_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [settled(world, world.submit(lost=False)[0], evidence_at=clock() + number) for number in range(3)]
    monkeypatch.setattr(usecase, "MAX_READS", 2)
    monkeypatch.setattr(usecase, "BILLS_AT_ONCE", 1)
    assert [(books["bills_compared"], books["bills_left"]) for books in (world.books(*rows), world.books(*rows))] == [
        (2, 1),
        (1, 0),
    ]


def test_difference_that_could_not_be_published_is_published_by_the_next_run(world: World) -> None:
    task, remote_id = world.submit(lost=False)
    world.simulator.patch(remote_id, {"books": {"credits": 7}})
    world.bus.down = True
    assert "VideoTaskBillDiffers" in str(world.compare(settled(world, task))["fault"])
    world.bus.down = False
    assert len(world.books(settled(world, task))["differences"]) == len(world.bus.events) == 1


def test_balance_that_runs_out_within_a_day_is_an_event_until_it_lasts_longer(world: World) -> None:
    task, _ = world.submit(lost=False)
    spent = [settled(world, task, credits="100")]
    books = world.books(*spent)
    assert (books["credits"], books["spent_24h"], books["hours_left"]) == ("9996", "100", 2399)
    for bought, events in ((103, 1), (54, 1), (10_000, 1), (54, 2)):
        world.simulator.buy_credits(bought)
        world.books(*spent)
        assert len(world.bus.events) == events
    last = world.bus.events[-1]
    assert (last.detail_type, last.detail["hours_left"]) == ("ProviderBalanceLow", 12)
    assert world.books()["hours_left"] is None, "nothing was spent"


def test_provider_that_does_not_answer_is_said_and_one_without_books_too(world: World) -> None:
    dead = ViduBooks(lambda: ("http://127.0.0.1:9", "key"))
    world.deps = replace(world.deps, books=dead)
    assert world.compare()["fault"]
    world.deps = replace(world.deps, books=None)
    assert world.compare() == {
        "provider": "vidu",
        "at": pytest.approx(clock() + HOUR, abs=60_000),
        "fault": None,
        "books": None,
    }


def test_amounts_are_compared_as_numbers(world: World) -> None:
    task, _ = world.submit(lost=False)
    assert task.usage
    stated = world.store.save(replace(task, usage=replace(task.usage, credits="4.0")))
    assert world.books(settled(world, stated))["differences"] == []
