"""From the table's stream to the bus: one event for each published version of a task."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.adapters.task_item import task_from_image
from vidu_relay.domain.representation import event_detail, event_type
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, gauge, logger

__all__ = ["publish_events"]


def publish_events(records: Sequence[Mapping[str, Any]], bus: EventBus) -> str | None:
    """Publish a batch of stream records in order; the sequence number of the first that is not published, or None.

    Nothing before that record is lost and nothing behind it is skipped: the stream comes back from there.
    """
    tasks: list[Task] = []
    events: list[Event] = []
    numbers: list[str] = []
    unreadable: str | None = None
    for record in records:
        number = str(record["dynamodb"]["SequenceNumber"])
        try:
            task = _changed_task(record["dynamodb"])
            event = Event(event_type(task), event_detail(task), task.updated_at // 1000) if task else None
        except (KeyError, ValueError, TypeError, ArithmeticError, zlib.error):
            key = record["dynamodb"].get("Keys", {}).get("pk", {}).get("S")
            logger.exception("record_unreadable", sequence_number=number, record_key=key)
            unreadable = number
            break
        if task and event:
            tasks.append(task)
            events.append(event)
            numbers.append(number)
    failed = bus.publish(events)
    for task, event in list(zip(tasks, events, strict=True))[:failed]:
        _observe(task, event)
    if failed is not None:
        logger.error(
            "event_refused",
            sequence_number=numbers[failed],
            task_id=tasks[failed].task_id,
            tenant_id=tasks[failed].tenant_id,
        )
        return numbers[failed]
    count(Metric.EVENTS_PUBLISHED, len(events))
    return unreadable


def _changed_task(change: Mapping[str, Any]) -> Task | None:
    """The task after a change that is to be published, None for one that is not."""
    image = change.get("NewImage")
    if image is None or image["version"] == change.get("OldImage", {}).get("version"):
        return None
    return task_from_image(image)


def _observe(task: Task, event: Event) -> None:
    """One log line and one count for each published change: here, and nowhere else."""
    logger.info(
        event.detail_type,
        task_id=task.task_id,
        tenant_id=task.tenant_id,
        version=task.version,
        status=task.status.value,
        code=task.error.code if task.error else None,
    )
    count(event.detail_type)
    if task.status is Status.COMPLETED:
        gauge(Metric.TASK_SECONDS, (task.updated_at - task.created_at) / 1000)
    if task.status is Status.GENERATED and task.usage and task.usage.cost:
        cost = _dollars(task.usage.cost)
        if cost is not None:
            gauge(Metric.SPEND_USD, cost, MetricUnit.NoUnit)


def _dollars(cost: str) -> float | None:
    try:
        value = float(cost)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
