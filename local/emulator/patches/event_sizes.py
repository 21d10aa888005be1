"""Stands in for the largest request of PutEvents: all entries together have less than 1 MB (API reference, PutEvents;
user guide, "Calculating PutEvents event entry size"). MiniStack takes entries of any size.
"""

from typing import Any

from ministack.core import responses
from ministack.services import eventbridge

from local.emulator.settings import Settings

TOTAL_BYTES = 1024 * 1024
TIME_BYTES = 14


def apply(settings: Settings) -> None:
    put_events = eventbridge._put_events

    def put_small_events(request: dict[str, Any], allow_aws_source: bool = False) -> Any:
        if sum(map(_size, request.get("Entries", []))) >= TOTAL_BYTES:
            message = "Total size of the entries in the request is over the limit."
            return responses.error_response_json("ValidationException", message, 400)
        return put_events(request, allow_aws_source)

    eventbridge._put_events = put_small_events


def _size(entry: dict[str, Any]) -> int:
    texts = [entry.get("Source", ""), entry.get("DetailType", ""), entry.get("Detail", ""), *entry.get("Resources", [])]
    return TIME_BYTES * ("Time" in entry) + sum(len(text.encode()) for text in texts)
