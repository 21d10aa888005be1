"""The bus as an AsyncAPI document: channels and messages. The schemas are those of `docs/schemas/events.json`."""

from __future__ import annotations

from typing import Any

from local.description.events import RECEIVED, SENT, VERSION
from local.description.json_schema import Schema
from vidu_relay.adapters.event_bus import SOURCE

__all__ = ["describe_bus"]

SCHEMAS = "schemas/events.json#/$defs/"
CHANNELS = {
    "events": ("What happened to tasks and requests.", SENT),
    "requests": ("Requests for videos. Each sender has a source of its own, mapped to its tenant.", RECEIVED),
}
INFO = {
    "title": "Vidu Relay",
    "version": VERSION,
    "description": "The events on a stack's own EventBridge bus. Each published change of a task is one event, at "
    "least once and in no order: repetitions have the same `event_id`, and the later event of a task has the higher "
    "`version`.",
}
SERVER = {
    "host": "events.{region}.amazonaws.com",
    "protocol": "https",
    "description": "Amazon EventBridge. Rules of your own hand events to a consumer.",
    "variables": {"region": {"description": "The stack's region.", "default": "us-east-1"}},
}
BUS = {"description": "The stack's output EventBusName.", "default": "vidu-relay-events"}


def describe_bus() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: channels and messages as the relay has them, and who sends what."""
    return {
        "asyncapi": "3.0.0",
        "info": INFO,
        "defaultContentType": "application/json",
        "servers": {"eventbridge": SERVER},
        "channels": {
            channel: {
                "address": "{bus}",
                "title": channel,
                "description": meaning,
                "parameters": {"bus": BUS},
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            }
            for channel, (meaning, names) in CHANNELS.items()
        },
        "operations": {
            "sendEvents": _operation("send", "events", "The relay publishes what happened."),
            "receiveRequests": _operation("receive", "requests", "The relay accepts requests; it answers by events."),
        },
        "components": {"messages": {name: _message(name) for name in (*SENT, *RECEIVED)}},
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in CHANNELS[channel][1]],
    }


def _message(name: str) -> dict[str, Any]:
    """The whole event, as a rule hands it on."""
    fixed: Schema = {"detail-type": {"const": name}, **({} if name in RECEIVED else {"source": {"const": SOURCE}})}
    event = {"required": ["detail"], "properties": {**fixed, "detail": {"$ref": SCHEMAS + name}}}
    return {"name": name, "title": name, "payload": {"allOf": [{"$ref": f"{SCHEMAS}EventEnvelope"}, event]}}
