"""Stands in for ``AWS::EventSchemas::Registry`` and ``AWS::EventSchemas::Schema``.

AWS keeps schemas for the console and for code that is generated from them; no function reads them. MiniStack has no
schema registry and refuses a template that declares one. Here a schema is checked as far as AWS refuses it at once, and
is then kept by nobody.
"""

import json
import re
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings

TYPES = ("OpenApi3", "JSONSchemaDraft4")
NAME = re.compile(r"[0-9A-Za-z_.@-]+")
REGISTRY_NAME_LENGTH = 64
SCHEMA_NAME_LENGTH = 385
CONTENT_LENGTH = 100_000


def close(settings: Settings) -> None:
    provisioners._RESOURCE_HANDLERS["AWS::EventSchemas::Registry"] = {
        "create": create_registry,
        "update": update_registry,
        "delete": forget,
    }
    provisioners._RESOURCE_HANDLERS["AWS::EventSchemas::Schema"] = {
        "create": create_schema,
        "update": update_schema,
        "delete": forget,
    }


def create_registry(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    name = _name(properties["RegistryName"], REGISTRY_NAME_LENGTH)
    arn = f"{_arn('registry')}/{name}"
    return arn, {"RegistryArn": arn, "RegistryName": name}


def update_registry(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
) -> tuple[str, dict[str, Any]]:
    return create_registry("", new, stack_name)


def create_schema(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    registry, name = properties["RegistryName"], _name(properties["SchemaName"], SCHEMA_NAME_LENGTH)
    if properties["Type"] not in TYPES:
        raise ValueError(f"AWS::EventSchemas::Schema: Type is one of {', '.join(TYPES)}")
    if len(properties["Content"]) > CONTENT_LENGTH:
        raise ValueError(f"AWS::EventSchemas::Schema: Content has at most {CONTENT_LENGTH} characters")
    json.loads(properties["Content"])
    arn = f"{_arn('schema')}/{registry}/{name}"
    return arn, {"SchemaArn": arn, "SchemaName": name, "SchemaVersion": "1"}


def update_schema(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
) -> tuple[str, dict[str, Any]]:
    return create_schema("", new, stack_name)


def forget(physical_id: str, properties: dict[str, Any]) -> None:
    """There is nothing to delete."""


def _name(name: str, length: int) -> str:
    if not NAME.fullmatch(name) or len(name) > length:
        raise ValueError(f"AWS::EventSchemas: {name!r} is no name of at most {length} characters")
    return name


def _arn(kind: str) -> str:
    return f"arn:aws:schemas:{get_region()}:{get_account_id()}:{kind}"
