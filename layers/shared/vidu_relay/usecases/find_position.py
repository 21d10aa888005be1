"""Which of its tenant's waiting tasks a task is."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.provider_queue import ProviderQueue
from vidu_relay.adapters.task_item import place_of
from vidu_relay.domain.task import Task
from vidu_relay.observability import logger

__all__ = ["find_position"]


def find_position(task: Task, queue: ProviderQueue) -> int | None:
    """1 for the tenant's next one; None for a task that does not wait, beyond `MAX_POSITION`, or if AWS refuses."""
    if not task.waits:
        return None
    try:
        return queue.position(task.provider, task.tenant_id, place_of(task))
    except (ClientError, BotoCoreError):
        logger.exception("position_not_read")  # the task itself is the answer
        return None
