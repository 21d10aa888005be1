"""The table's stream → events on the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.observability import observed
from vidu_relay.settings import PublishEventsSettings, load
from vidu_relay.usecases.publish_events import publish_events

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

bus = EventBus(aws.client("events"), load(PublishEventsSettings).event_bus_name)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    failed = publish_events(event["Records"], bus)
    return {"batchItemFailures": [{"itemIdentifier": failed}] if failed else []}
