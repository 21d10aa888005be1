"""Every change a task may undergo, as pure functions from a task to the next one.

None of them writes anything. The store turns a returned task into one conditional write; a function that finds
nothing to change returns the very task it was given. `now` is in milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vidu_relay.domain.errors import TransitionError
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot, TaskError
from vidu_relay.domain.states import EVENT_TYPES, Status, can_transition
from vidu_relay.domain.submission import attempt_mark
from vidu_relay.domain.task import Attempt, HistoryEntry, Output, Task, Video
from vidu_relay.domain.watching import (
    ATTEMPT_LIMIT_MS,
    DELIVERY_GRACE_MS,
    HANDOVER_MS,
    LEASE_MS,
    SLOW_INTERVAL_MS,
    WatchPolicy,
)

__all__ = [
    "LOSABLE",
    "MAX_SOURCE_FAULTS",
    "NOT_VERDICTS",
    "adoption_fits",
    "apply_snapshot",
    "attempt_is_over",
    "begin_attempt",
    "cancel_unsubmitted",
    "drop_hints",
    "expire",
    "leave_until",
    "look_again_at",
    "never_begun",
    "new_task",
    "note_hints",
    "record_ambiguous",
    "record_created",
    "record_delivery",
    "record_delivery_fault",
    "record_delivery_request",
    "record_not_created",
    "record_rejected",
    "stop_looking",
    "take_lease",
]

NOT_VERDICTS = frozenset({"008017096", "008017097", "008017098"})
"""Failures of the gateway itself (parsing, HTTP, status check), not of the generation: the video may still come."""

MAX_SOURCE_FAULTS = 5
"""A source that is not a video this often, each time with a fresh link, is given up."""

LOSABLE = frozenset({Status.ACCEPTED, Status.SUBMITTING, Status.EXPIRED})
"""The states in which a task may lack the id of a remote task that exists all the same."""

MAX_HINTS = 4
"""How many ids of a lost create are kept: the gateway's and the upstream's, and room for one mistake each."""

CREATED_AT_TOLERANCE_MS = 60_000
"""How far the provider's clock may be off when a lost id is adopted."""


def new_task(
    *,
    task_id: str,
    tenant_id: str,
    provider: str,
    request: Mapping[str, Any],
    request_key: str | None,
    fingerprint: str,
    claim: str,
    now: int,
    source: str,
    policy: WatchPolicy,
    image_versions: tuple[str, ...] = (),
    queued: bool = False,
) -> Task:
    """A task that its caller is about to submit itself: recorded in `submitting`, before the provider call.

    `queued` records it in `accepted`, with no call begun: the caller goes on to `begin_attempt`, and whoever comes
    after it may, should it die before.
    """
    off_peak = bool(request.get("off_peak"))
    task = Task(
        task_id=task_id,
        tenant_id=tenant_id,
        status=Status.SUBMITTING,
        revision=0,
        version=1,
        provider=provider,
        created_at=now,
        updated_at=now,
        deadline_at=policy.deadline_at(now, off_peak=off_peak),
        fingerprint=fingerprint,
        request=request,
        request_key=request_key,
        image_versions=image_versions,
        attempt=Attempt(claim, now),
        # counts up from here: names of executions stay taken for 90 days, longer than the record of an earlier task
        # under the same idempotency key
        lease=now // 1000,
        # never before the attempt is over: a check in between could only wait
        due_at=max(policy.first_check_at(now, off_peak=off_peak), now + ATTEMPT_LIMIT_MS),
        history=(HistoryEntry(now, Status.SUBMITTING, source),),
    )
    if not queued:
        return task
    return replace(
        task,
        status=Status.ACCEPTED,
        attempt=Attempt(claim, now, ended_at=now),
        attempts=0,
        due_at=now + HANDOVER_MS,
        history=(HistoryEntry(now, Status.ACCEPTED, source),),
    )


def never_begun(task: Task, now: int) -> bool:
    """Whether nobody has begun to submit a queued task that is still in time: its message may be worked off again.

    One that went back to `accepted` waits for its backoff, whatever its message does.
    """
    return task.status is Status.ACCEPTED and task.attempts == 0 and not task.hints and now < task.deadline_at


