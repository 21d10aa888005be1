"""What each occurrence makes of a task, until its video exists."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
from vidu_relay.domain import delivery, lifecycle, submission
from vidu_relay.domain.errors import (
    AccountRefusedError,
    CreateAmbiguousError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    TransitionError,
)
from vidu_relay.domain.identifiers import link_digest
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS, DELIVERY_GRACE_MS, HANDOVER_MS, LEASE_MS, SLOW_INTERVAL_MS
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError, Usage
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.submission import (
    CLOCK_TOLERANCE_MS,
    MAX_CANDIDATES,
    MISSING_MS,
    UNCONFIRMED,
    Match,
    correlation_tag,
)
from vidu_relay.domain.task import Attempt, Candidate, Origin, Refusal, StoredRequest, Task

HOUR = 3_600_000
LATER = NOW + 60_000
OPEN = [Status.SUBMITTED, Status.PROCESSING]
RATE_LIMITED = NotCreatedError("HTTP 429")
REJECTED = CreateRejectedError("bad_prompt", "The prompt is refused.")
ACCOUNT_REFUSED = AccountRefusedError(401, "invalid_key", "The key is unknown.")
NO_ANSWER = CreateAmbiguousError("time-out")
CANCELED = reading(ProgressState.CANCELED)
UNSURE = reading(ProgressState.FAILED, conclusive=False)


def statuses_but(*left_out: Status) -> list[Status]:
    return sorted(set(Status) - set(left_out))


def apply(task: Task, snapshot: ProviderSnapshot, now: int = LATER) -> Task:
    return lifecycle.apply_snapshot(task, snapshot, now=now, source="check", policy=POLICY)


def created(task: Task, snapshot: ProviderSnapshot, now: int = LATER) -> Task:
    return submission.record_created(task, snapshot, now=now, source="create", policy=POLICY)


def refused(task: Task, error: CreateError, now: int = LATER) -> Task:
    return submission.record_create_failure(task, error, now=now, jitter=0.5, policy=POLICY)


def missing(task: Task, *ids: str, now: int) -> Task:
    return submission.note_missing(task, ids, now=now, jitter=0.5, policy=POLICY)


def begun(task: Task, now: int = LATER, token: str = "token-2") -> Task:  # noqa: S107 - names an attempt
    return submission.begin_attempt(task, token=token, now=now)


def expired(task: Task, now: int | None = None) -> Task:
    return lifecycle.expire(task, now=task.deadline_at if now is None else now, source="check", policy=POLICY)


def noted(task: Task, *ids: str, now: int = LATER) -> Task:
    return submission.note_candidates(task, ids, now=now)


def waiting(task: Task, now: int = NOW, at: int = LATER) -> Task:
    return submission.wait_for_account(task, now=now, at=at, policy=POLICY)


def unconfirmed(now: int = LATER) -> Task:
    """A task whose create call ended without an answer."""
    return refused(submitting(), NO_ANSWER, now=now)


# --- accepted


def test_a_new_task_waits_for_its_entry_point_without_an_attempt() -> None:
    task = new_task()
    assert (task.status, task.attempt, task.attempts, task.revision) == (Status.ACCEPTED, None, 0, 0)
    assert [(entry.at, entry.status, entry.source) for entry in task.history] == [(NOW, Status.ACCEPTED, "http")]
    assert task.attempt_is_over(NOW)
    assert task.due_at == NOW + HANDOVER_MS
    # from the second of creation: a later task under a reused key has higher versions than the earlier one's events
    assert task.version == task.first_version == task.lease == NOW // 1000


@pytest.mark.parametrize(("off_peak", "hours"), [(False, 2), (True, 48)])
def test_an_off_peak_task_has_two_days_and_is_first_read_after_an_hour(off_peak: bool, hours: int) -> None:
    task = lifecycle.new_task(
        "t",
        Origin("acme", 1, "key", "event", "m-1"),
        StoredRequest({"off_peak": off_peak}, "", None, ("v1",)),
        token="token",
        provider="gateway",
        now=NOW,
        policy=POLICY,
    )
    assert task.deadline_at == NOW + hours * HOUR
    assert (task.message_id, task.image_versions) == ("m-1", ("v1",))
    first = created(begun(task, now=NOW), reading(), now=NOW).due_at
    assert first == (NOW + HOUR if off_peak else NOW + HANDOVER_MS)


@pytest.mark.parametrize(
    ("task", "now", "may"),
    [
        (new_task(), NOW + 2 * HOUR - 1, True),
        (new_task(), NOW + 2 * HOUR, False),
        (new_task(attempts=1), NOW, False),
        (new_task(candidates=(Candidate("gen-1"),)), NOW, False),
        (submitting(), NOW, False),
        (refused_once(), NOW, False),
        (task_in(Status.CANCELED), NOW, False),
    ],
)
def test_an_entry_point_begins_only_what_was_not_begun_and_is_in_time(task: Task, now: int, may: bool) -> None:
    assert submission.may_begin(task, now) is may


# --- an attempt begins


def test_only_an_accepted_task_can_be_submitted() -> None:
    again = begun(task_in(Status.ACCEPTED))
    assert (again.status, again.attempts, again.attempt) == (Status.SUBMITTING, 2, Attempt("token-2", LATER))
    for status in statuses_but(Status.ACCEPTED):
        with pytest.raises(TransitionError):
            begun(task_in(status))


@pytest.mark.parametrize("due_at", [None, LATER + ATTEMPT_LIMIT_MS - 1, LATER + ATTEMPT_LIMIT_MS, LATER + HOUR])
def test_a_check_is_due_once_the_call_must_be_over_and_a_later_one_is_not_moved(due_at: int | None) -> None:
    """Moving `due_at` costs two index writes, on every healthy task."""
    over_at = LATER + ATTEMPT_LIMIT_MS
    assert begun(new_task(due_at=due_at)).due_at == max(due_at or 0, over_at)


@pytest.mark.parametrize(("now", "added"), [(NOW + 65_000, 60_000), (NOW, 0)], ids=["a minute", "clock runs back"])
def test_what_a_pause_cost_is_added_to_the_deadline(now: int, added: int) -> None:
    paused = waiting(new_task(), now=NOW + 5_000)
    after = begun(paused, now=now)
    assert (after.deadline_at, after.paused_since) == (paused.deadline_at + added, NOW + 5_000)


def test_an_attempt_is_over_when_its_end_was_recorded_or_it_cannot_be_running() -> None:
    for after, over in ((0, False), (ATTEMPT_LIMIT_MS - 1, False), (ATTEMPT_LIMIT_MS, True)):
        assert submitting().attempt_is_over(NOW + after) is over
    assert unconfirmed(NOW + 1).attempt_is_over(NOW + 1)


# --- the create reply


@pytest.mark.parametrize(
    ("snapshot", "status"),
    [
        (reading(), Status.SUBMITTED),
        (reading(ProgressState.UNKNOWN), Status.SUBMITTED),
        (reading(ProgressState.PROCESSING), Status.PROCESSING),
        (reading(ProgressState.SUCCEEDED), Status.SUBMITTED),  # no video: not an end
        (done(), Status.GENERATED),
        (failed(), Status.FAILED),
        (UNSURE, Status.SUBMITTED),
        (CANCELED, Status.CANCELED),
    ],
)
def test_the_create_reply_is_applied_at_once_in_one_published_change(
    snapshot: ProviderSnapshot, status: Status
) -> None:
    ids: dict[str, Any] = {"named_ids": ("alias-1", REMOTE_ID), "upstream_id": "up-1", "model": "other"}
    task = created(submitting(), replace(snapshot, **ids))
    assert (task.status, changes(task), task.attempt, task.candidates) == (status, 2, None, ())
    assert [entry.status for entry in task.history] == [Status.ACCEPTED, status]
    assert (task.remote_id, task.remote_ids) == (REMOTE_ID, (REMOTE_ID, "alias-1", "up-1"))
    assert task.remote_model == "other"


def test_a_first_check_is_moved_only_where_it_is_far_off() -> None:
    """Moving `due_at` costs two index writes, on every healthy task."""
    assert created(submitting(), reading(), now=NOW + 2_000).due_at == new_task().due_at
    for task in (unconfirmed(), submitting(due_at=LATER + 1), submitting(due_at=None)):
        assert created(task, reading()).due_at == LATER + 120_000


def test_a_created_task_forgets_its_refusals_its_backoff_and_its_candidates() -> None:
    task = created(begun(refused(submitting(checks=7), ACCOUNT_REFUSED)), reading())
    assert (task.account_refused_at, task.paused_since, task.checks) == (None, None, 0)
    assert created(noted(unconfirmed(), "a"), reading()).candidates == ()


def test_a_remote_task_is_attached_only_where_none_is_known() -> None:
    assert created(task_in(Status.ACCEPTED), reading()).status is Status.SUBMITTED
    for status in statuses_but(*UNCONFIRMED):
        with pytest.raises(TransitionError):
            created(task_in(status), reading(remote_id="another"))


# --- the create call gave no task


@pytest.mark.parametrize(("retry_after", "wait"), [(None, 10_000), (0.0, 10_000), (9.5, 10_000), (42.5, 42_500)])
def test_not_created_goes_back_with_a_backoff_or_a_longer_retry_after(retry_after: float | None, wait: int) -> None:
    task = refused(submitting(), NotCreatedError("HTTP 429", retry_after))
    assert (task.status, task.due_at) == (Status.ACCEPTED, LATER + wait)
    assert task.attempt == Attempt("token.1", NOW, LATER)
    assert (task.account_refused_at, task.paused_since) == (None, None)


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
    assert (task.status, task.due_at) == (Status.FAILED, None)
    assert task.error == TaskError("bad_prompt", "The prompt is refused.")
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


@pytest.mark.parametrize("error", [RATE_LIMITED, REJECTED, NO_ANSWER, ACCOUNT_REFUSED])
def test_an_attempt_s_end_is_recorded_once_and_never_later_than_it_can_have_run(error: CreateError) -> None:
    """A late note of its end would let remote tasks of later attempts pass for this one's."""
    ends = [refused(submitting(), error, now=NOW + HOUR).attempt, refused(unconfirmed(NOW + 7), error).attempt]
    assert [end.ended_at if end else None for end in ends] == [NOW + ATTEMPT_LIMIT_MS, NOW + 7]


