"""Send a webhook because its tenant asks for it: a notification again, or a test message to an address."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidu_relay.adapters.client_webhook import ClientWebhook, origin_of
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.notification_queue import NotificationQueue
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.catalogue import MAX_URL_BYTES
from vidu_relay.domain.errors import Fault, InvalidRequestError, NotificationFailedError
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.notification import (
    Notification,
    NotificationAttempt,
    attempt_facts,
    notified_versions,
    webhook_id,
)
from vidu_relay.domain.representation import timestamp
from vidu_relay.domain.strict_json import form_faults, read_json
from vidu_relay.observability import logger
from vidu_relay.usecases.ports import Clock, clock
from vidu_relay.usecases.sign_webhook import Master, sign_webhook

if TYPE_CHECKING:
    from vidu_relay.domain import webhook_documents

__all__ = ["HOURLY_REPLAYS", "HOURLY_TESTS", "TEST_TYPE", "SendingDependencies", "replay_notification", "send_test"]

HOURLY_REPLAYS = 60
"""Replays of a tenant in an hour."""
HOURLY_TESTS = 20
"""Test messages of a tenant in an hour."""
TEST_TYPE = "webhook.test"
"""The `type` of a test message; no notification has one."""


@dataclass(frozen=True, slots=True)
class SendingDependencies:
    """What a replay and a test message need. `name` gives the random part of a test message's `webhook-id`."""

    store: TaskStore
    tenants: TenantDirectory
    quota: DailyQuota
    queue: NotificationQueue
    webhook: ClientWebhook
    master: Master
    clock: Clock = clock
    name: Callable[[], str] = lambda: secrets.token_hex(8)


def replay_notification(
    task_id: str, version: str, tenant_id: str, deps: SendingDependencies
) -> webhook_documents.ReplayTaken | None:
    """Queue a notification again, under the same `webhook-id`; None if this tenant has no such task.

    It is sent as every other: signed by the tenant's secrets of that moment, rationed, retried. Raises
    `InvalidRequestError` (`no_callback_url`, `notification_not_found`) and `HourlyLimitReachedError`.
    """
    task = deps.store.get(task_id) if TASK_ID.fullmatch(task_id) else None
    if task is None or task.tenant_id != tenant_id:
        return None
    if not task.request.get("callback_url"):
        raise InvalidRequestError("no_callback_url", "The task has no callback_url, so it has no notifications.")
    number = next((one for one in notified_versions(task) if str(one) == version), None)
    if number is None:
        raise InvalidRequestError("notification_not_found", "The task has no notification of this version.")
    deps.quota.take_hourly("replays", tenant_id, HOURLY_REPLAYS, deps.clock())
    deps.queue.ask(Notification(task_id, number, replay=True), tenant_id)
    logger.info("notification_replayed", task_id=task_id, version=number)
    return {"webhook_id": webhook_id(task_id, number)}


def send_test(body: bytes, tenant_id: str, deps: SendingDependencies) -> webhook_documents.WebhookTest:
    """Send one signed test message to the address in a body `{"callback_url": …}`, and say what came of it.

    The message is small and the same for every address; the address passes the guard of all webhooks, and nothing is
    looked up before the hour's count is taken. Raises `InvalidRequestError` (`malformed_json`, `validation_error`,
    `invalid_callback_url`), `HourlyLimitReachedError`, and `ConfigurationError` without a master key.
    """
    url = _address(body)
    began = deps.clock()
    deps.quota.take_hourly("test messages", tenant_id, HOURLY_TESTS, began)
    name = f"test:{deps.name()}"
    message = json.dumps({"type": TEST_TYPE, "timestamp": timestamp(began)}).encode()
    headers = sign_webhook(name, message, tenant_id, tenants=deps.tenants, master=deps.master, now=began)
    sent = deps.clock()
    try:
        answer = deps.webhook.post(url, message, headers)
        attempt = NotificationAttempt(sent, deps.clock() - sent, answer.status, None, answer.text)
    except NotificationFailedError as error:
        if error.code == "address_refused":
            raise InvalidRequestError(
                "invalid_callback_url", "The callback address cannot be used. See `errors`.", (_fault(error.message),)
            ) from error
        fault = None if error.status else error.code
        attempt = NotificationAttempt(sent, deps.clock() - sent, error.status, fault, error.answer)
    logger.info("webhook_tested", origin=origin_of(url), answer=attempt.status, code=attempt.fault)
    return {**attempt_facts(attempt), "webhook_id": name}


def _address(body: bytes) -> str:
    content = read_json(body)
    faults = [Fault("", "must be a JSON object")]
    if isinstance(content, dict):
        faults = list(form_faults(content))
        unknown = (name for name in content if name != "callback_url")
        faults += [Fault(name[:100], "unknown field; known is: callback_url") for name in unknown]
        url = content.get("callback_url")
        if not isinstance(url, str) or not url:
            faults.append(_fault("must be an https URL"))
        elif len(url.encode("utf-8", "surrogatepass")) > MAX_URL_BYTES:
            faults.append(_fault(f"must have at most {MAX_URL_BYTES} bytes in UTF-8"))
        elif not faults:
            return url
    raise InvalidRequestError("validation_error", "The request is not valid. See `errors`.", tuple(faults))


def _fault(message: str) -> Fault:
    return Fault("callback_url", message)
