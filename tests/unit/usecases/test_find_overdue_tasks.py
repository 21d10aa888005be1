"""The sweep gives each overdue task one lease and one execution."""

import pytest

from tests.simulation.effects import Fault
from tests.simulation.provider import NOON
from tests.simulation.simulation import Simulation
from tests.unit.template import properties
from vidu_relay.adapters.task_item import DUE_SHARDS
from vidu_relay.domain.states import Status
from vidu_relay.observability import metrics
from vidu_relay.usecases.find_overdue_tasks import SweepResult

NOTHING = SweepResult(started=0, failed=0, oldest_seconds=0)


def overdue(sim: Simulation, count: int) -> list[str]:
    """So many tasks without a callback, all due."""
    ids = sorted(sim.submit(key=f"order-{number}").task_id for number in range(count))
    sim.clock.advance(125)
    return ids


def nth_lease(sim: Simulation, task_id: str, number: int) -> tuple[str, int]:
    """A task and its lease after so many were taken: they count up from the second of its creation."""
    return task_id, sim.task(task_id).created_at // 1000 + number


def test_healthy_tasks_are_left_alone_and_write_no_metric_that_is_paid_for(sim: Simulation) -> None:
    sim.submit()
    sim.clock.advance(119)
    metrics.provider.clear_metrics()
    assert sim.sweep() == NOTHING
    assert sim.executions() == []
    assert metrics.provider.metric_set == {}
    sim.clock.advance(10)
    sim.sweep()
    assert set(metrics.provider.metric_set) == {"PollersStarted", "OldestOverdueSeconds"}
    metrics.provider.clear_metrics()


def test_overdue_tasks_of_every_shard_get_a_lease_and_an_execution(sim: Simulation) -> None:
    ids = overdue(sim, 30)
    shards = {sim.item(f"task#{task_id}")["due_shard"]["S"] for task_id in ids}  # type: ignore[index]
    assert len(shards) == DUE_SHARDS
    assert sim.sweep() == SweepResult(started=30, failed=0, oldest_seconds=5)
    assert sim.executions() == [nth_lease(sim, task_id, 1) for task_id in ids]
    for task_id in ids:
        assert sim.task(task_id).due_at == NOON + 125_000 + 120_000


@pytest.mark.parametrize("off_peak", [True, False], ids=["off-peak", "late"])
def test_slow_polls_are_single_checks_an_hour_apart(sim: Simulation, off_peak: bool) -> None:
    task = sim.submit(off_peak=off_peak)
    begin = sim.clock() if off_peak else task.deadline_at + 60_000
    sim.run(until=begin)
    before, reads = sim.executions(), len(sim.provider.reads)
    sim.run(until=begin + 12 * 3_600_000 + 600_000)
    assert (sim.executions(), len(sim.provider.reads)) == (before, reads + 12)
    sim.provider.finish("gen-1")
    sim.run()
    assert sim.task(task.task_id).status is Status.COMPLETED
    assert sim.executions() == before


def test_next_sweep_leaves_a_fresh_lease_alone_and_takes_a_lapsed_one(sim: Simulation) -> None:
    (task_id,) = overdue(sim, 1)
    sim.sweep()
    sim.clock.advance(60)
    assert sim.sweep() == NOTHING
    sim.clock.advance(61)
    assert sim.sweep().started == 1
    assert sim.executions() == [nth_lease(sim, task_id, 1), nth_lease(sim, task_id, 2)]


def test_task_whose_executions_all_die_fires_the_alarm(sim: Simulation) -> None:
    """Each sweep moves `due_at`; the measurement must go on, or the alarm could never fire."""
    (task_id,) = overdue(sim, 1)
    alarm = properties("OldestOverdueAlarm")
    fires = []
    for _ in range(20):
        sim.clock.advance(alarm["Period"])
        # a sweep in each period, and nothing ever runs the executions it starts
        fires.append(sim.sweep().oldest_seconds > alarm["Threshold"])
    window = alarm["EvaluationPeriods"]
    # from ten minutes on, whichever periods CloudWatch looks at
    assert all(sum(fires[at : at + window]) >= alarm["DatapointsToAlarm"] for at in range(10, 20 - window))

    sim.check(task_id)
    sim.clock.advance(10**4)
    assert sim.sweep().oldest_seconds < 10**4


def test_sweep_stops_when_its_time_is_up_and_the_next_one_goes_on(sim: Simulation) -> None:
    ids = overdue(sim, 4)
    calls = iter([False, True])
    assert sim.sweep(lambda: next(calls)).started == 2
    assert len(sim.executions()) == 2
    assert sim.sweep().started == 2
    assert sim.executions() == [nth_lease(sim, task_id, 1) for task_id in ids]


def test_under_overload_every_shard_comes_first_once_in_a_while(sim: Simulation) -> None:
    """Each sweep has time for one task only: no shard waits for all others to be empty."""
    ids = overdue(sim, 40)
    shards = {task_id: str(sim.item(f"task#{task_id}")["due_shard"]["S"]) for task_id in ids}  # type: ignore[index]
    for _ in range(DUE_SHARDS):
        sim.sweep(lambda: True)
        sim.clock.advance(60)
    assert {shards[task_id] for task_id, _ in sim.executions()} == set(shards.values())


@pytest.mark.parametrize(("off_peak", "call"), [(False, "stepfunctions.start_execution"), (True, "lambda.invoke")])
def test_what_does_not_start_holds_up_no_other_task_and_is_started_later(
    sim: Simulation, off_peak: bool, call: str
) -> None:
    for number in range(5):
        sim.submit(key=f"order-{number}", off_peak=off_peak)
    sim.clock.advance(3605)
    starts = iter([None, None, Fault.REFUSED])
    sim.effects.gate = lambda name: next(starts, None) if name == call else None
    result = sim.sweep()
    assert (result.started, result.failed) == (4, 1)
    sim.effects.disarm()
    sim.running.clear()  # none of the checks that were started comes to anything
    sim.clock.advance(121)
    assert sim.sweep().started == 5


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.REPLY_LOST])
def test_lease_that_cannot_be_taken_holds_up_no_other_task(sim: Simulation, fault: Fault) -> None:
    overdue(sim, 30)
    sim.effects.arm_name("dynamodb.update_item", fault)
    result = sim.sweep()
    assert sim.effects.injected == "dynamodb.update_item"
    sim.effects.disarm()
    assert (result.started, result.failed) == (29, 1)
    sim.clock.advance(121)
    assert sim.sweep().started == 30


def test_task_created_again_gets_executions_of_its_own(sim: Simulation) -> None:
    """Names stay taken for 90 days, the record is gone after 30: the same key makes the same task id again."""
    (task_id,) = overdue(sim, 1)
    sim.sweep()
    sim.provider.finish("gen-1")
    sim.run()
    assert sim.task(task_id).status is Status.COMPLETED
    before = sim.executions()

    sim.clock.advance(31 * 86_400)
    sim.forget(task_id)
    assert overdue(sim, 1) == [task_id]
    sim.provider.finish("gen-2")
    sim.sweep()
    assert len(sim.executions()) == len(before) + 1
    sim.run(until=sim.clock())
    assert sim.task(task_id).status is Status.COMPLETED