# --- candidates: ids under which an unconfirmed create may be found


def test_a_candidate_is_read_once_no_create_call_can_be_running_and_puts_off_no_check() -> None:
    running = noted(submitting(due_at=NOW + HOUR), "a", "b")
    assert (running.candidates, running.due_at) == ((Candidate("a"), Candidate("b")), NOW + ATTEMPT_LIMIT_MS)
    over = noted(unconfirmed(), "a")
    assert (over.candidate_ids, over.due_at) == (("a",), LATER)
    assert noted(submitting(due_at=NOW + 1), "a", now=NOW).due_at == NOW + 1


def test_a_callback_s_body_does_not_hurry_a_task_that_waits_to_be_submitted_again() -> None:
    back = refused_once()
    assert (noted(back, "a").candidate_ids, noted(back, "a").due_at) == (("a",), back.due_at)


def test_a_candidate_is_noted_once_and_only_the_first_ones_are() -> None:
    task = noted(submitting(), *(f"id-{n}" for n in range(50)))
    assert task.candidate_ids == tuple(f"id-{n}" for n in range(MAX_CANDIDATES))
    assert noted(task, "id-0") is noted(task, "another") is task


def test_no_candidate_is_noted_where_the_id_is_known_or_no_call_was_made() -> None:
    for task in (new_task(), *map(task_in, statuses_but(Status.ACCEPTED, Status.SUBMITTING))):
        assert noted(task, "a") is task
    assert noted(refused(submitting(), REJECTED), "a").due_at is None, "a refused task is not due again"


