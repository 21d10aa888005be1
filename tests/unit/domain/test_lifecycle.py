"""What each occurrence makes of a task, until its video exists."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.builders import (
    LINK,
    NOW,
    POLICY,
    REMOTE_ID,
    changes,
    copied,
    done,
    failed,
    new_task,
    reading,
    refused_once,
    submitting,
    task_in,
    video,
)
from vidu_relay.domain import delivery, lifecycle
from vidu_relay.domain.errors import (
    AccountRefusedError,
    CreateAmbiguousError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    TransitionError,
)
from vidu_relay.domain.identifiers import link_digest
from vidu_relay.domain.lifecycle import CLOCK_TOLERANCE_MS, MAX_CANDIDATES, MISSING_MS, UNCONFIRMED, Match
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.submission import attempt_mark
from vidu_relay.domain.task import Attempt, Candidate, Refusal, Task
from vidu_relay.domain.watching import ATTEMPT_LIMIT_MS, DELIVERY_GRACE_MS, HANDOVER_MS, LEASE_MS, SLOW_INTERVAL_MS
from vidu_relay.usecases.ports import new_token

HOUR = 3_600_000
LATER = NOW + 60_000
OPEN = [Status.SUBMITTED, Status.PROCESSING]
RATE_LIMITED = NotCreatedError("HTTP 429")
REJECTED = CreateRejectedError("bad_prompt", "The prompt is refused.")
ACCOUNT_REFUSED = AccountRefusedError(401, "invalid_key", "The key is unknown.")
NO_ANSWER = CreateAmbiguousError("time-out")


def apply(task: Task, snapshot: ProviderSnapshot, now: int = LATER) -> Task:
    return lifecycle.apply_snapshot(task, snapshot, now=now, source="check", policy=POLICY)


def created(task: Task, snapshot: ProviderSnapshot, now: int = LATER) -> Task:
    return lifecycle.record_created(task, snapshot, now=now, source="create", policy=POLICY)


def refused(task: Task, error: CreateError, now: int = LATER, jitter: float = 0.5) -> Task:
    return lifecycle.record_create_failure(task, error, now=now, jitter=jitter, policy=POLICY)


def missing(task: Task, *ids: str, now: int) -> Task:
    return lifecycle.note_missing(task, ids, now=now, jitter=0.5, policy=POLICY)


def begun(task: Task, now: int = LATER, token: str = "token-2") -> Task:  # noqa: S107 - names an attempt
    return lifecycle.begin_attempt(task, token=token, now=now)


def expired(task: Task, now: int | None = None) -> Task:
    return lifecycle.expire(task, now=task.deadline_at if now is None else now, source="check", policy=POLICY)


def unconfirmed(now: int = LATER) -> Task:
    """A task whose create call ended without an answer."""
    return refused(submitting(), NO_ANSWER, now=now)


# --- accepted


def test_every_task_begins_as_accepted_without_an_attempt() -> None:
    task = new_task()
    assert (task.status, task.attempt, task.attempts, task.revision) == (Status.ACCEPTED, None, 0, 0)
    assert [(entry.at, entry.status, entry.source) for entry in task.history] == [(NOW, Status.ACCEPTED, "http")]
    assert lifecycle.attempt_is_over(task, NOW)


def test_versions_and_leases_begin_at_the_second_of_creation() -> None:
    """A later task under a reused key has higher versions than the one whose events are still remembered."""
    task = new_task()
    assert task.version == task.first_version == task.lease == NOW // 1000
    assert changes(task) == 1


def test_an_accepted_task_is_its_entry_points_until_the_hand_over() -> None:
    assert new_task().due_at == NOW + HANDOVER_MS


@pytest.mark.parametrize(("off_peak", "hours"), [(False, 2), (True, 48)])
def test_an_off_peak_task_has_two_days_and_is_first_read_after_an_hour(off_peak: bool, hours: int) -> None:
    task = lifecycle.new_task(
        task_id="t",
        token="token",
        tenant_id="acme",
        provider="gateway",
        request={"off_peak": off_peak},
        request_key=None,
        request_digest="",
        now=NOW,
        source="event",
        policy=POLICY,
        message_id="m-1",
        image_versions=("v1",),
    )
    assert task.deadline_at == NOW + hours * HOUR
    assert (task.message_id, task.image_versions) == ("m-1", ("v1",))
    first = created(begun(task, now=NOW), reading(), now=NOW).due_at
    assert first == (NOW + HOUR if off_peak else NOW + HANDOVER_MS)


@pytest.mark.parametrize(
    ("task", "now", "may"),
    [
        (new_task(), NOW, True),
        (new_task(), NOW + 2 * HOUR - 1, True),
        (new_task(), NOW + 2 * HOUR, False),
        (new_task(attempts=1), NOW, False),
        (new_task(candidates=(Candidate("gen-1"),)), NOW, False),
        (submitting(), NOW, False),
        (refused_once(), NOW, False),
        (task_in(Status.CANCELED), NOW, False),
    ],
)
def test_an_entry_point_may_begin_what_was_not_begun_in_time(task: Task, now: int, may: bool) -> None:
    assert lifecycle.may_begin(task, now) is may


# --- an attempt begins


def test_only_an_accepted_task_can_be_submitted() -> None:
    again = begun(task_in(Status.ACCEPTED))
    assert (again.status, again.attempts, again.attempt) == (Status.SUBMITTING, 2, Attempt("token-2", LATER))
    for status in set(Status) - {Status.ACCEPTED}:
        with pytest.raises(TransitionError):
            begun(task_in(status))


def test_a_retry_publishes_nothing() -> None:
    task = new_task()
    for number in range(1, 5):
        task = refused(begun(task, token=f"token-{number}"), RATE_LIMITED)
    assert (changes(task), len(task.history), task.attempts) == (1, 1, 4)


def test_a_check_is_due_once_the_call_cannot_be_running() -> None:
    assert begun(new_task(due_at=None)).due_at == LATER + ATTEMPT_LIMIT_MS
    assert begun(new_task(due_at=LATER + ATTEMPT_LIMIT_MS - 1)).due_at == LATER + ATTEMPT_LIMIT_MS


def test_a_check_that_is_due_late_enough_is_not_moved() -> None:
    """Moving `due_at` costs two index writes, on every healthy task."""
    assert submitting().due_at == new_task().due_at
    assert begun(new_task(due_at=LATER + ATTEMPT_LIMIT_MS)).due_at == LATER + ATTEMPT_LIMIT_MS


def test_what_a_pause_cost_is_added_to_the_deadline() -> None:
    waiting = lifecycle.wait_for_account(new_task(), now=NOW + 5_000, at=LATER, policy=POLICY)
    after = begun(waiting, now=NOW + 65_000)
    assert (after.deadline_at, after.paused_since) == (waiting.deadline_at + 60_000, NOW + 5_000)


def test_a_clock_that_runs_backwards_takes_nothing_from_the_deadline() -> None:
    waiting = lifecycle.wait_for_account(new_task(), now=NOW + 5_000, at=LATER, policy=POLICY)
    assert begun(waiting, now=NOW).deadline_at == waiting.deadline_at


@pytest.mark.parametrize(("after", "over"), [(0, False), (ATTEMPT_LIMIT_MS - 1, False), (ATTEMPT_LIMIT_MS, True)])
def test_an_attempt_without_an_end_is_over_once_it_cannot_be_running(after: int, over: bool) -> None:
    assert lifecycle.attempt_is_over(submitting(), NOW + after) is over


def test_an_attempt_that_was_recorded_as_ended_is_over_at_once() -> None:
    assert lifecycle.attempt_is_over(unconfirmed(NOW + 1), NOW + 1)


# --- the create reply


def test_a_created_task_knows_its_remote_ids_and_is_watched() -> None:
    task = created(submitting(), reading(named_ids=("alias-1", REMOTE_ID), upstream_id="up-1", model="other"))
    assert (task.status, task.remote_id, task.aliases) == (Status.SUBMITTED, REMOTE_ID, ("alias-1",))
    assert task.remote_ids == (REMOTE_ID, "alias-1", "up-1")
    assert (task.remote_model, task.attempt, task.candidates) == ("other", None, ())
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
        (reading(ProgressState.FAILED, conclusive=False), Status.SUBMITTED),
        (reading(ProgressState.CANCELED), Status.CANCELED),
    ],
)
def test_the_create_reply_is_applied_at_once_in_one_published_change(
    snapshot: ProviderSnapshot, status: Status
) -> None:
    task = created(submitting(), snapshot)
    assert (task.status, changes(task), task.remote_id) == (status, 2, REMOTE_ID)
    assert [entry.status for entry in task.history] == [Status.ACCEPTED, status]


def test_a_first_check_that_is_about_right_is_not_moved() -> None:
    """Moving `due_at` costs two index writes, on every healthy task."""
    assert created(submitting(), reading(), now=NOW + 2_000).due_at == new_task().due_at


def test_a_first_check_is_set_again_where_the_old_one_is_far_off() -> None:
    assert created(unconfirmed(), reading()).due_at == LATER + 120_000
    assert created(submitting(due_at=LATER + 1), reading()).due_at == LATER + 120_000
    assert created(submitting(due_at=None), reading()).due_at == LATER + 120_000


def test_a_created_task_forgets_its_refusals_and_its_backoff() -> None:
    refused_before = refused(submitting(checks=7), ACCOUNT_REFUSED)
    task = created(begun(refused_before), reading())
    assert (task.account_refused_at, task.paused_since, task.checks) == (None, None, 0)


@pytest.mark.parametrize("status", sorted(set(Status) - UNCONFIRMED))
def test_a_task_that_knows_its_remote_task_is_given_no_other(status: Status) -> None:
    with pytest.raises(TransitionError):
        created(task_in(status), reading(remote_id="another"))


# --- the create call gave no task


def test_not_created_goes_back_with_a_backoff_from_the_end_of_the_attempt() -> None:
    task = refused(submitting(), RATE_LIMITED)
    assert (task.status, task.due_at) == (Status.ACCEPTED, LATER + 10_000)
    assert task.attempt == Attempt("token.1", NOW, LATER)
    assert (task.account_refused_at, task.paused_since) == (None, None)


@pytest.mark.parametrize(("wish", "wait"), [(0.0, 10_000), (9.5, 10_000), (42.5, 42_500)])
def test_the_provider_s_retry_after_is_honoured_where_it_is_longer(wish: float, wait: int) -> None:
    assert refused(submitting(), NotCreatedError("HTTP 429", wish)).due_at == LATER + wait


def test_the_wait_doubles_with_each_attempt() -> None:
    task, waits = new_task(), []
    for number in range(1, 5):
        task = refused(begun(task, token=f"token-{number}"), RATE_LIMITED)
        waits.append((task.due_at or 0) - LATER)
    assert waits == [10_000, 20_000, 40_000, 80_000]


def test_a_retry_after_beyond_the_deadline_does_not_hide_the_task_from_the_sweep() -> None:
    task = refused(submitting(), NotCreatedError("HTTP 429", 86_400.0))
    assert task.due_at == task.deadline_at
    late = refused(submitting(), RATE_LIMITED, now=task.deadline_at + 5)
    assert late.due_at == task.deadline_at + 5


def test_a_refusal_settles_the_task_with_the_provider_s_own_words() -> None:
    task = refused(submitting(), REJECTED)
    assert (task.status, task.error, task.due_at) == (
        Status.FAILED,
        TaskError("bad_prompt", "The prompt is refused."),
        None,
    )
    assert task.attempt == Attempt("token.1", NOW, LATER)


def test_a_refused_account_is_not_the_task_s_fault_and_its_deadline_stands_still() -> None:
    task = refused(submitting(), ACCOUNT_REFUSED)
    assert (task.status, task.error) == (Status.ACCEPTED, None)
    assert (task.account_refused_at, task.paused_since, task.due_at) == (LATER, LATER, LATER + 60_000)
    again = refused(begun(task, now=LATER + 10_000), ACCOUNT_REFUSED, now=LATER + 20_000)
    assert (again.account_refused_at, again.paused_since) == (LATER, LATER), "the first refusal is kept"
    assert again.deadline_at == task.deadline_at + 10_000


@pytest.mark.parametrize("error", [NO_ANSWER, CreateError("unknown")])
def test_an_unknown_outcome_stays_and_waits_for_the_deadline(error: CreateError) -> None:
    task = refused(submitting(), error)
    assert (task.status, changes(task), task.due_at) == (Status.SUBMITTING, 1, task.deadline_at)
    assert task.attempt == Attempt("token.1", NOW, LATER)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.SUBMITTING}))
def test_an_attempt_s_doubt_changes_no_task_that_has_moved_on(status: Status) -> None:
    task = task_in(status)
    assert lifecycle.record_unknown_outcome(task, now=LATER) is task


IDS = ("gen-1", "gen-2")


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (NotCreatedError("HTTP 429", 30.0, candidates=IDS), Refusal(retry_after_seconds=30.0)),
        (NotCreatedError("HTTP 503", candidates=IDS), Refusal()),
        (AccountRefusedError(402, "balance", "Empty.", candidates=IDS), Refusal()),
        (CreateRejectedError("bad", "No.", candidates=IDS), Refusal(TaskError("bad", "No."))),
        (CreateAmbiguousError("HTTP 500", candidates=IDS), None),
    ],
)
def test_a_reply_that_names_an_id_is_not_believed_before_that_id_was_read(
    error: CreateError, refusal: Refusal | None
) -> None:
    task = refused(submitting(), error)
    assert (task.status, task.error, task.paused_since) == (Status.SUBMITTING, None, None)
    assert task.attempt == Attempt("token.1", NOW, LATER, refusal)
    assert (task.candidate_ids, task.due_at) == (IDS, LATER)


# --- the end of an attempt


@pytest.mark.parametrize("error", [RATE_LIMITED, REJECTED, NO_ANSWER, ACCOUNT_REFUSED])
def test_an_attempt_never_ends_later_than_it_can_have_run(error: CreateError) -> None:
    """A late note of its end would let remote tasks of later attempts pass for this one's."""
    task = refused(submitting(), error, now=NOW + HOUR)
    assert task.attempt is not None
    assert task.attempt.ended_at == NOW + ATTEMPT_LIMIT_MS


