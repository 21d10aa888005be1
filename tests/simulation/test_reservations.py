"""Reservations beside the comparison that frees them: a budget's counter is never below what tasks have taken of it.

Functions die between reservation and record, replies are lost, bills are booked and reservations given back late, each
before any call of a run. Each mutant breaks one rule, and must be caught by the same law.
"""

import random
from contextlib import suppress
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.simulation.effects import Effects, Fault, ProcessDeathError, observed
from tests.simulation.extent import Statistics
from tests.simulation.memory_account import memory_account
from tests.simulation.scenarios import HttpSimulation, reserve_and_die
from tests.simulation.wiring import PRICE
from tests.unit.builders import new_task
from vidu_relay.adapters import reservations
from vidu_relay.adapters.daily_quota import DailyQuota, quota_key
from vidu_relay.adapters.reservations import Reservations
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.identifiers import task_id_from_random
from vidu_relay.domain.utc_day import BUCKET_MS, DAY_MS
from vidu_relay.usecases import verify_reservations as usecase
from vidu_relay.usecases.verify_reservations import SETTLE_MS, verify_reservations

START = 1_799_971_200_000  # 2027-01-15T00:00:00Z
MINUTE = 60_000
STEPS = 60


class World:
    """A tenant's day. `open` are reservations whose function still runs, `late` returns that are on the way."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.now, self.effects = rng, START, Effects()
        self.table = memory_account().clients["dynamodb"]
        self.quota = DailyQuota(self.table, "tasks", once=self.table)
        self.store = TaskStore(self.table, "tasks")
        self.owed, self.numbers = Decimal(0), iter(range(10_000))
        self.open: list[tuple[int, Decimal]] = []
        self.late: list[tuple[int, Decimal]] = []

    def take(self) -> None:
        price = Decimal(self.rng.randint(1, 9)) / 10
        self.quota.take("acme", 1000, self.now, price=price)
        self.open.append((self.now, price))

    def end(self, at: int, price: Decimal) -> None:
        """A function that has reserved records its task, dies, or finds that the task exists already."""
        way = self.rng.choice(("record", "record", "die", "give back"))
        if way == "record":
            task_id = task_id_from_random(next(self.numbers).to_bytes(16, "big"))
            self.store.create(new_task(task_id=task_id, created_at=at, reserved_usd=str(price)))
            self.owed += price
        elif way == "give back":
            self.late.append((at, price))

    def bill(self) -> None:
        """A task's bill is booked, above or below its reservation."""
        difference = Decimal(self.rng.randint(-int(self.owed * 100), 20)) / 100
        self.owed += difference
        self.table.update_item(
            TableName="tasks",
            Key=quota_key("acme", START),
            UpdateExpression="ADD committed :difference",
            ExpressionAttributeValues={":difference": {"N": str(difference)}},
        )

    def happen(self) -> None:
        """Something beside a run; then the counter is at least what is owed and may still be recorded."""
        match self.rng.randrange(4):
            case 0:
                self.take()
            case 1 if self.open:
                self.end(*self.open.pop(self.rng.randrange(len(self.open))))
            case 2 if self.late:
                self.quota.give_back("acme", *self.late.pop(self.rng.randrange(len(self.late))))
            case 3 if self.owed:
                self.bill()
        self.check()

    def check(self) -> None:
        assert self.committed() >= self.owed + sum(price for _, price in self.open)

    def committed(self) -> Decimal:
        item = self.table.get_item(TableName="tasks", Key=quota_key("acme", START)).get("Item", {})
        return Decimal(item.get("committed", {}).get("N", "0"))

    def wait(self) -> None:
        """Time passes; no function runs for longer than `SETTLE_MS`."""
        self.now = min(self.now + self.rng.randrange(12 * MINUTE), START + DAY_MS - 1)
        for reserved in [each for each in self.open if self.now - each[0] >= SETTLE_MS]:
            self.open.remove(reserved)
            self.end(*reserved)

    def run(self) -> None:
        """A run of the comparison, between whose calls other things happen, and of which one call goes wrong."""
        client = observed(self.table, "dynamodb", self.effects)
        if self.rng.random() < 0.5:
            self.effects.arm(self.rng.randrange(6), self.rng.choice(list(Fault)))
        gate = self.effects.gate
        self.effects.gate = lambda _: self.happen() if self.rng.random() < 0.3 else None
        deps: Any = SimpleNamespace(
            directory=SimpleNamespace(list_ids=lambda: ["acme"]),
            reservations=Reservations(client, "tasks", sleep=lambda _: None),
            store=TaskStore(client, "tasks"),
            ledger=SimpleNamespace(rows=lambda *_: []),
            clock=lambda at=self.now: at,
        )
        with suppress(ProcessDeathError, ClientError, BotoCoreError):
            verify_reservations(deps, time_is_up=lambda: False)
        self.effects.gate = gate
        self.effects.disarm()
        self.check()


