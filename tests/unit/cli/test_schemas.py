"""The events' schemas in EventBridge's registry: published once, updated where they changed, and deleted."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from cli.connection import Connection
from cli.schemas import registered
from tests.unit.cli.conftest import STACK, Run

NAMES = list(registered())
REGISTRY = f"{STACK}-events"


class Registries:
    """The service in memory: every version of each schema, by registry and name."""

    exceptions = boto3.client("schemas", region_name="us-east-1").exceptions

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, list[str]]] = {}

    def describe_registry(self, *, RegistryName: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._found(RegistryName in self.stored)
        return {}

    def describe_schema(self, *, RegistryName: str, SchemaName: str) -> dict[str, Any]:  # noqa: N803
        self._found(SchemaName in self.stored[RegistryName])
        return {"Content": self.stored[RegistryName][SchemaName][-1]}

    def create_registry(self, *, RegistryName: str, **_: Any) -> None:  # noqa: N803
        self.stored[RegistryName] = {}

    def create_schema(self, *, RegistryName: str, SchemaName: str, Content: str, **_: Any) -> None:  # noqa: N803
        self.stored[RegistryName].setdefault(SchemaName, []).append(Content)

    update_schema = create_schema

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, *, RegistryName: str) -> Any:  # noqa: N803
        return [{"Schemas": [{"SchemaName": name}]} for name in self.stored[RegistryName]]

    def delete_schema(self, *, RegistryName: str, SchemaName: str) -> None:  # noqa: N803
        del self.stored[RegistryName][SchemaName]

    def delete_registry(self, *, RegistryName: str) -> None:  # noqa: N803
        assert self.stored.pop(RegistryName) == {}

    def _found(self, found: bool) -> None:
        if not found:
            raise self.exceptions.NotFoundException({"Error": {"Code": "NotFoundException"}}, "Describe")


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Registries:
    service = Registries()
    monkeypatch.setattr(Connection, "client", lambda *_: service)
    return service


def test_schemas_are_published_once_and_only_a_changed_one_gets_a_version(ask: Any, registries: Registries) -> None:
    assert ask("schemas", "publish") == {"registry": REGISTRY, "created": NAMES, "updated": [], "unchanged": []}
    registries.stored[REGISTRY][NAMES[0]].append('{"openapi": "3.0.0"}')
    del registries.stored[REGISTRY][NAMES[1]]
    answer = ask("schemas", "publish")
    assert (answer["created"], answer["updated"], answer["unchanged"]) == ([NAMES[1]], [NAMES[0]], NAMES[2:])
    assert {name: len(versions) for name, versions in registries.stored[REGISTRY].items()} == {
        **dict.fromkeys(NAMES, 1),
        NAMES[0]: 3,
    }


def test_registry_is_deleted_with_every_schema_of_it_and_of_no_other_stack(ask: Any, registries: Registries) -> None:
    ask("schemas", "publish")
    registries.stored["other-events"] = {"theirs": ["{}"]}
    assert ask("schemas", "delete")["deleted"] == NAMES
    assert registries.stored == {"other-events": {"theirs": ["{}"]}}
    assert ask("schemas", "delete")["deleted"] == []


@pytest.mark.parametrize("command", ["publish", "delete"])
def test_region_without_the_service_is_refused_and_nothing_depends_on_it(
    relay: Run, registries: Registries, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def describe_registry(**_: str) -> None:
        raise EndpointConnectionError(endpoint_url="https://schemas.ca-west-1.amazonaws.com/")

    monkeypatch.setattr(registries, "describe_registry", describe_registry)
    status, _, complaint = relay("schemas", command)
    assert status == 1
    assert "no EventBridge schema registry" in complaint
    assert "Nothing else depends on it" in complaint
