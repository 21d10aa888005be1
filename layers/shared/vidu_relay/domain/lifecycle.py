"""Every change of a task until its video exists, as pure functions from a task to the next one.

None of them writes anything. The store turns a returned task into one conditional write; a function that finds
nothing to change returns the very task it was given. `now` is in milliseconds since the epoch. The copy of the videos
has its own changes: `vidu_relay.domain.delivery`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

from vidu_relay.domain.errors import (
    AccountRefusedError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    TransitionError,
)
from vidu_relay.domain.identifiers import link_digest
from vidu_relay.domain.polling import (
    ATTEMPT_LIMIT_MS,
    DELIVERY_GRACE_MS,
    HANDOVER_MS,
    LEASE_MS,
    PROBE_MS,
    SLOW_INTERVAL_MS,
    PollingPolicy,
)
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot, TaskError
from vidu_relay.domain.states import EVENT_TYPES, Status, can_transition
from vidu_relay.domain.submission import correlation_tag
from vidu_relay.domain.task import Attempt, Candidate, HistoryEntry, Output, Refusal, Task

__all__ = [
    "UNCONFIRMED",
    "Match",
    "apply_snapshot",
    "attempt_is_over",
    "begin_attempt",
    "cancel_unsubmitted",
    "drop_candidates",
    "enter",
    "expire",
    "is_stranger",
    "leave_until",
    "match_candidate",
    "may_begin",
    "new_task",
    "note_candidates",
    "note_missing",
    "note_shown",
    "poll_again_at",
    "record_create_failure",
    "record_created",
    "record_unknown_outcome",
    "reject_unsubmitted",
    "settle",
    "stop_polling",
    "take_lease",
    "wait_for_account",
    "without_ids",
]

UNCONFIRMED = frozenset({Status.ACCEPTED, Status.SUBMITTING, Status.EXPIRED})
"""The states in which a task may lack the id of a remote task that exists all the same."""

MAX_CANDIDATES = 4
"""How many ids of an unconfirmed create are kept: the gateway's and the upstream's, and room for one mistake each."""

MISSING_MS = 60_000
"""A candidate that the provider answers with 404 twice, this far apart, does not exist."""

CLOCK_TOLERANCE_MS = 60_000
"""How far a remote task's moment of creation may lie outside of the attempts, once the provider's clock is measured."""


def new_task(
    *,
    task_id: str,
    token: str,
    tenant_id: str,
    provider: str,
    request: Mapping[str, Any],
    request_key: str | None,
    request_digest: str,
    now: int,
    source: str,
    policy: PollingPolicy,
    image_versions: tuple[str, ...] = (),
    message_id: str | None = None,
) -> Task:
    """An accepted task. Its entry point goes on to `begin_attempt`; should that die before, a check does."""
    off_peak = bool(request.get("off_peak"))
    second = now // 1000
    return Task(
        task_id=task_id,
        token=token,
        tenant_id=tenant_id,
        status=Status.ACCEPTED,
        revision=0,
        # versions and leases count up from here: the record of an earlier task under the same idempotency key may be
        # gone, while its events are remembered, and the names of its executions stay taken for 90 days
        version=second,
        lease=second,
        provider=provider,
        created_at=now,
        updated_at=now,
        deadline_at=policy.deadline_at(now, off_peak=off_peak),
        request_digest=request_digest,
        request=request,
        request_key=request_key,
        message_id=message_id,
        image_versions=image_versions,
        due_at=now + HANDOVER_MS,
        history=(HistoryEntry(now, Status.ACCEPTED, source),),
    )


def may_begin(task: Task, now: int) -> bool:
    """Whether an entry point may begin the first create call of a task: no attempt was begun, and it is in time.

    A task that went back to `accepted` waits for its backoff: a check begins its next attempt.
    """
    return task.status is Status.ACCEPTED and task.attempts == 0 and not task.candidates and now < task.deadline_at


def begin_attempt(task: Task, *, token: str, now: int) -> Task:
    """`accepted` → `submitting`: the caller is about to call the provider under `token`.

    The deadline stands still while the account is refused: the wait since then, or since the latest probe, is added.
    """
    paused = 0
    if task.paused_since is not None:
        counted = task.attempt.started_at if task.attempt else task.paused_since
        paused = max(0, now - max(task.paused_since, counted))
    moved = enter(task, Status.SUBMITTING, now, source="check")
    over_at = now + ATTEMPT_LIMIT_MS
    return replace(
        moved,
        attempt=Attempt(token, now),
        attempts=task.attempts + 1,
        deadline_at=task.deadline_at + paused,
        due_at=task.due_at if task.due_at is not None and task.due_at >= over_at else over_at,
    )


def attempt_is_over(task: Task, now: int) -> bool:
    """Whether no create call of this task can still be running."""
    attempt = task.attempt
    return attempt is None or attempt.ended_at is not None or now >= attempt.started_at + ATTEMPT_LIMIT_MS


def record_created(task: Task, snapshot: ProviderSnapshot, *, now: int, source: str, policy: PollingPolicy) -> Task:
    """The remote task is known: from the create call's reply, or a candidate that our own read proved.

    Whatever the snapshot says beyond that is applied at once, so an immediate end is one write and one event.
    """
    if task.status not in UNCONFIRMED:
        raise TransitionError(f"{task.status} knows its remote task, or needs none")
    known = replace(
        task,
        remote_id=snapshot.remote_id,
        aliases=tuple(name for name in snapshot.named_ids if name != snapshot.remote_id),
        candidates=(),
        attempt=None,
        account_refused_at=None,
        paused_since=None,
        checks=0,
    )
    settled = apply_snapshot(known, snapshot, now=now, source=source, policy=policy)
    if settled.status in (Status.ACCEPTED, Status.SUBMITTING):
        settled = replace(enter(settled, Status.SUBMITTED, now, source), **_remote(settled, snapshot))
    if settled.status is Status.EXPIRED and not _is_end(snapshot):
        return replace(settled, due_at=now + SLOW_INTERVAL_MS)
    if settled.status in (Status.SUBMITTED, Status.PROCESSING):
        first = policy.first_check_at(now, off_peak=task.off_peak)
        # a first check that is about right stands as it was set: moving it would cost two index writes
        if settled.due_at is None or not (now + first) // 2 <= settled.due_at <= first:
            return replace(settled, due_at=first)
    return settled


def record_create_failure(task: Task, error: CreateError, *, now: int, jitter: float, policy: PollingPolicy) -> Task:
    """What a create call that gave no task means.

    - An id in the reply may be the task, and so may one that a callback named before a refusal: the attempt stays
      unconfirmed until that id was read; then the reply's own word counts (`note_missing`).
    - Certainly nothing was created → `accepted`, due again after a backoff or the provider's Retry-After. A refusal of
      our account also starts the wait for it (`wait_for_account`).
    - Refused for good → `failed`.
    - All else is unknown: only a callback can tell.
    """
    called_back = bool(task.candidates) and isinstance(error, CreateRejectedError)
    if (error.candidates or called_back) and task.attempt is not None:
        refusal = _refusal(error)
        attempt = replace(task.attempt, refusal=refusal)
        noted = note_candidates(replace(task, attempt=attempt), error.candidates, now=now, replied=True)
        return record_unknown_outcome(noted, now=now)
    if isinstance(error, AccountRefusedError):
        refused_at = now if task.account_refused_at is None else task.account_refused_at
        since = task.paused_since
        back = _back_to_accepted(replace(task, account_refused_at=refused_at), now, None, jitter, policy)
        wait = max(PROBE_MS, policy.backoff_ms(task.checks, jitter))
        return wait_for_account(replace(back, paused_since=since), now=now, at=now + wait, policy=policy)
    if isinstance(error, NotCreatedError):
        return _back_to_accepted(task, now, error.retry_after_seconds, jitter, policy)
    if isinstance(error, CreateRejectedError):
        return _rejected(task, TaskError(error.code, error.message), now, policy)
    return record_unknown_outcome(task, now=now)


def wait_for_account(task: Task, *, now: int, at: int, policy: PollingPolicy) -> Task:
    """The provider refuses our account: the task stays `accepted`, is due at `at`, and its deadline stands still.

    It is due at the end of the longest wait at the latest (`PollingPolicy.paused_until`).
    """
    if task.status is not Status.ACCEPTED:
        return task
    since = now if task.paused_since is None else task.paused_since
    latest = max(now, policy.paused_until(since))
    return replace(task, paused_since=since, due_at=min(at, latest), checks=task.checks + 1)


def record_unknown_outcome(task: Task, *, now: int) -> Task:
    """The attempt is over and its outcome unknown. The relay never repeats it; only a candidate id can tell."""
    if task.attempt is None or task.status is not Status.SUBMITTING:
        return task
    due_at = now if task.candidates else task.deadline_at
    return replace(task, attempt=_ended(task.attempt, now), paused_since=None, due_at=due_at, updated_at=now)


def note_candidates(task: Task, ids: tuple[str, ...], *, now: int, replied: bool = False) -> Task:
    """Remember under which ids an unconfirmed create may be found, for the check once no create call can be running.

    At most `MAX_CANDIDATES`, the first ones; the same task if there is nothing new or nothing is unconfirmed. A task
    that waits to be submitted again keeps its moment: a callback's body must not hurry it. `replied` says that the
    create call's own reply named them.
    """
    if replied:
        named = tuple(replace(c, replied=True) if c.remote_id in ids else c for c in task.candidates)
        task = replace(task, candidates=named) if named != task.candidates else task
    new = tuple(Candidate(name, replied=replied) for name in ids if name not in task.candidate_ids)[:MAX_CANDIDATES]
    kept = task.candidates
    if replied:  # our own reply knows better than callbacks: the latest of theirs give way
        room = MAX_CANDIDATES - len(new) - sum(c.replied for c in kept)
        called_back = [c for c in kept if not c.replied][: max(0, room)]
        kept = tuple(c for c in kept if c.replied or c in called_back)
    fresh = new[: MAX_CANDIDATES - len(kept)]
    unconfirmed = task.remote_id is None and task.attempt is not None and task.status in UNCONFIRMED
    if not fresh or not unconfirmed or task.attempt is None:
        return task
    candidates = (*kept, *fresh)
    if task.status is Status.ACCEPTED:
        return replace(task, candidates=candidates)
    over_at = now if attempt_is_over(task, now) else task.attempt.started_at + ATTEMPT_LIMIT_MS
    return replace(task, candidates=candidates, due_at=min(task.due_at or over_at, over_at))


def drop_candidates(task: Task, ids: tuple[str, ...]) -> Task:
    """Forget candidate ids that are another task's."""
    left = tuple(candidate for candidate in task.candidates if candidate.remote_id not in ids)
    return replace(task, candidates=left) if left != task.candidates else task