def test_a_candidate_keeps_an_expired_task_polled_until_the_late_hours_end() -> None:
    task = noted(unconfirmed(), "a")
    assert expired(task).due_at == task.deadline_at + SLOW_INTERVAL_MS
    assert expired(task, now=POLICY.late_until(task.deadline_at)).due_at is None


def test_candidates_of_another_task_are_dropped_and_the_others_kept() -> None:
    task = noted(unconfirmed(), "a", "b")
    assert submission.drop_candidates(task, ("a", "x")).candidate_ids == ("b",)
    assert submission.drop_candidates(task, ("x",)) is task


# --- candidates that the provider does not know

LIMITED_WITH_ID = refused(submitting(), NotCreatedError("HTTP 429", 30.0, candidates=("a",)))
REJECTED_WITH_ID = refused(submitting(), CreateRejectedError("bad", "No.", candidates=("a",)))
AMBIGUOUS_WITH_ID = refused(submitting(), CreateAmbiguousError("HTTP 500", candidates=("a",)))


def test_a_candidate_that_is_missing_once_is_not_gone() -> None:
    """The provider may show a new task only after a moment."""
    task = missing(LIMITED_WITH_ID, "a", now=LATER)
    assert (task.status, task.candidates) == (Status.SUBMITTING, (Candidate("a", LATER, replied=True),))
    assert missing(task, "a", now=LATER + MISSING_MS - 1) is task, "not a minute apart"
    assert missing(LIMITED_WITH_ID, "x", now=LATER) is LIMITED_WITH_ID, "no candidate"


