"""Reservations without a task are freed once, and what belongs to a task never is."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.account import Account, mock_aws, new_account
from tests.unit.builders import new_task
from vidu_relay.adapters.daily_quota import DailyQuota, quota_key
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.adapters.reservations import Reservations
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.identifiers import task_id_from_random
from vidu_relay.domain.ledger import ledger_row
from vidu_relay.domain.money import money_text
from vidu_relay.domain.utc_day import BUCKET_MS, DAY_MS
from vidu_relay.usecases.verify_reservations import ReservationDependencies, VerifiedReservations, verify_reservations

MIDNIGHT = 1_799_971_200_000  # 2027-01-15T00:00:00Z
NOON = MIDNIGHT + DAY_MS // 2
MINUTE = 60_000
RUN = NOON + 35 * MINUTE
"""The first run that compares the half hour from noon on."""


class Between:
    """A client that lets something happen before its first call of one name."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.before: dict[str, Callable[[], object]] = {}

    def __getattr__(self, name: str) -> Any:
        if happening := self.before.pop(name, None):
            happening()
        return getattr(self._client, name)


class Day:
    """A tenant's counters and tasks, and runs of the comparison."""

    def __init__(self, account: Account) -> None:
        self.table = account.clients["dynamodb"]
        self.between = Between(self.table)
        self.account, self.numbers = account, iter(range(10_000))
        self.quota = DailyQuota(self.table, account.table, once=self.table)
        self.store = TaskStore(self.table, account.table)
        self.ledger = Ledger(self.table, account.ledger, account.table)
        TenantDirectory(self.table, account.table).create_tenant("acme", 1)

    def take(self, price: str, at: int = NOON) -> None:
        """A reservation whose function dies before it records the task."""
        self.quota.take("acme", 1000, at, price=Decimal(price))

    def accept(self, price: str, at: int = NOON) -> Any:
        self.take(price, at)
        task_id = task_id_from_random(next(self.numbers).to_bytes(16, "big"))
        return self.store.create(new_task(task_id=task_id, created_at=at, reserved_usd=price))[0]

    def run(self, at: int = RUN, *, times: int = 1_000) -> VerifiedReservations:
        left = iter(range(times))
        table = self.account.table
        deps = ReservationDependencies(
            directory=TenantDirectory(self.table, table),
            reservations=Reservations(self.between, table, sleep=lambda _: None),  # type: ignore[arg-type]
            store=TaskStore(self.between, table),  # type: ignore[arg-type]
            ledger=self.ledger,
            clock=lambda: at,
        )
        return verify_reservations(deps, time_is_up=lambda: next(left, None) is None)

    def committed(self, at: int = NOON) -> str:
        item = self.table.get_item(TableName=self.account.table, Key=quota_key("acme", at))["Item"]
        return money_text(Decimal(item["committed"]["N"]))


@pytest.fixture
def day() -> Iterator[Day]:
    with mock_aws():
        yield Day(new_account())


@pytest.mark.parametrize("minute", [0, 1, 17, 29])
def test_reservation_of_a_function_that_died_is_held_for_35_minutes_at_most(day: Day, minute: int) -> None:
    day.accept("0.25")
    day.take("0.3", NOON + minute * MINUTE)
    assert day.run(RUN - 1).verified == 0
    assert day.committed() == "0.55", "a task may still be recorded"
    assert day.run(RUN) == VerifiedReservations(1, 0, Decimal("0.3"))
    assert RUN - (NOON + minute * MINUTE) <= 35 * MINUTE
    assert day.committed() == "0.25"


@pytest.mark.parametrize(
    ("tasks", "lost", "kept"),
    [([], ["0.1"], "0"), (["0.1", "0.2"], [], "0.3"), (["0.1"], ["0.1", "0.1"], "0.1"), (["0"], ["0.001"], "0")],
)
def test_half_hour_counts_what_its_tasks_have_reserved(day: Day, tasks: list[str], lost: list[str], kept: str) -> None:
    for price in tasks:
        day.accept(price)
    for price in lost:
        day.take(price)
    day.accept("7", NOON - 1)  # other half hours are theirs
    day.accept("5", NOON + BUCKET_MS)
    day.run()
    assert Decimal(day.committed()) == 12 + Decimal(kept)
    assert day.run().verified == 0, "each half hour is compared once"


