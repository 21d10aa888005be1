"""The table's stream → events on the bus, and a dispatch where tasks wait for the slot of one that is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.check_function import SweepFunction
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.observability import observed
from vidu_relay.settings import PublishEventsSettings, load
from vidu_relay.usecases.publish_events import publish_events
from vidu_relay.usecases.request_dispatch import request_dispatch

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(PublishEventsSettings)
bus = EventBus(aws.client("events"), settings.event_bus_name)
failures = FailuresBucket(aws.lazy_s3(), settings.failures_bucket, "publish_events")

pauses = ProviderPauses(aws.client("dynamodb"), settings.table_name)
sweep = SweepFunction(aws.client("lambda"), settings.sweep_function)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    # the operator's tool sends records again, and itself keeps those that fail
    failed = publish_events(event["Records"], bus, failures if event.get("set_aside", True) else None)
    request_dispatch(event["Records"], pauses, sweep)
    return {"batchItemFailures": [{"itemIdentifier": failed}] if failed else []}
