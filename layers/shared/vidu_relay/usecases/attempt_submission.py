"""One create call for a task whose attempt token was written before it, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.adapters.provider_pause import Pause, ProviderPauses
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain import submission
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.errors import (
    AccountRefusedError,
    ConfigurationError,
    CreateAmbiguousError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    RemoteTaskOwnedError,
    ThrottledError,
)
from vidu_relay.domain.polling import PROBE_MS, SLOW_INTERVAL_MS, PollingPolicy
from vidu_relay.domain.snapshot import ProviderSnapshot, TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.submission import correlation_tag
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Providers, clock, spread
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["CreateCall", "SubmissionDependencies", "TimeLeft", "attempt_submission"]

TimeLeft = Callable[[], int]
"""How many milliseconds the function may still run."""

WRITE_MARGIN_MS = 3_000
"""A failed write of how a create call went is repeated while the function has at least this long to run."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class SubmissionDependencies:
    """What a create call needs. `signing_keys` is read at each attempt, so that keys can be rotated."""

    store: TaskStore
    providers: Providers
    pauses: ProviderPauses
    tenants: TenantDirectory
    images: ImageBucket
    signing_keys: Callable[[], CallbackKeys]
    public_base_url: str
    policy: PollingPolicy
    clock: Clock = clock
    sleep: Callable[[float], None] = time.sleep

    def ready(self, provider: str) -> CallbackKeys:
        """The keys that sign callback addresses, read *before* an attempt at this provider is recorded.

        Raises `ConfigurationError` if one of them or the provider's key is missing.
        """
        self.providers(provider).ready()
        return self.signing_keys()


@dataclass(frozen=True, slots=True)
class CreateCall:
    """What the provider is sent, every image in a form that it can read, in a body of at most `body_bytes`."""

    model: str
    parameters: Mapping[str, Any]
    callback_url: str
    body_bytes: int


def attempt_submission(
    task: Task, call: CreateCall, deps: SubmissionDependencies, *, time_left: TimeLeft, pause: Pause | None = None
) -> Task:
    """Call the provider once for a task in `submitting` whose token the caller wrote; the task as recorded after.

    `pause` is what the caller read of the provider's refusals. The call is never repeated here: only a task that went
    back to `accepted` is submitted again.
    """
    tag = correlation_tag(task.task_id, task.attempt) if task.attempt else ""
    try:
        snapshot = deps.providers(task.provider).create(call.model, call.parameters, call.callback_url, tag=tag)
    except CreateError as error:
        return _failed(task, error, deps, pause, time_left)
    except ConfigurationError as error:  # the key was removed after `ready`: nothing was sent
        return _failed(task, NotCreatedError(str(error)), deps, pause, time_left)
    if pause is not None and pause.refused:
        _end_pause(task, deps, pause)
    return _created(task, snapshot, deps, time_left)


def _created(task: Task, snapshot: ProviderSnapshot, deps: SubmissionDependencies, time_left: TimeLeft) -> Task:
    # logged before the write: if the write fails, only the log has the id
    logger.info("remote_id_known", remote_id=snapshot.remote_id)
    try:
        return _record(
            task,
            deps,
            lambda current: submission.record_created(
                current, snapshot, now=deps.clock(), source="create", policy=deps.policy
            ),
            time_left,
            also_when_expired=True,
        )
    except RemoteTaskOwnedError:
        logger.exception("remote_id_already_owned", remote_id=snapshot.remote_id)
        count(Metric.REMOTE_ID_CONFLICT)
        return _record(
            task, deps, lambda current: submission.record_unknown_outcome(current, now=deps.clock()), time_left
        )


def _failed(
    task: Task, error: CreateError, deps: SubmissionDependencies, pause: Pause | None, time_left: TimeLeft
) -> Task:
    if isinstance(error, AccountRefusedError):
        error = _account_refused(task, error, deps, pause)
    match error:
        case CreateAmbiguousError():
            logger.error("submission_unconfirmed", reason=str(error), candidates=list(error.candidates))
            count(Metric.SUBMISSION_AMBIGUOUS)
        case CreateRejectedError():
            count(Metric.SUBMISSION_REJECTED)
        case NotCreatedError():
            logger.warning("submission_not_created", reason=str(error))
            count(Metric.SUBMISSION_NOT_CREATED)
    if isinstance(error, ThrottledError):
        _throttled(task, error, deps)
    jitter = spread()
    return _record(
        task,
        deps,
        lambda current: submission.record_create_failure(
            current, error, now=deps.clock(), jitter=jitter, policy=deps.policy
        ),
        time_left,
    )


