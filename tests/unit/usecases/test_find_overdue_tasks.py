"""The sweep: each overdue task gets one lease and one execution, whoever else is sweeping."""

from typing import Any

import pytest

from tests.unit.template import properties
from tests.unit.usecases.effects import Fault
from tests.unit.usecases.scripted import NOON
from tests.unit.usecases.world import World
from vidu_relay.adapters.task_item import DUE_SHARDS
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.domain.states import Status
from vidu_relay.observability import metrics
from vidu_relay.usecases.find_overdue_tasks import SweepResult, find_overdue_tasks

NOTHING = SweepResult(started=0, failed=0, oldest_seconds=0)


def overdue(world: World, count: int) -> list[str]:
    """So many tasks nobody called back about, all due."""
    ids = sorted(world.submit(key=f"order-{number}").task_id for number in range(count))
    world.clock.advance(125)
    return ids


def nth_lease(world: World, task_id: str, number: int) -> tuple[str, int]:
    """A task and its lease after so many were taken: they count up from the second of its creation."""
    return task_id, world.task(task_id).created_at // 1000 + number


def test_healthy_tasks_are_left_alone_and_write_no_metric_that_is_paid_for(world: World) -> None:
    world.submit()
    world.clock.advance(119)
    metrics.provider.clear_metrics()
    assert world.sweep() == NOTHING
    assert world.executions() == []
    assert metrics.provider.metric_set == {}
    world.clock.advance(10)
    world.sweep()
    assert set(metrics.provider.metric_set) == {"PollersStarted", "OldestOverdueSeconds"}
    metrics.provider.clear_metrics()


def test_settled_tasks_are_never_found(world: World) -> None:
    task = world.submit()
    world.provider.finish("gen-1")
    world.ring(task.task_id, {"status": "completed"})
    world.run()
    world.clock.advance(10**6)
    assert world.sweep() == NOTHING


def test_overdue_tasks_of_every_shard_get_a_lease_and_an_execution(world: World) -> None:
    ids = overdue(world, 30)
    shards = {world.item(f"task#{task_id}")["due_shard"]["S"] for task_id in ids}  # type: ignore[index]
    assert len(shards) == DUE_SHARDS
    assert world.sweep() == SweepResult(started=30, failed=0, oldest_seconds=5)
    assert world.executions() == [nth_lease(world, task_id, 1) for task_id in ids]
    for task_id in ids:
        assert world.task(task_id).due_at == NOON + 125_000 + 120_000


def test_taking_a_lease_is_no_news(world: World) -> None:
    overdue(world, 1)
    world.publish()
    before = len(world.published)
    world.sweep()
    world.publish()
    assert len(world.published) == before


def test_next_sweep_leaves_a_fresh_lease_alone_and_takes_a_lapsed_one(world: World) -> None:
    (task_id,) = overdue(world, 1)
    world.sweep()
    world.clock.advance(60)
    assert world.sweep() == NOTHING
    world.clock.advance(61)
    assert world.sweep().started == 1
    assert world.executions() == [nth_lease(world, task_id, 1), nth_lease(world, task_id, 2)]


def test_two_sweeps_at_once_start_each_task_once(world: World) -> None:
    ids = overdue(world, 6)
    other: list[SweepResult] = []

    def second_sweep_in_between() -> bool:
        if not other:
            other.append(world.sweep())
        return False

    first = world.sweep(second_sweep_in_between)
    assert first.started + other[0].started == 6
    assert other[0].started == 5
    assert world.executions() == [nth_lease(world, task_id, 1) for task_id in ids]


class HalfBroken:
    """A Step Functions client that cannot start the executions of one task."""

    def __init__(self, client: Any, bad: str) -> None:
        self.client = client
        self.bad = bad

    def start_execution(self, **arguments: Any) -> Any:
        if arguments["name"].startswith(self.bad):
            raise self.client.exceptions.ClientError(
                {"Error": {"Code": "ExecutionLimitExceeded", "Message": ""}}, "StartExecution"
            )
        return self.client.start_execution(**arguments)


def test_execution_that_does_not_start_holds_up_nobody_and_is_tried_again(world: World) -> None:
    ids = overdue(world, 5)
    account = world.account
    broken = TaskPoller(HalfBroken(account.clients["stepfunctions"], ids[2]), account.state_machine_arn)  # type: ignore[arg-type]
    result = find_overdue_tasks(world.store, broken, time_is_up=lambda: False, clock=world.clock)
    assert (result.started, result.failed) == (4, 1)
    world.clock.advance(121)
    assert world.sweep().started == 5
    assert nth_lease(world, ids[2], 2) in world.executions()