def test_missing_for_a_minute_the_reply_s_own_word_counts() -> None:
    gone = LATER + MISSING_MS
    again, final = (missing(missing(t, "a", now=LATER), "a", now=gone) for t in (LIMITED_WITH_ID, REJECTED_WITH_ID))
    assert (again.status, again.candidates, again.due_at) == (Status.ACCEPTED, (), gone + 30_000)
    assert again.attempt == Attempt("token.1", NOW, LATER)
    assert (final.status, final.error, final.due_at) == (Status.FAILED, TaskError("bad", "No."), None)


@pytest.mark.parametrize("named", [LIMITED_WITH_ID, REJECTED_WITH_ID])
def test_while_another_candidate_is_not_missing_nothing_is_certain(named: Task) -> None:
    late = missing(missing(noted(named, "b"), "a", now=LATER), "a", now=LATER + HOUR)
    assert (late.status, late.candidate_ids) == (Status.SUBMITTING, ("a", "b"))
    fresh = missing(late, "a", "b", now=LATER + HOUR)
    assert fresh.status is Status.SUBMITTING, "b is missing for the first time"
    assert missing(fresh, "a", "b", now=LATER + HOUR + MISSING_MS).status is not Status.SUBMITTING


def test_missing_candidates_stay_without_a_refusal_and_end_no_task_that_expired() -> None:
    for task, status in ((AMBIGUOUS_WITH_ID, Status.SUBMITTING), (expired(REJECTED_WITH_ID), Status.EXPIRED)):
        after = missing(missing(task, "a", now=LATER), "a", now=LATER + HOUR)
        assert (after.status, after.candidates) == (status, (Candidate("a", LATER, replied=True),))


def test_a_refusal_whose_candidates_all_were_another_s_counts_at_once() -> None:
    assert missing(submission.drop_candidates(REJECTED_WITH_ID, ("a",)), now=LATER).status is Status.FAILED


# --- is the remote task under a candidate ours?


