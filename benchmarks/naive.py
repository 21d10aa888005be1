"""The function that `cold_start` compares with: one shared module that imports and makes everything. Never deployed.

It is how such projects often begin: all libraries, all clients, each from a session of its own, whatever the function
does; run without valid bytecode, as `sam build` leaves it.
"""

# ruff: noqa: F401 - it imports what it does not use: that is the point

from typing import Any

import boto3
import pydantic
import requests
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.utilities import batch, parser
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer

logger = Logger()
metrics = Metrics()
app = APIGatewayHttpResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table("tasks")
s3 = boto3.client("s3")
sqs = boto3.client("sqs")
events = boto3.client("events")
stepfunctions = boto3.client("stepfunctions")
secretsmanager = boto3.client("secretsmanager")


def handler(event: dict[str, Any], context: Any) -> Any:
    return app.resolve(event, context)
