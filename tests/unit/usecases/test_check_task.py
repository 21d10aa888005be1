"""What an execution does with an overdue task, in each state."""

from dataclasses import replace
from itertools import pairwise, product

import pytest

from tests.simulation.provider import DeniedCreateError, LostReplyError
from tests.simulation.simulation import Simulation
from tests.unit.account import CALLBACK_SECRET
from tests.unit.builders import changes
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.errors import ConfigurationError, NotCreatedError
from vidu_relay.domain.lifecycle import take_lease
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases.check_task import NextStep

END = NextStep(settled=True)


def leased(sim: Simulation, task: Task) -> Task:
    """The task with a lease, as the sweep takes it."""
    return sim.store.save(take_lease(sim.task(task.task_id), now=sim.clock()))


def accepted(sim: Simulation) -> Task:
    """A task whose first create call certainly created nothing."""
    sim.provider.create_faults = [NotCreatedError("ConnectTimeout")]
    return leased(sim, sim.submit())


def generated(sim: Simulation) -> Task:
    task = sim.submit()
    sim.provider.finish("gen-1")
    return leased(sim, sim.call_back(task.task_id, {"status": "completed"}))


def test_unknown_task_ends_the_execution(sim: Simulation) -> None:
    assert sim.check("a" * 26, 1) == END


def test_settled_task_ends_the_execution_without_a_read(sim: Simulation) -> None:
    sim.provider.reply_state = ProgressState.FAILED
    task = sim.submit()
    assert sim.check(task.task_id) == END
    assert sim.provider.reads == []


@pytest.mark.parametrize("status", [Status.FAILED, Status.COMPLETED])
def test_settled_task_that_is_due_all_the_same_is_stopped(sim: Simulation, status: Status) -> None:
    """However that came about: otherwise each sweep to the end of its days would start an execution for it."""
    sim.provider.reply_state = ProgressState.FAILED if status is Status.FAILED else ProgressState.SUCCEEDED
    task = sim.submit()
    sim.run()
    settled = sim.task(task.task_id)
    assert settled.status is status
    sim.store.save(replace(settled, due_at=sim.clock()))
    reads = len(sim.provider.reads)
    sim.run()
    after = sim.task(task.task_id)
    assert after == replace(settled, due_at=None, lease=settled.lease + 1, revision=after.revision)
    assert len(sim.provider.reads) == reads
    sim.clock.advance(600)
    assert sim.sweep().started == 0


def test_execution_waits_as_long_as_retry_after_says(sim: Simulation) -> None:
    task = accepted(sim)
    sim.provider.create_faults = [NotCreatedError("HTTP 429", retry_after_seconds=600)]
    assert sim.check(task.task_id) == NextStep(settled=False, wait_seconds=600)


def with_candidate(sim: Simulation) -> Task:
    """An accepted task of which a callback said that it was created after all; the provider's API cannot be read."""
    sim.provider.create_faults = [DeniedCreateError("HTTP 429")]
    task = sim.submit()
    sim.provider.unavailable = True
    sim.call_back(task.task_id, {"id": "gen-1", "status": "processing"})
    return leased(sim, task)


def test_accepted_task_with_a_candidate_is_read_and_not_submitted(sim: Simulation) -> None:
    task = with_candidate(sim)
    sim.provider.unavailable = False
    assert sim.check(task.task_id) == END
    after = sim.task(task.task_id)
    assert (after.status, after.remote_id, after.attempt, after.candidate_ids) == (Status.SUBMITTED, "gen-1", None, ())
    assert len(sim.provider.calls) == 1


def test_unreadable_candidate_is_read_less_and_less_often_and_not_submitted_again(sim: Simulation) -> None:
    task = with_candidate(sim)
    waits = []
    while sim.clock() < task.deadline_at:
        step = sim.check(task.task_id)
        assert not step.settled
        waits.append(step.wait_seconds)
        sim.clock.advance(step.wait_seconds)
    assert 8 <= waits[0] <= 12
    assert all(later > earlier for earlier, later in pairwise(waits[:6]))
    assert max(waits) <= 1080
    assert sim.check(task.task_id) == END
    after = sim.task(task.task_id)
    assert (after.status, after.error and after.error.code) == (Status.EXPIRED, "submission_unconfirmed")
    assert len(sim.provider.calls) == 1


def test_candidate_that_comes_while_a_check_is_about_to_submit_stops_it(sim: Simulation) -> None:
    task = accepted(sim)
    token = sim.token(task.task_id)

    def callback() -> CallbackKeys:
        sim.call_back(task.task_id, {"id": "gen-7", "status": "processing"}, token=token)
        return CallbackKeys(CALLBACK_SECRET)

    sim.submission = replace(sim.submission, signing_keys=callback)  # asked for just before the attempt begins
    assert sim.check(task.task_id, task.lease) == END
    after = sim.task(task.task_id)
    assert (after.status, after.candidate_ids, after.due_at) == (Status.ACCEPTED, ("gen-7",), task.due_at)
    assert len(sim.provider.calls) == 1


def died_in_its_call(sim: Simulation) -> Task:
    """A task whose function died in the create call, under a lease."""
    sim.provider.create_faults = [LostReplyError("reset")]
    task = sim.submit()
    assert task.attempt is not None
    return leased(sim, sim.store.save(replace(task, attempt=replace(task.attempt, ended_at=None))))


def test_attempt_that_may_still_run_is_waited_for(sim: Simulation) -> None:
    task = died_in_its_call(sim)
    sim.clock.advance(10)
    assert sim.check(task.task_id) == NextStep(settled=False, wait_seconds=80)