@pytest.mark.parametrize("error", [RATE_LIMITED, REJECTED, NO_ANSWER, ACCOUNT_REFUSED])
def test_the_end_of_an_attempt_is_never_overwritten(error: CreateError) -> None:
    ended = unconfirmed(NOW + 7)
    task = refused(ended, error, now=LATER)
    assert task.attempt is not None
    assert task.attempt.ended_at == NOW + 7


# --- candidates: ids under which an unconfirmed create may be found


def test_a_candidate_is_read_once_no_create_call_can_be_running() -> None:
    running = lifecycle.note_candidates(submitting(due_at=NOW + HOUR), ("a", "b"), now=LATER)
    assert (running.candidates, running.due_at) == ((Candidate("a"), Candidate("b")), NOW + ATTEMPT_LIMIT_MS)
    over = lifecycle.note_candidates(unconfirmed(), ("a",), now=LATER)
    assert (over.candidate_ids, over.due_at) == (("a",), LATER)


def test_a_candidate_never_puts_off_a_check() -> None:
    assert lifecycle.note_candidates(submitting(due_at=NOW + 1), ("a",), now=NOW).due_at == NOW + 1


def test_a_callback_s_body_does_not_hurry_a_task_that_waits_to_be_submitted_again() -> None:
    waiting = refused_once()
    noted = lifecycle.note_candidates(waiting, ("a",), now=LATER)
    assert (noted.candidate_ids, noted.due_at) == (("a",), waiting.due_at)


