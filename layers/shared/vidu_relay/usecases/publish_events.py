"""From the table's stream to the bus: one event for each published version of a task.

There are two kinds of failure. After an error of AWS or a time-out, the stream delivers the record again for as long as
it keeps it. A record that raises anything else, or that EventBridge refuses as invalid, would never be published: it is
stored whole in the failures bucket, and the records behind it go on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.adapters.task_item import task_from_image
from vidu_relay.domain.representation import event_detail, event_type
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, gauge, logger
from vidu_relay.usecases.set_aside import record_key, sequence_number, set_aside

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

__all__ = ["publish_events"]


@dataclass(frozen=True, slots=True)
class _Change:
    """A published change: its stream record, the task after it, and the entry for the bus."""

    record: Mapping[str, Any]
    task: Task
    entry: PutEventsRequestEntryTypeDef


def publish_events(records: Sequence[Mapping[str, Any]], bus: EventBus, failures: FailuresBucket | None) -> str | None:
    """Publish stream records in order; the sequence number from which the stream must deliver again, or None.

    Every record before that one is on the bus, set aside in `failures`, or not an event. Without `failures` a record
    that cannot be published is not set aside: its number is returned, like that of a record to deliver again.
    """
    waiting: list[_Change] = []
    for record in records:
        try:
            change = _change(record, bus)
        except Exception as error:  # noqa: BLE001 - one bad record must not stop those behind it
            logger.exception(
                "record_unreadable", sequence_number=sequence_number(record), record_key=record_key(record)
            )
            stopped = _publish(waiting, bus, failures) or set_aside(record, type(error).__name__, failures)
            if stopped is not None:
                return stopped
            waiting = []
        else:
            waiting.extend([change] if change else [])
    return _publish(waiting, bus, failures)


def _publish(changes: Sequence[_Change], bus: EventBus, failures: FailuresBucket | None) -> str | None:
    """Put changes on the bus and count them; the number of the first that is neither there nor set aside, or None."""
    result = bus.put([change.entry for change in changes])
    for index, change in enumerate(changes[: result.stopped_at]):
        if index not in result.bad:
            _observe(change)
    for index, code in result.bad.items():
        task = changes[index].task
        logger.error("event_refused_for_good", code=code, task_id=task.task_id, tenant_id=task.tenant_id)
        stopped = set_aside(changes[index].record, code, failures)
        if stopped is not None:
            return stopped
    if result.stopped_at is None:
        return None
    refused = changes[result.stopped_at]
    logger.error(
        "event_refused",
        code=result.reason,
        sequence_number=sequence_number(refused.record),
        task_id=refused.task.task_id,
        tenant_id=refused.task.tenant_id,
    )
    return sequence_number(refused.record)


def _change(record: Mapping[str, Any], bus: EventBus) -> _Change | None:
    """The change that a record publishes, or None. Raises whatever a record raises that holds no task of ours."""
    task = _changed_task(record["dynamodb"])
    if task is None:
        return None
    return _Change(record, task, bus.entry(Event(event_type(task), event_detail(task), task.updated_at // 1000)))


def _changed_task(change: Mapping[str, Any]) -> Task | None:
    """The task after a change that is to be published, None for one that is not."""
    image = change.get("NewImage")
    if image is None or image["version"] == change.get("OldImage", {}).get("version"):
        return None
    return task_from_image(image)


def _observe(change: _Change) -> None:
    """One log line and one count for each published change: here, and nowhere else."""
    task, detail_type = change.task, change.entry["DetailType"]
    logger.info(
        detail_type,
        task_id=task.task_id,
        tenant_id=task.tenant_id,
        version=task.version,
        status=task.status.value,
        code=task.error.code if task.error else None,
    )
    count(detail_type)
    if task.status is Status.COMPLETED:
        gauge(Metric.TASK_SECONDS, (task.updated_at - task.created_at) / 1000)
    cost = _new_cost(change)
    if cost is not None:
        gauge(Metric.SPEND_USD, cost, MetricUnit.NoUnit)


def _new_cost(change: _Change) -> float | None:
    """What the task cost in USD, if this change recorded it: later ones carry it too.

    None without an image of before, as in a record that the operator's tool makes to publish an event again.
    """
    before, usage = change.record["dynamodb"].get("OldImage"), change.task.usage
    if before is None or "cost" in before.get("usage", {}).get("M", {}) or usage is None or usage.cost is None:
        return None
    return _dollars(usage.cost)


def _dollars(cost: str) -> float | None:
    try:
        value = float(cost)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