def test_attempt_that_died_is_left_to_a_callback_until_the_deadline(sim: Simulation) -> None:
    task = died_in_its_call(sim)
    sim.clock.advance(90)
    assert sim.check(task.task_id) == END
    after = sim.task(task.task_id)
    assert (after.status, after.due_at) == (Status.SUBMITTING, after.deadline_at)
    assert len(sim.provider.calls) == 1


def test_progress_is_recorded_and_the_execution_goes_on(sim: Simulation) -> None:
    task = leased(sim, sim.submit())
    sim.provider.show("gen-1", ProgressState.PROCESSING)
    step = sim.check(task.task_id)
    assert not step.settled
    after = sim.task(task.task_id)
    assert (after.status, changes(after)) == (Status.PROCESSING, 3)


def test_checks_double_their_interval_up_to_a_quarter_of_an_hour(sim: Simulation) -> None:
    task = leased(sim, sim.submit())
    waits = []
    while sim.clock() < task.deadline_at - 1_200_000:
        step = sim.check(task.task_id)
        waits.append(step.wait_seconds)
        sim.clock.advance(step.wait_seconds)
    assert 8 <= waits[0] <= 12
    assert 16 <= waits[1] <= 24
    assert all(720 <= wait <= 1080 for wait in waits[7:])
    assert changes(sim.task(task.task_id)) == 2  # a poll is no change


def test_last_wait_ends_at_the_deadline(sim: Simulation) -> None:
    task = leased(sim, sim.submit())
    sim.clock.advance(7195)
    assert sim.check(task.task_id) == NextStep(settled=False, wait_seconds=5)


def without_key(sim: Simulation) -> None:
    """The provider's key is taken away."""

    def missing() -> str:
        raise ConfigurationError("the secret has no value yet")

    sim.provider._key = missing


@pytest.mark.parametrize(
    ("state", "named"),  # without a candidate id, one that is accepted waits for the key
    [("accepted", True), *product(("submitting", "submitted", "processing"), (False, True))],
)
def test_missing_provider_key_does_not_keep_a_task_from_its_deadline(sim: Simulation, state: str, named: bool) -> None:
    if state in ("submitted", "processing"):
        task = sim.submit()
        sim.provider.show("gen-1", ProgressState(state) if state == "processing" else ProgressState.PENDING)
        sim.call_back(task.task_id, {"status": "processing"})
    else:
        sim.provider.create_faults = [
            NotCreatedError("HTTP 429") if state == "accepted" else LostReplyError("reset"),
        ]
        task = sim.submit()
    if named:
        sim.provider.unavailable = True
        sim.call_back(task.task_id, {"id": "gen-9", "status": "processing"})
        sim.provider.unavailable = False
    assert sim.task(task.task_id).status.value == state
    without_key(sim)
    sim.clock.now = task.deadline_at - 60_000
    sim.run(until=task.deadline_at + 300_000)
    assert sim.task(task.task_id).status is Status.EXPIRED


def test_video_that_is_there_at_the_deadline_is_taken(sim: Simulation) -> None:
    task = leased(sim, sim.submit())
    sim.clock.advance(9000)
    sim.provider.finish("gen-1")
    sim.check(task.task_id)
    assert sim.task(task.task_id).status is Status.GENERATED


def test_expired_task_is_polled_hourly(sim: Simulation) -> None:
    task = leased(sim, sim.submit())
    sim.clock.advance(7200)
    assert sim.check(task.task_id) == END  # the sweep brings it back: an execution that waits for an hour costs more
    after = sim.task(task.task_id)
    assert (after.status, changes(after)) == (Status.EXPIRED, 3)
    assert after.error is not None
    assert after.error.code == "deadline_exceeded"
    assert after.due_at == sim.clock() + 3_600_000


def test_polling_for_a_late_video_ends(sim: Simulation) -> None:
    task = sim.submit()
    sim.run()
    after = sim.task(task.task_id)
    assert (after.status, after.due_at) == (Status.EXPIRED, None)
    late = after.deadline_at + 72 * 3_600_000
    assert late <= sim.clock() <= late + 180_000
    # late polling is hourly: 72 polls, and the few before the deadline
    assert 72 <= len(sim.provider.reads) <= 100


def test_unavailable_provider_does_not_end_the_polling_for_a_late_video(sim: Simulation) -> None:
    task = leased(sim, sim.submit())
    sim.clock.advance(7200)
    sim.check(task.task_id)
    sim.provider.unavailable = True
    sim.clock.advance(3600)
    assert sim.check(task.task_id) == END
    assert sim.task(task.task_id).due_at == sim.clock() + 3_600_000


def test_delivery_that_never_came_is_asked_for_again(sim: Simulation) -> None:
    task = generated(sim)
    assert sim.check(task.task_id) == END
    assert [message.task_id for message in sim.deliveries] == [task.task_id]
    after = sim.task(task.task_id)
    assert (after.status, after.delivery and after.delivery.requests, changes(after)) == (Status.GENERATED, 1, 3)
    # not before a copy that began at once must have ended
    assert after.due_at == sim.clock() + 420_000


def test_accepted_task_is_submitted_whole(sim: Simulation) -> None:
    sim.provider.create_faults = [NotCreatedError("HTTP 429")]
    task = leased(sim, sim.submit(payload="p" * 3000))
    assert sim.check(task.task_id) == END
    after = sim.task(task.task_id)
    assert (after.status, after.remote_id, after.attempts) == (Status.SUBMITTED, "gen-1", 2)
    assert sim.provider.calls[0] == sim.provider.calls[1]
    assert sim.provider.calls[1].params["payload"] == "p" * 3000
