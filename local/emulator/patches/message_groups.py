"""Stands in for ``SqsParameters`` of a rule whose target is a standard queue (SQS fair queues).

Such a target puts its messages into the message group that ``MessageGroupId`` names, here by a path into the event.
MiniStack uses the parameter for FIFO queues alone. The group reaches the function as an attribute of its record; which
message comes first does not depend on it here.
"""

from contextvars import ContextVar
from typing import Any

from ministack.services import eventbridge, sqs

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    invoke, dispatch = eventbridge._invoke_target, eventbridge._dispatch_to_sqs
    group: ContextVar[str | None] = ContextVar("group", default=None)

    def invoke_target(target: dict[str, Any], event: Any, rule: Any, view: Any = None) -> None:
        view = view or eventbridge._pattern_event_view(event)
        wanted = (target.get("SqsParameters") or {}).get("MessageGroupId")
        token = group.set(_at(wanted, view.event_with_detail()) if wanted else None)
        try:
            invoke(target, event, rule, view)
        finally:
            group.reset(token)

    def dispatch_to_sqs(spec: Any, payload: str, sqs_parameters: Any = None) -> None:
        queue = sqs._queue_by_arn(str(spec))
        if queue is None or queue.get("is_fifo") or not group.get():
            dispatch(spec, payload, sqs_parameters)
            return
        before = len(queue["messages"])
        dispatch(spec, payload, sqs_parameters)
        for message in queue["messages"][before:]:
            message["group_id"] = group.get()

    eventbridge._invoke_target = invoke_target
    eventbridge._dispatch_to_sqs = dispatch_to_sqs


def _at(path: str, event: Any) -> str | None:
    """What a path leads to in an event; a text that is no path stands for itself."""
    if not path.startswith("$."):
        return path
    for step in path.split(".")[1:]:
        event = event.get(step) if isinstance(event, dict) else None
    return event if isinstance(event, str) else None
