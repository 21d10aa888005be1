"""One check of an overdue task: `{"task_id", "lease"}` → `{"settled", "wait_seconds"}`.

A step of the `poll_task` state machine, or invoked by the sweep, which takes no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.delivery_queue import DeliveryQueue
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.observability import observed
from vidu_relay.settings import CheckTaskSettings, load
from vidu_relay.usecases.check_task import check_task
from vidu_relay.wiring import submission

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(CheckTaskSettings)
archive = RequestArchive(aws.lazy_s3(), settings.inbox_bucket)
queue = DeliveryQueue(aws.client("sqs"), settings.deliveries_queue_url)
deps = submission(settings)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    step = check_task(
        str(event["task_id"]),
        int(event["lease"]),
        deps=deps,
        archive=archive,
        queue=queue,
        time_left=context.get_remaining_time_in_millis,
    )
    return {"settled": step.settled, "wait_seconds": step.wait_seconds}