def test_task_whose_pollers_all_die_grows_old_until_the_alarm_rings(world: World) -> None:
    """Each sweep moves `due_at`; the measurement must not begin anew with it, or the alarm could never ring."""
    (task_id,) = overdue(world, 1)
    alarm = properties("OldestOverdueAlarm")
    rings = []
    for _ in range(20):
        world.clock.advance(alarm["Period"])
        # a sweep in each period, and nothing ever runs the executions it starts
        rings.append(world.sweep().oldest_seconds > alarm["Threshold"])
    window = alarm["EvaluationPeriods"]
    # from ten minutes on, whichever periods CloudWatch looks at
    assert all(sum(rings[at : at + window]) >= alarm["DatapointsToAlarm"] for at in range(10, 20 - window))

    world.check(task_id)  # somebody looks at last
    world.clock.advance(10**4)
    assert world.sweep().oldest_seconds < 10**4


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.SENT_TWICE])
def test_lease_whose_reply_is_lost_is_taken_again_when_it_lapses(world: World, fault: Fault) -> None:
    (task_id,) = overdue(world, 1)
    world.effects.arm(_next_update(world), fault)
    world.survive(world.sweep)
    assert world.effects.struck == "dynamodb.update_item"
    world.effects.disarm()
    assert (task_id, world.task(task_id).lease) == nth_lease(world, task_id, 1)
    world.clock.advance(121)
    assert world.sweep().started == 1
    assert nth_lease(world, task_id, 2) in world.executions()


def _next_update(world: World) -> int:
    """At which effect a sweep takes the lease of the one task there is: after the queries of the shards before."""
    (item,) = (item for item in world.items() if "due_shard" in item)
    first = world.clock() // 60_000  # another shard each minute
    return (int(item["due_shard"]["S"]) - first) % DUE_SHARDS + 1


def test_sweep_stops_when_its_time_is_up_and_the_next_one_goes_on(world: World) -> None:
    ids = overdue(world, 4)
    calls = iter([False, True])
    assert world.sweep(lambda: next(calls)).started == 2
    assert len(world.executions()) == 2
    assert world.sweep().started == 2
    assert world.executions() == [nth_lease(world, task_id, 1) for task_id in ids]


def test_how_far_behind_the_sweep_is_can_be_seen(world: World) -> None:
    overdue(world, 1)
    world.clock.advance(3600)
    assert world.sweep().oldest_seconds == 3605


def test_under_overload_every_shard_comes_first_once_in_a_while(world: World) -> None:
    """Each sweep has time for one task only: no shard waits for all others to be empty."""
    ids = overdue(world, 40)
    shards = {task_id: str(world.item(f"task#{task_id}")["due_shard"]["S"]) for task_id in ids}  # type: ignore[index]
    for _ in range(DUE_SHARDS):
        world.sweep(lambda: True)
        world.clock.advance(60)
    assert {shards[task_id] for task_id, _ in world.executions()} == set(shards.values())


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.REPLY_LOST])
def test_lease_that_cannot_be_taken_holds_up_nobody(world: World, fault: Fault) -> None:
    overdue(world, 30)
    world.effects.arm(1, fault)  # every shard holds a task: after the first query
    result = world.sweep()
    assert world.effects.struck == "dynamodb.update_item"
    world.effects.disarm()
    assert (result.started, result.failed) == (29, 1)
    world.clock.advance(121)
    assert world.sweep().started == 30


def test_recreated_task_gets_executions_of_its_own(world: World) -> None:
    """Names stay taken for 90 days, the record is gone after 30: the same key makes the same task id again."""
    (task_id,) = overdue(world, 1)
    world.sweep()
    world.provider.finish("gen-1")
    world.run()
    assert world.task(task_id).status is Status.COMPLETED
    before = world.executions()

    world.clock.advance(31 * 86_400)
    world.forget(task_id)
    assert overdue(world, 1) == [task_id]
    world.provider.finish("gen-2")
    world.sweep()
    assert len(world.executions()) == len(before) + 1
    world.run(until=world.clock())
    assert world.task(task_id).status is Status.COMPLETED
