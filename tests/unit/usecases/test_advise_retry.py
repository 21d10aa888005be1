"""When to look at an open task again: by what such tasks took, from one read in five minutes."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from tests.simulation.simulation import TENANT, Simulation
from tests.unit.builders import NOW, REQUEST, task_in
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.task import Delivery, HistoryEntry, Task
from vidu_relay.usecases.advise_retry import SAMPLE, USUAL_MS, RecentTasks, advise_retry

OPEN = (Status.ACCEPTED, Status.SUBMITTING, Status.SUBMITTED, Status.PROCESSING)


class Table:
    """The tenants' tasks, and how often a tenant's list was read."""

    def __init__(self, sim: Simulation) -> None:
        self.store, self.now, self.made = sim.store, NOW, 0
        self.recent = RecentTasks(sim.store, lambda: self.now)
        sim.effects.names.clear()
        self.names = sim.effects.names

    def took(self, seconds: int, *, tenant: str = TENANT, **request: object) -> None:
        """A task that was generated after so many seconds."""
        self.made += 1
        task = replace(
            task_in(Status.COMPLETED),
            task_id=task_id_for_key(tenant, str(self.made)),
            tenant_id=tenant,
            revision=0,
            request={**REQUEST, **request},
            history=(HistoryEntry(NOW + seconds * 1000, Status.GENERATED, "callback"),),
        )
        self.store.create(task)

    def advice(self, age_seconds: int, *, status: Status = Status.SUBMITTED, **changes: object) -> int | None:
        self.now = NOW + age_seconds * 1000
        return advise_retry(replace(task_in(status), **changes), self.recent)  # type: ignore[arg-type]


@pytest.fixture
def table(sim: Simulation) -> Table:
    return Table(sim)


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize(
    ("age", "wait"), [(0, 40), (10, 30), (38, 5), (40, 5), (100, 5), (200, 10), (10_000, 500), (90_000, 900)]
)
def test_advice_is_what_is_left_of_the_median_and_later_a_part_of_the_age(
    table: Table, status: Status, age: int, wait: int
) -> None:
    for seconds in (1000, 40, 10):
        table.took(seconds)
    for other in ({"model": "viduq2_text2video"}, {"off_peak": True}, {"tenant": "globex"}):
        table.took(300, **other)
    assert table.advice(age, status=status) == wait


def test_tenant_s_tasks_are_read_once_in_five_minutes(table: Table) -> None:
    for age in (0, 10, 299):
        table.advice(age)
    assert table.names.count("dynamodb.query") == 1
    table.took(20)
    assert table.advice(300) == 15, "the new task counts from then on"
    assert table.names.count("dynamodb.query") == 2
    for number in range(SAMPLE):
        task_id = task_id_for_key(TENANT, f"open {number}")
        table.store.create(replace(task_in(Status.SUBMITTED), task_id=task_id, revision=0, created_at=NOW + 1))
    assert table.advice(601, created_at=NOW + 600_000) == 19, "still known where the latest tasks are all open"
    tenants = [f"t{number}" for number in range(500)]
    for tenant in tenants:
        table.advice(0, tenant_id=tenant)
    assert len(table.recent._known) <= 200, "memory is bounded"


def test_without_such_tasks_the_advice_is_a_constant_and_off_peak_an_hour(table: Table) -> None:
    assert table.advice(0) == USUAL_MS // 1000
    assert table.advice(0, request={**REQUEST, "off_peak": True}) == 3600
    table.took(40_000, off_peak=True)
    assert table.advice(300, request={**REQUEST, "off_peak": True}) == 3600


def test_advice_during_the_copy_is_its_next_try(table: Table) -> None:
    assert table.advice(0, status=Status.GENERATED) == 5
    failed = {"delivery": Delivery(attempts=1), "due_at": NOW + 60_000}
    assert table.advice(0, status=Status.GENERATED, **failed) == 60


@pytest.mark.parametrize("status", sorted(SETTLED))
def test_settled_task_needs_no_further_look(table: Table, status: Status) -> None:
    assert table.advice(0, status=status) is None
    assert table.names == []


def test_task_is_shown_although_the_latest_ones_cannot_be_read(
    table: Table, sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled(*_: object, **__: object) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException"}}, "Query")

    monkeypatch.setattr(sim.store, "list_keys", throttled)
    assert table.advice(0) == USUAL_MS // 1000


def test_such_a_task_is_one_that_was_generated(table: Table) -> None:
    unfinished: Task = replace(task_in(Status.FAILED), task_id=task_id_for_key(TENANT, "failed"), revision=0)
    table.store.create(unfinished)
    assert table.advice(0) == USUAL_MS // 1000