def begin_attempt(task: Task, *, claim: str, now: int) -> Task:
    """`accepted` → `submitting`: the caller is about to call the provider under `claim`."""
    moved = _enter(task, Status.SUBMITTING, now, source="check")
    return replace(moved, attempt=Attempt(claim, now), attempts=task.attempts + 1, due_at=now + ATTEMPT_LIMIT_MS)


def attempt_is_over(task: Task, now: int) -> bool:
    """Whether no create call of this task can still be running."""
    attempt = task.attempt
    return attempt is None or attempt.ended_at is not None or now >= attempt.started_at + ATTEMPT_LIMIT_MS


def record_created(task: Task, snapshot: ProviderSnapshot, *, now: int, source: str, policy: WatchPolicy) -> Task:
    """The remote task is known: from the create call's reply, or adopted from a callback and read back.

    Whatever the snapshot says beyond that is applied at once, so an immediate end is one write and one event.
    """
    if task.status not in LOSABLE:
        raise TransitionError(f"{task.status} knows its remote task, or needs none")
    known = replace(task, remote_id=snapshot.remote_id, hints=(), attempt=None, checks=0)
    settled = apply_snapshot(known, snapshot, now=now, source=source, policy=policy)
    if settled.status in (Status.ACCEPTED, Status.SUBMITTING):
        settled = _enter(settled, Status.SUBMITTED, now, source)
    if settled.status is Status.EXPIRED and not _is_end(snapshot):
        return replace(settled, due_at=now + SLOW_INTERVAL_MS)
    if settled.status in (Status.SUBMITTED, Status.PROCESSING):
        first = policy.first_check_at(now, off_peak=task.off_peak)
        # a first check that is about right stands as it was set: moving it would cost two index writes
        if settled.due_at is None or not (now + first) // 2 <= settled.due_at <= first:
            return replace(settled, due_at=first)
    return settled


def record_not_created(
    task: Task, *, now: int, retry_after_seconds: float | None, jitter: float, policy: WatchPolicy
) -> Task:
    """The attempt certainly created nothing: back to `accepted`, due again after a backoff or the provider's wish."""
    wait = policy.backoff_ms(task.attempts - 1, jitter)
    if retry_after_seconds is not None:
        wait = max(wait, int(retry_after_seconds * 1000))
    moved = _enter(task, Status.ACCEPTED, now, source="create")
    attempt = replace(task.attempt, ended_at=now) if task.attempt else None
    return replace(moved, attempt=attempt, due_at=min(now + wait, task.deadline_at))


def record_rejected(task: Task, error: TaskError, *, now: int, policy: WatchPolicy) -> Task:
    """The provider refused the request for good."""
    attempt = replace(task.attempt, ended_at=now) if task.attempt else None
    return _settle(replace(task, error=error, attempt=attempt), Status.FAILED, now, "create", policy)


def record_ambiguous(task: Task, *, now: int) -> Task:
    """The attempt is over and its outcome unknown. Nobody submits again; only a callback can tell, or has told."""
    if task.attempt is None or task.status is not Status.SUBMITTING:
        return task
    due_at = now if task.hints else task.deadline_at
    return replace(task, attempt=replace(task.attempt, ended_at=now), due_at=due_at, updated_at=now)


def note_hints(task: Task, ids: tuple[str, ...], *, now: int) -> Task:
    """Remember under which ids a lost create may be found, for the check once no create call can be running.

    At most `MAX_HINTS`, the first ones; the same task if there is nothing new or nothing is lost. A task that waits to
    be submitted again keeps its moment: a callback's body must not hurry it.
    """
    fresh = tuple(hint for hint in ids if hint not in task.hints)[: MAX_HINTS - len(task.hints)]
    lost = task.remote_id is None and task.attempt is not None and task.status in LOSABLE
    if not fresh or not lost or task.attempt is None:
        return task
    if task.status is Status.ACCEPTED:
        return replace(task, hints=(*task.hints, *fresh))
    over_at = now if attempt_is_over(task, now) else task.attempt.started_at + ATTEMPT_LIMIT_MS
    return replace(task, hints=(*task.hints, *fresh), due_at=min(task.due_at or over_at, over_at))


def drop_hints(task: Task, ids: tuple[str, ...]) -> Task:
    """Forget ids that turned out not to be ours."""
    left = tuple(hint for hint in task.hints if hint not in ids)
    return replace(task, hints=left) if left != task.hints else task