def note_shown(task: Task, ids: tuple[str, ...]) -> Task:
    """The provider shows tasks under these candidate ids, which prove nothing yet: a 404 before does not count."""
    seen = tuple(
        replace(c, missing_since=None) if c.remote_id in ids and c.missing_since is not None else c
        for c in task.candidates
    )
    return replace(task, candidates=seen) if seen != task.candidates else task


def note_missing(task: Task, ids: tuple[str, ...], *, now: int, jitter: float, policy: PollingPolicy) -> Task:
    """The provider answers 404 for these candidate ids.

    Where every candidate of a reply that refused the create call is missing for a minute, the reply's own word counts:
    `accepted` again, or `failed`. Without such a reply the candidates stay: the provider may show the task later.
    """
    marked = tuple(
        replace(c, missing_since=now) if c.remote_id in ids and c.missing_since is None else c for c in task.candidates
    )
    changed = replace(task, candidates=marked) if marked != task.candidates else task
    refusal = task.attempt.refusal if task.attempt else None
    gone = all(c.remote_id in ids and now - (c.missing_since or now) >= MISSING_MS for c in marked)
    if task.status is not Status.SUBMITTING or refusal is None or not gone:
        return changed
    cleared = replace(changed, candidates=())
    if refusal.error is not None:
        return _rejected(cleared, refusal.error, now, policy)
    return _back_to_accepted(cleared, now, refusal.retry_after_seconds, jitter, policy)


