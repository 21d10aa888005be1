"""The queue of notifications: each message names a change of a task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.notification import Notification

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["NotificationQueue", "Received", "read_notification"]

MAX_VERSION = 10**11
"""Versions may begin at the second of a task's creation."""
LONGEST_SECONDS = 42_000
"""SQS takes 12 hours, counted from when the message was received."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it was received.

    `receives` counts this time too, `sent_at` is in milliseconds since the epoch, `group` is its message group (the
    tenant) if it has one.
    """

    body: str
    receipt: str
    receives: int
    sent_at: int
    group: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Received:
        """From a record of Lambda's event."""
        attributes = record["attributes"]
        return cls(
            body=record["body"],
            receipt=record["receiptHandle"],
            receives=int(attributes["ApproximateReceiveCount"]),
            sent_at=int(attributes["SentTimestamp"]),
            group=attributes.get("MessageGroupId"),
        )


class NotificationQueue:
    """Puts messages back for a while, requests notifications and, with a dead-letter queue, gives messages up."""

    def __init__(self, client: SQSClient, url: str, dead_letters_url: str = "") -> None:
        self._client = client
        self._url = url
        self._dead_letters_url = dead_letters_url

    def ask(self, notification: Notification, tenant_id: str | None = None) -> None:
        """Request a notification, now. Messages of one tenant are one group to SQS's fair queues."""
        replay = {"replay": True} if notification.replay else {}
        body = {"task_id": notification.task_id, "version": notification.version, **replay}
        self._send(self._url, json.dumps(body), tenant_id)

    def put_back(self, message: Received, seconds: int) -> None:
        """Hide a message for so long, 11 hours and 40 minutes at most. The caller must not report it as done."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=min(seconds, LONGEST_SECONDS)
        )

    def give_up(self, message: Received) -> None:
        """Put a copy into the dead-letter queue. The caller reports the message as done."""
        self._send(self._dead_letters_url, message.body, message.group)

    def _send(self, url: str, body: str, group: str | None) -> None:
        groups: Any = {"MessageGroupId": group} if group else {}
        self._client.send_message(QueueUrl=url, MessageBody=body, **groups)


def read_notification(body: str) -> Notification:
    """What a message of ours, or of the rule's input transformer, is about. Raises `ValueError` on anything else."""
    content = json.loads(body)
    task_id, version = (content.get("task_id"), content.get("version")) if isinstance(content, dict) else (None, None)
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        raise ValueError("the message names no task")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_VERSION:
        raise ValueError("the message names no version")
    return Notification(task_id, version, replay=content.get("replay") is True)