def adoption_fits(task: Task, snapshot: ProviderSnapshot) -> bool:
    """Whether a remote task, named by a callback, can be the one whose id our create call lost.

    Where it shows a mark of ours, that must be this task's own. Else it must have been created, by the provider's own
    account, since the first attempt began and before the latest one was over: one that was denied to an earlier attempt
    is ours as well. A remote task that shows neither proves nothing.
    """
    if task.attempt is None:
        return False
    if snapshot.mark is not None:
        return snapshot.mark == attempt_mark(task.task_id, task.attempt)
    if snapshot.created_at is None:
        return False
    earliest = task.created_at - CREATED_AT_TOLERANCE_MS
    latest = (task.attempt.ended_at or task.attempt.started_at + ATTEMPT_LIMIT_MS) + CREATED_AT_TOLERANCE_MS
    return earliest <= snapshot.created_at <= latest


def apply_snapshot(task: Task, snapshot: ProviderSnapshot, *, now: int, source: str, policy: WatchPolicy) -> Task:
    """What a reading of the provider means for the task; the same task if it means nothing new.

    - success with at least one video → `generated`, also from `expired`;
    - success without a video is not an end: the provider contradicts itself, look again;
    - failure → `failed`, unless its code is no verdict, or the task is already expired (its clients were told);
    - canceled → `canceled`, unless the task is already expired;
    - running → `processing`; everything else, unknown words included, changes nothing.
    """
    if task.status not in (
        Status.ACCEPTED,
        Status.SUBMITTING,
        Status.SUBMITTED,
        Status.PROCESSING,
        Status.EXPIRED,
    ):
        return task
    if snapshot.state is ProgressState.SUCCEEDED and snapshot.video_urls:
        return _generated(task, snapshot, now, source)
    if snapshot.state is ProgressState.FAILED:
        if not _is_verdict(snapshot):
            return task
        error = snapshot.error or TaskError("provider_failed", "The provider reports a failure without a reason.")
        if task.status is Status.EXPIRED:
            return stop_looking(task)
        return _settle(
            replace(task, error=error, usage=snapshot.usage or task.usage, **_remote(task, snapshot)),
            Status.FAILED,
            now,
            source,
            policy,
        )
    if snapshot.state is ProgressState.CANCELED:
        if task.status is Status.EXPIRED:
            return stop_looking(task)
        return _settle(replace(task, **_remote(task, snapshot)), Status.CANCELED, now, source, policy)
    if snapshot.state is ProgressState.PROCESSING and can_transition(task.status, Status.PROCESSING):
        return replace(_enter(task, Status.PROCESSING, now, source), **_remote(task, snapshot))
    return task


def cancel_unsubmitted(task: Task, *, now: int, policy: WatchPolicy) -> Task:
    """`accepted` → `canceled`, where certainly nothing exists at the provider; otherwise the same task.

    A hint says that an attempt thought void may have created something after all: then it is not certain.
    """
    if task.status is not Status.ACCEPTED or task.hints or not attempt_is_over(task, now):
        return task
    return _settle(task, Status.CANCELED, now, "cancel", policy)


def take_lease(task: Task, *, now: int) -> Task:
    """The right to look at the task now: raises `lease`, so that every older execution has lost it."""
    return replace(task, lease=task.lease + 1, due_at=now + LEASE_MS)


def look_again_at(task: Task, at: int) -> Task:
    """Nothing changed: the next look is at `at`; the sweep steps in if it has not come two minutes later."""
    return task if task.due_at is None else replace(task, checks=task.checks + 1, due_at=at + LEASE_MS)


def leave_until(task: Task, at: int) -> Task:
    """Nobody need look before `at`: the sweep brings it back then."""
    return task if task.due_at is None else replace(task, due_at=at)


def stop_looking(task: Task) -> Task:
    """Nothing more can come of this task."""
    return replace(task, due_at=None) if task.due_at is not None else task


