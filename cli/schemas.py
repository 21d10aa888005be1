"""`relay schemas`: the events' schemas in EventBridge's schema registry, for its console and the AWS toolkits.

The stack does not hold them: nine regions have no registry, and CloudFormation refuses the whole template there.
Nothing in the relay reads them.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import EndpointConnectionError

from cli.answer import Answer, RefusedError
from cli.connection import Connection
from vidu_relay.description.asyncapi import registered

__all__ = ["MAX_NAME_LENGTH", "delete", "publish", "registry_of"]

MAX_NAME_LENGTH = 64
"""Of a registry: https://docs.aws.amazon.com/eventbridge/latest/schema-reference/v1-registries-name-registryname.html"""


def registry_of(stack_name: str) -> str:
    """The registry of a stack."""
    return f"{stack_name}-events"


def publish(_: Namespace, connection: Connection) -> Answer:
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


def delete(_: Namespace, connection: Connection) -> Answer:
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
            "Nothing else depends on it: docs/schemas/ holds the same schemas"
        ) from error


def _described(service: Any, what: str, **which: str) -> Any:
    """What AWS says of a registry or of the latest version of a schema; None if there is none."""
    try:
        return getattr(service, f"describe_{what}")(**which)
    except service.exceptions.NotFoundException:
        return None
