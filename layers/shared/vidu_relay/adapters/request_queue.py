"""The queue of requests: EventBridge events, each whole, of dropped files and of `VideoTaskRequested`."""

from __future__ import annotations

from vidu_relay.domain.intake import REQUESTED, REQUESTS_PREFIX, DroppedFile, RequestEvent
from vidu_relay.domain.request_form import read_json

__all__ = ["read_request"]

FILE_SUFFIX = ".json"


def read_request(body: str) -> DroppedFile | RequestEvent:
    """What a message asks for.

    Raises `ValueError` on anything the rules do not put into the queue, so that it ends in the dead-letter queue. A
    replayed event is such a thing: whoever redrives it means a request that was made before.
    """
    try:
        event = read_json(body)
        if "replay-name" in event:
            raise ValueError("the message is a replay")
        if event["source"] == "aws.s3" and event["detail-type"] == "Object Created":
            there = event["detail"]["object"]
            file = DroppedFile(str(event["detail"]["bucket"]["name"]), str(there["key"]), there.get("version-id"))
            if file.key.startswith(REQUESTS_PREFIX) and file.key.endswith(FILE_SUFFIX):
                return file
        elif event["detail-type"] == REQUESTED and isinstance(event["detail"], dict):
            return RequestEvent(str(event["id"]), str(event["source"]), event["detail"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the message is no event of S3 or of the bus") from error
    raise ValueError("the message asks for nothing")
