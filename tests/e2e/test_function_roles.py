"""What each function's credentials open, and that they open nothing else: tried with the credentials themselves.

Every action of the list is tried with every role; what a role is not said to be allowed must be denied. Conditions on
`dynamodb:LeadingKeys` are not enforced by the emulator: `tests/unit/test_template_permissions.py` holds them.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from local.client import RelayClient
from tests.e2e.attempts import as_function
from tests.unit.template import FUNCTIONS

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError"})
PK = {"pk": {"S": "probe#role"}}

Call = Callable[[Any, dict[str, str]], Any]

ACTIONS: dict[str, tuple[str, Call]] = {
    "get an item": ("dynamodb", lambda c, n: c.get_item(TableName=n["table"], Key=PK)),
    "get items": ("dynamodb", lambda c, n: c.batch_get_item(RequestItems={n["table"]: {"Keys": [PK]}})),
    "put an item": (
        "dynamodb",
        lambda c, n: c.put_item(TableName=n["table"], Item=PK, ConditionExpression="attribute_exists(nothing)"),
    ),
    "put items at once": (
        "dynamodb",
        lambda c, n: c.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": n["table"], "Item": PK, "ConditionExpression": "attribute_exists(nothing)"}}
            ]
        ),
    ),
    "update an item": (
        "dynamodb",
        lambda c, n: c.update_item(
            TableName=n["table"],
            Key=PK,
            UpdateExpression="SET x = :x",
            ConditionExpression="attribute_exists(nothing)",
            ExpressionAttributeValues={":x": {"S": ""}},
        ),
    ),
    "delete an item": ("dynamodb", lambda c, n: c.delete_item(TableName=n["table"], Key=PK)),
    "write items": (
        "dynamodb",
        lambda c, n: c.batch_write_item(RequestItems={n["table"]: [{"DeleteRequest": {"Key": PK}}]}),
    ),
    "scan the table": ("dynamodb", lambda c, n: c.scan(TableName=n["table"], Limit=1)),
    "scan an index": ("dynamodb", lambda c, n: c.scan(TableName=n["table"], IndexName="by_owner", Limit=1)),
    "query the table": ("dynamodb", lambda c, n: _query(c, n, None, "pk")),
    "query the owners": ("dynamodb", lambda c, n: _query(c, n, "by_owner", "owner")),
    "query what is due": ("dynamodb", lambda c, n: _query(c, n, "due", "due_shard")),
    "delete the table": ("dynamodb", lambda c, n: c.delete_table(TableName=n["table"])),
    "export the table": ("dynamodb", lambda c, n: c.create_backup(TableName=n["table"], BackupName="probe")),
    "get a request": ("s3", lambda c, n: c.get_object(Bucket=n["inbox"], Key="tasks/probe/none.json")),
    "get an upload": ("s3", lambda c, n: c.get_object(Bucket=n["inbox"], Key="uploads/probe/none.png")),
    "get a drop": ("s3", lambda c, n: c.get_object(Bucket=n["inbox"], Key="requests/probe/none.json")),
    "put a request": ("s3", lambda c, n: c.put_object(Bucket=n["inbox"], Key="tasks/probe/role.json", Body=b"")),
    "put an upload": ("s3", lambda c, n: c.put_object(Bucket=n["inbox"], Key="uploads/probe/role.png", Body=b"")),
    "put a drop": ("s3", lambda c, n: c.put_object(Bucket=n["inbox"], Key="requests/probe/role.txt", Body=b"")),
    "put a rejection": ("s3", lambda c, n: c.put_object(Bucket=n["inbox"], Key="rejected/probe.json", Body=b"")),
    "delete a request": ("s3", lambda c, n: c.delete_object(Bucket=n["inbox"], Key="tasks/probe/role.json")),
    "list the inbox": ("s3", lambda c, n: c.list_objects_v2(Bucket=n["inbox"], MaxKeys=1)),
    "get a video": ("s3", lambda c, n: c.get_object(Bucket=n["videos"], Key="videos/probe/none.mp4")),
    "put a video": ("s3", lambda c, n: c.put_object(Bucket=n["videos"], Key="videos/probe/role.mp4", Body=b"")),
    "put beside the videos": ("s3", lambda c, n: c.put_object(Bucket=n["videos"], Key="other/role.mp4", Body=b"")),
    "put over the prefix": ("s3", lambda c, n: c.put_object(Bucket=n["videos"], Key="videos", Body=b"")),
    "delete a video": ("s3", lambda c, n: c.delete_object(Bucket=n["videos"], Key="videos/probe/role.mp4")),
    "list the videos": ("s3", lambda c, n: c.list_objects_v2(Bucket=n["videos"], MaxKeys=1)),
    "put a failed record": ("s3", lambda c, n: c.put_object(Bucket=n["failures"], Key="role", Body=b"")),
    "get a failed record": ("s3", lambda c, n: c.get_object(Bucket=n["failures"], Key="none")),
    "list failed records": ("s3", lambda c, n: c.list_objects_v2(Bucket=n["failures"], MaxKeys=1)),
    "drop a bucket's policy": ("s3", lambda c, n: c.delete_bucket_policy(Bucket=n["videos"])),
    "open a bucket": (
        "s3",
        lambda c, n: c.put_public_access_block(Bucket=n["videos"], PublicAccessBlockConfiguration={}),
    ),
    "list buckets": ("s3", lambda c, _: c.list_buckets()),
    "read the provider's key": ("secretsmanager", lambda c, n: c.get_secret_value(SecretId=n["provider_secret"])),
    "read the callback keys": ("secretsmanager", lambda c, n: c.get_secret_value(SecretId=n["callback_secret"])),
    "read the webhook keys": ("secretsmanager", lambda c, n: c.get_secret_value(SecretId=n["webhook_secret"])),
    "change the provider's key": (
        "secretsmanager",
        lambda c, n: c.put_secret_value(SecretId=n["provider_secret"], SecretString="{}"),
    ),
    "list secrets": ("secretsmanager", lambda c, _: c.list_secrets()),
    "ask for a delivery": (
        "sqs",
        lambda c, n: c.send_message(QueueUrl=n["deliveries"], MessageBody=json.dumps({"task_id": "a" * 26})),
    ),
    "take a delivery": ("sqs", lambda c, n: c.receive_message(QueueUrl=n["deliveries"], VisibilityTimeout=0)),
    "ask for a task": ("sqs", lambda c, n: c.send_message(QueueUrl=n["requests"], MessageBody="{}")),
    "take a request": ("sqs", lambda c, n: c.receive_message(QueueUrl=n["requests"], VisibilityTimeout=0)),
    "ask for a notification": ("sqs", lambda c, n: c.send_message(QueueUrl=n["notifications"], MessageBody="{}")),
    "take a notification": ("sqs", lambda c, n: c.receive_message(QueueUrl=n["notifications"], VisibilityTimeout=0)),
    "give up a notification": (
        "sqs",
        lambda c, n: c.send_message(QueueUrl=n["notification_dead_letters"], MessageBody="{}"),
    ),
    "take a lost request": ("sqs", lambda c, n: c.receive_message(QueueUrl=n["request_dead_letters"])),
    "empty the queue": ("sqs", lambda c, n: c.purge_queue(QueueUrl=n["dead_letters"])),
    "take a dead letter": ("sqs", lambda c, n: c.receive_message(QueueUrl=n["dead_letters"], VisibilityTimeout=0)),
    "speak as the relay": ("events", lambda c, n: _put_event(c, n, "vidu-relay")),
    "speak as another": ("events", lambda c, n: _put_event(c, n, "some.app")),
    "replay events": ("events", lambda c, _: c.list_archives()),
    "put a rule": (
        "events",
        lambda c, n: c.put_rule(Name="probe", EventBusName=n["bus"], EventPattern='{"source":["x"]}'),
    ),
    "open the bus": ("events", lambda c, n: c.remove_permission(EventBusName=n["bus"], RemoveAllPermissions=True)),
    "start a poller": (
        "stepfunctions",
        lambda c, n: c.start_execution(stateMachineArn=n["machine"], input='{"task_id": "a", "lease": 0}'),
    ),
    "stop a poller": (
        "stepfunctions",
        lambda c, n: c.stop_execution(executionArn=n["machine"].replace(":stateMachine:", ":execution:") + ":none"),
    ),
    "list pollers": ("stepfunctions", lambda c, n: c.list_executions(stateMachineArn=n["machine"])),
    "change the poller": (
        "stepfunctions",
        lambda c, n: c.update_state_machine(stateMachineArn=n["machine"], definition="{}"),
    ),
    "call a function": ("lambda", lambda c, n: c.invoke(FunctionName=n["function"], Payload=b"{}")),
    "change a function": (
        "lambda",
        lambda c, n: c.update_function_configuration(FunctionName=n["function"], Timeout=1),
    ),
    "read a function's settings": ("lambda", lambda c, n: c.get_function_configuration(FunctionName=n["function"])),
    "read the log": ("logs", lambda c, n: c.filter_log_events(logGroupName=n["logs"])),
    "open a stream in another log": (
        "logs",
        lambda c, n: c.create_log_stream(logGroupName=n["other_logs"], logStreamName="probe"),
    ),
    "delete the log": ("logs", lambda c, n: c.delete_log_group(logGroupName=n["logs"])),
    "become another role": ("sts", lambda c, n: c.assume_role(RoleArn=n["other_role"], RoleSessionName="probe")),
    "make a user": ("iam", lambda c, _: c.create_user(UserName="probe")),
    "widen a role": (
        "iam",
        lambda c, n: c.put_role_policy(RoleName=n["own_role"], PolicyName="probe", PolicyDocument="{}"),
    ),
    "change the stack": ("cloudformation", lambda c, n: c.delete_stack(StackName=n["stack"])),
    "change the API": ("apigatewayv2", lambda c, _: c.get_apis()),
    "write a metric": (
        "cloudwatch",
        lambda c, _: c.put_metric_data(Namespace="ViduRelay", MetricData=[{"MetricName": "Probe", "Value": 1}]),
    ),
    "raise an alarm": ("sns", lambda c, n: c.publish(TopicArn=n["topic"], Message="probe")),
}

ALLOWED: dict[str, set[str]] = {
    "authorize_request": {"get an item"},
    "submit_task": {
        "get an item",
        "put an item",
        "put items at once",
        "update an item",
        "put a request",
        "get a request",
        "get an upload",
        "get a drop",
        "read the provider's key",
        "read the callback keys",
        "start a poller",
    },
    "create_upload": {"update an item", "put an upload"},
    "accept_request": {
        "get an item",
        "put an item",
        "put items at once",
        "update an item",
        "put a request",
        "put a rejection",
        "get a request",
        "get an upload",
        "get a drop",
        "list the inbox",
        "read the provider's key",
        "read the callback keys",
        "speak as the relay",
        "take a request",
        "start a poller",
    },
    "cancel_task": {"get an item", "put an item", "put items at once", "read the provider's key", "start a poller"},
    "read_tasks": {
        "get an item",
        "get items",
        "query the owners",
        "get a request",
        "get a video",
        "list the inbox",
    },
    "describe_api": set(),
    "receive_callback": {
        "get an item",
        "put an item",
        "put items at once",
        "read the provider's key",
        "read the callback keys",
        "start a poller",
    },
    "check_task": {
        "get an item",
        "put an item",
        "put items at once",
        "update an item",
        "get a request",
        "get an upload",
        "get a drop",
        "read the provider's key",
        "read the callback keys",
        "ask for a delivery",
    },
    "find_overdue_tasks": {"query what is due", "update an item", "start a poller"},
    "deliver_videos": {
        "get an item",
        "put an item",
        "put items at once",
        "get a video",
        "put a video",
        "list the videos",
        "read the provider's key",
        "take a delivery",
    },
    "notify_client": {
        "get an item",
        "update an item",
        "get a video",
        "speak as the relay",
        "take a notification",
        "give up a notification",
        "read the webhook keys",
    },
    "publish_events": {"speak as the relay", "put a failed record", "list failed records"},
}
"""What each role may do of the list, besides writing its own log."""


def _query(client: Any, names: dict[str, str], index: str | None, key: str) -> Any:
    return client.query(
        TableName=names["table"],
        KeyConditionExpression="#k = :k",
        ExpressionAttributeNames={"#k": key},
        ExpressionAttributeValues={":k": {"S": "probe#role"}},
        **({"IndexName": index} if index else {}),
    )


def _put_event(client: Any, names: dict[str, str], source: str) -> Any:
    entry = {"EventBusName": names["bus"], "Source": source, "DetailType": "Probe", "Detail": "{}"}
    return client.put_events(Entries=[entry])


def names_for(relay: RelayClient, folder: str) -> dict[str, str]:
    """What the actions are tried on."""
    stack, found = relay.stack, relay.resources()
    describe = relay.aws("lambda").get_function_configuration
    own = describe(FunctionName=stack.functions[folder])
    other = describe(FunctionName=stack.functions["submit_task" if folder != "submit_task" else "read_tasks"])
    return {
        "table": stack.table,
        "inbox": stack.inbox_bucket,
        "videos": stack.videos_bucket,
        "failures": found["FailuresBucket"],
        "provider_secret": found["ProviderSecret"],
        "callback_secret": found["CallbackSecret"],
        "deliveries": found["DeliveriesQueue"],
        "dead_letters": found["DeliveriesDeadLetters"],
        "requests": found["RequestsQueue"],
        "request_dead_letters": found["RequestsDeadLetters"],
        "webhook_secret": found["WebhookSecret"],
        "notifications": found["NotificationsQueue"],
        "notification_dead_letters": found["NotificationsDeadLetters"],
        "bus": stack.bus,
        "machine": stack.state_machine_arn,
        "function": str(other["FunctionName"]),
        "logs": found["FunctionLogs"],
        "other_logs": found["ApiLogs"],
        "own_role": own["Role"].rpartition("/")[2],
        "other_role": other["Role"],
        "stack": stack.stack_name,
        "topic": found["AlarmTopic"],
    }


def denied(call: Call, client: Any, names: dict[str, str]) -> bool:
    """Whether IAM refuses: any other answer, good or bad, came from behind it."""
    try:
        call(client, names)
    except ClientError as error:
        return error.response["Error"]["Code"] in DENIED
    except ParamValidationError as error:
        pytest.fail(f"the attempt is no request: {error}")
    return False


def test_every_function_is_tried() -> None:
    assert set(ALLOWED) == set(FUNCTIONS)
    assert set().union(*ALLOWED.values()) <= set(ACTIONS)


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_role_opens_what_its_function_needs_and_nothing_else(relay: RelayClient, folder: str) -> None:
    names = names_for(relay, folder)
    clients: dict[str, Any] = {}
    open_to_it = set()
    for action, (service, call) in ACTIONS.items():
        client = clients.setdefault(service, as_function(relay, folder, service))
        if not denied(call, client, names):
            open_to_it.add(action)
    relay.aws("s3").delete_object(Bucket=names["failures"], Key="role")  # other tests count what lies there

    assert open_to_it == ALLOWED[folder]


def test_role_is_taken_by_no_function(relay: RelayClient) -> None:
    """A function with any role of the stack cannot become another one, its own included."""
    roles = {
        relay.aws("lambda").get_function_configuration(FunctionName=name)["Role"]
        for name in relay.stack.functions.values()
    }
    sts = as_function(relay, "check_task", "sts")
    for role in roles:
        with pytest.raises(ClientError, match="AccessDenied"):
            sts.assume_role(RoleArn=role, RoleSessionName="climb")
