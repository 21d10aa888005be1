"""From the table's stream to the bus: one event for each published version of a task."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.adapters.task_store import task_from_image
from vidu_relay.domain.representation import event_detail, event_type
from vidu_relay.observability import count, logger

__all__ = ["publish_events"]


def publish_events(records: Sequence[Mapping[str, Any]], bus: EventBus) -> str | None:
    """Publish a batch of stream records in order; the sequence number of the first that is not published, or None.

    Nothing before that record is lost and nothing behind it is skipped: the stream comes back from there.
    """
    events: list[Event] = []
    numbers: list[str] = []
    unreadable: str | None = None
    for record in records:
        number = str(record["dynamodb"]["SequenceNumber"])
        try:
            event = _event(record["dynamodb"])
        except (KeyError, ValueError, TypeError, ArithmeticError, zlib.error):
            logger.exception("record_unreadable", sequence_number=number)
            unreadable = number
            break
        if event:
            events.append(event)
            numbers.append(number)
    failed = bus.publish(events)
    if failed is not None:
        logger.error("event_refused", sequence_number=numbers[failed])
        return numbers[failed]
    count("EventsPublished", len(events))
    return unreadable


def _event(change: Mapping[str, Any]) -> Event | None:
    image = change.get("NewImage")
    if image is None or image["version"] == change.get("OldImage", {}).get("version"):
        return None
    task = task_from_image(image)
    return Event(event_type(task), event_detail(task), task.updated_at // 1000)
