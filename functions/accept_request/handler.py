"""The requests queue, one message at a time → a task, submitted to the provider, a rejection, or part of a batch."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.request_queue import read_request
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.queued_requests import BatchMessage, DroppedFile
from vidu_relay.http import MAX_BODY_BYTES, problem_document
from vidu_relay.observability import observed
from vidu_relay.settings import AcceptRequestSettings, load
from vidu_relay.usecases.accept_request import AcceptRequestDependencies, accept_request
from vidu_relay.wiring import acceptance

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from vidu_relay.usecases.accept_batch import BatchDependencies

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
        asked, time_left = read_request(record["body"]), context.get_remaining_time_in_millis
        if isinstance(asked, BatchMessage):
            from vidu_relay.usecases.accept_batch_lines import go_on_with_batch

            go_on_with_batch(asked, batches(), time_left=time_left)
        elif isinstance(asked, DroppedFile) and asked.is_batch:
            from vidu_relay.usecases.accept_batch import accept_batch

            accept_batch(asked, batches(), time_left=time_left)
        else:
            accept_request(asked, deps, time_left=time_left)
    return {"batchItemFailures": []}


@cache
def batches() -> BatchDependencies:
    """Made at the first message about a batch: a single request does not wait for it."""
    from vidu_relay.adapters.batch_queue import BatchQueue
    from vidu_relay.adapters.batch_store import BatchStore
    from vidu_relay.adapters.check_function import SweepFunction
    from vidu_relay.usecases.accept_batch import BatchDependencies

    return BatchDependencies(
        requests=deps,
        batches=BatchStore(aws.client("dynamodb"), settings.table_name),
        queue=BatchQueue(aws.client("sqs"), settings.requests_queue_url),
        sweep=SweepFunction(aws.client("lambda"), settings.sweep_function),
    )