def test_a_candidate_is_noted_once_and_only_the_first_ones_are() -> None:
    task = lifecycle.note_candidates(submitting(), tuple(f"id-{n}" for n in range(50)), now=LATER)
    assert task.candidate_ids == tuple(f"id-{n}" for n in range(MAX_CANDIDATES))
    assert lifecycle.note_candidates(task, ("id-0",), now=LATER) is task
    assert lifecycle.note_candidates(task, ("another",), now=LATER) is task


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ACCEPTED, Status.SUBMITTING}))
def test_a_candidate_is_of_no_interest_once_the_id_is_known(status: Status) -> None:
    task = task_in(status)
    assert lifecycle.note_candidates(task, ("a",), now=LATER) is task


def test_a_task_that_was_never_attempted_has_no_candidates() -> None:
    task = new_task()
    assert lifecycle.note_candidates(task, ("a",), now=LATER) is task


def test_a_candidate_does_not_bring_a_refused_task_back_into_the_index() -> None:
    task = refused(submitting(), REJECTED)
    assert lifecycle.note_candidates(task, ("a",), now=LATER).due_at is None


def test_a_candidate_keeps_an_expired_task_watched_until_the_late_hours_end() -> None:
    task = lifecycle.note_candidates(unconfirmed(), ("a",), now=LATER)
    assert expired(task).due_at == task.deadline_at + SLOW_INTERVAL_MS
    assert expired(task, now=POLICY.late_until(task.deadline_at)).due_at is None


