"""An AWS account in memory (moto), with the task table as the template defines it."""

import json
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from moto import mock_aws  # imported before any client is made: only then is that client kept from the network
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends
from moto.stepfunctions.models import stepfunctions_backends

from tests.unit.template import ROOT, properties

__all__ = [
    "CALLBACK_SECRET",
    "CHECK_FUNCTION",
    "ENVIRONMENT",
    "PROVIDER_KEY",
    "REGION",
    "SWEEP_FUNCTION",
    "WEBHOOK_MASTER",
    "Account",
    "empty",
    "mock_aws",
    "new_account",
]

REGION = "eu-central-1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "POWERTOOLS_METRICS_NAMESPACE": "ViduRelay",
    "POWERTOOLS_SERVICE_NAME": "vidu-relay",
}
PROVIDER_KEY = "provider-key-of-the-tests"
WEBHOOK_MASTER = {"master": "sample-webhook-master-0123456789abcdefghijklmnopqr"}
CALLBACK_SECRET = {"active": "k1", "k1": "sample-callback-key-0123456789abcdefghijklmnopqr"}
SERVICES = ("dynamodb", "s3", "sqs", "stepfunctions", "lambda", "events", "secretsmanager")
CHECK_FUNCTION = "check-task"
SWEEP_FUNCTION = "find-overdue-tasks"
TABLE_FIELDS = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")


@dataclass(frozen=True, slots=True)
class Account:
    """What the template's data section makes, and a client for each service."""

    clients: dict[str, Any]
    queue_url: str
    state_machine_arn: str
    provider_secret: str
    callback_secret: str
    webhook_secret: str
    notifications_url: str
    notifications_dead_url: str
    requests_url: str
    table: str = "tasks"
    inbox: str = "relay-inbox"
    videos: str = "relay-videos"
    bus: str = "relay-events"
    failures: str = "relay-failures"
    ledger: str = "ledger"
    check_function: str = CHECK_FUNCTION


def clients() -> dict[str, Any]:
    """One client a service; they serve every later account, because moto answers all of them."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    made: dict[str, Any] = {}
    for name in SERVICES:
        # botocore composes a user agent for each call unless it is given one
        made[name] = session.client(name, config=Config(user_agent="tests"))  # type: ignore[call-overload]  # the name is not a literal here
    return made


_CLIENTS = clients()


def new_account(*, provider_key: str | None = PROVIDER_KEY) -> Account:
    """An account with nothing in it but the two secrets; call it inside `mock_aws`."""
    table = {name: value for name, value in properties("TaskTable").items() if name in TABLE_FIELDS}
    secrets, buckets = _CLIENTS["secretsmanager"], _CLIENTS["s3"]
    provider_secret = secrets.create_secret(Name="provider")["ARN"]
    if provider_key is not None:
        secrets.put_secret_value(SecretId=provider_secret, SecretString=json.dumps({"api_key": provider_key}))
    account = Account(
        clients=dict(_CLIENTS),
        queue_url=_CLIENTS["sqs"].create_queue(QueueName="deliveries")["QueueUrl"],
        state_machine_arn=_CLIENTS["stepfunctions"].create_state_machine(
            name="poll_task",
            definition=(ROOT / "statemachines" / "poll_task.asl.json").read_text(),
            roleArn="arn:aws:iam::123456789012:role/poll-task",
        )["stateMachineArn"],
        provider_secret=provider_secret,
        callback_secret=secrets.create_secret(Name="callback", SecretString=json.dumps(CALLBACK_SECRET))["ARN"],
        webhook_secret=secrets.create_secret(Name="webhook", SecretString=json.dumps(WEBHOOK_MASTER))["ARN"],
        notifications_url=_CLIENTS["sqs"].create_queue(QueueName="notifications")["QueueUrl"],
        requests_url=_CLIENTS["sqs"].create_queue(QueueName="requests")["QueueUrl"],
        notifications_dead_url=_CLIENTS["sqs"].create_queue(QueueName="notifications-dead")["QueueUrl"],
    )
    _CLIENTS["dynamodb"].create_table(TableName=account.table, **table)
    rows = {name: value for name, value in properties("LedgerTable").items() if name in TABLE_FIELDS}
    _CLIENTS["dynamodb"].create_table(TableName=account.ledger, **rows)
    for bucket in (account.inbox, account.videos, account.failures):
        buckets.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    _CLIENTS["events"].create_event_bus(Name=account.bus)
    return account


def empty(account: Account) -> None:
    """Throw away what is left in the account; a hundred times quicker than a new one."""
    for name in (account.table, account.ledger):
        dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[name].items.clear()
    for bucket in (account.inbox, account.videos, account.failures):
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys.clear()
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].multiparts.clear()
    queues = sqs_backends[DEFAULT_ACCOUNT_ID][REGION]
    for url in (account.queue_url, account.notifications_url, account.notifications_dead_url, account.requests_url):
        name = url.rpartition("/")[2]
        queues.get_queue(name).last_purged_at = None  # AWS lets one purge a queue once a minute
        queues.purge_queue(name)
    stepfunctions_backends[DEFAULT_ACCOUNT_ID][REGION].describe_state_machine(
        account.state_machine_arn
    ).executions.clear()
