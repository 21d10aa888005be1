"""Tell a client of a change of its task, at the `callback_url` that it gave: signed, at least once, and never in haste.

A message is believed for nothing but "look": the task says whether there is such a change, and whom to tell.
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
    NOTIFIED,
    Notification,
    failure_detail,
    gives_up,
    notification_body,
    retry_seconds,
    status_of,
    webhook_id,
)
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.domain.webhook_signature import secrets_of, signed_headers
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, clock, spread

__all__ = ["NotificationPorts", "notify_client"]


@dataclass(frozen=True, slots=True)
class NotificationPorts:
    """What telling clients needs. `master` gives the content of the secret that tenants' secrets are derived from."""

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


def notify_client(message: Received, ports: NotificationPorts) -> bool:
    """Work off one message; False if it was put back and must not be taken for done.

    Tried again for a day, at intervals that grow; then the message goes to the dead letters and the bus is told. What
    no worker could read goes there at once. Raises `ConfigurationError`, `EventRefusedError` and what AWS raises: then
    the message comes again by itself.
    """
    try:
        asked = read_notification(message.body)
    except (ValueError, RecursionError):
        logger.exception("notification_unreadable")
        ports.queue.give_up(message)
        return True
    task = ports.store.get(asked.task_id)
    if task is None:
        logger.warning("notification_of_unknown_task", task_id=asked.task_id)
        return True
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id, version=asked.version)
    url = task.request.get("callback_url")
    if not url or not _worth_telling(task, asked, message):
        return True
    origin, now = origin_of(url), ports.clock()
    turn = ports.origins.take_turn(task.tenant_id, origin, now)
    if turn.wait_ms:
        ports.queue.put_back(message, round(turn.wait_ms / 1000 * (1 + ports.jitter() / 4)) + 1)
        return False
    try:
        status = ports.webhook.post(url, *_signed(task, asked, ports))
    except NotificationFailedError as error:
        return _failed(task, asked, message, origin, turn, error, ports)
    ports.origins.answered(task.tenant_id, origin, turn, now)
    count(Metric.NOTIFICATIONS_SENT)
    logger.info("client_notified", origin=origin, answer=status, receives=message.receives)
    return True


def _worth_telling(task: Task, asked: Notification, message: Received) -> bool:
    """Whether the client is to be told of this version, still.

    What the task has left behind is told only where it was `processing`, and tried only once: a late video's end says
    more than the `expired` before it, and any end more than a `processing` that did not get through.
    """
    status = status_of(task, asked.version)
    if status is None or status not in NOTIFIED:
        return False
    return asked.version == task.version or (status is Status.PROCESSING and message.receives == 1)


def _signed(task: Task, asked: Notification, ports: NotificationPorts) -> tuple[bytes, dict[str, str]]:
    """The body, with links that are good from now on, and the headers that prove it ours."""
    shown = notification_body(task, asked.version, ports.videos.link)
    body = json.dumps(shown, allow_nan=False, separators=(",", ":")).encode()
    tenant, now = ports.tenants.find_tenant(task.tenant_id), ports.clock()
    generation = tenant.webhook_generation if tenant else 1
    secrets = secrets_of(ports.master(), task.tenant_id, generation, tenant.webhook_rotated_at if tenant else None, now)
    return body, signed_headers(webhook_id(task.task_id, asked.version), now, body, secrets)


def _failed(
    task: Task,
    asked: Notification,
    message: Received,
    origin: str,
    turn: Turn,
    error: NotificationFailedError,
    ports: NotificationPorts,
) -> bool:
    now = ports.clock()
    count(Metric.NOTIFICATION_ATTEMPTS_FAILED)
    logger.warning("notification_failed", origin=origin, code=error.code, receives=message.receives)
    if error.waited:
        ports.origins.waited_in_vain(task.tenant_id, origin, turn, now)
    else:
        ports.origins.answered(task.tenant_id, origin, turn, now)
    last = gives_up(message.sent_at, now, receives=message.receives)
    if not (error.final or last):
        wait = retry_seconds(message.sent_at, now, jitter=ports.jitter(), wished=error.retry_after_seconds)
        ports.queue.put_back(message, wait)
        return False
    detail = failure_detail(task, asked.version, origin, message.receives, TaskError(error.code, error.message))
    if ports.bus.publish([Event(EVENT_TYPE_NOTIFICATION_FAILED, detail, now // 1000)]) is not None:
        raise EventRefusedError(detail["event_id"])
    if not error.final:  # who answers 410 wants to be left alone: that is nobody's to mend
        ports.queue.give_up(message)
    count(Metric.NOTIFICATIONS_GIVEN_UP)
    logger.error("notification_given_up", origin=origin, code=error.code, receives=message.receives)
    return True
