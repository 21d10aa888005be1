"""Laws of the listing: whatever is submitted meanwhile, what was there at the start is shown exactly once."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit import builders
from tests.unit.usecases.account import empty
from tests.unit.usecases.world import World
from vidu_relay.domain.errors import InvalidCursorError
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.states import Status
from vidu_relay.usecases.read_tasks import TaskPage, list_tasks

MINE, THEIRS = "acme", "globex"
ON_ONE_ACCOUNT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
STATUSES = (Status.SUBMITTED, Status.FAILED, Status.COMPLETED)

moments = st.integers(0, 3).map(lambda ms: builders.NOW + ms)  # few, so that many tasks are of the same millisecond
tasks = st.tuples(st.sampled_from([MINE, MINE, THEIRS]), moments, st.sampled_from(STATUSES))


@dataclass
class Shelf:
    """Records tasks, each under a new id."""

    world: World
    made: int = 0

    def add(self, tenant: str, created_at: int, status: Status) -> str:
        self.made += 1
        task_id = task_id_for_key(tenant, str(self.made))
        task = replace(builders.task_in(status), task_id=task_id, tenant_id=tenant, created_at=created_at, revision=0)
        self.world.store.create(task)
        return task_id


def listed(world: World, tenant: str, *, limit: int, cursor: str | None, status: Status | None) -> TaskPage:
    query = {"status": status, "limit": str(limit), "cursor": cursor}
    given = {name: value for name, value in query.items() if value is not None}
    return list_tasks(tenant, given, store=world.store, videos=world.videos)


@given(
    before=st.lists(tasks, max_size=12),
    meanwhile=st.lists(st.lists(tasks, max_size=3), max_size=6),
    limit=st.integers(1, 5),
    status=st.none() | st.sampled_from(STATUSES),
)
@settings(max_examples=50, deadline=None, suppress_health_check=ON_ONE_ACCOUNT)
def test_what_was_there_at_the_start_is_shown_exactly_once_whatever_is_submitted_meanwhile(
    world: World,
    before: list[tuple[str, int, Status]],
    meanwhile: list[list[tuple[str, int, Status]]],
    limit: int,
    status: Status | None,
) -> None:
    empty(world.account)
    shelf = Shelf(world)
    there = [(shelf.add(*one), one) for one in before]
    mine = {task_id for task_id, (tenant, _, state) in there if tenant == MINE and status in (None, state)}
    shown: list[tuple[str, str]] = []
    cursor: str | None = None
    arrivals = iter(meanwhile)
    while True:
        page = listed(world, MINE, limit=limit, cursor=cursor, status=status)
        assert len(page.tasks) <= limit
        shown += [(task["created_at"], task["task_id"]) for task in page.tasks]
        cursor = page.next_cursor
        if cursor is None:
            break
        for one in next(arrivals, []):
            shelf.add(*one)

    ids = [task_id for _, task_id in shown]
    assert len(ids) == len(set(ids))  # nothing twice, newcomers included
    assert mine <= set(ids)  # nothing left out
    assert set(ids) <= {task_id_for_key(MINE, str(number)) for number in range(1, shelf.made + 1)}  # nobody else's
    assert [at for at, _ in shown] == sorted((at for at, _ in shown), reverse=True)  # newest first


@given(
    before=st.lists(tasks, min_size=1, max_size=10),
    position=st.integers(0, 8),
    limit=st.integers(1, 5),
    status=st.none() | st.sampled_from(STATUSES),
)
@settings(max_examples=40, deadline=None, suppress_health_check=ON_ONE_ACCOUNT)
def test_cursor_of_somebody_else_is_refused(
    world: World, before: list[tuple[str, int, Status]], position: int, limit: int, status: Status | None
) -> None:
    empty(world.account)
    shelf = Shelf(world)
    for one in before:
        shelf.add(*one)
    theirs: list[str] = []
    cursor: str | None = None
    while (cursor := listed(world, THEIRS, limit=1, cursor=cursor, status=None).next_cursor) is not None:
        theirs.append(cursor)
    if not theirs:
        return
    with pytest.raises(InvalidCursorError):
        listed(world, MINE, limit=limit, cursor=theirs[position % len(theirs)], status=status)


def test_hundreds_of_tasks_of_one_millisecond_are_all_listed(world: World) -> None:
    shelf = Shelf(world)
    made = {shelf.add(MINE, builders.NOW, Status.SUBMITTED) for _ in range(150)}
    shown: list[str] = []
    cursor: str | None = None
    while True:
        page = listed(world, MINE, limit=100, cursor=cursor, status=None)
        shown += [task["task_id"] for task in page.tasks]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(shown) == len(made)
    assert set(shown) == made


@pytest.mark.parametrize("status", Status)
def test_every_status_of_the_api_is_a_filter(world: World, status: Status) -> None:
    shelf = Shelf(world)
    by_status = {one: shelf.add(MINE, builders.NOW, one) for one in Status}
    page = listed(world, MINE, limit=100, cursor=None, status=status)
    assert [task["task_id"] for task in page.tasks] == [by_status[status]]
