"""Stands in for ``version-id`` in the events of a versioned bucket.

On AWS ``detail.object`` of an event names the version it speaks of. MiniStack does so in bucket notifications, and
leaves it out of what goes to EventBridge.
"""

import json
from contextvars import ContextVar
from typing import Any

from ministack.services import eventbridge, s3

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    fire, dispatch = s3._fire_s3_event, eventbridge._dispatch_event
    version: ContextVar[str | None] = ContextVar("version", default=None)

    def fire_s3_event(*arguments: Any, version_id: str | None = None, **named: Any) -> None:
        token = version.set(version_id)
        try:
            fire(*arguments, version_id=version_id, **named)
        finally:
            version.reset(token)

    def dispatch_event(event: dict[str, Any], *rest: Any) -> None:
        if event["Source"] == "aws.s3" and (version_id := version.get()):
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version_id
            event = {**event, "Detail": json.dumps(detail)}
        dispatch(event, *rest)

    s3._fire_s3_event = fire_s3_event
    eventbridge._dispatch_event = dispatch_event
