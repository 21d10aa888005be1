"""The queue in front of a provider that runs five tasks at once, in simulated time."""

import pytest

from tests.simulation.crowd import REFUSED, SLOTS, Crowd, serve_two_tenants
from tests.simulation.effects import Fault
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.usecases.request_dispatch import start_dispatch


def test_two_tenants_share_a_busy_provider() -> None:
    turns = serve_two_tenants()
    assert (turns.creates, turns.busy >= 0.95, turns.waited <= 2, turns.refusals <= 0.03) == (1, True, True, True)


def test_once_none_waits_a_task_is_submitted_at_once() -> None:
    crowd = Crowd()
    crowd.submits("big", 8)
    crowd.until(lambda: not crowd.waiting, 300)
    crowd.passes(120)
    assert crowd.sim.submission.pauses.find("gateway") is None
    (task_id,) = crowd.submits("small", 1)
    assert crowd.sim.task(task_id).status is Status.SUBMITTED


@pytest.mark.parametrize("refused", [False, True])
def test_group_recorded_in_an_idle_queue_goes_on_in_turns(refused: bool) -> None:
    """At once if AWS takes the request for a dispatch, else within a minute."""
    crowd = Crowd()
    tasks = crowd.queues("big", 12)
    crowd.passes(1)
    if refused:
        crowd.sim.effects.arm_name("lambda.invoke", Fault.REFUSED)
    start_dispatch(["gateway"], crowd.sim.submission.pauses, crowd.sim.sweeper, now=crowd.sim.clock())
    crowd.sim.work()
    assert bool(crowd.sim.provider.calls) is not refused
    tasks += crowd.submits("small", 1)
    assert crowd.sim.task(tasks[-1]).waits
    crowd.until(lambda: bool(crowd.sim.provider.calls), 62)
    crowd.busy.clear()
    crowd.until(lambda: not crowd.waiting, 400)
    crowd.check()


def test_flag_stays_up_while_the_index_does_not_show_what_waits() -> None:
    crowd = Crowd()
    crowd.queues("big", 1)
    start_dispatch(["gateway"], crowd.sim.submission.pauses, crowd.sim.sweeper, now=crowd.sim.clock())
    crowd.sim.work()
    (later,) = crowd.submits("small", 1)
    assert crowd.sim.task(later).waits


def test_higher_priority_goes_first_within_a_tenant() -> None:
    crowd = Crowd()
    crowd.submits("big", 8)
    crowd.submits("small", 3)
    (urgent,) = crowd.submits("small", 1, priority=3)
    queue = crowd.sim.dispatch.queue
    crowd.passes(1)
    waiting = [one.task_id for one in queue.count("gateway") if one.tenant_id == "small"]
    assert waiting[0] == urgent
    crowd.until(lambda: not crowd.waiting, 400)
    crowd.check()


@pytest.mark.parametrize("tenant", [None, "big"])
def test_what_the_operator_holds_up_waits_and_nothing_else(tenant: str | None) -> None:
    crowd = Crowd()
    pauses = crowd.sim.submission.pauses
    pauses.hold("gateway", tenant, now=crowd.sim.clock())
    held = crowd.submits("big", 2)
    (other,) = crowd.submits("small", 1)
    crowd.passes(7_200)
    assert {crowd.sim.task(task_id).status for task_id in held} == {Status.ACCEPTED}
    assert crowd.sim.task(other).status is (Status.ACCEPTED if tenant is None else Status.COMPLETED)
    pauses.release("gateway", tenant, now=crowd.sim.clock())
    crowd.passes(240)
    assert {crowd.sim.task(task_id).status for task_id in (*held, other)} == {Status.COMPLETED}
    assert len(crowd.sim.provider.calls) == 3


def test_tasks_that_end_in_their_turn_leave_no_slot_empty() -> None:
    """A tenant that was disabled while its tasks wait: each is canceled as soon as it may go on."""
    crowd = Crowd()
    tasks = crowd.submits("big", 20)
    gone = crowd.submits("small", 20)
    crowd.sim.tenants.set_disabled("small", True)
    crowd.until(lambda: not crowd.waiting, 400)
    assert sum(crowd.busy) / (SLOTS * len(crowd.busy)) >= 0.9
    assert {crowd.sim.task(task_id).status for task_id in gone} == {Status.CANCELED}
    crowd.passes(120)
    assert {crowd.sim.task(task_id).status for task_id in tasks} == {Status.COMPLETED}


def test_a_lost_flag_is_raised_again() -> None:
    """The index decides, not the flag: the sweep finds what waits without it."""
    crowd = Crowd()
    crowd.submits("big", 40)
    table = {"TableName": crowd.sim.account.table, "Key": {"pk": {"S": "pause#gateway"}}}
    crowd.sim.account.clients["dynamodb"].delete_item(**table)
    crowd.until(lambda: not crowd.waiting, 1500)
    crowd.check()


def test_task_that_the_provider_never_takes_expires() -> None:
    crowd = Crowd()
    crowd.sim.provider.slots = 0  # type: ignore[attr-defined]  # it is `Crowded`
    (task_id,) = crowd.submits("big", 1)
    begins = crowd.sim.clock()
    crowd.sim.run()
    task = crowd.sim.task(task_id)
    assert (task.status, task.error and task.error.code) == (Status.EXPIRED, "deadline_exceeded")
    assert 7_200 <= (task.updated_at - begins) / 1000 < 11_000


def test_queue_waits_for_the_account_as_every_task_does() -> None:
    """While the account is refused the queue lets one task go on for each probe."""
    crowd = Crowd()
    tasks = crowd.submits("big", 12)
    crowd.sim.submission.pauses.pause(
        "gateway",
        TaskError("40201", "Insufficient credits"),
        now=crowd.sim.clock(),
        probe_at=crowd.sim.clock() + 600_000,
    )
    crowd.passes(590)
    assert (len(crowd.sim.provider.remote), len(crowd.waiting)) == (SLOTS, len(tasks) - SLOTS)
    crowd.sim.submission.pauses.end("gateway", now=crowd.sim.clock())
    crowd.passes(3_000)
    created = [task_id for task_id, outcome in crowd.sim.provider.outcomes if outcome == "created"]
    assert sorted(created) == sorted(tasks)


def test_task_that_is_always_refused_does_not_hold_up_others_of_its_tenant() -> None:
    crowd = Crowd()
    (refused,) = crowd.submits("big", 1, prompt=REFUSED)
    others = crowd.submits("big", 12)
    crowd.passes(1_200)
    assert {crowd.sim.task(task_id).status for task_id in others} == {Status.COMPLETED}
    assert crowd.sim.task(refused).waits
