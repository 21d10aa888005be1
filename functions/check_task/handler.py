"""One step of the `poll_task` state machine: `{"task_id", "lease"}` → `{"settled", "wait_seconds"}`."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vidu_relay import aws
from vidu_relay.adapters.delivery_queue import DeliveryQueue
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.secret_store import ProviderKey, Secret
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.observability import logger, metrics
from vidu_relay.settings import CheckTaskSettings, load, watch_policy
from vidu_relay.usecases.attempt_submission import SubmissionPorts
from vidu_relay.usecases.check_task import check_task

settings = load(CheckTaskSettings)
callback_secret = Secret(aws.client("secretsmanager"), settings.callback_secret_arn)
archive = RequestArchive(aws.client("s3"), settings.inbox_bucket)
queue = DeliveryQueue(aws.client("sqs"), settings.deliveries_queue_url)
ports = SubmissionPorts(
    store=TaskStore(aws.client("dynamodb"), settings.table_name),
    provider=GatewayProvider(
        settings.provider_base_url,
        ProviderKey(Secret(aws.client("secretsmanager"), settings.provider_secret_arn)),
    ),
    callback_keys=lambda: CallbackKeys(callback_secret.get()),
    public_base_url=settings.public_base_url,
    policy=watch_policy(settings),
)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    verdict = check_task(str(event["task_id"]), int(event["lease"]), ports=ports, archive=archive, queue=queue)
    return {"settled": verdict.settled, "wait_seconds": verdict.wait_seconds}
