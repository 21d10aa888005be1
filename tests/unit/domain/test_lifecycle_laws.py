"""Laws that hold for every task, whatever happens to it in whatever order."""

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import NOW, POLICY, REMOTE_ID, new_task, video
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import TransitionError
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError
from vidu_relay.domain.states import EVENT_TYPES, SETTLED, Status, can_transition
from vidu_relay.domain.task import Task

Step = Callable[[Task, int], Task]

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
)
jitters = st.floats(0, 1, exclude_max=True)


def read(snapshot: ProviderSnapshot) -> Step:
    def step(task: Task, now: int) -> Task:
        if task.status in (Status.COMPLETED, Status.FAILED, Status.CANCELED):
            return task  # nobody reads for a task that is done
        if task.remote_id is None:
            return lifecycle.record_created(task, snapshot, now=now, source="callback", policy=POLICY)
        return lifecycle.apply_snapshot(task, snapshot, now=now, source="check", policy=POLICY)

    return step


def not_created(jitter: float, wish: float | None) -> Step:
    return lambda task, now: lifecycle.record_not_created(
        task, now=now, retry_after_seconds=wish, jitter=jitter, policy=POLICY
    )


def delivery_fault(bad: bool, jitter: float) -> Step:
    error = TaskError("not_mp4", "") if bad else None
    return lambda task, now: lifecycle.record_delivery_fault(task, error, now=now, jitter=jitter, policy=POLICY)


steps = st.one_of(
    snapshots.map(read),
    st.builds(not_created, jitters, st.none() | st.floats(0, 86_400)),
    st.builds(delivery_fault, st.booleans(), jitters),
    st.sampled_from(
        [
            lambda task, now: lifecycle.begin_attempt(task, claim="again", now=now),
            lambda task, now: lifecycle.record_ambiguous(task, now=now),
            lambda task, now: lifecycle.record_rejected(task, TaskError("no", ""), now=now, policy=POLICY),
            lambda task, now: lifecycle.expire(task, now=now, source="check", policy=POLICY),
            lambda task, now: lifecycle.record_delivery(task, (video(),), now=now, policy=POLICY),
            lambda task, now: lifecycle.record_delivery_request(task, now=now, wait_ms=1),
            lambda task, now: lifecycle.look_again_at(task, now + 1),
            lambda task, now: lifecycle.note_hints(task, ("hint", "other"), now=now),
            lambda task, now: lifecycle.leave_until(task, now + 1),
            lambda task, now: lifecycle.cancel_unsubmitted(task, now=now, policy=POLICY),
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


histories = st.lists(st.tuples(steps, st.integers(0, 4 * 3_600_000)), max_size=15)


@given(chosen=histories)
@settings(max_examples=60, deadline=None)
def test_no_sequence_of_occurrences_breaks_the_laws(chosen: list[tuple[Step, int]]) -> None:
    seen = lives(new_task(), chosen)
    for before, after in pairwise(seen):
        if after.status is not before.status:
            assert can_transition(before.status, after.status)
        published = after.status is not before.status and after.status in EVENT_TYPES
        assert after.version == before.version + published, "the version counts published changes, and only those"
        assert after.lease >= before.lease
        assert before.remote_id in (None, after.remote_id), "a remote id, once known, stays"
        assert after.history[: len(before.history)] == before.history, "history is never rewritten"
        assert (after.task_id, after.created_at, after.deadline_at, after.fingerprint) == (
            before.task_id,
            before.created_at,
            before.deadline_at,
            before.fingerprint,
        )
        assert after.revision == before.revision, "only the store counts writes"
    last = seen[-1]
    assert len(last.history) == last.version, "one entry for each version"
    assert [entry.at for entry in last.history] == sorted(entry.at for entry in last.history)
    assert last.history[-1].status is last.status or last.status in (Status.ACCEPTED, Status.SUBMITTING)


@given(chosen=histories)
@settings(max_examples=60, deadline=None)
def test_a_task_is_due_until_it_is_settled_and_no_longer(chosen: list[tuple[Step, int]]) -> None:
    """P2: whatever happened, the sweep finds every task that still needs somebody, and no other."""
    for task in lives(new_task(), chosen):
        if task.status not in SETTLED:
            assert task.due_at is not None
            assert task.expires_at is None, "a live task is not deleted"
        elif task.status is not Status.EXPIRED:
            assert task.due_at is None
        if task.status in SETTLED:
            assert task.expires_at is not None


@given(chosen=histories)
@settings(max_examples=60, deadline=None)
def test_a_settled_task_changes_no_more_unless_a_late_video_comes(chosen: list[tuple[Step, int]]) -> None:
    seen = lives(new_task(), chosen)
    for before, after in pairwise(seen):
        if before.status in (Status.COMPLETED, Status.FAILED, Status.CANCELED):
            assert after == before
        if before.status is Status.EXPIRED:
            assert after.status in (Status.EXPIRED, Status.GENERATED)


@given(chosen=histories)
@settings(max_examples=40, deadline=None)
def test_a_completed_task_has_videos_and_a_failed_or_expired_one_a_reason(chosen: list[tuple[Step, int]]) -> None:
    for task in lives(new_task(), chosen):
        if task.status is Status.COMPLETED:
            assert task.videos
            assert task.error is None
        if task.status in (Status.FAILED, Status.EXPIRED):
            assert task.error is not None


@given(snapshot=snapshots, chosen=histories)
@settings(max_examples=40, deadline=None)
def test_the_same_reading_twice_is_as_good_as_once(snapshot: ProviderSnapshot, chosen: list[tuple[Step, int]]) -> None:
    """Callback and poller may both bring it."""
    task = lives(new_task(), chosen)[-1]
    if task.remote_id is None:
        return
    once = lifecycle.apply_snapshot(task, snapshot, now=NOW, source="callback", policy=POLICY)
    assert lifecycle.apply_snapshot(once, snapshot, now=NOW + 1, source="check", policy=POLICY) is once
