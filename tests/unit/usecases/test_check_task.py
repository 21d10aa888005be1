"""What an execution does with a task nobody called back about, in each state it may find it in."""

from dataclasses import replace
from itertools import pairwise, product

import pytest

from tests.unit.builders import changes
from tests.unit.usecases.account import CALLBACK_SECRET
from tests.unit.usecases.scripted import NOON, LostReplyError, LyingRefusalError
from tests.unit.usecases.world import World
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.errors import ConfigurationError, CreateRejectedError, NotCreatedError
from vidu_relay.domain.lifecycle import take_lease
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases.check_task import Verdict

END = Verdict(settled=True)


def leased(world: World, task: Task) -> Task:
    """The task with a lease, as the sweep takes it."""
    return world.store.save(take_lease(world.task(task.task_id), now=world.clock()))


def accepted(world: World) -> Task:
    """A task whose first create call certainly created nothing."""
    world.provider.create_faults = [NotCreatedError("ConnectTimeout")]
    return leased(world, world.submit())


def generated(world: World) -> Task:
    task = world.submit()
    world.provider.finish("gen-1")
    return leased(world, world.ring(task.task_id, {"status": "completed"}))


# ------------------------------------------------------------------------------------------------- the lease


def test_unknown_task_ends_the_execution(world: World) -> None:
    assert world.check("a" * 26, 1) == END


@pytest.mark.parametrize("state", ["accepted", "submitting", "submitted", "generated", "expired"])
def test_execution_that_lost_its_lease_does_nothing(world: World, state: str) -> None:
    if state == "accepted":
        task = accepted(world)
    elif state == "submitting":
        world.provider.create_faults = [LostReplyError("reset")]
        task = leased(world, world.submit())
    elif state == "generated":
        task = generated(world)
    else:
        task = leased(world, world.submit())
        if state == "expired":
            world.clock.advance(7201)
            world.check(task.task_id)
            task = leased(world, task)
    assert task.status.value == state
    world.clock.advance(200_000)
    calls, reads, writes = len(world.provider.calls), len(world.provider.reads), len(world.stream)
    for lease in (task.lease - 1, task.lease + 1):
        assert world.check(task.task_id, lease) == END
    assert (len(world.provider.calls), len(world.provider.reads), len(world.stream)) == (calls, reads, writes)
    assert world.messages() == []


def test_settled_task_ends_the_execution_without_a_read(world: World) -> None:
    world.provider.reply_state = ProgressState.FAILED
    task = world.submit()
    assert world.check(task.task_id) == END
    assert world.provider.reads == []


@pytest.mark.parametrize("status", [Status.FAILED, Status.COMPLETED])
def test_settled_task_that_is_due_all_the_same_is_stopped(world: World, status: Status) -> None:
    """However that came about: otherwise each sweep to the end of its days would start an execution for it."""
    world.provider.reply_state = ProgressState.FAILED if status is Status.FAILED else ProgressState.SUCCEEDED
    task = world.submit()
    world.run()
    settled = world.task(task.task_id)
    assert settled.status is status
    world.store.save(replace(settled, due_at=world.clock()))
    reads = len(world.provider.reads)
    world.run()
    after = world.task(task.task_id)
    assert after == replace(settled, due_at=None, lease=settled.lease + 1, revision=after.revision)
    assert len(world.provider.reads) == reads
    world.clock.advance(600)
    assert world.sweep().started == 0


# ---------------------------------------------------------------------------------------------- accepted