class Match(Enum):
    """Whether a remote task that was found under a candidate id is the one that our create call made."""

    OURS = "ours"
    ANOTHERS = "another's"
    UNPROVEN = "unproven"


def match_candidate(task: Task, snapshot: ProviderSnapshot, *, replied: bool = False) -> Match:
    """Compare what the provider shows under a candidate id with our attempts.

    Where it shows our correlation tag, that decides. Else the remote task must have been created since the first
    attempt began and before the latest one was over, by the provider's clock, whose offset its reply shows. One that
    shows neither is ours if the reply to our own create call named it (`replied`). Any other, or one outside, is not
    proven: its candidate is kept and read again.
    """
    if task.attempt is None:
        return Match.UNPROVEN
    if snapshot.tag is not None:
        return Match.OURS if snapshot.tag == correlation_tag(task.task_id, task.attempt) else Match.ANOTHERS
    if snapshot.created_at is None:
        return Match.OURS if replied else Match.UNPROVEN
    created_at = snapshot.created_at - (snapshot.clock_offset_ms or 0)
    earliest = task.created_at - CLOCK_TOLERANCE_MS
    latest = (task.attempt.ended_at or task.attempt.started_at + ATTEMPT_LIMIT_MS) + CLOCK_TOLERANCE_MS
    return Match.OURS if earliest <= created_at <= latest else Match.UNPROVEN


