"""`POST …/notifications/{version}/replay` → a notification queued again; `POST /v1/webhooks/test` → a test message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.client_webhook import ClientWebhook
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.notification_queue import NotificationQueue
from vidu_relay.adapters.secret_store import Secret
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.errors import ConfigurationError, InvalidRequestError
from vidu_relay.http import invalid_request, json_response, not_configured, read_json_body, task_not_found, tenant_of
from vidu_relay.observability import Metric, count, logger, observed
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.settings import SendWebhookSettings, load
from vidu_relay.usecases.send_webhook import SendingDependencies, replay_notification, send_test

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(SendWebhookSettings)
table = aws.client("dynamodb")
deps = SendingDependencies(
    store=TaskStore(table, settings.table_name),
    tenants=TenantDirectory(table, settings.table_name),
    quota=DailyQuota(table, settings.table_name, once=aws.client("dynamodb", single_try=True)),
    queue=NotificationQueue(aws.client("sqs"), settings.notifications_queue_url),
    webhook=ClientWebhook(AddressGuard(trusted_origins=settings.trusted_origins)),
    master=Secret(aws.client("secretsmanager"), settings.webhook_secret_arn).get,
)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    tenant_id = tenant_of(event)
    logger.append_keys(tenant_id=tenant_id)
    try:
        if event["routeKey"] == "POST /v1/webhooks/test":
            return json_response(200, send_test(read_json_body(event), tenant_id, deps))
        path = event["pathParameters"]
        taken = replay_notification(path["task_id"], path["version"], tenant_id, deps)
    except InvalidRequestError as error:
        count(Metric.REQUEST_REFUSED)
        logger.info("request_refused", code=error.code)
        return invalid_request(error)
    except ConfigurationError as error:
        logger.error("not_configured", reason=str(error))
        return not_configured("No message was sent.")
    return json_response(202, taken) if taken else task_not_found()