def _throttled(task: Task, error: ThrottledError, deps: SubmissionDependencies) -> None:
    """From now on new tasks queue, and none is let go on before the reply's Retry-After (an hour at most)."""
    now = deps.clock()
    asked = min(int((error.retry_after_seconds or 0) * 1000), SLOW_INTERVAL_MS)
    wait = max(deps.policy.backoff_ms(0, spread()), asked)
    try:
        deps.pauses.raise_flag(task.provider, now=now, hold_until=now + wait)
    except (ClientError, BotoCoreError):
        logger.exception("queue_not_flagged")  # the sweep raises it; the task's own record comes first


def _account_refused(
    task: Task, error: AccountRefusedError, deps: SubmissionDependencies, pause: Pause | None
) -> CreateError:
    """Pause the provider; the error as it counts for this task.

    A new key in the secret is tried at once, without a pause. A 403 is about this request, not the account, if another
    create call succeeded after this task was first refused, or within the last minute.
    """
    now = deps.clock()
    logger.error("provider_account_refused", status=error.status, code=error.code)
    count(Metric.PROVIDER_ACCOUNT_REFUSED)
    try:
        if deps.providers(task.provider).refresh_key():
            return NotCreatedError(str(error), candidates=error.candidates)
    except ConfigurationError:
        logger.exception("provider_key_unusable")
    succeeded_at = pause.succeeded_at if pause else None
    if error.status == 403 and succeeded_at is not None:
        if task.account_refused_at is not None and succeeded_at > task.account_refused_at:
            return CreateRejectedError(error.code, error.message, candidates=error.candidates)
        if succeeded_at > now - PROBE_MS:
            return error
    paused = pause if pause is not None and pause.paused_since is not None else None
    # after the first 403 the next create call is a probe: it shows whether the account or the request is refused
    probe_at = now if error.status == 403 and paused is None else now + PROBE_MS
    # until a second tenant gets a 403 too, only the first tenant waits
    alone = error.status == 403 and (paused is None or paused.tenant_id == task.tenant_id)
    reason = TaskError(error.code, error.message)
    try:
        deps.pauses.pause(
            task.provider, reason, now=now, probe_at=probe_at, tenant_id=task.tenant_id if alone else None
        )
    except (ClientError, BotoCoreError):
        logger.exception("pause_not_written")  # the next refusal writes it; the task's own record comes first
    return error


def _end_pause(task: Task, deps: SubmissionDependencies, pause: Pause) -> None:
    """Note the success: it ends a pause, and shows that a later 403 is about a request, not the account."""
    now = deps.clock()
    if pause.paused_since is None and pause.succeeded_at is not None and pause.succeeded_at > now - PROBE_MS // 2:
        return
    try:
        deps.pauses.end(task.provider, now=now)
    except (ClientError, BotoCoreError):
        logger.exception("pause_not_ended")  # the next success ends it; the task's own record comes first


def _record(
    task: Task,
    deps: SubmissionDependencies,
    change: Callable[[Task], Task],
    time_left: TimeLeft,
    *,
    also_when_expired: bool = False,
) -> Task:
    """Write how the attempt went, unless the record has moved on from this attempt in the meantime.

    A write that fails is repeated while there is time: only this process knows the provider's answer.
    """
    token = task.attempt.token if task.attempt else None

    def guarded(current: Task) -> Task:
        ours = current.attempt is not None and current.attempt.token == token and current.remote_id is None
        waiting = current.status is Status.SUBMITTING or (also_when_expired and current.status is Status.EXPIRED)
        return change(current) if ours and waiting else current

    wait = FIRST_PAUSE_SECONDS
    while True:
        try:
            return save_with_retry(deps.store, task, guarded)
        except (ClientError, BotoCoreError) as error:
            if time_left() < WRITE_MARGIN_MS:
                raise
            logger.warning("outcome_not_written", reason=type(error).__name__)
            deps.sleep(wait)
            wait = min(2 * wait, LONGEST_PAUSE_SECONDS)