def expire(task: Task, *, now: int, source: str, policy: WatchPolicy) -> Task:
    """The deadline passed without an answer. With a remote id it is still looked at, slowly."""
    if task.status is Status.SUBMITTING or (task.status is Status.ACCEPTED and task.hints):
        error = TaskError(
            "submission_unconfirmed",
            "The create call ended without an answer and no callback came. The provider may have made and billed "
            "this video; it is delivered if a callback still names it.",
        )
    elif task.status is Status.ACCEPTED:
        error = TaskError("deadline_exceeded", "The provider took no submission in time. Nothing was created.")
    else:
        error = TaskError("deadline_exceeded", "The provider gave no final answer before the deadline.")
    moved = _settle(replace(task, error=error, checks=0), Status.EXPIRED, now, source, policy)
    late_until = policy.late_until(task.deadline_at)
    watched = (task.remote_id is not None or bool(task.hints)) and now < late_until
    return replace(
        moved,
        due_at=min(now + SLOW_INTERVAL_MS, late_until) if watched else None,
        expires_at=policy.forget_at(max(now, late_until)),
    )


def record_delivery_request(task: Task, *, now: int, wait_ms: int) -> Task:
    """A copy was asked for; due again when that one should long be done."""
    if task.status is not Status.GENERATED:
        return task
    requests = task.delivery_requests + 1
    return replace(task, delivery_requests=requests, due_at=now + max(wait_ms, DELIVERY_GRACE_MS))


def record_delivery(task: Task, videos: tuple[Video, ...], *, now: int, policy: WatchPolicy) -> Task:
    """`generated` → `completed`: every video is in our bucket."""
    if task.status is not Status.GENERATED:
        return task
    return _settle(replace(task, videos=videos, error=None), Status.COMPLETED, now, "delivery", policy)


def record_delivery_fault(task: Task, error: TaskError | None, *, now: int, jitter: float, policy: WatchPolicy) -> Task:
    """A copy failed: due again after a backoff, with a fresh link.

    `error` says that the *source* was bad: counted, and given up after `MAX_SOURCE_FAULTS`. None means trouble on
    the way or on our side: that is never given up.
    """
    if task.status is not Status.GENERATED:
        return task
    faults = task.source_faults + (error is not None)
    if error is not None and faults >= MAX_SOURCE_FAULTS:
        return _settle(replace(task, source_faults=faults, error=error), Status.FAILED, now, "delivery", policy)
    wait = policy.backoff_ms(task.delivery_requests, jitter)
    return replace(task, source_faults=faults, due_at=now + wait, updated_at=now)


def _is_end(snapshot: ProviderSnapshot) -> bool:
    """Whether nothing more can come of the remote task."""
    return snapshot.state is ProgressState.CANCELED or _is_verdict(snapshot)


def _is_verdict(snapshot: ProviderSnapshot) -> bool:
    """Whether the provider says that there will be no video."""
    return snapshot.state is ProgressState.FAILED and (
        snapshot.error is None or snapshot.error.code not in NOT_VERDICTS
    )


def _generated(task: Task, snapshot: ProviderSnapshot, now: int, source: str) -> Task:
    moved = _enter(task, Status.GENERATED, now, source)
    return replace(
        moved,
        **_remote(task, snapshot),
        outputs=tuple(Output(o.task_id, o.task_status, len(o.video_urls)) for o in snapshot.outputs),
        usage=snapshot.usage,
        error=None,
        due_at=now + DELIVERY_GRACE_MS,
        lease=task.lease + 1,  # whoever was watching the provider has nothing left to watch
        checks=0,
        expires_at=None,
    )


def _remote(task: Task, snapshot: ProviderSnapshot) -> dict[str, Any]:
    return {
        "upstream_id": snapshot.upstream_id or task.upstream_id,
        "remote_model": snapshot.model if snapshot.model != task.request.get("model") else None,
    }


def _settle(task: Task, status: Status, now: int, source: str, policy: WatchPolicy) -> Task:
    return replace(_enter(task, status, now, source), due_at=None, expires_at=policy.forget_at(now))


def _enter(task: Task, status: Status, now: int, source: str) -> Task:
    if not can_transition(task.status, status):
        raise TransitionError(f"{task.status} → {status}")
    if status not in EVENT_TYPES:  # accepted and submitting: a retry, not news
        return replace(task, status=status, updated_at=now)
    return replace(
        task,
        status=status,
        version=task.version + 1,
        updated_at=now,
        history=(*task.history, HistoryEntry(now, status, source)),
    )