def test_last_half_hour_of_a_day_is_compared_after_midnight(day: Day) -> None:
    last = MIDNIGHT + DAY_MS - 1
    day.take("0.3", last)
    day.take("0.4", last + 1)
    assert day.run(last + 6 * MINUTE).freed == Decimal("0.3")
    assert (day.committed(last), day.committed(last + 1)) == ("0", "0.4")


def test_what_there_is_no_time_for_is_done_by_the_next_run(day: Day) -> None:
    for half_hour in range(4):
        day.take("1", MIDNIGHT + half_hour * BUCKET_MS)
    assert day.run(times=1) == VerifiedReservations(1, 3, Decimal(1))
    assert day.run() == VerifiedReservations(3, 0, Decimal(3))
    assert day.committed() == "0"


def test_task_that_only_the_ledger_shows_is_a_task(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    task = day.accept("0.3")
    day.ledger.record(ledger_row(task, NOON))
    monkeypatch.setattr(TaskStore, "list_keys", lambda *_, **__: [])  # an index that is late
    assert day.run().freed == 0
    assert day.committed() == "0.3"


# --- what happens at the same moment never lowers the counter twice


def late_task(day: Day) -> None:
    day.accept("0.3")


def give_back(day: Day) -> None:
    day.quota.give_back("acme", NOON, Decimal("0.3"))


def bill(day: Day) -> None:
    """A settlement: the record's bill is 0.05 above its reservation."""
    day.table.update_item(
        TableName=day.account.table,
        Key=quota_key("acme", NOON),
        UpdateExpression="ADD committed :difference",
        ExpressionAttributeValues={":difference": {"N": "0.05"}},
    )


def another_run(day: Day) -> None:
    assert day.run().verified == 1


@pytest.mark.parametrize("call", ["query", "update_item"])
@pytest.mark.parametrize(
    ("happening", "after_this_run", "in_the_end"),
    [(late_task, "0.7", "0.4"), (give_back, "0.1", "0.1"), (bill, "0.15", "0.15"), (another_run, "0.1", "0.1")],
)
def test_what_happens_beside_a_run_is_neither_lost_nor_counted_twice(
    day: Day, call: str, happening: Callable[[Day], None], after_this_run: str, in_the_end: str
) -> None:
    day.accept("0.1")
    day.take("0.3")  # lost, or about to be given back
    day.between.before[call] = lambda: happening(day)
    day.run()
    assert day.committed() == after_this_run
    day.run()
    assert day.committed() == in_the_end


def test_return_that_comes_after_the_comparison_does_not_lower_the_counter_again(day: Day) -> None:
    day.accept("0.4")
    day.take("0.3")
    day.run()
    day.quota.give_back("acme", NOON, Decimal("0.3"))
    assert day.committed() == "0.4"
    day.take("0.3", RUN)
    day.quota.give_back("acme", RUN, Decimal("0.3"))
    assert day.committed() == "0.4", "later half hours are given back as before"


@pytest.mark.parametrize("failures", [3, 100])
def test_bill_that_is_being_booked_is_waited_for(day: Day, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    day.take("0.3")
    conflicts, update = iter(range(failures)), day.table.update_item

    def update_item(**call: Any) -> Any:
        if next(conflicts, None) is not None:
            raise ClientError({"Error": {"Code": "TransactionConflictException"}}, "UpdateItem")
        return update(**call)

    monkeypatch.setattr(day.table, "update_item", update_item)
    if failures == 100:
        with pytest.raises(ClientError):
            day.run()
        assert day.committed() == "0.3"
    else:
        assert day.run().freed == Decimal("0.3")


def test_run_that_was_overtaken_does_not_open_a_later_half_hour_again(day: Day) -> None:
    day.accept("0.1", MIDNIGHT)
    day.accept("0.2", MIDNIGHT + BUCKET_MS)
    reservations = Reservations(day.table, day.account.table)
    (seen,) = reservations.read(["acme"], MIDNIGHT)
    day.run()
    assert not reservations.correct(seen, 0, Decimal("0.1"))
    (current,) = reservations.read(["acme"], MIDNIGHT)
    assert (seen.verified, current.verified) == (-1, 1)
