"""Stands in for the refusal to delete an event bus that has rules, whoever made them (API reference, DeleteEventBus).

MiniStack deletes the rules with the bus.
"""

import json
from typing import Any

from ministack.core import responses
from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    delete = eventbridge._delete_event_bus

    def delete_event_bus(request: dict[str, Any]) -> Any:
        if any(rule.get("EventBusName") == request.get("Name") for rule in eventbridge._rules.values()):
            return responses.error_response_json(
                "ValidationException", "EventBus can't be deleted since it has rules.", 400
            )
        return delete(request)

    def delete_resource(physical_id: str, properties: dict[str, Any]) -> None:
        status, _, body = delete_event_bus({"Name": physical_id})
        if status >= 400:
            raise ValueError(json.loads(body)["message"])

    eventbridge._delete_event_bus = delete_event_bus
    provisioners._RESOURCE_HANDLERS["AWS::Events::EventBus"]["delete"] = delete_resource
