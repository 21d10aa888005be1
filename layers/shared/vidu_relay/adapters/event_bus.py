"""The event bus: entries put in order, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

__all__ = ["SOURCE", "Event", "EventBus", "PutResult"]

SOURCE = "vidu-relay"
MAX_ENTRIES = 10
MAX_CALL_BYTES = 200_000
"""PutEvents takes 10 entries of together 1 MB, and counts more than the detail."""
BAD_ENTRY_CODES = frozenset({"InvalidArgument", "MalformedDetail", "SerializationException", "ValidationException"})
"""Error codes with which EventBridge refuses an entry for good. It refuses a call that is too large, or not
understood, as a whole. Every other code (throttling, an internal failure, a missing permission) can pass."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its detail type, detail, and time in whole seconds since the epoch."""

    detail_type: str
    detail: Mapping[str, Any]
    at: int


@dataclass(frozen=True, slots=True)
class PutResult:
    """What became of a list of entries, by their index in it.

    - `bad` are the entries that EventBridge will never take, with its error code.
    - `stopped_at` is the first entry that it may take later, and `reason` its error code or the name of the error; both
      None where there is none. `put` did not send the calls behind that entry. Entries of the same call may be on the
      bus already: publishing them again repeats their `event_id`.
    """

    bad: Mapping[int, str]
    stopped_at: int | None = None
    reason: str | None = None


class EventBus:
    """Publishes on one bus, as source `vidu-relay`."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def publish(self, events: Sequence[Event]) -> int | None:
        """Publish in order; None if all are on the bus, else the index of the first that is not."""
        result = self.put([self.entry(event) for event in events])
        missing = [*result.bad, *([] if result.stopped_at is None else [result.stopped_at])]
        return min(missing, default=None)

    def entry(self, event: Event) -> PutEventsRequestEntryTypeDef:
        """The event in the form of PutEvents. Half a surrogate pair, which is no Unicode, becomes U+FFFD.

        Raises `ValueError`, `TypeError` or `OverflowError` for what has no JSON text, and for a time that is no date.
        """
        text = json.dumps(dict(event.detail), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"),
            "Time": datetime.fromtimestamp(event.at, UTC),
        }

    def put(self, entries: Sequence[PutEventsRequestEntryTypeDef]) -> PutResult:
        """Put entries on the bus in order, without those that EventBridge will never take, up to one it may take later.

        Errors of AWS and time-outs are part of the result; `put` does not raise them.
        """
        bad: dict[int, str] = {}
        start = 0
        while start < len(entries):
            end = _call_end(entries, start)
            for index, code in enumerate(self._call(entries[start:end]), start):
                if code in BAD_ENTRY_CODES:
                    bad[index] = code
                elif code is not None:
                    return PutResult(bad, index, code)
            start = end
        return PutResult(bad)

    def _call(self, entries: Sequence[PutEventsRequestEntryTypeDef]) -> list[str | None]:
        """One call of PutEvents: for each entry None, or its error code.

        A call that EventBridge refuses as bad is repeated entry by entry, to find the bad one.
        """
        try:
            reply = self._client.put_events(Entries=entries)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in BAD_ENTRY_CODES and len(entries) > 1:
                return [code for entry in entries for code in self._call([entry])]
            return [code] * len(entries)
        except BotoCoreError as error:
            return [type(error).__name__] * len(entries)
        return [result.get("ErrorCode") for result in reply["Entries"]]


def _call_end(entries: Sequence[PutEventsRequestEntryTypeDef], start: int) -> int:
    size, end = 0, start
    while end < len(entries) and end - start < MAX_ENTRIES:
        size += len(entries[end]["Detail"].encode())
        if size > MAX_CALL_BYTES and end > start:
            break
        end += 1
    return end
