"""Notify a client of a change of its task, at the task's `callback_url`: signed, and at least once.

A message only names a version of a task. The record decides whether there is such a version, and has the address.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vidu_relay.adapters.client_webhook import ClientWebhook, origin_of
from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.adapters.notification_queue import NotificationQueue, Received, read_notification
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.adapters.webhook_origins import Turn, WebhookOrigins
from vidu_relay.domain.errors import EventRefusedError, NotificationFailedError
from vidu_relay.domain.notification import (
    EVENT_TYPE_NOTIFICATION_FAILED,
    Notification,
    failure_detail,
    gives_up,
    is_notified,
    notification_body,
    retry_seconds,
    status_of,
    waiting_seconds,
    webhook_id,
)
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.domain.webhook_signature import secrets_of, signed_headers
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, clock, spread

__all__ = ["NO_TURN", "NotificationDependencies", "notify_client"]


@dataclass(frozen=True, slots=True)
class NotificationDependencies:
    """What a notification needs. `master` gives the content of the secret that tenants' secrets are derived from."""

    store: TaskStore
    tenants: TenantDirectory
    videos: VideoLinks
    webhook: ClientWebhook
    origins: WebhookOrigins
    queue: NotificationQueue
    bus: EventBus
    master: Callable[[], Mapping[str, Any]]
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
    try:
        status = deps.webhook.post(url, *_signed(task, asked, deps))
    except NotificationFailedError as error:
        return _failed(this, error, began, deps)
    now = deps.clock()
    deps.origins.answered(task.tenant_id, origin, this.turn, now, now - began)
    count(Metric.NOTIFICATIONS_SENT)
    logger.info("client_notified", origin=origin, answer=status, receives=message.receives)
    return True


def _is_due(task: Task, asked: Notification, message: Received) -> bool:
    """Whether the client is still to be notified of this version.

    Of earlier versions only `processing` is sent, and only once: a later end replaces a `processing` that failed, and
    the end of a late video replaces the `expired` before it.
    """
    if not is_notified(task, asked.version):
        return False
    return asked.version == task.version or (
        status_of(task, asked.version) is Status.PROCESSING and message.receives == 1
    )


def _signed(task: Task, asked: Notification, deps: NotificationDependencies) -> tuple[bytes, dict[str, str]]:
    """The body, with links signed now, and the headers that sign it."""
    shown = notification_body(task, asked.version, deps.videos.link)
    body = json.dumps(shown, allow_nan=False, separators=(",", ":")).encode()
    tenant, now = deps.tenants.find_tenant(task.tenant_id), deps.clock()
    generation = tenant.webhook_generation if tenant else 1
    secrets = secrets_of(deps.master(), task.tenant_id, generation, tenant.webhook_rotated_at if tenant else None, now)
    return body, signed_headers(webhook_id(task.task_id, asked.version), now, body, secrets)


def _wait(this: _Try, now: int, deps: NotificationDependencies) -> bool:
    """Put back a message whose origin or tenant has to rest, or give it up after its 72 hours."""
    if gives_up(this.message.sent_at, now, receives=this.message.receives):
        return _give_up(this, this.turn.fault or NO_TURN, now, deps)
    deps.queue.put_back(
        this.message, waiting_seconds(this.message.sent_at, now, wait_ms=this.turn.wait_ms, jitter=deps.jitter())
    )
    return False


def _failed(this: _Try, error: NotificationFailedError, began: int, deps: NotificationDependencies) -> bool:
    now, tenant_id, message = deps.clock(), this.task.tenant_id, this.message
    fault = TaskError(error.code, error.message)
    count(Metric.NOTIFICATION_ATTEMPTS_FAILED)
    logger.warning("notification_failed", origin=this.origin, code=error.code, receives=message.receives)
    if error.waited:
        deps.origins.failed(tenant_id, this.origin, this.turn, now, now - began, fault)
    else:
        deps.origins.answered(tenant_id, this.origin, this.turn, now, now - began)
    if error.final:  # a client that answers 410 wants no more calls: the operator has nothing to fix
        return _give_up(this, fault, now, deps, dead_letter=False)
    if gives_up(message.sent_at, now, receives=message.receives):
        return _give_up(this, fault, now, deps)
    wait = retry_seconds(message.sent_at, now, jitter=deps.jitter(), requested=error.retry_after_seconds)
    deps.queue.put_back(message, wait)
    return False


def _give_up(
    this: _Try, fault: TaskError, now: int, deps: NotificationDependencies, *, dead_letter: bool = True
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
    return True
