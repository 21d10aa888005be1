"""Begin the create call of an accepted task: the one way to the provider, for every entry point and for checks."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from vidu_relay.adapters.provider_pause import Pause
from vidu_relay.adapters.tenant_directory import TenantMapping
from vidu_relay.domain import lifecycle, submission
from vidu_relay.domain.admission import wait_for_turn
from vidu_relay.domain.callback_token import callback_url
from vidu_relay.domain.errors import ConfigurationError, NotCreatedError
from vidu_relay.domain.polling import PROBE_MS
from vidu_relay.domain.request import Request, body_bytes
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.outbound.provider_calls import create_seconds
from vidu_relay.usecases.attempt_submission import CreateCall, SubmissionDependencies, TimeLeft, attempt_submission
from vidu_relay.usecases.ports import spread
from vidu_relay.usecases.resolve_image_links import resolve_image_links
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["begin_submission"]

MAX_WAITING_BODY_BYTES = 1_000_000
"""A larger create body is never sent while an HTTP client waits for its answer."""

WRITES_MS = 2_000
"""What the writes around a create call may take besides it."""

TENANT_DISABLED = TaskError(
    "tenant_disabled", "The tenant was disabled before the task was submitted. Nothing was created."
)
NOT_CONFIGURED = TaskError("provider_account_refused", "A secret that create calls need is not set up.")
BUCKET_TAKEN = TaskError(
    "image_not_found", "A bucket of the request's images no longer belongs to the tenant. Nothing was created."
)


def begin_submission(
    task: Task,
    request: Request,
    deps: SubmissionDependencies,
    *,
    time_left: TimeLeft,
    lease: int | None = None,
    client_waits: bool = False,
) -> Task:
    """Write an attempt token and call the provider under it; the task as it stands after.

    `lease` is a check's, None for an entry point (`submission.may_begin`); `request` is the whole request. Nothing is
    sent, and the task stays `accepted` or settles, if
    - its tenant is disabled (`canceled`) or a bucket of its images no longer belongs to the tenant (`failed`),
    - the provider refuses our account and the next probe is not due, or others wait there and it is not its turn,
    - a secret that the call needs is not set up: this pauses the provider like a refusal of the account,
    - the function has no time left for the call, or a client waits and the body exceeds `MAX_WAITING_BODY_BYTES`.
    """

    def allowed(current: Task) -> bool:
        return submission.may_begin(current, deps.clock(), lease)

    if not (allowed(task) or task.waits):
        return task
    refused = _refused(task, request, deps)
    if refused is not None or task.waits:
        return refused or task
    pause = deps.pauses.find(task.provider)
    paused = pause if pause is not None and pause.holds_up(task.tenant_id) else None
    if pause is not None and (held := _held_up(task, pause, deps, allowed)) is not None:
        return held
    try:
        keys = deps.ready(task.provider)
    except ConfigurationError as error:
        return _wait(task, _not_configured(task, error, deps), deps, allowed)
    url = callback_url(deps.public_base_url, task.task_id, keys.sign(task.task_id))
    parameters = resolve_image_links(request, task, deps.images)
    call = CreateCall(request.model, parameters, url, body_bytes(parameters))
    if (client_waits and call.body_bytes > MAX_WAITING_BODY_BYTES) or time_left() < _needed_ms(call):
        logger.info("submission_left_to_a_check", body_bytes=call.body_bytes)
        return task
    # taken last: a task that cannot be sent now must not use up the one probe of this minute
    if paused is not None and not _take_probe(task, paused, deps):
        return _wait(task, paused, deps, allowed)
    return _attempt(task, call, deps, allowed, time_left=time_left, pause=pause)


def _attempt(
    task: Task,
    call: CreateCall,
    deps: SubmissionDependencies,
    allowed: Callable[[Task], bool],
    *,
    time_left: TimeLeft,
    pause: Pause | None,
) -> Task:
    """Write the attempt token and make the call, if there is still time for it after the write."""
    token, now = f"{task.token}.{secrets.token_urlsafe(9)}", deps.clock()
    begun = save_with_retry(
        deps.store,
        task,
        lambda current: submission.begin_attempt(current, token=token, now=now) if allowed(current) else current,
    )
    if begun.attempt is None or begun.attempt.token != token:
        return begun
    if time_left() < _needed_ms(call):
        return _not_begun(begun, token, deps)
    return attempt_submission(begun, call, deps, time_left=time_left, pause=pause)


def _needed_ms(call: CreateCall) -> int:
    return int(create_seconds(call.body_bytes) * 1000) + WRITES_MS


def _refused(task: Task, request: Request, deps: SubmissionDependencies) -> Task | None:
    """The task settled, where it may no longer be submitted; None where it may."""
    tenant = deps.tenants.find_tenant(task.tenant_id)
    if tenant is None or tenant.disabled:
        logger.warning("submission_stopped", reason="tenant_disabled")
        return save_with_retry(
            deps.store,
            task,
            lambda current: lifecycle.cancel_unsubmitted(
                current, now=deps.clock(), policy=deps.policy, source="operator", error=TENANT_DISABLED
            ),
        )
    buckets = {slot.named_object.bucket for slot in request.slots if slot.named_object}
    for bucket in sorted(buckets - {deps.images.inbox}):
        owner = deps.tenants.find_owner(TenantMapping.BUCKET, bucket)
        if owner is None or owner.tenant_id != task.tenant_id:
            logger.warning("submission_stopped", reason="bucket_not_owned", bucket=bucket)
            return save_with_retry(
                deps.store,
                task,
                lambda current: lifecycle.reject_unsubmitted(
                    current, BUCKET_TAKEN, now=deps.clock(), policy=deps.policy
                ),
            )
    return None


def _not_configured(task: Task, error: ConfigurationError, deps: SubmissionDependencies) -> Pause:
    """Pause the provider until a create call has what it needs."""
    logger.error("not_configured", reason=str(error))
    count(Metric.PROVIDER_ACCOUNT_REFUSED)
    now = deps.clock()
    pause = Pause(paused_since=now, probe_at=now + PROBE_MS, succeeded_at=None, error=NOT_CONFIGURED)
    deps.pauses.pause(task.provider, pause.error, now=now, probe_at=pause.probe_at)
    return pause


def _take_probe(task: Task, pause: Pause, deps: SubmissionDependencies) -> bool:
    """Whether this create call is the one that finds out if the provider accepts our account again."""
    return deps.pauses.take_probe(task.provider, pause, next_at=deps.clock() + PROBE_MS)


def _wait(task: Task, pause: Pause, deps: SubmissionDependencies, allowed: Callable[[Task], bool]) -> Task:
    logger.warning("submission_paused", code=pause.error.code)
    now, jitter = deps.clock(), spread()

    def waiting(current: Task) -> Task:
        if not allowed(current):
            return current
        at = max(pause.probe_at, now + deps.policy.backoff_ms(current.checks, jitter))
        return submission.wait_for_account(current, now=now, at=at, policy=deps.policy)

    return save_with_retry(deps.store, task, waiting)


def _held_up(task: Task, pause: Pause, deps: SubmissionDependencies, allowed: Callable[[Task], bool]) -> Task | None:
    """The task as it waits, for the account or in the queue; None where it may be submitted."""
    if pause.holds_up(task.tenant_id) and deps.clock() < pause.probe_at:
        return _wait(task, pause, deps, allowed)
    return _queue(task, deps, allowed) if task.admitted_at is None and pause.queues(task.tenant_id) else None


def _queue(task: Task, deps: SubmissionDependencies, allowed: Callable[[Task], bool]) -> Task:
    logger.info("submission_queued")
    now = deps.clock()
    return save_with_retry(
        deps.store,
        task,
        lambda current: wait_for_turn(current, now=now, policy=deps.policy) if allowed(current) else current,
    )


def _not_begun(task: Task, token: str, deps: SubmissionDependencies) -> Task:
    """The write of the token took the time that the call needs: nothing was sent."""
    logger.warning("submission_left_to_a_check", reason="no_time_after_the_write")
    error = NotCreatedError("no time was left for the create call")
    jitter = spread()

    def undone(current: Task) -> Task:
        if current.attempt is None or current.attempt.token != token or current.attempt.ended_at is not None:
            return current
        return submission.record_create_failure(current, error, now=deps.clock(), jitter=jitter, policy=deps.policy)

    return save_with_retry(deps.store, task, undone)