@pytest.mark.parametrize(
    ("created_at", "match"),
    [
        (NOW - CLOCK_TOLERANCE_MS - 1, Match.UNPROVEN),
        (NOW - CLOCK_TOLERANCE_MS, Match.OURS),
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
    assert submission.match_candidate(unconfirmed(), reading(created_at=shown, clock_offset_ms=offset)) is match


TAG = correlation_tag(new_task().task_id, Attempt("token.1", NOW))


@pytest.mark.parametrize(
    ("task", "shown", "match"),
    [
        (submitting(), {"created_at": NOW + ATTEMPT_LIMIT_MS + CLOCK_TOLERANCE_MS}, Match.OURS),
        (submitting(), {"created_at": NOW + ATTEMPT_LIMIT_MS + CLOCK_TOLERANCE_MS + 1}, Match.UNPROVEN),
        (unconfirmed(), {"created_at": NOW + 3 * HOUR}, Match.UNPROVEN),  # a clock whose offset is not known
        (begun(refused_once(), now=NOW + HOUR), {"created_at": NOW + 1}, Match.OURS),  # of an earlier attempt
        (new_task(), {}, Match.UNPROVEN),  # never attempted
        *((submitting(), {"tag": TAG, "created_at": at}, Match.OURS) for at in (None, NOW, 1)),
        *((submitting(), {"tag": "another", "created_at": at}, Match.ANOTHERS) for at in (None, NOW, 1)),
    ],
)
def test_a_candidate_is_ours_by_its_mark_else_by_its_moment_within_the_attempts(
    task: Task, shown: dict[str, Any], match: Match
) -> None:
    assert submission.match_candidate(task, reading(**shown)) is match


def test_a_candidate_without_mark_or_moment_is_ours_only_if_our_own_reply_named_it() -> None:
    unnamed = CreateAmbiguousError("names a task in an unknown way", candidates=("r-1",))
    called_back = noted(submitting(), "r-1", now=NOW)
    for task, match in (
        (refused(submitting(), unnamed), Match.OURS),
        (refused(called_back, unnamed), Match.OURS),
        (called_back, Match.UNPROVEN),
    ):
        (candidate,) = task.candidates
        found = submission.match_candidate(task, reading(created_at=None), replied=candidate.replied)
        assert (found, candidate.replied) == (match, match is Match.OURS)
    assert submission.match_candidate(submitting(), reading(created_at=1), replied=True) is Match.UNPROVEN


def test_a_video_denied_to_an_earlier_attempt_is_known_by_its_tag() -> None:
    task = submitting()
    for number in range(3):
        back = refused(task, RATE_LIMITED, now=NOW)
        again = begun(back, token=f"{back.token}.again-{number}")
        assert again.attempt != task.attempt
        assert submission.match_candidate(again, reading(tag=TAG)) is Match.OURS
        task = again


# --- a read that shows another remote task

KNOWN = created(submitting(), reading(named_ids=("gen", "alias"), remote_id="gen", upstream_id="up"))


@pytest.mark.parametrize(
    ("named_ids", "upstream_id", "other"),
    [
        ((), None, False),  # names none: taken
        (("alias",), "whatever", False),
        (("up",), None, False),
        (("other", "gen"), None, False),
        (("other",), "up", True),
        ((), "up", False),
        ((), "other", True),
    ],
)
def test_a_read_that_names_none_of_our_ids_is_a_stranger_s(
    named_ids: tuple[str, ...], upstream_id: str | None, other: bool
) -> None:
    snapshot = reading(remote_id="gen", named_ids=named_ids, upstream_id=upstream_id)
    assert lifecycle.shows_another_task(KNOWN, snapshot) is other
    assert not lifecycle.shows_another_task(created(submitting(), reading()), reading(upstream_id="first seen"))


def test_an_id_that_is_another_task_s_is_left_out_but_never_the_one_it_is_read_by() -> None:
    assert lifecycle.without_ids(KNOWN, ("alias",)).remote_ids == ("gen", "up")
    assert lifecycle.without_ids(KNOWN, ("up", "gen")).remote_ids == ("gen", "alias")


@pytest.mark.parametrize(
    ("snapshot", "status", "wait"),
    [
        *(
            (reading(state), Status.EXPIRED, SLOW_INTERVAL_MS)
            for state in (ProgressState.PENDING, ProgressState.PROCESSING)
        ),
        (reading(ProgressState.UNKNOWN), Status.EXPIRED, SLOW_INTERVAL_MS),
        (UNSURE, Status.EXPIRED, SLOW_INTERVAL_MS),
        (done(), Status.GENERATED, DELIVERY_GRACE_MS),
        (failed(), Status.EXPIRED, None),
        (CANCELED, Status.EXPIRED, None),
    ],
)
def test_a_task_reconciled_after_it_expired_is_read_on_until_the_provider_is_done(
    snapshot: ProviderSnapshot, status: Status, wait: int | None
) -> None:
    lost = expired(unconfirmed())
    found = created(lost, snapshot, now=lost.deadline_at + HOUR)
    assert (found.status, found.remote_id, found.error is None) == (status, REMOTE_ID, status is Status.GENERATED)
    assert found.due_at == (None if wait is None else lost.deadline_at + HOUR + wait)


# --- waiting for the account


def test_a_task_that_waits_for_the_account_is_due_when_the_probe_is_and_keeps_its_beginning() -> None:
    first = waiting(new_task())
    assert (first.status, first.paused_since, first.due_at, first.checks) == (Status.ACCEPTED, NOW, LATER, 1)
    second = waiting(first, now=LATER, at=LATER + 1)
    assert (second.paused_since, second.due_at, second.checks) == (NOW, LATER + 1, 2)
    assert second.deadline_at == new_task().deadline_at
    assert waiting(first, at=NOW + 1000 * HOUR).due_at == POLICY.paused_until(NOW), "as long as for a late video"


# --- readings


@pytest.mark.parametrize("status", OPEN)
def test_success_with_a_video_is_generated_and_asks_for_delivery(status: Status) -> None:
    task = task_in(status)
    after = apply(task, done(LINK, LINK))
    assert (after.status, after.expected_videos) == (Status.GENERATED, 2)
    assert [output.links for output in after.outputs] == [(link_digest(LINK), link_digest(LINK))]
    assert "signature=secret" not in repr(after), "a link is never part of a task"
    assert (after.due_at, after.generated_at) == (LATER + DELIVERY_GRACE_MS, LATER)
    assert after.lease == task.lease + 1, "an execution that polls the provider has lost it"
    assert after.usage is not None
    assert (after.usage.cost, after.upstream_id) == ("0.4000", task.upstream_id)


NO_VIDEO = [(), (ProviderOutput("u", "done"),), (ProviderOutput(None, None), ProviderOutput("u", "done"))]


@pytest.mark.parametrize(
    ("snapshot", "statuses"),
    [
        *((reading(ProgressState.SUCCEEDED, outputs=outputs), [*OPEN, Status.EXPIRED]) for outputs in NO_VIDEO),
        (reading(ProgressState.UNKNOWN), OPEN),
        (reading(ProgressState.PENDING), OPEN),
        (reading(ProgressState.PROCESSING), [Status.PROCESSING, Status.EXPIRED]),
        (UNSURE, [*OPEN, Status.EXPIRED]),
        *(
            (snapshot, [Status.GENERATED, Status.COMPLETED, Status.FAILED, Status.CANCELED])
            for snapshot in (done(), failed(), reading(ProgressState.PROCESSING))
        ),
    ],
    ids=repr,
)
def test_a_reading_that_is_no_news_changes_nothing(snapshot: ProviderSnapshot, statuses: list[Status]) -> None:
    for task in map(task_in, statuses):
        assert apply(task, snapshot) is task


@pytest.mark.parametrize("status", OPEN)
def test_a_failure_settles_the_task_with_its_reason_or_without(status: Status) -> None:
    task = apply(task_in(status), failed("008017099"))
    assert (task.status, task.due_at, task.expires_at) == (Status.FAILED, None, POLICY.forget_at(LATER))
    assert task.error == TaskError("008017099", "Internal generation error")
    bare = apply(task_in(status), reading(ProgressState.FAILED))
    assert bare.error is not None
    assert (bare.status, bare.error.code) == (Status.FAILED, "provider_failed")
    canceled = apply(task_in(status), CANCELED)
    assert (canceled.status, canceled.due_at, canceled.error) == (Status.CANCELED, None, None)


@pytest.mark.parametrize("end", [failed(), CANCELED])
def test_what_a_task_cost_is_kept_when_it_ends_without_a_video(end: ProviderSnapshot) -> None:
    billed = Usage("0.2")
    assert apply(task_in(Status.SUBMITTED), replace(end, usage=billed)).usage == billed
    assert apply(replace(task_in(Status.SUBMITTED), usage=billed), end).usage == billed


# --- deadlines


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (new_task(), "deadline_exceeded"),
        (task_in(Status.ACCEPTED), "deadline_exceeded"),
        (refused(submitting(), ACCOUNT_REFUSED), "provider_account_refused"),
        (noted(refused_once(), "a"), "submission_unconfirmed"),
        (task_in(Status.SUBMITTING), "submission_unconfirmed"),
        (task_in(Status.SUBMITTED), "deadline_exceeded"),
        (task_in(Status.PROCESSING), "deadline_exceeded"),
    ],
)
def test_a_task_without_an_answer_expires_with_its_reason(task: Task, code: str) -> None:
    after = expired(replace(task, checks=3))
    assert after.error is not None
    assert (after.status, after.error.code, after.version) == (Status.EXPIRED, code, task.version + 1)
    assert after.checks == 0
    assert ("Nothing was created" in after.error.message) is (task.status is Status.ACCEPTED and not task.candidates)
    read_on = task.remote_id is not None or bool(task.candidates)
    assert after.due_at == (task.deadline_at + SLOW_INTERVAL_MS if read_on else None)