def law(seed: int) -> None:
    world = World(random.Random(seed))  # noqa: S311 - repeatable
    for _ in range(STEPS):
        world.wait()
        world.happen()
        if world.rng.random() < 0.4:
            world.run()
    while world.open:
        world.end(*world.open.pop())
    world.rng.random = lambda: 1.0  # type: ignore[method-assign]  # nothing goes wrong any more
    world.now = START + DAY_MS + BUCKET_MS
    world.run()
    assert world.committed() == world.owed, "what has no task is free"
    while world.late:
        world.quota.give_back("acme", *world.late.pop())
    assert world.committed() == world.owed, "and is free once"


def laws() -> None:
    for seed in range(60):
        law(seed)


def test_counter_is_never_too_low_and_right_in_the_end() -> None:
    laws()


@pytest.mark.parametrize("minute", (0, 7, 14, 21, 29))
def test_reservation_of_a_killed_submission_is_freed_in_time(minute: int, statistics: Statistics) -> None:
    sim = HttpSimulation()
    sim.clock.now = killed_at = START + minute * MINUTE
    reserve_and_die(sim)
    assert sim.committed == [PRICE]
    sim.run()
    held = (sim.clock.now - killed_at) // MINUTE
    assert (sim.committed, sim.freed, held) == ([PRICE, 0], [PRICE], 35 - minute)
    statistics.add("reservations of killed submissions", 1)
    statistics.add("minutes that these were held, in sum", held)


def correct(self: Any, day: Any, bucket: int, reserved: Decimal, *, condition: str = "", change: str = "") -> bool:
    """The counters' correction with another condition, or another change."""
    update = self._client.update_item

    def changed(**call: Any) -> Any:
        values = {**call.pop("ExpressionAttributeValues")}
        call["UpdateExpression"] = change.format(bucket=bucket) or call["UpdateExpression"]
        call["ConditionExpression"] = condition or call["ConditionExpression"]
        return update(**call, ExpressionAttributeValues=values)

    client, self._client = self._client, SimpleNamespace(update_item=changed)
    try:
        return REAL_CORRECT(self, day, bucket, reserved)
    finally:
        self._client = client


REAL_CORRECT = Reservations.correct


def give_back_always(self: Any, tenant_id: str, now: int, price: Decimal) -> None:
    """Whether the half hour was compared or not."""
    self._client.update_item(
        TableName="tasks",
        Key=quota_key(tenant_id, now),
        UpdateExpression="ADD committed :back",
        ExpressionAttributeValues={":back": {"N": str(-price)}},
    )


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "compare a half hour that has not settled": (usecase, "SETTLE_MS", -BUCKET_MS),
    "free without looking whether the counter has moved": (
        Reservations,
        "correct",
        lambda *given: correct(*given, condition="attribute_exists(committed)"),
    ),
    "do not remember that a half hour was compared": (
        Reservations,
        "correct",
        lambda *given: correct(*given, change="SET taken_{bucket} = :reserved ADD committed :difference"),
    ),
    "give back what was freed": (DailyQuota, "give_back", give_back_always),
    "free nothing": (reservations.DayOfReservations, "ended", lambda *_: []),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, attribute, mutated = MUTANTS[name]
    monkeypatch.setattr(place, attribute, mutated)
    with pytest.raises(AssertionError):
        laws()
