"""The event bus: entries put in order, and which of them were refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

__all__ = ["SOURCE", "Event", "EventBus"]

SOURCE = "vidu-relay"
MAX_ENTRIES = 10
MAX_CALL_BYTES = 200_000
"""PutEvents takes 10 entries of together 256 KB; the margin is for what EventBridge counts besides the detail."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its detail type, detail, and time in whole seconds since the epoch."""

    detail_type: str
    detail: Mapping[str, Any]
    at: int


class EventBus:
    """Publishes on one bus, as source `vidu-relay`."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def publish(self, events: Sequence[Event]) -> int | None:
        """Publish in order; None if all are on the bus, else the index of the first that is not.

        Events behind that one may be on the bus already: they are published again, under the same `event_id`.
        """
        entries = [self._entry(event) for event in events]
        start = 0
        while start < len(entries):
            end = _call_end(entries, start)
            reply = self._client.put_events(Entries=entries[start:end])
            if reply.get("FailedEntryCount"):
                for index, result in enumerate(reply["Entries"]):
                    if "ErrorCode" in result:
                        return start + index
            start = end
        return None

    def _entry(self, event: Event) -> PutEventsRequestEntryTypeDef:
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": json.dumps(dict(event.detail), ensure_ascii=False, allow_nan=False, separators=(",", ":")),
            "Time": datetime.fromtimestamp(event.at, UTC),
        }


def _call_end(entries: Sequence[PutEventsRequestEntryTypeDef], start: int) -> int:
    size, end = 0, start
    while end < len(entries) and end - start < MAX_ENTRIES:
        size += len(entries[end]["Detail"].encode())
        if size > MAX_CALL_BYTES and end > start:
            break
        end += 1
    return end
