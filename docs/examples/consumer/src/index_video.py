import os

import boto3
from aws_lambda_powertools.utilities.data_classes import S3EventBridgeNotificationEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext

table = boto3.resource("dynamodb").Table(os.environ["INDEX_TABLE"])


@event_source(data_class=S3EventBridgeNotificationEvent)
def handler(event: S3EventBridgeNotificationEvent, context: LambdaContext) -> None:
    key = event.detail.object.key
    _, tenant, _, _, _, task_id, _ = key.split("/")
    table.put_item(Item={"key": key, "tenant_id": tenant, "task_id": task_id, "size": event.detail.object.size})