def test_a_reconciled_task_has_no_candidates_left() -> None:
    noted = lifecycle.note_candidates(unconfirmed(), ("a",), now=LATER)
    assert created(noted, reading()).candidates == ()


def test_candidates_of_another_task_are_dropped_and_the_others_kept() -> None:
    task = lifecycle.note_candidates(unconfirmed(), ("a", "b"), now=LATER)
    assert lifecycle.drop_candidates(task, ("a", "x")).candidate_ids == ("b",)
    assert lifecycle.drop_candidates(task, ("x",)) is task


# --- candidates that the provider does not know


def named(error: CreateError) -> Task:
    """A task whose create reply said this, and named ids."""
    return refused(submitting(), error)


LIMITED_WITH_ID = NotCreatedError("HTTP 429", 30.0, candidates=("a",))
REJECTED_WITH_ID = CreateRejectedError("bad", "No.", candidates=("a",))
AMBIGUOUS_WITH_ID = CreateAmbiguousError("HTTP 500", candidates=("a",))


def test_a_candidate_that_is_missing_once_is_not_gone() -> None:
    """The provider may show a new task only after a moment."""
    task = missing(named(LIMITED_WITH_ID), "a", now=LATER)
    assert (task.status, task.candidates) == (Status.SUBMITTING, (Candidate("a", LATER, replied=True),))
    soon = missing(task, "a", now=LATER + MISSING_MS - 1)
    assert soon is task, "not a minute apart"