def test_a_task_whose_outcome_is_known_cannot_expire_for_want_of_an_answer() -> None:
    for status in sorted(SETTLED):
        with pytest.raises(TransitionError):
            expired(task_in(status))
    # the table allows it for a copy that failed for days: the check never asks for it
    copy_failed = delivery.expire_delivery(task_in(Status.GENERATED), now=LATER, policy=POLICY)
    assert copy_failed.status is Status.EXPIRED


def test_an_expired_task_is_read_until_the_late_hours_end_and_kept_as_long() -> None:
    task = task_in(Status.SUBMITTED)
    until = POLICY.late_until(task.deadline_at)
    assert expired(task, now=until - 1).due_at == until
    assert expired(task, now=until).due_at is None
    for now, kept_from in ((task.deadline_at, until), (until + HOUR, until + HOUR)):
        assert expired(task, now=now).expires_at == POLICY.forget_at(kept_from)


def test_a_video_that_comes_late_is_delivered() -> None:
    late = apply(task_in(Status.EXPIRED), done(), now=NOW + 50 * HOUR)
    assert (late.status, late.error, late.expires_at) == (Status.GENERATED, None, None)
    assert late.due_at == NOW + 50 * HOUR + DELIVERY_GRACE_MS
    delivered = copied(late, now=NOW + 51 * HOUR)
    assert (delivered.status, delivered.videos) == (Status.COMPLETED, (video(),))


