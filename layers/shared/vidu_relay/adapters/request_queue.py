"""The queue of requests: EventBridge events of dropped files, and `VideoTaskRequested`; messages about batches."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from vidu_relay.domain.batch import BATCH_ID
from vidu_relay.domain.errors import Fault, InvalidRequestError
from vidu_relay.domain.queued_requests import (
    BATCH_SUFFIX,
    REQUESTED,
    REQUESTS_PREFIX,
    BatchMessage,
    DroppedFile,
    RequestEvent,
)
from vidu_relay.domain.strict_json import read_json, valid_text

__all__ = ["read_request"]

FILE_SUFFIXES = (".json", BATCH_SUFFIX)

_PART = re.compile(r'"(?:[^"\\]++|\\.)*+"|[][{}:,]', re.DOTALL)


def read_request(body: str) -> DroppedFile | RequestEvent | BatchMessage:
    """What a message asks for. An event whose detail cannot be read is a `RequestEvent` with a `fault`.

    Raises `ValueError` on anything the rules do not put into the queue, so that it ends in the dead-letter queue; also
    for a replayed event, whose request was made before.
    """
    fault: InvalidRequestError | None = None
    try:
        event = read_json(body)
    except InvalidRequestError as error:
        event, fault = _outer_texts(body), error
    with suppress(KeyError, TypeError, AttributeError):  # a member is missing or has another type
        if BATCH_ID.fullmatch(event.get("batch_id", "")):
            return BatchMessage(event["batch_id"], event.get("first_byte"))
        if "replay-name" in event:
            raise ValueError("the message is a replay")
        if event["source"] == "aws.s3" and event["detail-type"] == "Object Created":
            stored = event["detail"]["object"]
            file = DroppedFile(str(event["detail"]["bucket"]["name"]), str(stored["key"]), stored.get("version-id"))
            if file.key.startswith(REQUESTS_PREFIX) and file.key.endswith(FILE_SUFFIXES):
                return file
        elif event["detail-type"] == REQUESTED:
            return _request_event(event, fault)
    raise ValueError("the message asks for nothing")


def _request_event(event: dict[str, Any], fault: InvalidRequestError | None) -> RequestEvent:
    event_id, source = valid_text(str(event["id"])), valid_text(str(event["source"]))
    detail = event.get("detail")
    if fault is None and not isinstance(detail, dict):
        said = Fault("detail", "must be an object with `request`, the body of POST /v1/tasks")
        fault = InvalidRequestError("validation_error", "The event is not valid. See `errors`.", (said,))
    return RequestEvent(event_id, source, {}, fault) if fault else RequestEvent(event_id, source, detail or {})


def _outer_texts(message: str) -> dict[str, Any]:
    """The members of the outermost object that are texts, without reading the others.

    For a message whose detail is too deep, too large or no valid JSON: id and source stand outside the detail. Raises
    `ValueError` if they cannot be read either.
    """
    found: dict[str, Any] = {}
    depth, last, name = 0, None, None
    for match in _PART.finditer(message):
        part = match.group()
        if part in "[{":
            depth, name = depth + 1, None
        elif part in "]}":
            depth -= 1
        elif depth != 1:
            continue
        elif part == ":":
            name = last
        elif part == ",":
            name = None
        elif name is None:
            last = json.loads(part)
        else:
            found[name], name = json.loads(part), None
    return found
