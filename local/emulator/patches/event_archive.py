"""Stands in for ``AWS::Events::Archive``.

MiniStack keeps archives and replays them, but refuses a template that declares one.
"""

import json
from typing import Any

from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings

NAME_LENGTH = 48


def apply(settings: Settings) -> None:
    provisioners._RESOURCE_HANDLERS["AWS::Events::Archive"] = {
        "create": create_archive,
        "update": update_archive,
        "delete": delete_archive,
    }


def create_archive(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
    name = properties.get("ArchiveName") or provisioners._physical_name(stack_name, logical_id, max_len=NAME_LENGTH)
    request = {"ArchiveName": name, "EventSourceArn": properties["SourceArn"], **_settings(properties)}
    return name, {"ArchiveName": name, "Arn": _answer(eventbridge._create_archive(request))["ArchiveArn"]}


def update_archive(
    physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
) -> tuple[str, dict[str, Any]]:
    answer = _answer(eventbridge._update_archive({"ArchiveName": physical_id, **_settings(new)}))
    return physical_id, {"ArchiveName": physical_id, "Arn": answer["ArchiveArn"]}


def delete_archive(physical_id: str, properties: dict[str, Any]) -> None:
    eventbridge._delete_archive({"ArchiveName": physical_id})


def _settings(properties: dict[str, Any]) -> dict[str, Any]:
    settings = {
        "Description": properties.get("Description", ""),
        "RetentionDays": int(properties.get("RetentionDays", 0)),
    }
    if pattern := properties.get("EventPattern"):
        settings["EventPattern"] = pattern if isinstance(pattern, str) else json.dumps(pattern)
    return settings


def _answer(response: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    status, _, body = response
    if status >= 400:
        raise ValueError(f"AWS::Events::Archive: {body.decode()}")
    answer: dict[str, Any] = json.loads(body)
    return answer