def test_missing_for_a_minute_the_reply_s_own_word_counts() -> None:
    gone = LATER + MISSING_MS
    again = missing(missing(named(LIMITED_WITH_ID), "a", now=LATER), "a", now=gone)
    assert (again.status, again.candidates, again.due_at) == (Status.ACCEPTED, (), gone + 30_000)
    assert again.attempt == Attempt("token.1", NOW, LATER)
    final = missing(missing(named(REJECTED_WITH_ID), "a", now=LATER), "a", now=gone)
    assert (final.status, final.error, final.due_at) == (Status.FAILED, TaskError("bad", "No."), None)


@pytest.mark.parametrize("error", [LIMITED_WITH_ID, REJECTED_WITH_ID])
def test_while_another_candidate_is_not_missing_nothing_is_certain(error: CreateError) -> None:
    task = lifecycle.note_candidates(named(error), ("b",), now=LATER)
    late = missing(missing(task, "a", now=LATER), "a", now=LATER + HOUR)
    assert (late.status, late.candidate_ids) == (Status.SUBMITTING, ("a", "b"))
    fresh = missing(late, "a", "b", now=LATER + HOUR)
    assert fresh.status is Status.SUBMITTING, "b is missing for the first time"
    assert missing(fresh, "a", "b", now=LATER + HOUR + MISSING_MS).status is not Status.SUBMITTING


def test_without_a_refusal_missing_candidates_stay() -> None:
    task = named(AMBIGUOUS_WITH_ID)
    for at in (LATER, LATER + MISSING_MS, LATER + HOUR):
        task = missing(task, "a", now=at)
    assert (task.status, task.candidates) == (Status.SUBMITTING, (Candidate("a", LATER, replied=True),))


def test_a_refusal_whose_candidates_all_were_another_s_counts_at_once() -> None:
    task = lifecycle.drop_candidates(named(REJECTED_WITH_ID), ("a",))
    assert missing(task, now=LATER).status is Status.FAILED


def test_missing_candidates_end_no_task_that_expired() -> None:
    task = missing(expired(named(REJECTED_WITH_ID)), "a", now=LATER)
    assert missing(task, "a", now=LATER + HOUR).status is Status.EXPIRED


def test_ids_that_are_no_candidates_change_nothing() -> None:
    task = named(LIMITED_WITH_ID)
    assert missing(task, "x", now=LATER) is task


# --- is the remote task under a candidate ours?


@pytest.mark.parametrize(
    ("created_at", "match"),
    [
        (NOW - CLOCK_TOLERANCE_MS - 1, Match.UNPROVEN),
        (NOW - CLOCK_TOLERANCE_MS, Match.OURS),
        (NOW, Match.OURS),
        (LATER + CLOCK_TOLERANCE_MS, Match.OURS),
        (LATER + CLOCK_TOLERANCE_MS + 1, Match.UNPROVEN),
        (None, Match.UNPROVEN),
    ],
)
@pytest.mark.parametrize("offset", [None, 0, 3 * HOUR, -3 * HOUR])
def test_a_remote_task_is_ours_if_it_was_made_during_the_attempts_by_the_provider_s_clock(
    created_at: int | None, match: Match, offset: int | None
) -> None:
    shown = created_at if created_at is None else created_at + (offset or 0)
    snapshot = reading(created_at=shown, clock_offset_ms=offset)
    assert lifecycle.match_candidate(unconfirmed(), snapshot) is match


def test_a_clock_that_is_off_proves_nothing_while_its_offset_is_not_known() -> None:
    assert lifecycle.match_candidate(unconfirmed(), reading(created_at=NOW + 3 * HOUR)) is Match.UNPROVEN


@pytest.mark.parametrize(("over", "match"), [(0, Match.OURS), (1, Match.UNPROVEN)])
def test_an_attempt_whose_end_was_not_recorded_ends_with_its_time_out(over: int, match: Match) -> None:
    at = NOW + ATTEMPT_LIMIT_MS + CLOCK_TOLERANCE_MS + over
    assert lifecycle.match_candidate(submitting(), reading(created_at=at)) is match


def test_a_remote_task_of_an_earlier_attempt_is_ours() -> None:
    again = begun(refused_once(), now=NOW + HOUR)
    assert lifecycle.match_candidate(again, reading(created_at=NOW + 1)) is Match.OURS


