"""The sweep's part for batches: have each open batch followed that is due."""

from __future__ import annotations

from itertools import islice

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.batch_queue import BatchQueue
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.observability import logger
from vidu_relay.usecases.ports import Clock, clock

__all__ = ["find_due_batches"]

MAX_FOLLOWED = 200
"""By one sweep: a tenant may have thousands of small batches, and single requests come through the same queue."""


def find_due_batches(batches: BatchStore, queue: BatchQueue, *, clock: Clock = clock) -> int:
    """Queue a message for each of the `MAX_FOLLOWED` batches longest due; how many. An error of AWS leaves
    the rest to the next sweep.

    A batch stays due until it was followed: then a second message does nothing.
    """
    sent = 0
    try:
        for batch_id in islice(batches.find_due(clock()), MAX_FOLLOWED):
            queue.follow(batch_id)
            sent += 1
    except (ClientError, BotoCoreError):
        logger.exception("batches_not_followed")
    return sent
