"""`relay schemas`: the events' schemas in EventBridge's schema registry, for its console and the AWS toolkits.

The stack does not hold them: nine regions have no registry, and CloudFormation refuses the whole template there.
Nothing in the relay reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import EndpointConnectionError

from cli.answer import Answer, RefusedError
from cli.connection import Connection
from cli.source import ROOT
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.domain.queued_requests import REQUESTED

__all__ = [
    "EVENTS",
    "MAX_NAME_LENGTH",
    "delete",
    "detail_types",
    "publish",
    "registered",
    "registry_of",
    "whole_schema",
]

EVENTS = ROOT / "docs" / "schemas" / "events.json"
ANNOTATIONS = frozenset({"description", "examples", "title"})
MAX_NAME_LENGTH = 64
"""Of a registry: https://docs.aws.amazon.com/eventbridge/latest/schema-reference/v1-registries-name-registryname.html"""


def registry_of(stack_name: str) -> str:
    """The registry of a stack."""
    return f"{stack_name}-events"


def detail_types(file: Path = EVENTS) -> list[str]:
    """The detail types that the file describes."""
    return [_name_in(schema) for schema in _read(file)["anyOf"]]


def whole_schema(name: str, file: Path = EVENTS) -> dict[str, Any]:
    """One of the file's `$defs`, whole in itself: with what it refers to and what it extends in its place."""
    definitions = _read(file)["$defs"]

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(one) for one in part]
        if not isinstance(part, dict):
            return part
        parts = [definitions[_name_in(part)]] if "$ref" in part else part.get("allOf", [])
        made: dict[str, Any] = {}
        for one in parts:
            made = _extended(made, whole(one))
        return _extended(made, {key: whole(value) for key, value in part.items() if key not in ("$ref", "allOf")})

    schema: dict[str, Any] = whole(definitions[name])
    return schema


def registered() -> dict[str, dict[str, Any]]:
    """What the schema registry holds, by schema name: OpenAPI 3.0 with EventBridge's `AWSEvent` around the detail.

    Without descriptions, which are in `EVENTS`: the code that is generated from it has no use for them.
    """
    version, envelope = _read(EVENTS)["$id"].rpartition(":")[2], _older(whole_schema("EventEnvelope"))
    made = {}
    for name in detail_types():
        source = {} if name == REQUESTED else {"x-amazon-events-source": SOURCE}
        event = {
            **envelope,
            "required": [*envelope["required"], "detail"],
            "x-amazon-events-detail-type": name,
            **source,
            "properties": {**envelope["properties"], "detail": {"$ref": f"#/components/schemas/{name}"}},
        }
        made[f"{SOURCE}@{name}" if source else name] = {
            "openapi": "3.0.0",
            "info": {"title": name, "version": version},
            "paths": {},
            "components": {"schemas": {"AWSEvent": event, name: _older(whole_schema(name))}},
        }
    return made


def publish(connection: Connection) -> Answer:
    """Create the registry and its schemas, or bring them up to date; an unchanged schema gets no new version."""
    registry = registry_of(connection.stack_name)
    done: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": []}
    with _service(connection) as service:
        if _described(service, "registry", RegistryName=registry) is None:
            service.create_registry(
                RegistryName=registry,
                Description="What goes over the bus of Vidu Relay.",
                Tags={"Project": "vidu-relay"},
            )
        for name, document in registered().items():
            which = {"RegistryName": registry, "SchemaName": name}
            content = {"Type": "OpenApi3", "Content": json.dumps(document, ensure_ascii=False)}
            current = _described(service, "schema", **which)
            if current is None:
                service.create_schema(**which, **content, Tags={"Project": "vidu-relay"})
                done["created"].append(name)
            elif json.loads(current["Content"]) != document:
                service.update_schema(**which, **content)
                done["updated"].append(name)
            else:
                done["unchanged"].append(name)
    counts = ", ".join(f"{len(names)} {what}" for what, names in done.items())
    lines = [f"{what}: {name}" for what in ("created", "updated") for name in done[what]]
    return Answer("\n".join([f"Registry {registry}: {counts}.", *lines]), {"registry": registry, **done})


def delete(connection: Connection) -> Answer:
    """Delete every schema of the registry, and the registry."""
    registry, names = registry_of(connection.stack_name), list[str]()
    with _service(connection) as service:
        if _described(service, "registry", RegistryName=registry) is None:
            return Answer(f"There is no registry {registry}: nothing to delete.", {"registry": registry, "deleted": []})
        for page in service.get_paginator("list_schemas").paginate(RegistryName=registry):
            names.extend(schema["SchemaName"] for schema in page["Schemas"])
        for name in names:
            service.delete_schema(RegistryName=registry, SchemaName=name)
        service.delete_registry(RegistryName=registry)
    said = f"Registry {registry} is deleted, with {len(names)} schemas."
    return Answer(said, {"registry": registry, "deleted": names})


@contextmanager
def _service(connection: Connection) -> Iterator[Any]:
    """The client of the service. Raises `RefusedError` in a region that does not have it."""
    try:
        yield connection.client("schemas")
    except EndpointConnectionError as error:
        raise RefusedError(
            f"the region {connection.session.region_name} seems to have no EventBridge schema registry ({error}). "
            "Nothing else depends on it: docs/schemas/events.json holds the same schemas"
        ) from error


def _described(service: Any, what: str, **which: str) -> Any:
    """What AWS says of a registry or of the latest version of a schema; None if there is none."""
    try:
        return getattr(service, f"describe_{what}")(**which)
    except service.exceptions.NotFoundException:
        return None


def _read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return document


def _name_in(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"].rpartition("/")[2])


def _extended(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with the keywords of another, which come first where both have one."""
    both = {key: _extended(one[key], value) for key, value in other.items() if isinstance(one.get(key), Mapping)}
    return {**one, **other, **both}


def _older(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the words of OpenAPI 3.0, which has `nullable` in place of a type of null, and no `const`."""
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "anyOf":
            one, null = value  # every choice of ours is "this, or null"
            if null != {"type": "null"}:
                raise ValueError(f"OpenAPI 3.0 cannot express {value}")
            made |= {**_older(one), "nullable": True}
        elif key in ("const", "enum"):
            made |= {"type": "string", "enum": value if key == "enum" else [value]}
        elif key == "properties":
            made[key] = {name: _older(inner) for name, inner in value.items()}
        elif key not in ANNOTATIONS:
            made[key] = _older(value) if isinstance(value, Mapping) else value
    return made