def test_a_task_that_was_never_attempted_is_given_no_remote_task() -> None:
    assert lifecycle.match_candidate(new_task(), reading()) is Match.UNPROVEN


@pytest.mark.parametrize(("token", "match"), [("token.1", Match.OURS), ("token-2", Match.ANOTHERS)])
@pytest.mark.parametrize("created_at", [None, NOW, 1])
def test_a_mark_decides_whatever_the_time_of_creation_says(token: str, match: Match, created_at: int | None) -> None:
    mark = attempt_mark(new_task().task_id, Attempt(token, NOW))
    assert lifecycle.match_candidate(submitting(), reading(mark=mark, created_at=created_at)) is match


def test_a_video_denied_to_an_earlier_attempt_is_known_by_its_mark() -> None:
    task = submitting()
    assert task.attempt is not None
    mark = attempt_mark(task.task_id, task.attempt)
    for _ in range(3):
        waiting = refused(task, RATE_LIMITED, now=NOW)
        again = begun(waiting, token=new_token(waiting.token))
        assert again.attempt != task.attempt
        assert lifecycle.match_candidate(again, reading(mark=mark)) is Match.OURS
        task = again


def test_a_mark_is_that_of_one_task_and_shows_no_token() -> None:
    marks = {attempt_mark(task_id, Attempt(token, NOW)) for task_id in ("a", "b") for token in ("x-token", "y-token")}
    assert len(marks) == 4
    assert not [mark for mark in marks if "token" in mark]


# --- a read that shows another remote task

KNOWN = created(submitting(), reading(named_ids=("gen", "alias"), remote_id="gen", upstream_id="up"))


@pytest.mark.parametrize(
    ("named_ids", "upstream_id", "stranger"),
    [
        ((), None, False),  # names none: believed
        (("gen",), None, False),
        (("alias",), "whatever", False),
        (("up",), None, False),
        (("other", "gen"), None, False),
        (("other",), None, True),
        (("other",), "up", True),
        ((), "up", False),
        ((), "other", True),
    ],
)
def test_a_read_that_names_none_of_our_ids_is_a_stranger_s(
    named_ids: tuple[str, ...], upstream_id: str | None, stranger: bool
) -> None:
    snapshot = reading(remote_id="gen", named_ids=named_ids, upstream_id=upstream_id)
    assert lifecycle.is_stranger(KNOWN, snapshot) is stranger


def test_an_upstream_id_is_no_stranger_s_while_we_know_none() -> None:
    task = created(submitting(), reading())
    assert not lifecycle.is_stranger(task, reading(upstream_id="first seen"))


def test_an_id_that_is_another_task_s_is_left_out_but_never_the_one_it_is_read_by() -> None:
    assert lifecycle.without_ids(KNOWN, ("alias",)).remote_ids == ("gen", "up")
    assert lifecycle.without_ids(KNOWN, ("up", "gen")).remote_ids == ("gen", "alias")


# --- reconciled after it expired


@pytest.mark.parametrize("state", [ProgressState.PENDING, ProgressState.PROCESSING, ProgressState.UNKNOWN])
def test_a_task_reconciled_after_it_expired_is_watched_for_its_late_video(state: ProgressState) -> None:
    lost = expired(unconfirmed())
    found = created(lost, reading(state), now=lost.deadline_at + HOUR)
    assert (found.status, found.remote_id) == (Status.EXPIRED, REMOTE_ID)
    assert found.due_at == lost.deadline_at + HOUR + SLOW_INTERVAL_MS


def test_a_task_reconciled_after_it_expired_delivers_the_video_that_is_there() -> None:
    lost = expired(unconfirmed())
    found = created(lost, done(), now=lost.deadline_at + HOUR)
    assert (found.status, found.error) == (Status.GENERATED, None)


@pytest.mark.parametrize("snapshot", [failed(), reading(ProgressState.CANCELED)])
def test_a_task_reconciled_after_it_expired_that_has_ended_is_left_alone(snapshot: ProviderSnapshot) -> None:
    lost = expired(unconfirmed())
    found = created(lost, snapshot, now=lost.deadline_at + HOUR)
    assert (found.status, found.due_at) == (Status.EXPIRED, None)


def test_a_gateway_s_own_fault_does_not_end_the_watch_over_a_reconciled_task() -> None:
    lost = expired(unconfirmed())
    found = created(lost, reading(ProgressState.FAILED, conclusive=False), now=lost.deadline_at + HOUR)
    assert found.due_at is not None


def test_a_callback_may_reveal_that_an_attempt_thought_void_did_create() -> None:
    assert created(task_in(Status.ACCEPTED), reading()).status is Status.SUBMITTED


# --- waiting for the account