@pytest.mark.parametrize("snapshot", [failed(), CANCELED])
def test_an_end_after_the_deadline_ends_the_reads_and_is_no_second_end(snapshot: ProviderSnapshot) -> None:
    task = task_in(Status.EXPIRED)
    assert apply(task, snapshot) == replace(task, due_at=None)


# --- leases


def test_taking_a_lease_takes_it_from_everybody_else_and_begins_with_the_shortest_interval() -> None:
    task = replace(task_in(Status.SUBMITTED), checks=9)
    once, twice = (lifecycle.take_lease(t, now=LATER) for t in (task, lifecycle.take_lease(task, now=NOW)))
    assert (once.lease, twice.lease) == (task.lease + 1, task.lease + 2)
    assert (once.due_at, once.checks) == (LATER + LEASE_MS, 0)


def test_a_lease_outlives_the_next_check_by_two_minutes_and_a_task_left_to_the_sweep_is_due_then() -> None:
    task = task_in(Status.SUBMITTED)
    after = lifecycle.poll_again_at(task, LATER)
    assert (after.due_at, after.checks) == (LATER + 120_000, 1)
    assert lifecycle.leave_until(task, LATER).due_at == LATER


def test_bookkeeping_changes_no_task_that_has_moved_on() -> None:
    for task in map(task_in, (Status.COMPLETED, Status.FAILED, Status.CANCELED)):
        assert lifecycle.poll_again_at(task, LATER) is lifecycle.leave_until(task, LATER) is task
        assert lifecycle.stop_polling(task) is task
    for task in map(task_in, statuses_but(Status.ACCEPTED)):
        assert waiting(task) is task
    for task in map(task_in, statuses_but(Status.SUBMITTING)):
        assert submission.record_unknown_outcome(task, now=LATER) is task


# --- ended by us

REASON = TaskError("tenant_disabled", "Disabled.")
Stop = Callable[[Task], Task]
STOPS: dict[str, tuple[Stop, tuple[Status, TaskError | None, str]]] = {
    "cancel": (
        lambda task: lifecycle.cancel_unsubmitted(task, now=LATER, policy=POLICY),
        (Status.CANCELED, None, "cancel"),
    ),
    "tenant disabled": (
        lambda task: lifecycle.cancel_unsubmitted(task, now=LATER, policy=POLICY, source="operator", error=REASON),
        (Status.CANCELED, REASON, "operator"),
    ),
    "images taken away": (
        lambda task: lifecycle.reject_unsubmitted(task, REASON, now=LATER, policy=POLICY),
        (Status.FAILED, REASON, "check"),
    ),
}


@pytest.mark.parametrize(("stop", "end"), STOPS.values(), ids=STOPS)
def test_only_a_task_that_certainly_does_not_exist_is_ended_without_a_call(
    stop: Stop, end: tuple[Status, TaskError | None, str]
) -> None:
    for task in (new_task(), task_in(Status.ACCEPTED)):
        ended = stop(task)
        assert (ended.status, ended.error, ended.history[-1].source) == end
        assert (ended.due_at, ended.expires_at) == (None, POLICY.forget_at(LATER))
    may_exist = (
        replace(task_in(Status.ACCEPTED), candidates=(Candidate("a"),)),
        replace(task_in(Status.ACCEPTED), attempt=Attempt("token.1", NOW)),
    )
    for task in (*may_exist, *map(task_in, statuses_but(Status.ACCEPTED))):
        assert stop(task) is task
