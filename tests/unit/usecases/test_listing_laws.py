from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.memory_account import memory_account
from tests.simulation.simulation import Simulation
from tests.unit import builders
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.states import Status
from vidu_relay.usecases.read_tasks import TaskPage, list_tasks

MINE, THEIRS = "acme", "globex"
STATUSES = (Status.SUBMITTED, Status.FAILED, Status.COMPLETED)

moments = st.integers(0, 3).map(lambda ms: builders.NOW + ms)  # few, so that many tasks are of the same millisecond
tasks = st.tuples(st.sampled_from([MINE, MINE, THEIRS]), moments, st.sampled_from(STATUSES))


@dataclass
class Records:
    """Records tasks, each under a new id."""

    sim: Simulation
    made: int = 0

    def add(self, tenant: str, created_at: int, status: Status) -> str:
        self.made += 1
        task_id = task_id_for_key(tenant, str(self.made))
        task = replace(builders.task_in(status), task_id=task_id, tenant_id=tenant, created_at=created_at, revision=0)
        self.sim.store.create(task)
        return task_id


def listed(sim: Simulation, tenant: str, *, limit: int, cursor: str | None, status: Status | None) -> TaskPage:
    query = {"status": status, "limit": str(limit), "cursor": cursor}
    given = {name: value for name, value in query.items() if value is not None}
    return list_tasks(tenant, given, store=sim.store, videos=sim.videos)


@given(
    before=st.lists(tasks, max_size=12),
    meanwhile=st.lists(st.lists(tasks, max_size=3), max_size=6),
    limit=st.integers(1, 5),
    status=st.none() | st.sampled_from(STATUSES),
)
@settings(max_examples=50)
def test_pages_show_each_task_exactly_once_whatever_is_submitted_meanwhile(
    before: list[tuple[str, int, Status]],
    meanwhile: list[list[tuple[str, int, Status]]],
    limit: int,
    status: Status | None,
) -> None:
    sim = Simulation(memory_account())
    records = Records(sim)
    recorded = [(records.add(*one), one) for one in before]
    mine = {task_id for task_id, (tenant, _, state) in recorded if tenant == MINE and status in (None, state)}
    shown: list[tuple[str, str]] = []
    cursor: str | None = None
    arrivals = iter(meanwhile)
    while True:
        page = listed(sim, MINE, limit=limit, cursor=cursor, status=status)
        assert len(page.tasks) <= limit
        shown += [(task["created_at"], task["task_id"]) for task in page.tasks]
        cursor = page.next_cursor
        if cursor is None:
            break
        for one in next(arrivals, []):
            records.add(*one)

    ids = [task_id for _, task_id in shown]
    assert len(ids) == len(set(ids))  # nothing twice, newcomers included
    assert mine <= set(ids)  # nothing left out
    assert set(ids) <= {task_id_for_key(MINE, str(number)) for number in range(1, records.made + 1)}  # no one else's
    assert [at for at, _ in shown] == sorted((at for at, _ in shown), reverse=True)  # newest first


@pytest.mark.parametrize("status", Status)
def test_every_status_of_the_api_is_a_filter(sim: Simulation, status: Status) -> None:
    records = Records(sim)
    by_status = {one: records.add(MINE, builders.NOW, one) for one in Status}
    page = listed(sim, MINE, limit=100, cursor=None, status=status)
    assert [task["task_id"] for task in page.tasks] == [by_status[status]]
