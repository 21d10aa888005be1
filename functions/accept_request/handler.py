"""The requests queue, one message at a time → a task, submitted to the provider, or a rejection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.request_queue import read_request
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.http import MAX_BODY_BYTES, problem_document
from vidu_relay.observability import observed
from vidu_relay.settings import AcceptRequestSettings, load
from vidu_relay.usecases.accept_request import AcceptRequestDependencies, accept_request
from vidu_relay.wiring import acceptance

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(AcceptRequestSettings)
deps = AcceptRequestDependencies(
    acceptance=acceptance(settings),
    directory=TenantDirectory(aws.client("dynamodb"), settings.table_name),
    inbox=RequestInbox(aws.client("s3"), settings.inbox_bucket),
    bus=EventBus(aws.client("events"), settings.event_bus_name),
    describe=problem_document,
    default_daily_cap=settings.daily_task_cap,
    max_file_bytes=MAX_BODY_BYTES,
)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    for record in event["Records"]:  # the batch size is 1: an exception fails exactly the message it belongs to
        accept_request(read_request(record["body"]), deps, time_left=context.get_remaining_time_in_millis)
    return {"batchItemFailures": []}
