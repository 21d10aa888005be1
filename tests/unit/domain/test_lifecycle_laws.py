"""Laws that hold for every task, whatever happens to it in whatever order."""

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import NOW, POLICY, REMOTE_ID, changes, new_task, video
from vidu_relay.domain import delivery, lifecycle, submission
from vidu_relay.domain.delivery import Copies
from vidu_relay.domain.errors import (
    AccountRefusedError,
    CreateAmbiguousError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    TransitionError,
)
from vidu_relay.domain.notification import is_notified, latest_notified, status_of
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError
from vidu_relay.domain.states import EVENT_TYPES, SETTLED, Status, can_transition
from vidu_relay.domain.submission import MAX_CANDIDATES
from vidu_relay.domain.task import Task

Step = Callable[[Task, int], Task]

DONE = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})

snapshots = st.builds(
    ProviderSnapshot,
    remote_id=st.just(REMOTE_ID),
    state=st.sampled_from(ProgressState),
    outputs=st.lists(
        st.builds(
            ProviderOutput,
            st.just("upstream"),
            st.just("done"),
            st.lists(st.just("https://a.example/v"), max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    error=st.none() | st.builds(TaskError, st.sampled_from(["008017095", "008017097", "x"]), st.just("why")),
    named_ids=st.lists(st.sampled_from([REMOTE_ID, "alias"]), max_size=2).map(tuple),
    upstream_id=st.none() | st.just("upstream"),
    conclusive=st.booleans(),
)
jitters = st.floats(0, 1, exclude_max=True)
ids = st.lists(st.sampled_from(["one", "two", "three"]), max_size=2, unique=True).map(tuple)
waits = st.none() | st.floats(0, 86_400)
create_errors: st.SearchStrategy[CreateError] = st.one_of(
    st.builds(lambda wait, named: NotCreatedError("429", wait, candidates=named), waits, ids),
    st.builds(lambda named: AccountRefusedError(401, "key", "", candidates=named), ids),
    st.builds(lambda named: CreateRejectedError("no", "", candidates=named), ids),
    st.builds(lambda named: CreateAmbiguousError("500", candidates=named), ids),
)


def read(snapshot: ProviderSnapshot) -> Step:
    def step(task: Task, now: int) -> Task:
        if task.status in DONE:
            return task  # no part reads for a task that is done
        if task.remote_id is None:
            return submission.record_created(task, snapshot, now=now, source="callback", policy=POLICY)
        return lifecycle.apply_snapshot(task, snapshot, now=now, source="check", policy=POLICY)

    return step


def create_failed(error: CreateError, jitter: float) -> Step:
    """As `attempt_submission` records it: only for the attempt that is under way."""
    return lambda task, now: (
        submission.record_create_failure(task, error, now=now, jitter=jitter, policy=POLICY)
        if task.status is Status.SUBMITTING
        else task
    )


def candidates_missing(named: tuple[str, ...], jitter: float) -> Step:
    return lambda task, now: (
        task if task.status in DONE else submission.note_missing(task, named, now=now, jitter=jitter, policy=POLICY)
    )


def copies(came: int, bad: bool, jitter: float) -> Step:
    return lambda task, now: delivery.record_copies(
        task,
        Copies(tuple(video(number=number) for number in range(1, came + 1)), TaskError("not_mp4", ""), bad, int(bad)),
        now=now,
        jitter=jitter,
        policy=POLICY,
    )


def begin(task: Task, now: int) -> Task:
    """With a token of its own; a check that finds candidates reads those first."""
    if task.candidates:
        return task
    return submission.begin_attempt(task, token=f"token-{task.attempts + 1}", now=now)


def expire(task: Task, now: int) -> Task:
    """As a check does it: a video that was made is waited for by its own rules."""
    if task.status is Status.GENERATED:
        return delivery.expire_delivery(task, now=now, policy=POLICY)
    return lifecycle.expire(task, now=now, source="check", policy=POLICY)


steps = st.one_of(
    snapshots.map(read),
    st.builds(create_failed, create_errors, jitters),
    st.builds(candidates_missing, ids, jitters),
    st.builds(copies, st.integers(0, 4), st.booleans(), jitters),
    st.sampled_from(
        [
            begin,
            expire,
            lambda task, now: submission.record_unknown_outcome(task, now=now),
            lambda task, now: submission.wait_for_account(task, now=now, at=now + 1, policy=POLICY),
            lambda task, now: delivery.record_delivery_request(task, now=now, wait_ms=1),
            lambda task, now: delivery.reopen(task, now=now),
            lambda task, now: lifecycle.poll_again_at(task, now + 1),
            lambda task, now: submission.note_candidates(task, ("one", "two", "three", "four", "five"), now=now),
            lambda task, _: submission.drop_candidates(task, ("one", "two")),
            lambda task, now: lifecycle.leave_until(task, now + 1),
            lambda task, now: lifecycle.cancel_unsubmitted(task, now=now, policy=POLICY),
            lambda task, now: lifecycle.reject_unsubmitted(task, TaskError("gone", ""), now=now, policy=POLICY),
        ]
    ),
)


def lives(task: Task, chosen: list[tuple[Step, int]]) -> list[Task]:
    """The task after each step that is allowed, in order."""
    seen, now = [task], NOW
    for step, pause in chosen:
        now += pause
        try:
            seen.append(step(seen[-1], now))
        except TransitionError:
            continue
    return seen


histories = st.lists(st.tuples(steps, st.integers(0, 4 * 3_600_000)), max_size=25)


@given(chosen=histories, snapshot=snapshots)
@settings(max_examples=300, deadline=None)
def test_no_sequence_of_occurrences_breaks_the_laws(chosen: list[tuple[Step, int]], snapshot: ProviderSnapshot) -> None:
    seen = lives(new_task(), chosen)
    for before, after in pairwise(seen):
        only_what_may_change_changes(before, after)
        a_second_create_call_needs_a_first_that_created_nothing(before, after)
        an_attempt_ends_once_and_in_time(before, after)
    for task in seen:
        due_until_settled(task)
        an_end_has_its_videos_or_its_reason(task)
    history_is_whole(seen[-1])
    if seen[-1].remote_id is not None:  # callback and poller may both bring a reading: twice is as good as once
        once = lifecycle.apply_snapshot(seen[-1], snapshot, now=NOW, source="callback", policy=POLICY)
        assert lifecycle.apply_snapshot(once, snapshot, now=NOW + 1, source="check", policy=POLICY) is once


def only_what_may_change_changes(before: Task, after: Task) -> None:
    if before.status in DONE:
        assert after == before
    if before.status is Status.EXPIRED:
        assert after.status in (Status.EXPIRED, Status.GENERATED), "only a late video leaves it"
    entered = after.status is not before.status and after.status in EVENT_TYPES
    assert after.status is before.status or can_transition(before.status, after.status)
    noticed = len(after.history) > len(before.history) and after.history[-1].notice
    assert after.version == before.version + (entered or noticed), "the version counts published changes only"
    assert after.lease >= before.lease
    assert before.remote_id in (None, after.remote_id), "a remote id, once known, stays"
    assert set(before.remote_ids) - {before.upstream_id} <= set(after.remote_ids)
    assert after.history[: len(before.history)] == before.history, "history is never rewritten"
    for name in ("task_id", "created_at", "request_digest", "revision"):
        assert getattr(after, name) == getattr(before, name)
    moved = after.deadline_at - before.deadline_at
    assert moved == 0 or (moved > 0 and before.paused_since is not None), "only a pause moves the deadline"
    assert {kept.number for kept in before.videos} <= {kept.number for kept in after.videos}, "a video is kept"


def a_second_create_call_needs_a_first_that_created_nothing(before: Task, after: Task) -> None:
    """P1."""
    if after.attempts > before.attempts:
        assert after.attempts == before.attempts + 1
        assert (before.status, before.remote_id, before.candidates) == (Status.ACCEPTED, None, ())
        assert before.attempt is None or before.attempt.ended_at is not None
    if after.status is Status.ACCEPTED:
        assert after.attempt is None or (after.attempt.ended_at is not None and after.attempt.refusal is None)


def an_attempt_ends_once_and_in_time(before: Task, after: Task) -> None:
    one, two = before.attempt, after.attempt
    if two is not None and two.ended_at is not None:
        assert two.started_at <= two.ended_at <= two.started_at + ATTEMPT_LIMIT_MS
    if one is not None and two is not None and one.token == two.token:
        assert two.started_at == one.started_at
        assert one.ended_at in (None, two.ended_at)


def due_until_settled(task: Task) -> None:
    """P2: the sweep finds every task that still needs a check, and no other."""
    if task.status in SETTLED:
        assert task.expires_at is not None
        assert task.due_at is None or task.status is Status.EXPIRED
    else:
        assert task.due_at is not None
        assert task.expires_at is None, "a live task is not deleted"


def an_end_has_its_videos_or_its_reason(task: Task) -> None:
    if task.status is Status.COMPLETED:
        assert len(task.videos) >= task.expected_videos > 0
    if task.status in (Status.COMPLETED, Status.GENERATED):
        assert task.error is None
        assert task.expected_videos > 0
    if task.status in (Status.FAILED, Status.EXPIRED):
        assert task.error is not None


def history_is_whole(task: Task) -> None:
    """One entry for each version; a delay is published once for each time that the video was made."""
    assert len(task.history) == changes(task)
    assert [entry.at for entry in task.history] == sorted(entry.at for entry in task.history)
    assert task.history[-1].status is task.status or task.status in (Status.ACCEPTED, Status.SUBMITTING)
    assert len(task.candidates) <= MAX_CANDIDATES
    assert len(set(task.candidate_ids)) == len(task.candidates)
    since_made = 0
    for entry in task.history:
        since_made = since_made + 1 if entry.notice else 0
        assert since_made <= 1
        assert not entry.notice or entry.status is Status.GENERATED
    for version in range(task.first_version, task.version + 1):
        assert status_of(task, version) is not None
    assert status_of(task, task.first_version - 1) is None
    latest = latest_notified(task)
    assert latest is None or is_notified(task, latest)
