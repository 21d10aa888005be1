"""The queue of deliveries: messages that name a task whose videos are to be copied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.identifiers import TASK_ID

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["DeliveryQueue", "read_message"]


class DeliveryQueue:
    """Asks for deliveries."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def ask(self, task_id: str, tenant_id: str | None = None) -> None:
        """Ask for the videos of a task. Asking twice copies nothing twice.

        Messages of one tenant are one group to SQS's fair queues.
        """
        group: Any = {"MessageGroupId": tenant_id} if tenant_id else {}
        self._client.send_message(QueueUrl=self._url, MessageBody=json.dumps({"task_id": task_id}), **group)


def read_message(body: str) -> str:
    """The task id of a message: of ours, or of the rule's input transformer.

    Raises `ValueError` on anything else, so that the message ends in the dead-letter queue.
    """
    content = json.loads(body)
    task_id = content.get("task_id") if isinstance(content, dict) else None
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        raise ValueError("the message names no task")
    return task_id
