"""The notifications queue, one message at a time → a signed webhook to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.client_webhook import ClientWebhook
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.notification_log import NotificationLog
from vidu_relay.adapters.notification_queue import NotificationQueue, Received
from vidu_relay.adapters.secret_store import Secret
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.adapters.webhook_origins import WebhookOrigins
from vidu_relay.observability import observed
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.settings import NotifyClientSettings, load, polling_policy
from vidu_relay.usecases.notify_client import NotificationDependencies, notify_client

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(NotifyClientSettings)
deps = NotificationDependencies(
    store=TaskStore(aws.client("dynamodb"), settings.table_name),
    tenants=TenantDirectory(aws.client("dynamodb"), settings.table_name),
    videos=VideoLinks(aws.client("s3")),
    webhook=ClientWebhook(AddressGuard(trusted_origins=settings.trusted_origins)),
    origins=WebhookOrigins(aws.client("dynamodb"), settings.table_name),
    queue=NotificationQueue(
        aws.client("sqs"), settings.notifications_queue_url, settings.notifications_dead_letters_url
    ),
    bus=EventBus(aws.client("events"), settings.event_bus_name),
    log=NotificationLog(aws.client("dynamodb", single_try=True), settings.table_name),
    master=Secret(aws.client("secretsmanager"), settings.webhook_secret_arn).get,
    policy=polling_policy(settings),
)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    # the batch size is 1: an exception fails exactly the message it belongs to
    failed = [record for record in event["Records"] if not notify_client(Received.of(record), deps)]
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}
