"""The bus as an AsyncAPI document, and each event as the OpenAPI document that EventBridge's schema registry keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.description.events import RECEIVED, SENT, VERSION, published
from vidu_relay.description.schemas import COMPONENTS, Schema

__all__ = ["describe_bus", "registered"]

ENVELOPE: dict[str, Schema] = {
    "version": {"type": "string", "description": "Of EventBridge's envelope."},
    "id": {"type": "string", "description": "EventBridge's: another one when an event is repeated or replayed."},
    "detail-type": {"type": "string"},
    "source": {"type": "string"},
    "account": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "region": {"type": "string"},
    "resources": {"type": "array", "items": {"type": "string"}},
}
OF_A_REPLAY: dict[str, Schema] = {
    "replay-name": {"type": "string", "description": "Only on an event that is replayed from an archive."}
}
CHANNELS = {
    "events": ("What happened to tasks and requests.", SENT),
    "requests": ("Requests for videos. Each sender has a source of its own, mapped to its tenant.", RECEIVED),
}
ANNOTATIONS = frozenset({"$schema", "$id", "description", "examples", "title"})


def describe_bus() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: channels and messages as the relay has them, who sends what, and every schema."""
    every = published()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vidu Relay",
            "version": VERSION,
            "description": "The events on a stack's own EventBridge bus. Each published change of a task is one event, "
            "at least once and in no order: repetitions have the same `event_id`, and the later event of a task has "
            "the higher `version`.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "eventbridge": {
                "host": "events.{region}.amazonaws.com",
                "protocol": "https",
                "description": "Amazon EventBridge. Rules of your own hand events to a consumer.",
                "variables": {"region": {"description": "The stack's region.", "default": "us-east-1"}},
            }
        },
        "channels": {
            channel: {
                "address": "{bus}",
                "title": channel,
                "description": meaning,
                "parameters": {
                    "bus": {"description": "The stack's output EventBusName.", "default": "vidu-relay-events"}
                },
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            }
            for channel, (meaning, names) in CHANNELS.items()
        },
        "operations": {
            "tellEvents": _operation("send", "events", "The relay tells what happened."),
            "takeRequests": _operation("receive", "requests", "The relay takes requests; it answers by events."),
        },
        "components": {
            "messages": {name: _message(name, schema["description"]) for name, schema in every.items()},
            "schemas": {
                name: {key: value for key, value in schema.items() if key not in ("$schema", "$id")}
                for name, schema in every.items()
            },
        },
    }


def registered() -> dict[str, dict[str, Any]]:
    """What the schema registry holds, by schema name: OpenAPI 3.0 with EventBridge's `AWSEvent` around the detail.

    Without descriptions, which are in `docs/schemas/`: the code that is generated from it has no use for them.
    """
    return {
        name if name in RECEIVED else f"{SOURCE}@{name}": {
            "openapi": "3.0.0",
            "info": {"title": name, "version": VERSION},
            "paths": {},
            "components": {
                "schemas": {
                    "AWSEvent": {
                        "type": "object",
                        "required": [*ENVELOPE, "detail"],
                        "x-amazon-events-detail-type": name,
                        **({} if name in RECEIVED else {"x-amazon-events-source": SOURCE}),
                        "properties": {**_older(ENVELOPE), "detail": {"$ref": COMPONENTS + name}},
                    },
                    name: _older(schema),
                }
            },
        }
        for name, schema in published().items()
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in CHANNELS[channel][1]],
    }


def _message(name: str, meaning: str) -> dict[str, Any]:
    """The whole event, as a rule hands it on."""
    source: Schema = {**ENVELOPE["source"], "description": "Yours."} if name in RECEIVED else {"const": SOURCE}
    return {
        "name": name,
        "title": name,
        "summary": meaning,
        "payload": {
            "type": "object",
            "required": [*ENVELOPE, "detail"],
            "properties": {
                **ENVELOPE,
                "detail-type": {"const": name},
                "source": source,
                **OF_A_REPLAY,
                "detail": {"$ref": COMPONENTS + name},
            },
        },
    }


def _older(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the words of OpenAPI 3.0, which has `nullable` in place of a type of null, and no `const`."""
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "anyOf":
            one, null = value  # every choice of ours is "this, or null"
            if null != {"type": "null"}:
                raise ValueError(f"OpenAPI 3.0 has no word for {value}")
            made |= {**_older(one), "nullable": True}
        elif key == "const":
            made |= {"type": "string", "enum": [value]}
        elif key == "enum":
            made |= {"type": "string", "enum": value}
        elif key == "properties":
            made[key] = {name: _older(inner) for name, inner in value.items()}
        elif key not in ANNOTATIONS:
            made[key] = _older(value) if isinstance(value, Mapping) else value
    return made
