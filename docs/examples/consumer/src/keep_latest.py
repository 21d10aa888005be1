import os

import boto3
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from events import VideoTaskEvent

table = boto3.resource("dynamodb").Table(os.environ["LATEST_TABLE"])


@event_source(data_class=EventBridgeEvent)
def handler(event: EventBridgeEvent, context: LambdaContext) -> None:
    task = VideoTaskEvent.model_validate(event.detail).task
    try:
        table.update_item(
            Key={"task_id": task.task_id},
            UpdateExpression="SET version = :version, task_status = :status, videos = :videos",
            ConditionExpression="attribute_not_exists(version) OR version < :version",
            ExpressionAttributeValues={
                ":version": task.version,
                ":status": task.status,
                ":videos": [f"s3://{video.bucket}/{video.key}" for video in task.videos],
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
