"""The create call of a task and what came of it, also when its reply was lost. Pure functions, as in `lifecycle`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from enum import Enum

from vidu_relay.domain import lifecycle
from vidu_relay.domain.admission import wait_for_turn
from vidu_relay.domain.errors import (
    AccountRefusedError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    ThrottledError,
    TransitionError,
)
from vidu_relay.domain.lifecycle import enter, remote_fields, settle
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS, PROBE_MS, SLOW_INTERVAL_MS, PollingPolicy
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot, TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Attempt, Candidate, Refusal, Task

__all__ = [
    "TAG_PREFIX",
    "UNCONFIRMED",
    "Match",
    "begin_attempt",
    "correlation_tag",
    "drop_candidates",
    "match_candidate",
    "may_begin",
    "note_candidates",
    "note_missing",
    "note_shown",
    "record_create_failure",
    "record_created",
    "record_unknown_outcome",
    "shared_token",
    "wait_for_account",
]

TAG_PREFIX = "vidu-relay:"

UNCONFIRMED = frozenset({Status.ACCEPTED, Status.SUBMITTING, Status.EXPIRED})
"""The states in which a task may lack the id of a remote task that exists all the same."""

MAX_CANDIDATES = 4
"""How many ids of an unconfirmed create are kept: the gateway's and the upstream's, and room for one mistake each."""

MISSING_MS = 60_000
"""A candidate that the provider answers with 404 twice, this far apart, does not exist."""

CLOCK_TOLERANCE_MS = 60_000
"""How far a remote task's moment of creation may lie outside of the attempts, once the provider's clock is measured."""


def correlation_tag(task_id: str, attempt: Attempt) -> str:
    """The correlation tag of a create call, for a provider that hands it back when the task is read.

    Only a create call of this task can have given it: it holds a digest of the random part that the tokens of all
    attempts of the task share.
    """
    digest = hashlib.sha256(f"{task_id}\0{shared_token(attempt)}".encode()).hexdigest()
    return f"{TAG_PREFIX}{task_id}:{digest[:32]}"


def shared_token(attempt: Attempt) -> str:
    """The part of an attempt's token that all attempts of the task share: the task's own token."""
    return attempt.token.partition(".")[0]


def may_begin(task: Task, now: int, lease: int | None = None) -> bool:
    """Whether a create call of an `accepted` task may be begun: by the check that holds `lease`, or by an entry point.

    An entry point begins only the first one, in time: a task that went back to `accepted` waits for its backoff, after
    which a check begins the next. A candidate is read before anything is sent, and a task that waits in the queue waits
    for its turn.
    """
    turn = (task.attempts == 0 and now < task.deadline_at) if lease is None else task.lease == lease
    return turn and task.status is Status.ACCEPTED and not task.candidates and not task.waits


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
        queued_at=None,
        checks=0,
    )
    settled = lifecycle.apply_snapshot(known, snapshot, now=now, source=source, policy=policy)
    if settled.status in (Status.ACCEPTED, Status.SUBMITTING):
        settled = replace(enter(settled, Status.SUBMITTED, now, source), **remote_fields(settled, snapshot))
    if settled.status is Status.EXPIRED and not _is_end(snapshot):
        return replace(settled, due_at=now + SLOW_INTERVAL_MS)
    if settled.status in (Status.SUBMITTED, Status.PROCESSING):
        first = policy.first_check_at(now, off_peak=task.off_peak)
        # a first check that is about right is not moved: that would cost two index writes
        if settled.due_at is None or not (now + first) // 2 <= settled.due_at <= first:
            return replace(settled, due_at=first)
    return settled


def _is_end(snapshot: ProviderSnapshot) -> bool:
    """Whether nothing more can come of the remote task."""
    failed = snapshot.state is ProgressState.FAILED and snapshot.conclusive
    return failed or snapshot.state is ProgressState.CANCELED


def record_create_failure(task: Task, error: CreateError, *, now: int, jitter: float, policy: PollingPolicy) -> Task:
    """What a create call that gave no task means.

    - An id in the reply may be the task, and so may one that a callback named before a refusal: the attempt stays
      unconfirmed until that id was read; if there is no such task, the reply's refusal counts (`note_missing`).
    - Certainly nothing was created → `accepted`, due again after a backoff or the provider's Retry-After. A refusal of
      our account also starts the wait for it (`wait_for_account`); after 429 the task waits for its turn.
    - Refused for good → `failed`.
    - Otherwise the outcome is unknown: only a callback can name the remote task.
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
    if isinstance(error, ThrottledError):
        return wait_for_turn(_back_to_accepted(task, now, None, jitter, policy), now=now, policy=policy)
    if isinstance(error, NotCreatedError):
        return _back_to_accepted(task, now, error.retry_after_seconds, jitter, policy)
    if isinstance(error, CreateRejectedError):
        return _rejected(task, TaskError(error.code, error.message), now, policy)
    return record_unknown_outcome(task, now=now)


