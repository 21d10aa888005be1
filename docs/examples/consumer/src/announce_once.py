import os

import boto3
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.typing import LambdaContext

sqs = boto3.client("sqs")
seen = DynamoDBPersistenceLayer(table_name=os.environ["SEEN_TABLE"])
once_a_month = IdempotencyConfig(event_key_jmespath="detail.event_id", expires_after_seconds=30 * 86_400)


@idempotent(persistence_store=seen, config=once_a_month)
def handler(event: dict, context: LambdaContext) -> None:
    task = event["detail"]["task"]
    cost = task["usage"]["cost"] if task["usage"] else "0"
    sqs.send_message(QueueUrl=os.environ["BOOKINGS_URL"], MessageBody=f"{task['task_id']} {cost}")