def test_accepted_task_is_submitted_whole(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429")]
    task = leased(world, world.submit(payload="p" * 3000))
    assert world.check(task.task_id) == END
    after = world.task(task.task_id)
    assert (after.status, after.remote_id, after.attempts) == (Status.SUBMITTED, "gen-1", 2)
    assert world.provider.calls[0] == world.provider.calls[1]
    assert world.provider.calls[1].params["payload"] == "p" * 3000


def test_accepted_task_is_recorded_as_submitting_before_its_call(world: World) -> None:
    task = accepted(world)
    seen: list[Status] = []
    world.provider.before_reply = lambda: seen.append(world.task(task.task_id).status)
    world.check(task.task_id)
    assert seen == [Status.SUBMITTING]


def test_refused_again_waits_longer_each_time(world: World) -> None:
    task = accepted(world)
    waits = []
    for _ in range(4):
        world.provider.create_faults = [NotCreatedError("HTTP 429")]
        verdict = world.check(task.task_id)
        assert not verdict.settled
        waits.append(verdict.wait_seconds)
        world.clock.advance(verdict.wait_seconds)
    assert 16 <= waits[0] <= 24
    assert all(later > earlier for earlier, later in pairwise(waits))
    assert changes(world.task(task.task_id)) == 1


def test_wait_the_provider_asks_for_is_kept_by_the_execution(world: World) -> None:
    task = accepted(world)
    world.provider.create_faults = [NotCreatedError("HTTP 429", retry_after_seconds=600)]
    assert world.check(task.task_id) == Verdict(settled=False, wait_seconds=600)


def test_second_attempt_whose_reply_is_lost_is_not_followed_by_a_third(world: World) -> None:
    task = accepted(world)
    world.provider.create_faults = [LostReplyError("reset")]
    world.check(task.task_id)
    world.run()
    assert len(world.provider.calls) == 2
    assert world.task(task.task_id).error is not None
    assert world.task(task.task_id).status is Status.EXPIRED


def test_rejected_resubmission_fails(world: World) -> None:
    task = accepted(world)
    world.provider.create_faults = [CreateRejectedError("40201", "Insufficient credits")]
    assert world.check(task.task_id) == END
    assert world.task(task.task_id).status is Status.FAILED


def test_two_executions_at_once_submit_once(world: World) -> None:
    """A lease's execution is retried while its first run still hangs in the create call."""
    task = accepted(world)
    verdicts: list[Verdict] = []
    world.provider.before_reply = lambda: verdicts.append(world.check(task.task_id))
    world.check(task.task_id)
    assert len(verdicts) == 1
    assert not verdicts[0].settled
    assert len(world.provider.remote) == 1
    assert world.task(task.task_id).remote_id == "gen-1"


def hinted(world: World) -> Task:
    """An accepted task of which a callback said that it was created after all; the provider's API cannot be read."""
    world.provider.create_faults = [LyingRefusalError("HTTP 429")]
    task = world.submit()
    world.provider.unavailable = True
    world.ring(task.task_id, {"id": "gen-1", "status": "processing"})
    return leased(world, task)


def test_accepted_task_with_a_hint_is_looked_for_and_not_submitted(world: World) -> None:
    task = hinted(world)
    world.provider.unavailable = False
    assert world.check(task.task_id) == END
    after = world.task(task.task_id)
    assert (after.status, after.remote_id, after.attempt, after.candidate_ids) == (Status.SUBMITTED, "gen-1", None, ())
    assert len(world.provider.calls) == 1


def test_unreadable_hint_is_looked_up_less_and_less_often_and_never_submitted_past(world: World) -> None:
    task = hinted(world)
    waits = []
    while world.clock() < task.deadline_at:
        verdict = world.check(task.task_id)
        assert not verdict.settled
        waits.append(verdict.wait_seconds)
        world.clock.advance(verdict.wait_seconds)
    assert 8 <= waits[0] <= 12
    assert all(later > earlier for earlier, later in pairwise(waits[:6]))
    assert max(waits) <= 1080
    assert world.check(task.task_id) == END
    after = world.task(task.task_id)
    assert (after.status, after.error and after.error.code) == (Status.EXPIRED, "submission_unconfirmed")
    assert len(world.provider.calls) == 1


def test_hint_that_comes_while_a_check_is_about_to_submit_stops_it(world: World) -> None:
    task = accepted(world)
    token = world.token(task.task_id)

    def callback() -> CallbackKeys:
        world.ring(task.task_id, {"id": "gen-7", "status": "processing"}, token=token)
        return CallbackKeys(CALLBACK_SECRET)

    world.submission = replace(world.submission, signing_keys=callback)  # asked for just before the attempt begins
    assert world.check(task.task_id, task.lease) == END
    after = world.task(task.task_id)
    assert (after.status, after.candidate_ids, after.due_at) == (Status.ACCEPTED, ("gen-7",), task.due_at)
    assert len(world.provider.calls) == 1


def test_accepted_task_past_its_deadline_expires_without_a_call(world: World) -> None:
    task = accepted(world)
    world.clock.advance(7200)
    assert world.check(task.task_id) == END
    after = world.task(task.task_id)
    assert (after.status, after.due_at) == (Status.EXPIRED, None)
    assert after.error is not None
    assert after.error.code == "deadline_exceeded"
    assert len(world.provider.calls) == 1


# -------------------------------------------------------------------------------------------- submitting


def died_in_its_call(world: World) -> Task:
    """A task whose function died in the create call, under a lease."""
    world.provider.create_faults = [LostReplyError("reset")]
    task = world.submit()
    assert task.attempt is not None
    return leased(world, world.store.save(replace(task, attempt=replace(task.attempt, ended_at=None))))


def test_attempt_that_may_still_run_is_waited_for(world: World) -> None:
    task = died_in_its_call(world)
    world.clock.advance(10)
    assert world.check(task.task_id) == Verdict(settled=False, wait_seconds=80)


def test_attempt_that_died_is_left_to_a_callback_until_the_deadline(world: World) -> None:
    task = died_in_its_call(world)
    world.clock.advance(90)
    assert world.check(task.task_id) == END
    after = world.task(task.task_id)
    assert (after.status, after.due_at) == (Status.SUBMITTING, after.deadline_at)
    assert len(world.provider.calls) == 1


def test_lost_create_expires_with_a_code_that_says_so(world: World) -> None:
    task = died_in_its_call(world)
    world.clock.advance(7200)
    assert world.check(task.task_id) == END
    after = world.task(task.task_id)
    assert (after.status, after.due_at, changes(after)) == (Status.EXPIRED, None, 2)
    assert after.error is not None
    assert after.error.code == "submission_unconfirmed"
    assert after.expires_at == (after.deadline_at + 72 * 3_600_000) // 1000 + 30 * 86_400


# -------------------------------------------------------------------------------- submitted and processing


def test_finished_task_is_found(world: World) -> None:
    task = leased(world, world.submit())
    world.provider.finish("gen-1")
    assert world.check(task.task_id) == END
    assert world.task(task.task_id).status is Status.GENERATED


def test_progress_is_recorded_and_the_execution_goes_on(world: World) -> None:
    task = leased(world, world.submit())
    world.provider.show("gen-1", ProgressState.PROCESSING)
    verdict = world.check(task.task_id)
    assert not verdict.settled
    after = world.task(task.task_id)
    assert (after.status, changes(after)) == (Status.PROCESSING, 3)


def test_checks_double_their_interval_up_to_a_quarter_of_an_hour(world: World) -> None:
    task = leased(world, world.submit())
    waits = []
    while world.clock() < task.deadline_at - 1_200_000:
        verdict = world.check(task.task_id)
        waits.append(verdict.wait_seconds)
        world.clock.advance(verdict.wait_seconds)
    assert 8 <= waits[0] <= 12
    assert 16 <= waits[1] <= 24
    assert all(720 <= wait <= 1080 for wait in waits[7:])
    assert changes(world.task(task.task_id)) == 2  # looking is no news


def test_each_check_renews_the_lease_until_after_the_next(world: World) -> None:
    task = leased(world, world.submit())
    verdict = world.check(task.task_id)
    due_at = world.task(task.task_id).due_at
    assert due_at is not None
    # the verdict is in whole seconds, rounded up
    assert 119_000 < due_at - (world.clock() + verdict.wait_seconds * 1000) <= 120_000


def test_off_peak_task_is_looked_at_hourly(world: World) -> None:
    task = leased(world, world.submit(off_peak=True))
    for _ in range(3):
        assert world.check(task.task_id) == Verdict(settled=False, wait_seconds=3600)
        world.clock.advance(3600)


def test_last_wait_ends_at_the_deadline(world: World) -> None:
    task = leased(world, world.submit())
    world.clock.advance(7195)
    assert world.check(task.task_id) == Verdict(settled=False, wait_seconds=5)


def test_provider_that_cannot_be_read_is_no_verdict(world: World) -> None:
    task = leased(world, world.submit())
    world.provider.unavailable = True
    for _ in range(5):
        verdict = world.check(task.task_id)
        assert not verdict.settled
        world.clock.advance(verdict.wait_seconds)
    assert world.task(task.task_id).status is Status.SUBMITTED
    world.provider.unavailable = False
    world.provider.finish("gen-1")
    world.check(task.task_id)
    assert world.task(task.task_id).status is Status.GENERATED


@pytest.mark.parametrize("code", ["008017096", "008017097", "008017098"])
def test_gateways_own_trouble_is_waited_out_until_the_deadline(world: World, code: str) -> None:
    task = leased(world, world.submit())
    world.provider.fail("gen-1", code)
    assert not world.check(task.task_id).settled
    assert world.task(task.task_id).status is Status.SUBMITTED
    world.clock.advance(7200)
    world.check(task.task_id)
    assert world.task(task.task_id).status is Status.EXPIRED


def test_failure_is_taken_with_the_providers_code(world: World) -> None:
    task = leased(world, world.submit())
    world.provider.fail("gen-1", "008017099")
    assert world.check(task.task_id) == END
    after = world.task(task.task_id)
    assert after.status is Status.FAILED
    assert after.error is not None
    assert after.error.code == "008017099"


def test_callback_that_settles_during_a_check_ends_the_execution(world: World) -> None:
    task = leased(world, world.submit())
    world.provider.unavailable = True

    def callback() -> int:
        world.provider.unavailable = False
        world.provider.finish("gen-1")
        world.ring(task.task_id, {"status": "completed"})
        return NOON

    # the clock is asked once the check has read the task, and again when the provider could not be read
    moments = iter([NOON])
    world.submission = replace(world.submission, clock=lambda: next(moments, None) or callback())
    assert world.check(task.task_id, task.lease) == END
    assert world.task(task.task_id).status is Status.GENERATED


def without_key(world: World) -> None:
    """The provider's key is taken away."""

    def missing() -> str:
        raise ConfigurationError("the secret has no value yet")

    world.provider._key = missing


@pytest.mark.parametrize(
    ("state", "hinted"),  # without a candidate id, one that is accepted waits for the key
    [("accepted", True), *product(("submitting", "submitted", "processing"), (False, True))],
)
def test_missing_provider_key_does_not_keep_a_task_from_its_deadline(world: World, state: str, hinted: bool) -> None:
    if state in ("submitted", "processing"):
        task = world.submit()
        world.provider.show("gen-1", ProgressState(state) if state == "processing" else ProgressState.PENDING)
        world.ring(task.task_id, {"status": "processing"})
    else:
        world.provider.create_faults = [
            NotCreatedError("HTTP 429") if state == "accepted" else LostReplyError("reset"),
        ]
        task = world.submit()
    if hinted:
        world.provider.unavailable = True
        world.ring(task.task_id, {"id": "gen-9", "status": "processing"})
        world.provider.unavailable = False
    assert world.task(task.task_id).status.value == state
    without_key(world)
    world.clock.now = task.deadline_at - 60_000
    world.run(until=task.deadline_at + 300_000)
    assert world.task(task.task_id).status is Status.EXPIRED


def test_read_without_a_key_is_tried_again(world: World) -> None:
    task = leased(world, world.submit())
    key = world.provider._key
    without_key(world)
    verdict = world.check(task.task_id)
    assert not verdict.settled
    world.provider._key = key
    world.provider.finish("gen-1")
    world.clock.advance(verdict.wait_seconds)
    world.check(task.task_id)
    assert world.task(task.task_id).status is Status.GENERATED


# ------------------------------------------------------------------------------------------ past the deadline


def test_video_that_is_there_at_the_deadline_is_taken(world: World) -> None:
    task = leased(world, world.submit())
    world.clock.advance(9000)
    world.provider.finish("gen-1")
    world.check(task.task_id)
    assert world.task(task.task_id).status is Status.GENERATED


def test_task_without_an_answer_expires_and_is_watched_slowly(world: World) -> None:
    task = leased(world, world.submit())
    world.clock.advance(7200)
    assert world.check(task.task_id) == END  # the sweep brings it back: an execution that waits for an hour costs more
    after = world.task(task.task_id)
    assert (after.status, changes(after)) == (Status.EXPIRED, 3)
    assert after.error is not None
    assert after.error.code == "deadline_exceeded"
    assert after.due_at == world.clock() + 3_600_000


def test_late_video_of_an_expired_task_is_delivered(world: World) -> None:
    task = world.submit()
    world.run(until=NOON + 20 * 3_600_000)
    assert world.task(task.task_id).status is Status.EXPIRED
    world.provider.finish("gen-1")
    world.run()
    after = world.task(task.task_id)
    assert (after.status, after.error, changes(after)) == (Status.COMPLETED, None, 5)


def test_late_watch_ends(world: World) -> None:
    task = world.submit()
    world.run()
    after = world.task(task.task_id)
    assert (after.status, after.due_at) == (Status.EXPIRED, None)
    late = after.deadline_at + 72 * 3_600_000
    assert late <= world.clock() <= late + 180_000
    # the slow watch is hourly: 72 looks, and the few before the deadline
    assert 72 <= len(world.provider.reads) <= 100


def test_late_failure_ends_the_late_watch_and_does_not_change_what_clients_were_told(world: World) -> None:
    task = leased(world, world.submit())
    world.clock.advance(7200)
    world.check(task.task_id)
    world.provider.fail("gen-1")
    world.clock.advance(3600)
    assert world.check(task.task_id) == END
    after = world.task(task.task_id)
    assert (after.status, after.due_at, changes(after)) == (Status.EXPIRED, None, 3)


def test_provider_trouble_does_not_end_the_late_watch(world: World) -> None:
    task = leased(world, world.submit())
    world.clock.advance(7200)
    world.check(task.task_id)
    world.provider.unavailable = True
    world.clock.advance(3600)
    assert world.check(task.task_id) == END
    assert world.task(task.task_id).due_at == world.clock() + 3_600_000


# -------------------------------------------------------------------------------------------------- generated


def test_delivery_that_never_came_is_asked_for_again(world: World) -> None:
    task = generated(world)
    assert world.check(task.task_id) == END
    assert world.messages() == [task.task_id]
    after = world.task(task.task_id)
    assert (after.status, after.delivery and after.delivery.requests, changes(after)) == (Status.GENERATED, 1, 3)
    # not before a copy that began at once must have ended
    assert after.due_at == world.clock() + 420_000


def test_deliveries_are_asked_for_less_and_less_often(world: World) -> None:
    task = generated(world)
    waits = []
    for _ in range(9):
        world.check(task.task_id)
        due_at = world.task(task.task_id).due_at
        assert due_at is not None
        waits.append((due_at - world.clock()) // 1000)
        world.clock.now = due_at
    assert waits[0] == 420
    assert 720 <= waits[-1] <= 1080