def is_stranger(task: Task, snapshot: ProviderSnapshot) -> bool:
    """Whether a read of the task's remote id describes another remote task.

    The ids that the reply names are compared with every id that this task learned from its own create reply and from
    believed reads. A reply that names none is believed.
    """
    known = task.remote_ids
    if snapshot.named_ids:
        return not any(name in known for name in snapshot.named_ids)
    return bool(task.upstream_id and snapshot.upstream_id and snapshot.upstream_id not in known)


def without_ids(task: Task, ids: tuple[str, ...]) -> Task:
    """The task without further ids that turned out to be another task's. The id it is read by is never among them."""
    return replace(
        task,
        aliases=tuple(name for name in task.aliases if name not in ids),
        upstream_id=None if task.upstream_id in ids else task.upstream_id,
    )


def apply_snapshot(task: Task, snapshot: ProviderSnapshot, *, now: int, source: str, policy: PollingPolicy) -> Task:
    """What a read of the provider means for the task; the same task if it means nothing new.

    - success with at least one video → `generated`, also from `expired`;
    - success without a video is not an end: the provider contradicts itself, and the task is read again;
    - failure → `failed`, unless it is not conclusive, or the task is already expired (its clients were notified);
    - canceled → `canceled`, unless the task is already expired;
    - running → `processing`; everything else, unknown words included, changes nothing.
    """
    if task.status not in (Status.ACCEPTED, Status.SUBMITTING, Status.SUBMITTED, Status.PROCESSING, Status.EXPIRED):
        return task
    if snapshot.state is ProgressState.SUCCEEDED and snapshot.video_urls:
        return _generated(task, snapshot, now, source)
    if snapshot.state is ProgressState.FAILED:
        if not snapshot.conclusive:
            return task
        error = snapshot.error or TaskError("provider_failed", "The provider reports a failure without a reason.")
        if task.status is Status.EXPIRED:
            return stop_polling(task)
        failed = replace(task, error=error, usage=snapshot.usage or task.usage, **_remote(task, snapshot))
        return settle(failed, Status.FAILED, now, source, policy)
    if snapshot.state is ProgressState.CANCELED:
        if task.status is Status.EXPIRED:
            return stop_polling(task)
        return settle(replace(task, **_remote(task, snapshot)), Status.CANCELED, now, source, policy)
    if snapshot.state is ProgressState.PROCESSING and can_transition(task.status, Status.PROCESSING):
        return replace(enter(task, Status.PROCESSING, now, source), **_remote(task, snapshot))
    return task


def cancel_unsubmitted(
    task: Task, *, now: int, policy: PollingPolicy, source: str = "cancel", error: TaskError | None = None
) -> Task:
    """`accepted` → `canceled`, where certainly nothing exists at the provider; otherwise the same task.

    A candidate id says that an attempt may have created something after all: then it is not certain.
    """
    if task.status is not Status.ACCEPTED or task.candidates or not attempt_is_over(task, now):
        return task
    return settle(replace(task, error=error), Status.CANCELED, now, source, policy)


def reject_unsubmitted(task: Task, error: TaskError, *, now: int, policy: PollingPolicy) -> Task:
    """`accepted` → `failed`: what the request refers to may no longer be used, and nothing exists at the provider."""
    if task.status is not Status.ACCEPTED or task.candidates or not attempt_is_over(task, now):
        return task
    return settle(replace(task, error=error), Status.FAILED, now, "check", policy)


def take_lease(task: Task, *, now: int) -> Task:
    """The right to check the task now, with the shortest interval: every older execution has lost it."""
    return replace(task, lease=task.lease + 1, checks=0, due_at=now + LEASE_MS)


def poll_again_at(task: Task, at: int) -> Task:
    """Nothing changed: the next check is at `at`; the sweep steps in if it has not come two minutes later."""
    return task if task.due_at is None else replace(task, checks=task.checks + 1, due_at=at + LEASE_MS)


def leave_until(task: Task, at: int) -> Task:
    """No check is needed before `at`: the sweep starts one then."""
    return task if task.due_at is None else replace(task, due_at=at)