def test_a_task_that_waits_for_the_account_is_due_when_it_was_told() -> None:
    first = lifecycle.wait_for_account(new_task(), now=NOW, at=LATER, policy=POLICY)
    assert (first.status, first.paused_since, first.due_at, first.checks) == (Status.ACCEPTED, NOW, LATER, 1)
    second = lifecycle.wait_for_account(first, now=LATER, at=LATER + 1, policy=POLICY)
    assert (second.paused_since, second.due_at, second.checks) == (NOW, LATER + 1, 2), "the beginning is kept"
    assert second.deadline_at == new_task().deadline_at


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ACCEPTED}))
def test_only_an_accepted_task_waits_for_the_account(status: Status) -> None:
    task = task_in(status)
    assert lifecycle.wait_for_account(task, now=NOW, at=LATER, policy=POLICY) is task


def test_a_task_waits_for_the_account_as_long_as_for_a_late_video() -> None:
    assert POLICY.paused_until(NOW) == NOW + 72 * HOUR


# --- readings


@pytest.mark.parametrize("status", OPEN)
def test_success_with_a_video_is_generated_and_asks_for_delivery(status: Status) -> None:
    task = task_in(status)
    after = apply(task, done(LINK, LINK))
    assert (after.status, after.expected_videos) == (Status.GENERATED, 2)
    assert [output.links for output in after.outputs] == [(link_digest(LINK), link_digest(LINK))]
    assert after.due_at == LATER + DELIVERY_GRACE_MS
    assert after.generated_at == LATER
    assert after.usage is not None
    assert (after.usage.cost, after.upstream_id) == ("0.4000", task.upstream_id)


def test_a_link_is_never_part_of_a_task() -> None:
    assert "signature=secret" not in repr(apply(task_in(Status.SUBMITTED), done(LINK)))


def test_an_execution_that_polls_the_provider_has_lost_the_lease_once_it_is_done() -> None:
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
def test_a_fault_of_the_gateway_itself_is_no_verdict(status: Status) -> None:
    task = task_in(status)
    assert apply(task, replace(failed("008017097"), conclusive=False)) is task


@pytest.mark.parametrize("status", [Status.GENERATED, Status.COMPLETED, Status.FAILED, Status.CANCELED])
@pytest.mark.parametrize("snapshot", [done(), failed(), reading(ProgressState.PROCESSING)])
def test_a_reading_that_comes_late_changes_no_task_that_is_done(status: Status, snapshot: ProviderSnapshot) -> None:
    task = task_in(status)
    assert apply(task, snapshot) is task


# --- deadlines


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (new_task(), "deadline_exceeded"),
        (task_in(Status.ACCEPTED), "deadline_exceeded"),
        (refused(submitting(), ACCOUNT_REFUSED), "provider_account_refused"),
        (lifecycle.note_candidates(refused_once(), ("a",), now=NOW), "submission_unconfirmed"),
        (task_in(Status.SUBMITTING), "submission_unconfirmed"),
        (task_in(Status.SUBMITTED), "deadline_exceeded"),
        (task_in(Status.PROCESSING), "deadline_exceeded"),
    ],
)
def test_a_task_without_an_answer_expires_with_its_reason(task: Task, code: str) -> None:
    after = expired(task)
    assert after.error is not None
    assert (after.status, after.error.code, after.version) == (Status.EXPIRED, code, task.version + 1)
    assert after.checks == 0


@pytest.mark.parametrize("status", sorted({Status.GENERATED, *SETTLED}))
def test_a_task_whose_outcome_is_known_cannot_expire_for_want_of_an_answer(status: Status) -> None:
    task = task_in(status)
    if status is Status.GENERATED:  # the table allows it for a copy that failed for days: the check never asks for it
        assert delivery.expire_delivery(task, now=LATER, policy=POLICY).status is Status.EXPIRED
    else:
        with pytest.raises(TransitionError):
            expired(task)


def test_an_expired_task_with_a_remote_id_is_read_within_the_hour() -> None:
    task = expired(task_in(Status.SUBMITTED))
    assert task.due_at == task.deadline_at + SLOW_INTERVAL_MS


@pytest.mark.parametrize("status", [Status.ACCEPTED, Status.SUBMITTING])
def test_an_expired_task_without_a_remote_id_is_not_read(status: Status) -> None:
    assert expired(task_in(status)).due_at is None


def test_the_slow_watch_ends_with_the_late_hours() -> None:
    task = task_in(Status.SUBMITTED)
    until = POLICY.late_until(task.deadline_at)
    assert expired(task, now=until - 1).due_at == until
    assert expired(task, now=until).due_at is None


