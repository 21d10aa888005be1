"""Notify a client of a change of its task, at the task's `callback_url`: signed, and at least once.

A message only names a version of a task. The record decides whether there is such a version, and has the address.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from vidu_relay.adapters.client_webhook import ClientWebhook, origin_of
from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.adapters.notification_log import NotificationLog
from vidu_relay.adapters.notification_queue import NotificationQueue, Received, read_notification
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.adapters.webhook_origins import Turn, WebhookOrigins
from vidu_relay.domain.errors import EventRefusedError, NotificationFailedError
from vidu_relay.domain.notification import (
    EVENT_TYPE_NOTIFICATION_FAILED,
    Notification,
    NotificationAttempt,
    failure_detail,
    gives_up,
    is_notified,
    notification_body,
    retry_seconds,
    status_of,
    waiting_seconds,
    webhook_id,
)
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, clock, spread
from vidu_relay.usecases.sign_webhook import Master, sign_webhook

__all__ = ["NO_TURN", "NotificationDependencies", "notify_client"]


@dataclass(frozen=True, slots=True)
class NotificationDependencies:
    """What a notification needs."""

    store: TaskStore
    tenants: TenantDirectory
    videos: VideoLinks
    webhook: ClientWebhook
    origins: WebhookOrigins
    queue: NotificationQueue
    bus: EventBus
    log: NotificationLog
    master: Master
    policy: PollingPolicy
    clock: Clock = clock
    jitter: Callable[[], float] = spread


@dataclass(frozen=True, slots=True)
class _Try:
    """One try to process a message: about which version of which task, to which origin, and whether it may call."""

    task: Task
    asked: Notification
    message: Received
    origin: str
    turn: Turn


NO_TURN = TaskError("no_turn", "The tenant's servers answer slowly: this message got no further turn within 72 hours.")
"""Why a message was given up that waited, where the last call of its origin was answered."""


def notify_client(message: Received, deps: NotificationDependencies) -> bool:
    """Process one message; False if it was put back and must not be reported as done.

    It is tried for 72 hours, at most 15 times, as the ration of its origin and tenant allows. Then it goes to
    the dead-letter queue, and an event is published. A message that cannot be read goes there at once. Raises
    `ConfigurationError`, `EventRefusedError` and what AWS raises: then SQS delivers the message again.
    """
    try:
        asked = read_notification(message.body)
    except (ValueError, RecursionError):
        logger.exception("notification_unreadable")
        deps.queue.give_up(message)
        return True
    task = deps.store.get(asked.task_id)
    if task is None:
        logger.warning("notification_of_unknown_task", task_id=asked.task_id)
        return True
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id, version=asked.version)
    url = task.request.get("callback_url")
    if not url or not _is_due(task, asked, message):
        return True
    origin, began = origin_of(url), deps.clock()
    this = _Try(task, asked, message, origin, deps.origins.take_turn(task.tenant_id, origin, began))
    if this.turn.wait_ms:
        return _wait(this, began, deps)
    body, headers = _signed(task, asked, deps)
    sent = deps.clock()
    try:
        answer = deps.webhook.post(url, body, headers)
    except NotificationFailedError as error:
        return _failed(this, error, sent, deps)
    now = deps.clock()
    deps.origins.answered(task.tenant_id, origin, this.turn, now, now - sent)
    count(Metric.NOTIFICATIONS_SENT)
    logger.info("client_notified", origin=origin, answer=answer.status, receives=message.receives)
    attempt = NotificationAttempt(sent, now - sent, answer.status, None, answer.text)
    _record(this, attempt, deps, delivered_at=now)
    return True


def _is_due(task: Task, asked: Notification, message: Received) -> bool:
    """Whether the client is still to be notified of this version. A replay always is.

    Else of earlier versions only `processing` is sent, and only once: a later end replaces a `processing` that failed,
    and the end of a late video replaces the `expired` before it.
    """
    if not is_notified(task, asked.version):
        return False
    return (
        asked.replay
        or asked.version == task.version
        or (status_of(task, asked.version) is Status.PROCESSING and message.receives == 1)
    )


def _signed(task: Task, asked: Notification, deps: NotificationDependencies) -> tuple[bytes, dict[str, str]]:
    """The body, with links signed now, and the headers that sign it."""
    shown = notification_body(task, asked.version, deps.videos.link)
    body = json.dumps(shown, allow_nan=False, separators=(",", ":")).encode()
    name, now = webhook_id(task.task_id, asked.version), deps.clock()
    return body, sign_webhook(name, body, task.tenant_id, tenants=deps.tenants, master=deps.master, now=now)


def _wait(this: _Try, now: int, deps: NotificationDependencies) -> bool:
    """Put back a message whose origin or tenant has to rest, or give it up after its 72 hours."""
    if gives_up(this.message.sent_at, now, receives=this.message.receives):
        return _give_up(this, this.turn.fault or NO_TURN, now, deps)
    deps.queue.put_back(
        this.message, waiting_seconds(this.message.sent_at, now, wait_ms=this.turn.wait_ms, jitter=deps.jitter())
    )
    return False


def _failed(this: _Try, error: NotificationFailedError, sent: int, deps: NotificationDependencies) -> bool:
    now, tenant_id, message = deps.clock(), this.task.tenant_id, this.message
    fault = TaskError(error.code, error.message)
    attempt = NotificationAttempt(sent, now - sent, error.status, None if error.status else error.code, error.answer)
    count(Metric.NOTIFICATION_ATTEMPTS_FAILED)
    logger.warning("notification_failed", origin=this.origin, code=error.code, receives=message.receives)
    if error.waited:
        deps.origins.failed(tenant_id, this.origin, this.turn, now, now - sent, fault)
    else:
        deps.origins.answered(tenant_id, this.origin, this.turn, now, now - sent)
    if error.final:  # a client that answers 410 wants no more calls: the operator has nothing to fix
        return _give_up(this, fault, now, deps, attempt, dead_letter=False)
    if gives_up(message.sent_at, now, receives=message.receives):
        return _give_up(this, fault, now, deps, attempt)
    wait = retry_seconds(message.sent_at, now, jitter=deps.jitter(), requested=error.retry_after_seconds)
    deps.queue.put_back(message, wait)
    _record(this, attempt, deps, next_at=now + 1000 * wait)
    return False


def _give_up(
    this: _Try,
    fault: TaskError,
    now: int,
    deps: NotificationDependencies,
    attempt: NotificationAttempt | None = None,
    *,
    dead_letter: bool = True,
) -> bool:
    """Publish that the client was not notified, and keep the message for the operator. True: the message is done."""
    task, message = this.task, this.message
    detail = failure_detail(task, this.asked.version, this.origin, message.receives, fault)
    if deps.bus.publish([Event(EVENT_TYPE_NOTIFICATION_FAILED, detail, now // 1000)]) is not None:
        raise EventRefusedError(detail["event_id"])
    if dead_letter:
        deps.queue.give_up(message)
    count(Metric.NOTIFICATIONS_GIVEN_UP)
    logger.error("notification_given_up", origin=this.origin, code=fault.code, receives=message.receives)
    _record(this, attempt, deps)
    return True


def _record(
    this: _Try,
    attempt: NotificationAttempt | None,
    deps: NotificationDependencies,
    *,
    delivered_at: int | None = None,
    next_at: int | None = None,
) -> None:
    """Note what came of the message, for the task's tenant, as long as the task itself is kept.

    This is the last step: what decides whether the message is sent again has been done, so that a death here loses at
    most this note of an attempt.
    """
    task, policy = this.task, deps.policy
    latest = policy.copied_until(policy.late_until(task.deadline_at))  # when a task that is open settles at the latest
    expires_at = task.expires_at if task.expires_at is not None else policy.forget_at(latest)
    if not deps.log.record(this.asked, attempt, delivered_at=delivered_at, next_at=next_at, expires_at=expires_at):
        logger.warning("attempt_not_recorded")