def stop_polling(task: Task) -> Task:
    """Nothing more can come of this task."""
    return replace(task, due_at=None) if task.due_at is not None else task


def expire(task: Task, *, now: int, source: str, policy: PollingPolicy) -> Task:
    """The deadline passed without an answer. With a remote id it is still read, slowly."""
    if task.status is Status.SUBMITTING or (task.status is Status.ACCEPTED and task.candidates):
        error = TaskError(
            "submission_unconfirmed",
            "The create call ended without an answer and no callback came. The provider may have made and billed "
            "this video; it is delivered if a callback still names it.",
        )
    elif task.status is Status.ACCEPTED and task.paused_since is not None:
        error = TaskError(
            "provider_account_refused",
            "The provider refuses the operator's account (key, permission or balance), or the relay has no key. "
            "Nothing was created.",
        )
    elif task.status is Status.ACCEPTED:
        error = TaskError("deadline_exceeded", "The provider took no submission in time. Nothing was created.")
    else:
        error = TaskError("deadline_exceeded", "The provider gave no final answer before the deadline.")
    moved = settle(replace(task, error=error, checks=0), Status.EXPIRED, now, source, policy)
    late_until = policy.late_until(task.deadline_at)
    watched = (task.remote_id is not None or bool(task.candidates)) and now < late_until
    return replace(
        moved,
        due_at=min(now + SLOW_INTERVAL_MS, late_until) if watched else None,
        expires_at=policy.forget_at(max(now, late_until)),
    )


def settle(task: Task, status: Status, now: int, source: str, policy: PollingPolicy) -> Task:
    """A published end: no check is due, and the record is deleted after its retention."""
    return replace(enter(task, status, now, source), due_at=None, expires_at=policy.forget_at(now))


def enter(task: Task, status: Status, now: int, source: str) -> Task:
    """The task in another state. Raises `TransitionError` if the transition table does not allow it."""
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


def _is_end(snapshot: ProviderSnapshot) -> bool:
    """Whether nothing more can come of the remote task."""
    failed = snapshot.state is ProgressState.FAILED and snapshot.conclusive
    return failed or snapshot.state is ProgressState.CANCELED


def _refusal(error: CreateError) -> Refusal | None:
    match error:
        case CreateRejectedError():
            return Refusal(error=TaskError(error.code, error.message))
        case NotCreatedError():
            return Refusal(retry_after_seconds=error.retry_after_seconds)
        case _:
            return None


def _ended(attempt: Attempt, now: int) -> Attempt:
    """The attempt as ended, never later than it can have run."""
    if attempt.ended_at is not None:
        return attempt
    return replace(attempt, ended_at=min(now, attempt.started_at + ATTEMPT_LIMIT_MS))


def _back_to_accepted(
    task: Task, now: int, retry_after_seconds: float | None, jitter: float, policy: PollingPolicy
) -> Task:
    wait = policy.backoff_ms(task.attempts - 1, jitter)
    if retry_after_seconds is not None:
        wait = max(wait, int(retry_after_seconds * 1000))
    moved = enter(task, Status.ACCEPTED, now, source="create")
    attempt = _ended(task.attempt, now) if task.attempt else None
    ended = replace(attempt, refusal=None) if attempt else None
    return replace(moved, attempt=ended, paused_since=None, due_at=min(now + wait, max(now, task.deadline_at)))


def _rejected(task: Task, error: TaskError, now: int, policy: PollingPolicy) -> Task:
    attempt = _ended(task.attempt, now) if task.attempt else None
    return settle(replace(task, error=error, attempt=attempt), Status.FAILED, now, "create", policy)


def _generated(task: Task, snapshot: ProviderSnapshot, now: int, source: str) -> Task:
    moved = enter(task, Status.GENERATED, now, source)
    return replace(
        moved,
        **_remote(task, snapshot),
        outputs=tuple(
            Output(o.task_id, o.task_status, tuple(link_digest(url) for url in o.video_urls)) for o in snapshot.outputs
        ),
        usage=snapshot.usage,
        error=None,
        delivery=None,
        due_at=now + DELIVERY_GRACE_MS,
        lease=task.lease + 1,  # an execution that polls the provider has nothing left to do
        checks=0,
        expires_at=None,
    )


def _remote(task: Task, snapshot: ProviderSnapshot) -> dict[str, Any]:
    return {
        "upstream_id": snapshot.upstream_id or task.upstream_id,
        "remote_model": snapshot.model if snapshot.model != task.request.get("model") else None,
    }
