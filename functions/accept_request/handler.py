"""The requests queue, one message at a time → a task, submitted to the provider, or a rejection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.request_queue import read_request
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.http import MAX_BODY_BYTES, problem_document
from vidu_relay.observability import observed
from vidu_relay.settings import AcceptRequestSettings, load
from vidu_relay.usecases.accept_request import IntakePorts, accept_request
from vidu_relay.usecases.submit_task import CREATE_CALL_MS
from vidu_relay.wiring import image_check, submission

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(AcceptRequestSettings)
submission_ports = submission(settings)
ports = IntakePorts(
    submission=submission_ports,
    directory=TenantDirectory(aws.client("dynamodb"), settings.table_name),
    quota=DailyQuota(aws.client("dynamodb"), settings.table_name, once=aws.when_needed("dynamodb", single_try=True)),
    archive=RequestArchive(aws.client("s3"), settings.inbox_bucket),
    images=image_check(settings, submission_ports.images),
    inbox=RequestInbox(aws.client("s3"), settings.inbox_bucket),
    bus=EventBus(aws.when_needed("events"), settings.event_bus_name),
    describe=problem_document,
    default_daily_cap=settings.daily_task_cap,
    off_peak_available=settings.off_peak_available,
    max_file_bytes=MAX_BODY_BYTES,
)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    for record in event["Records"]:  # the batch size is 1: an exception fails exactly the message it belongs to
        accept_request(
            read_request(record["body"]),
            ports,
            time_is_short=lambda: context.get_remaining_time_in_millis() < CREATE_CALL_MS,
        )
    return {"batchItemFailures": []}