def test_an_expired_record_is_kept_as_long_as_a_late_video_may_come() -> None:
    task = expired(task_in(Status.SUBMITTED))
    assert task.expires_at == POLICY.forget_at(POLICY.late_until(task.deadline_at))
    very_late = POLICY.late_until(task.deadline_at) + HOUR
    assert expired(task_in(Status.SUBMITTED), now=very_late).expires_at == POLICY.forget_at(very_late)


def test_a_video_that_comes_late_is_delivered() -> None:
    late = apply(task_in(Status.EXPIRED), done(), now=NOW + 50 * HOUR)
    assert (late.status, late.error, late.expires_at) == (Status.GENERATED, None, None)
    assert late.due_at == NOW + 50 * HOUR + DELIVERY_GRACE_MS
    delivered = copied(late, now=NOW + 51 * HOUR)
    assert (delivered.status, delivered.videos) == (Status.COMPLETED, (video(),))


@pytest.mark.parametrize("snapshot", [failed(), reading(ProgressState.CANCELED)])
def test_an_end_after_the_deadline_ends_the_watch_and_is_no_second_verdict(snapshot: ProviderSnapshot) -> None:
    task = task_in(Status.EXPIRED)
    after = apply(task, snapshot)
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


def test_taking_a_lease_begins_with_the_shortest_interval() -> None:
    waited = replace(task_in(Status.SUBMITTED), checks=9)
    assert lifecycle.take_lease(waited, now=LATER).checks == 0


def test_a_lease_outlives_the_next_check_by_two_minutes() -> None:
    after = lifecycle.look_again_at(task_in(Status.SUBMITTED), LATER)
    assert (after.due_at, after.checks) == (LATER + 120_000, 1)


def test_a_task_left_to_the_sweep_is_due_exactly_then() -> None:
    assert lifecycle.leave_until(task_in(Status.SUBMITTED), LATER).due_at == LATER


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELED])
def test_a_check_brings_no_settled_task_back_into_the_index(status: Status) -> None:
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
        lifecycle.wait_for_account(new_task(), now=LATER, at=LATER, policy=POLICY),
        lifecycle.note_candidates(submitting(), ("a",), now=LATER),
    ):
        assert changes(after) == len(after.history)
        assert after.history[-1].at == NOW


# --- calling off


def test_a_task_that_waits_is_called_off_and_forgotten_in_time() -> None:
    canceled = lifecycle.cancel_unsubmitted(task_in(Status.ACCEPTED), now=LATER, policy=POLICY)
    assert (canceled.status, canceled.due_at, canceled.error) == (Status.CANCELED, None, None)
    assert canceled.expires_at == POLICY.forget_at(LATER)
    assert canceled.history[-1].source == "cancel"


def test_a_task_of_a_disabled_tenant_is_called_off_with_its_reason() -> None:
    error = TaskError("tenant_disabled", "Disabled.")
    canceled = lifecycle.cancel_unsubmitted(new_task(), now=LATER, policy=POLICY, source="operator", error=error)
    assert (canceled.status, canceled.error, canceled.history[-1].source) == (Status.CANCELED, error, "operator")


def test_a_task_whose_images_are_no_longer_its_tenant_s_fails() -> None:
    error = TaskError("image_not_found", "Gone.")
    rejected = lifecycle.reject_unsubmitted(new_task(), error, now=LATER, policy=POLICY)
    assert (rejected.status, rejected.error, rejected.due_at) == (Status.FAILED, error, None)


Stop = Callable[[Task], Task]
STOPS: dict[str, Stop] = {
    "cancel": lambda task: lifecycle.cancel_unsubmitted(task, now=NOW, policy=POLICY),
    "reject": lambda task: lifecycle.reject_unsubmitted(task, TaskError("x", ""), now=NOW, policy=POLICY),
}


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ACCEPTED}))
def test_nothing_but_a_task_that_waits_is_called_off_without_a_call(status: Status, stop: str) -> None:
    task = task_in(status)
    assert STOPS[stop](task) is task


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize(
    "task",
    [
        replace(task_in(Status.ACCEPTED), candidates=(Candidate("a"),)),
        replace(task_in(Status.ACCEPTED), attempt=Attempt("token.1", NOW)),
    ],
    ids=["candidate", "call may be running"],
)
def test_a_task_that_may_exist_is_not_called_off_without_a_call(task: Task, stop: str) -> None:
    assert STOPS[stop](task) is task


@pytest.mark.parametrize("status", OPEN)
def test_a_task_that_the_provider_called_off_is_canceled_without_an_error(status: Status) -> None:
    canceled = apply(task_in(status), reading(ProgressState.CANCELED))
    assert (canceled.status, canceled.due_at, canceled.error) == (Status.CANCELED, None, None)
