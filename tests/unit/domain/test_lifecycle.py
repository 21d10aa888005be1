"""What each occurrence makes of a task."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.builders import LINK, NOW, POLICY, REMOTE_ID, done, failed, new_task, reading, task_in, video
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import TransitionError
from vidu_relay.domain.lifecycle import MAX_HINTS, MAX_SOURCE_FAULTS, NOT_VERDICTS
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.submission import attempt_mark
from vidu_relay.domain.task import Attempt, Task
from vidu_relay.domain.watching import ATTEMPT_LIMIT_MS, DELIVERY_GRACE_MS, HANDOVER_MS, LEASE_MS, SLOW_INTERVAL_MS
from vidu_relay.usecases.ports import new_claim

HOUR = 3_600_000
LATER = NOW + 60_000
OPEN = [Status.SUBMITTED, Status.PROCESSING]


def apply(task: Task, snapshot: ProviderSnapshot, now: int = LATER) -> Task:
    return lifecycle.apply_snapshot(task, snapshot, now=now, source="check", policy=POLICY)


def created(task: Task, snapshot: ProviderSnapshot, now: int = LATER) -> Task:
    return lifecycle.record_created(task, snapshot, now=now, source="create", policy=POLICY)


def expired(task: Task, now: int | None = None) -> Task:
    return lifecycle.expire(task, now=task.deadline_at if now is None else now, source="check", policy=POLICY)


# --- recorded


def test_a_new_task_is_claimed_before_the_provider_is_called() -> None:
    task = new_task()
    assert (task.status, task.version, task.revision) == (Status.SUBMITTING, 1, 0)
    assert task.attempt == Attempt("claim-1", NOW)
    assert [(entry.at, entry.status, entry.source) for entry in task.history] == [(NOW, Status.SUBMITTING, "http")]


def test_a_new_task_is_not_looked_at_while_its_create_call_may_run() -> None:
    quick = replace(POLICY, first_check_seconds=1)
    task = lifecycle.new_task(
        task_id="t",
        tenant_id="acme",
        provider="gateway",
        request={},
        request_key=None,
        fingerprint="",
        claim="c",
        now=NOW,
        source="http",
        policy=quick,
    )
    assert task.due_at == NOW + ATTEMPT_LIMIT_MS


def test_an_off_peak_task_has_two_days_and_is_first_looked_at_after_an_hour() -> None:
    task = lifecycle.new_task(
        task_id="t",
        tenant_id="acme",
        provider="gateway",
        request={"off_peak": True},
        request_key=None,
        fingerprint="",
        claim="c",
        now=NOW,
        source="http",
        policy=POLICY,
    )
    assert task.due_at == NOW + HOUR
    assert task.deadline_at == NOW + 48 * HOUR


# --- the create call


def test_only_an_accepted_task_can_be_submitted() -> None:
    begun = lifecycle.begin_attempt(task_in(Status.ACCEPTED), claim="claim-2", now=LATER)
    assert (begun.status, begun.attempts) == (Status.SUBMITTING, 2)
    assert begun.attempt == Attempt("claim-2", LATER)
    for status in set(Status) - {Status.ACCEPTED}:
        with pytest.raises(TransitionError):
            lifecycle.begin_attempt(task_in(status), claim="claim-2", now=LATER)


def test_a_retry_publishes_nothing() -> None:
    task = new_task()
    for number in range(2, 5):
        back = lifecycle.record_not_created(task, now=LATER, retry_after_seconds=None, jitter=0, policy=POLICY)
        task = lifecycle.begin_attempt(back, claim=f"claim-{number}", now=LATER)
    assert (task.version, len(task.history), task.attempts) == (1, 1, 4)


@pytest.mark.parametrize(("after", "over"), [(0, False), (ATTEMPT_LIMIT_MS - 1, False), (ATTEMPT_LIMIT_MS, True)])
def test_an_attempt_without_an_end_is_over_once_it_cannot_be_running(after: int, over: bool) -> None:
    assert lifecycle.attempt_is_over(new_task(), NOW + after) is over


def test_an_attempt_that_was_recorded_as_ended_is_over_at_once() -> None:
    assert lifecycle.attempt_is_over(lifecycle.record_ambiguous(new_task(), now=NOW + 1), NOW + 1)


def test_a_created_task_knows_its_remote_id_and_is_watched() -> None:
    task = created(new_task(), reading())
    assert (task.status, task.remote_id) == (Status.SUBMITTED, REMOTE_ID)
    assert task.attempt is None
    assert task.due_at is not None
    assert task.due_at <= POLICY.first_check_at(LATER, off_peak=False)


@pytest.mark.parametrize(
    ("snapshot", "status"),
    [
        (reading(), Status.SUBMITTED),
        (reading(ProgressState.UNKNOWN), Status.SUBMITTED),
        (reading(ProgressState.PROCESSING), Status.PROCESSING),
        (reading(ProgressState.SUCCEEDED), Status.SUBMITTED),  # no video: not an end
        (done(), Status.GENERATED),
        (failed(), Status.FAILED),
        (failed("008017097"), Status.SUBMITTED),
    ],
)
def test_the_create_reply_is_applied_at_once_in_one_published_change(
    snapshot: ProviderSnapshot, status: Status
) -> None:
    task = created(new_task(), snapshot)
    assert (task.status, task.version, task.remote_id) == (status, 2, REMOTE_ID)
    assert [entry.status for entry in task.history] == [Status.SUBMITTING, status]


def test_a_first_check_that_is_about_right_is_not_moved() -> None:
    """Moving `due_at` costs two index writes, on every healthy task."""
    assert created(new_task(), reading(), now=NOW + 2_000).due_at == new_task().due_at


def test_a_first_check_is_set_anew_where_the_old_one_is_far_off() -> None:
    waiting = lifecycle.record_ambiguous(new_task(), now=NOW)
    assert created(waiting, reading()).due_at == LATER + 120_000
    assert created(new_task(due_at=LATER + 1), reading()).due_at == LATER + 120_000


def test_not_created_goes_back_with_a_backoff_from_the_end_of_the_attempt() -> None:
    task = lifecycle.record_not_created(new_task(), now=LATER, retry_after_seconds=None, jitter=0.5, policy=POLICY)
    assert (task.status, task.due_at) == (Status.ACCEPTED, LATER + 10_000)
    assert task.attempt == Attempt("claim-1", NOW, LATER)


@pytest.mark.parametrize(("wish", "wait"), [(0.0, 10_000), (9.5, 10_000), (42.5, 42_500)])
def test_the_provider_s_wish_to_wait_is_honoured_where_it_is_longer(wish: float, wait: int) -> None:
    task = lifecycle.record_not_created(new_task(), now=LATER, retry_after_seconds=wish, jitter=0.5, policy=POLICY)
    assert task.due_at == LATER + wait


def test_a_wish_beyond_the_deadline_does_not_hide_the_task_from_the_sweep() -> None:
    task = lifecycle.record_not_created(new_task(), now=LATER, retry_after_seconds=86_400, jitter=0, policy=POLICY)
    assert task.due_at == task.deadline_at


def test_a_refusal_settles_the_task_with_the_provider_s_own_words() -> None:
    error = TaskError("40201", "Insufficient credits")
    task = lifecycle.record_rejected(new_task(), error, now=LATER, policy=POLICY)
    assert (task.status, task.error, task.due_at) == (Status.FAILED, error, None)
    assert task.attempt == Attempt("claim-1", NOW, LATER)


def test_an_ambiguous_attempt_stays_and_waits_for_the_deadline() -> None:
    task = lifecycle.record_ambiguous(new_task(), now=LATER)
    assert (task.status, task.version, task.due_at) == (Status.SUBMITTING, 1, task.deadline_at)
    assert task.attempt == Attempt("claim-1", NOW, LATER)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SUBMITTING}))
def test_an_attempt_s_doubt_changes_no_task_that_has_moved_on(status: Status) -> None:
    task = task_in(status)
    assert lifecycle.record_ambiguous(task, now=LATER) is task


# --- adoption of a lost create

TOLERANCE = 60_000


@pytest.mark.parametrize(
    ("created_at", "fits"),
    [
        (NOW - TOLERANCE - 1, False),
        (NOW - TOLERANCE, True),
        (NOW, True),
        (LATER + TOLERANCE, True),
        (LATER + TOLERANCE + 1, False),
        (None, False),
    ],
)
def test_a_remote_task_is_ours_only_if_it_was_made_during_the_attempt(created_at: int | None, fits: bool) -> None:
    task = lifecycle.record_ambiguous(new_task(), now=LATER)
    assert lifecycle.adoption_fits(task, reading(created_at=created_at)) is fits


@pytest.mark.parametrize(("over", "fits"), [(0, True), (1, False)])
def test_an_attempt_whose_end_nobody_saw_ends_with_its_time_out(over: int, fits: bool) -> None:
    at = NOW + ATTEMPT_LIMIT_MS + TOLERANCE + over
    assert lifecycle.adoption_fits(new_task(), reading(created_at=at)) is fits


def test_a_task_that_was_never_attempted_adopts_nothing() -> None:
    assert not lifecycle.adoption_fits(new_task(attempt=None), reading())


@pytest.mark.parametrize("state", [ProgressState.PENDING, ProgressState.PROCESSING, ProgressState.UNKNOWN])
def test_a_task_adopted_after_it_expired_is_watched_for_its_late_video(state: ProgressState) -> None:
    lost = expired(lifecycle.record_ambiguous(new_task(), now=LATER))
    adopted = created(lost, reading(state), now=lost.deadline_at + HOUR)
    assert (adopted.status, adopted.remote_id) == (Status.EXPIRED, REMOTE_ID)
    assert adopted.due_at == lost.deadline_at + HOUR + SLOW_INTERVAL_MS


def test_a_task_adopted_after_it_expired_delivers_the_video_that_is_there() -> None:
    lost = expired(lifecycle.record_ambiguous(new_task(), now=LATER))
    adopted = created(lost, done(), now=lost.deadline_at + HOUR)
    assert (adopted.status, adopted.error) == (Status.GENERATED, None)


def test_a_task_adopted_after_it_expired_that_failed_is_left_alone() -> None:
    lost = expired(lifecycle.record_ambiguous(new_task(), now=LATER))
    adopted = created(lost, failed(), now=lost.deadline_at + HOUR)
    assert (adopted.status, adopted.due_at) == (Status.EXPIRED, None)


@pytest.mark.parametrize("code", sorted(NOT_VERDICTS))
def test_a_gateway_s_own_fault_does_not_end_the_watch_over_an_adopted_task(code: str) -> None:
    lost = expired(lifecycle.record_ambiguous(new_task(), now=LATER))
    adopted = created(lost, failed(code), now=lost.deadline_at + HOUR)
    assert adopted.due_at is not None


def test_a_callback_may_reveal_that_an_attempt_thought_void_did_create() -> None:
    assert created(task_in(Status.ACCEPTED), reading()).status is Status.SUBMITTED


# --- hints: ids under which callbacks say that a lost create can be found


def test_a_hint_is_looked_up_once_no_create_call_can_be_running() -> None:
    running = lifecycle.note_hints(new_task(due_at=NOW + HOUR), ("a", "b"), now=LATER)
    assert (running.hints, running.due_at) == (("a", "b"), NOW + ATTEMPT_LIMIT_MS)
    over = lifecycle.note_hints(lifecycle.record_ambiguous(new_task(), now=LATER), ("a",), now=LATER)
    assert (over.hints, over.due_at) == (("a",), LATER)


def test_a_hint_never_puts_off_a_look() -> None:
    assert lifecycle.note_hints(new_task(due_at=NOW + 1), ("a",), now=NOW).due_at == NOW + 1


def test_a_hint_is_noted_once_and_only_the_first_ones_are() -> None:
    task = lifecycle.note_hints(new_task(), tuple(f"id-{n}" for n in range(50)), now=LATER)
    assert task.hints == tuple(f"id-{n}" for n in range(MAX_HINTS))
    assert lifecycle.note_hints(task, ("id-0",), now=LATER) is task
    assert lifecycle.note_hints(task, ("another",), now=LATER) is task


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ACCEPTED, Status.SUBMITTING}))
def test_a_hint_is_of_no_interest_once_the_id_is_known(status: Status) -> None:
    task = task_in(status)
    assert lifecycle.note_hints(task, ("a",), now=LATER) is task


def test_a_hint_does_not_bring_a_refused_task_back_into_the_index() -> None:
    refused = lifecycle.record_rejected(new_task(), TaskError("40201", ""), now=LATER, policy=POLICY)
    assert lifecycle.note_hints(refused, ("a",), now=LATER).due_at is None


def test_a_hint_keeps_an_expired_task_watched_until_the_late_hours_end() -> None:
    task = lifecycle.note_hints(lifecycle.record_ambiguous(new_task(), now=LATER), ("a",), now=LATER)
    assert expired(task).due_at == task.deadline_at + SLOW_INTERVAL_MS
    assert expired(task, now=POLICY.late_until(task.deadline_at)).due_at is None


def test_an_adopted_task_has_no_hints_left() -> None:
    hinted = lifecycle.note_hints(lifecycle.record_ambiguous(new_task(), now=LATER), ("a",), now=LATER)
    assert created(hinted, reading()).hints == ()


# --- readings


@pytest.mark.parametrize("status", OPEN)
def test_success_with_a_video_is_generated_and_asks_for_delivery(status: Status) -> None:
    task = task_in(status)
    after = apply(task, done(LINK, LINK))
    assert after.status is Status.GENERATED
    assert [output.videos for output in after.outputs] == [2]
    assert after.due_at == LATER + DELIVERY_GRACE_MS
    assert after.usage is not None
    assert (after.usage.cost, after.upstream_id) == ("0.4000", task.upstream_id)


def test_a_link_is_never_part_of_a_task() -> None:
    assert "signature=secret" not in repr(apply(task_in(Status.SUBMITTED), done(LINK)))


def test_whoever_watched_the_provider_has_lost_the_lease_once_it_is_done() -> None:
    leased = lifecycle.take_lease(task_in(Status.SUBMITTED), now=NOW)
    assert apply(leased, done()).lease == leased.lease + 1


@pytest.mark.parametrize("status", [*OPEN, Status.EXPIRED])
@pytest.mark.parametrize(
    "outputs", [(), (ProviderOutput("u", "done"),), (ProviderOutput(None, None), ProviderOutput("u", "done"))]
)
def test_success_without_a_video_is_not_an_end(status: Status, outputs: tuple[ProviderOutput, ...]) -> None:
    task = task_in(status)
    assert apply(task, reading(ProgressState.SUCCEEDED, outputs=outputs)) is task


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize("state", [ProgressState.UNKNOWN, ProgressState.PENDING])
def test_a_word_we_do_not_know_changes_nothing(status: Status, state: ProgressState) -> None:
    task = task_in(status)
    assert apply(task, reading(state)) is task


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.EXPIRED, Status.GENERATED])
def test_processing_is_news_once(status: Status) -> None:
    task = task_in(status)
    assert apply(task, reading(ProgressState.PROCESSING)) is task


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize("code", ["008017095", "008017099", "anything"])
def test_a_failure_settles_the_task(status: Status, code: str) -> None:
    task = apply(task_in(status), failed(code))
    assert (task.status, task.due_at) == (Status.FAILED, None)
    assert task.error == TaskError(code, "Internal generation error")
    assert task.expires_at == POLICY.forget_at(LATER)


def test_a_failure_without_a_reason_settles_the_task_too() -> None:
    task = apply(task_in(Status.SUBMITTED), reading(ProgressState.FAILED))
    assert task.error is not None
    assert (task.status, task.error.code) == (Status.FAILED, "provider_failed")


@pytest.mark.parametrize("status", [*OPEN, Status.EXPIRED])
@pytest.mark.parametrize("code", ["008017096", "008017097", "008017098"])
def test_a_fault_of_the_gateway_itself_is_no_verdict(status: Status, code: str) -> None:
    task = task_in(status)
    assert apply(task, failed(code)) is task


@pytest.mark.parametrize("status", [Status.GENERATED, Status.COMPLETED, Status.FAILED, Status.CANCELED])
@pytest.mark.parametrize("snapshot", [done(), failed(), reading(ProgressState.PROCESSING)])
def test_a_reading_that_comes_late_changes_no_task_that_is_done(status: Status, snapshot: ProviderSnapshot) -> None:
    task = task_in(status)
    assert apply(task, snapshot) is task


# --- deadlines


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (task_in(Status.ACCEPTED), "deadline_exceeded"),
        (task_in(Status.SUBMITTING), "submission_unconfirmed"),
        (task_in(Status.SUBMITTED), "deadline_exceeded"),
        (task_in(Status.PROCESSING), "deadline_exceeded"),
    ],
)
def test_a_task_without_an_answer_expires_with_its_reason(task: Task, code: str) -> None:
    after = expired(task)
    assert after.error is not None
    assert (after.status, after.error.code, after.version) == (Status.EXPIRED, code, task.version + 1)


@pytest.mark.parametrize("status", sorted({Status.GENERATED, *SETTLED}))
def test_a_task_whose_outcome_is_known_cannot_expire(status: Status) -> None:
    with pytest.raises(TransitionError):
        expired(task_in(status))


def test_an_expired_task_with_a_remote_id_is_looked_at_within_the_hour() -> None:
    task = expired(task_in(Status.SUBMITTED))
    assert task.due_at == task.deadline_at + SLOW_INTERVAL_MS


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.SUBMITTING])
def test_an_expired_task_without_a_remote_id_is_not_looked_at(status: Status) -> None:
    assert expired(task_in(status)).due_at is None


def test_the_slow_watch_ends_with_the_late_hours() -> None:
    task = task_in(Status.SUBMITTED)
    until = POLICY.late_until(task.deadline_at)
    assert expired(task, now=until - 1).due_at == until
    assert expired(task, now=until).due_at is None


def test_an_expired_record_is_kept_as_long_as_a_late_video_may_come() -> None:
    task = expired(task_in(Status.SUBMITTED))
    assert task.expires_at == POLICY.forget_at(POLICY.late_until(task.deadline_at))


def test_a_video_that_comes_late_is_delivered() -> None:
    late = apply(task_in(Status.EXPIRED), done(), now=NOW + 50 * HOUR)
    assert (late.status, late.error, late.expires_at) == (Status.GENERATED, None, None)
    assert late.due_at == NOW + 50 * HOUR + DELIVERY_GRACE_MS
    delivered = lifecycle.record_delivery(late, (video(),), now=NOW + 51 * HOUR, policy=POLICY)
    assert (delivered.status, delivered.videos) == (Status.COMPLETED, (video(),))


def test_a_failure_after_the_deadline_ends_the_watch_and_is_no_second_verdict() -> None:
    task = task_in(Status.EXPIRED)
    after = apply(task, failed())
    assert (after.status, after.version, after.error, after.due_at) == (
        Status.EXPIRED,
        task.version,
        task.error,
        None,
    )


# --- leases


def test_taking_a_lease_takes_it_from_everybody_else() -> None:
    task = task_in(Status.SUBMITTED)
    once, twice = (lifecycle.take_lease(t, now=LATER) for t in (task, lifecycle.take_lease(task, now=NOW)))
    assert (once.lease, twice.lease) == (task.lease + 1, task.lease + 2)
    assert once.due_at == LATER + LEASE_MS


def test_a_lease_outlives_the_next_look_by_two_minutes() -> None:
    after = lifecycle.look_again_at(task_in(Status.SUBMITTED), LATER)
    assert (after.due_at, after.checks) == (LATER + 120_000, 1)


def test_a_task_left_to_the_sweep_is_due_exactly_then() -> None:
    assert lifecycle.leave_until(task_in(Status.SUBMITTED), LATER).due_at == LATER


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELED])
def test_a_look_brings_no_settled_task_back_into_the_index(status: Status) -> None:
    task = task_in(status)
    assert lifecycle.look_again_at(task, LATER) is task
    assert lifecycle.leave_until(task, LATER) is task
    assert lifecycle.stop_looking(task) is task


def test_bookkeeping_publishes_nothing() -> None:
    task = task_in(Status.SUBMITTED)
    for after in (
        lifecycle.take_lease(task, now=LATER),
        lifecycle.look_again_at(task, LATER),
        lifecycle.leave_until(task, LATER),
        lifecycle.stop_looking(task),
        lifecycle.record_delivery_request(task_in(Status.GENERATED), now=LATER, wait_ms=1),
    ):
        assert after.version == len(after.history)
        assert after.history[-1].at == NOW


# --- delivery


def test_a_delivery_is_asked_for_again_only_when_the_first_should_be_done() -> None:
    task = task_in(Status.GENERATED)
    asked = lifecycle.record_delivery_request(task, now=LATER, wait_ms=10_000)
    assert (asked.delivery_requests, asked.due_at) == (1, LATER + DELIVERY_GRACE_MS)
    patient = lifecycle.record_delivery_request(asked, now=LATER, wait_ms=900_000)
    assert (patient.delivery_requests, patient.due_at) == (2, LATER + 900_000)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.GENERATED}))
def test_only_a_generated_task_is_delivered(status: Status) -> None:
    task = task_in(status)
    error = TaskError("not_mp4", "")
    assert lifecycle.record_delivery(task, (video(),), now=LATER, policy=POLICY) is task
    assert lifecycle.record_delivery_request(task, now=LATER, wait_ms=1) is task
    assert lifecycle.record_delivery_fault(task, error, now=LATER, jitter=0, policy=POLICY) is task


def queued(**changes: Any) -> Task:
    """A task as a queue door records it."""
    task = lifecycle.new_task(
        task_id="a" * 26,
        tenant_id="acme",
        provider="gateway",
        request={"model": "m", "prompt": "p"},
        request_key=None,
        fingerprint="f" * 43,
        claim="claim-0",
        now=NOW,
        source="s3",
        policy=POLICY,
        queued=True,
    )
    return replace(task, **changes)


def test_a_queued_task_begins_without_a_call_and_is_soon_due() -> None:
    task = queued()
    assert (task.status, task.version, task.attempts) == (Status.ACCEPTED, 1, 0)
    assert lifecycle.attempt_is_over(task, NOW)
    assert task.due_at == NOW + HANDOVER_MS
    assert [(entry.status, entry.source) for entry in task.history] == [(Status.ACCEPTED, "s3")]
    begun = lifecycle.begin_attempt(task, claim="claim-1", now=NOW + 5)
    assert (begun.status, begun.version, begun.attempts) == (Status.SUBMITTING, 1, 1)
    assert not lifecycle.attempt_is_over(begun, NOW + 5)


def test_a_queued_tasks_first_backoff_is_that_of_any_other() -> None:
    begun = lifecycle.begin_attempt(queued(), claim="claim-1", now=NOW)
    back = lifecycle.record_not_created(begun, now=NOW, retry_after_seconds=None, jitter=0.5, policy=POLICY)
    assert back.due_at == NOW + POLICY.backoff_ms(0, 0.5)


@pytest.mark.parametrize(
    ("task", "now", "may"),
    [
        (queued(), NOW, True),
        (queued(), NOW + 7_200_000 - 1, True),
        (queued(), NOW + 7_200_000, False),
        (queued(attempts=1), NOW, False),
        (queued(hints=("gen-1",)), NOW, False),
        (queued(status=Status.SUBMITTING), NOW, False),
        (queued(status=Status.CANCELED), NOW, False),
    ],
)
def test_a_message_may_begin_what_nobody_has_begun_in_time(task: Task, now: int, may: bool) -> None:
    assert lifecycle.never_begun(task, now) is may


def test_a_bad_source_is_given_up_after_five_attempts() -> None:
    task, error = task_in(Status.GENERATED), TaskError("not_mp4", "The file is a web page.")
    for number in range(1, MAX_SOURCE_FAULTS):
        task = lifecycle.record_delivery_fault(task, error, now=LATER, jitter=0.5, policy=POLICY)
        assert (task.status, task.source_faults, task.error) == (Status.GENERATED, number, None)
        assert task.due_at == LATER + 10_000
    task = lifecycle.record_delivery_fault(task, error, now=LATER, jitter=0.5, policy=POLICY)
    assert (task.status, task.error, task.due_at, task.source_faults) == (Status.FAILED, error, None, 5)


def test_trouble_on_our_side_is_never_given_up() -> None:
    task = replace(task_in(Status.GENERATED), source_faults=MAX_SOURCE_FAULTS - 1)
    for _ in range(50):
        task = lifecycle.record_delivery_fault(task, None, now=LATER, jitter=0.5, policy=POLICY)
    assert (task.status, task.source_faults) == (Status.GENERATED, MAX_SOURCE_FAULTS - 1)
    assert task.due_at is not None


def test_a_failed_delivery_waits_longer_each_time_it_was_asked_for() -> None:
    task = task_in(Status.GENERATED)
    dues = [
        lifecycle.record_delivery_fault(
            replace(task, delivery_requests=requests), None, now=LATER, jitter=0.5, policy=POLICY
        ).due_at
        for requests in range(4)
    ]
    assert dues == [LATER + 10_000, LATER + 20_000, LATER + 40_000, LATER + 80_000]


# --- calling off


def test_a_task_that_waits_is_called_off_and_forgotten_in_time() -> None:
    canceled = lifecycle.cancel_unsubmitted(task_in(Status.ACCEPTED), now=LATER, policy=POLICY)
    assert (canceled.status, canceled.due_at, canceled.error) == (Status.CANCELED, None, None)
    assert canceled.expires_at == POLICY.forget_at(LATER)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ACCEPTED}))
def test_nothing_but_a_task_that_waits_is_called_off_without_a_call(status: Status) -> None:
    task = task_in(status)
    assert lifecycle.cancel_unsubmitted(task, now=LATER, policy=POLICY) is task


def test_a_task_that_may_exist_is_not_called_off_without_a_call() -> None:
    hinted = replace(task_in(Status.ACCEPTED), hints=("a",))
    assert lifecycle.cancel_unsubmitted(hinted, now=LATER, policy=POLICY) is hinted


@pytest.mark.parametrize("status", OPEN)
def test_a_task_that_the_provider_called_off_is_canceled_without_an_error(status: Status) -> None:
    canceled = apply(task_in(status), reading(ProgressState.CANCELED))
    assert (canceled.status, canceled.due_at, canceled.error) == (Status.CANCELED, None, None)


def test_a_task_that_expired_is_not_canceled_behind_its_client_s_back() -> None:
    task = apply(task_in(Status.EXPIRED), reading(ProgressState.CANCELED))
    assert (task.status, task.due_at) == (Status.EXPIRED, None)


def test_a_task_adopted_after_it_expired_that_was_called_off_is_left_alone() -> None:
    lost = replace(expired(new_task()), hints=("a",))
    task = created(lost, reading(ProgressState.CANCELED))
    assert (task.status, task.due_at) == (Status.EXPIRED, None)


# --- marks


def test_a_video_denied_to_an_earlier_attempt_is_known_by_its_mark() -> None:
    first = new_task()
    assert first.attempt is not None
    mark = attempt_mark(first.task_id, first.attempt)
    for _ in range(3):
        waiting = lifecycle.record_not_created(first, now=NOW, retry_after_seconds=None, jitter=0.0, policy=POLICY)
        again = lifecycle.begin_attempt(waiting, claim=new_claim(waiting.attempt), now=LATER)
        assert again.attempt != first.attempt
        assert lifecycle.adoption_fits(again, reading(mark=mark))
        first = again


def test_a_mark_is_that_of_one_task_and_shows_no_claim() -> None:
    marks = {attempt_mark(task_id, Attempt(claim, NOW)) for task_id in ("a", "b") for claim in ("x-claim", "y-claim")}
    assert len(marks) == 4
    assert not [mark for mark in marks if "claim" in mark]


@pytest.mark.parametrize(("claim", "fits"), [("claim-1", True), ("claim-2", False)])
@pytest.mark.parametrize("created_at", [None, NOW, 1])
def test_a_mark_decides_whatever_the_time_of_creation_says(claim: str, fits: bool, created_at: int | None) -> None:
    mark = attempt_mark(new_task().task_id, Attempt(claim, NOW))
    assert lifecycle.adoption_fits(new_task(), reading(mark=mark, created_at=created_at)) is fits
