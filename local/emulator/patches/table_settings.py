"""Stands in for two properties of a table in a template: time to live, and point-in-time recovery.

MiniStack has both as API calls and ignores them in ``AWS::DynamoDB::Table``.
"""

from typing import Any

from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    create, update = handlers["create"], handlers["update"]

    def create_table(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        name, attributes = create(logical_id, properties, stack_name)
        _apply(name, properties)
        return name, attributes

    def update_table(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, logical_id: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        name, attributes = update(physical_id, old, new, stack_name, logical_id)
        _apply(name, new)
        return name, attributes

    handlers.update(create=create_table, update=update_table)


def _apply(table: str, properties: dict[str, Any]) -> None:
    if expiry := properties.get("TimeToLiveSpecification"):
        setting = {"AttributeName": expiry["AttributeName"], "Enabled": _is_true(expiry.get("Enabled"))}
        dynamodb._update_ttl({"TableName": table, "TimeToLiveSpecification": setting})
    recovery = properties.get("PointInTimeRecoverySpecification") or {}
    dynamodb._pitr_settings[table] = _is_true(recovery.get("PointInTimeRecoveryEnabled"))


def _is_true(value: object) -> bool:
    """CloudFormation passes booleans on as booleans or as text."""
    return str(value).lower() == "true"