def _refusal(error: CreateError) -> Refusal | None:
    match error:
        case CreateRejectedError():
            return Refusal(error=TaskError(error.code, error.message))
        case NotCreatedError():
            return Refusal(retry_after_seconds=error.retry_after_seconds)
        case _:
            return None


def wait_for_account(task: Task, *, now: int, at: int, policy: PollingPolicy) -> Task:
    """The provider refuses our account: the task stays `accepted`, is due at `at`, and its deadline stands still.

    It is due at the end of the longest wait at the latest (`PollingPolicy.paused_until`).
    """
    if task.status is not Status.ACCEPTED:
        return task
    since = now if task.paused_since is None else task.paused_since
    latest = max(now, policy.paused_until(since))
    return replace(task, paused_since=since, admitted_at=None, due_at=min(at, latest), checks=task.checks + 1)


def record_unknown_outcome(task: Task, *, now: int) -> Task:
    """The attempt is over and its outcome unknown: only a candidate id can show it. The call is never repeated."""
    if task.attempt is None or task.status is not Status.SUBMITTING:
        return task
    due_at = now if task.candidates else task.deadline_at
    return replace(task, attempt=_ended(task.attempt, now), paused_since=None, due_at=due_at, updated_at=now)


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


def note_candidates(task: Task, ids: tuple[str, ...], *, now: int, replied: bool = False) -> Task:
    """Remember under which ids an unconfirmed create may be found, for the check once no create call can be running.

    At most `MAX_CANDIDATES`, the first ones; the same task if there is nothing new or nothing is unconfirmed. A task
    that waits to be submitted again keeps its `due_at`: a callback's body must not hurry it. `replied`: the create
    call's own reply named them.
    """
    if replied:
        named = tuple(replace(c, replied=True) if c.remote_id in ids else c for c in task.candidates)
        task = replace(task, candidates=named) if named != task.candidates else task
    new = tuple(Candidate(name, replied=replied) for name in ids if name not in task.candidate_ids)[:MAX_CANDIDATES]
    kept = task.candidates
    if replied:  # ids of our own reply replace the latest ones of callbacks
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
    over_at = now if task.attempt_is_over(now) else task.attempt.started_at + ATTEMPT_LIMIT_MS
    return replace(task, candidates=candidates, due_at=min(task.due_at or over_at, over_at))


def drop_candidates(task: Task, ids: tuple[str, ...]) -> Task:
    """Forget candidate ids that are another task's."""
    left = tuple(candidate for candidate in task.candidates if candidate.remote_id not in ids)
    return replace(task, candidates=left) if left != task.candidates else task


def note_shown(task: Task, ids: tuple[str, ...]) -> Task:
    """The provider shows tasks under these candidate ids, which are not proven ours: an earlier 404 does not count."""
    seen = tuple(
        replace(c, missing_since=None) if c.remote_id in ids and c.missing_since is not None else c
        for c in task.candidates
    )
    return replace(task, candidates=seen) if seen != task.candidates else task


def note_missing(task: Task, ids: tuple[str, ...], *, now: int, jitter: float, policy: PollingPolicy) -> Task:
    """The provider answers 404 for these candidate ids.

    If every candidate of a reply that refused the create call is missing for a minute, the refusal counts: `accepted`
    again, or `failed`. Without such a reply the candidates stay: the provider may show the task later.
    """
    noted = tuple(
        replace(c, missing_since=now) if c.remote_id in ids and c.missing_since is None else c for c in task.candidates
    )
    changed = replace(task, candidates=noted) if noted != task.candidates else task
    refusal = task.attempt.refusal if task.attempt else None
    gone = all(c.remote_id in ids and now - (c.missing_since or now) >= MISSING_MS for c in noted)
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
