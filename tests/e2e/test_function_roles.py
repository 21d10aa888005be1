"""What each function's credentials open, and that they open nothing else: tried with the credentials themselves.

Every action of the list is tried with every role; what a role is not said to be allowed must be denied. Conditions on
`dynamodb:LeadingKeys` are not enforced by the emulator: `tests/unit/test_template_permissions.py` holds them.
"""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from local.client import RelayClient
from tests.e2e.attempts import as_function
from tests.unit.template import FUNCTIONS

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError"})

Arguments = dict[str, Any]

PK: Arguments = {"pk": {"S": "probe#role"}}
ITEM = {"TableName": "{TaskTable}", "Key": PK}
PUT = {"TableName": "{TaskTable}", "Item": PK, "ConditionExpression": "attribute_exists(nothing)"}
UPDATE = {**ITEM, "UpdateExpression": "SET x = :pk", "ConditionExpression": "attribute_exists(nothing)"}
LEDGER: Arguments = {"TableName": "{LedgerTable}", "Key": {"pk": {"S": "probe"}, "sk": {"S": "role"}}}
KEY = {"ExpressionAttributeValues": {":pk": {"S": "probe#role"}}}
UNKNOWN_TASK = b'{"task_id": "probe", "lease": 0}'
DELIVERY = json.dumps({"task_id": "a" * 26})
BATCH = json.dumps({"batch_id": "b" + "a" * 26})


def query(key: str, **index: str) -> Arguments:
    names = {"ExpressionAttributeNames": {"#k": key}, "KeyConditionExpression": "#k = :pk"}
    return {"TableName": "{TaskTable}", **index, **names, **KEY}


def event(source: str) -> Arguments:
    return {"Entries": [{"EventBusName": "{EventBus}", "Source": source, "DetailType": "Probe", "Detail": "{}"}]}


def receive(queue: str) -> Arguments:
    return {"QueueUrl": queue, "VisibilityTimeout": 0}


ACTIONS: dict[str, tuple[str, str, Arguments]] = {
    "get an item": ("dynamodb", "get_item", ITEM),
    "get items": ("dynamodb", "batch_get_item", {"RequestItems": {"{TaskTable}": {"Keys": [PK]}}}),
    "put an item": ("dynamodb", "put_item", PUT),
    "put items at once": ("dynamodb", "transact_write_items", {"TransactItems": [{"Put": PUT}]}),
    "update an item": ("dynamodb", "update_item", {**UPDATE, **KEY}),
    "delete an item": ("dynamodb", "delete_item", ITEM),
    "scan the table": ("dynamodb", "scan", {"TableName": "{TaskTable}", "Limit": 1}),
    "scan an index": ("dynamodb", "scan", {"TableName": "{TaskTable}", "IndexName": "by_owner", "Limit": 1}),
    "query the table": ("dynamodb", "query", query("pk")),
    "query the ledger": ("dynamodb", "query", {**query("pk"), "TableName": "{LedgerTable}"}),
    "get a row": ("dynamodb", "get_item", LEDGER),
    "put a row": ("dynamodb", "put_item", {**PUT, "TableName": "{LedgerTable}", "Item": LEDGER["Key"]}),
    "delete a row": ("dynamodb", "delete_item", LEDGER),
    "query the owners": ("dynamodb", "query", query("owner", IndexName="by_owner")),
    "query what is due": ("dynamodb", "query", query("due_shard", IndexName="due")),
    "query what waits": ("dynamodb", "query", query("waits_at", IndexName="waiting")),
    "delete the table": ("dynamodb", "delete_table", {"TableName": "{TaskTable}"}),
    "get a request": ("s3", "get_object", {"Bucket": "{InboxBucket}", "Key": "tasks/probe/none.json"}),
    "get an upload": ("s3", "get_object", {"Bucket": "{InboxBucket}", "Key": "uploads/probe/none.png"}),
    "get a drop": ("s3", "get_object", {"Bucket": "{InboxBucket}", "Key": "requests/probe/none.json"}),
    "put a request": ("s3", "put_object", {"Bucket": "{InboxBucket}", "Key": "tasks/probe/role.json"}),
    "put an upload": ("s3", "put_object", {"Bucket": "{InboxBucket}", "Key": "uploads/probe/role.png"}),
    "put a drop": ("s3", "put_object", {"Bucket": "{InboxBucket}", "Key": "requests/probe/role.txt"}),
    "put a batch": ("s3", "put_object", {"Bucket": "{InboxBucket}", "Key": "requests/probe/batches/role.txt"}),
    "put a summary": ("s3", "put_object", {"Bucket": "{InboxBucket}", "Key": "batches/probe/role.json"}),
    "get a summary": ("s3", "get_object", {"Bucket": "{InboxBucket}", "Key": "batches/probe/none.json"}),
    "get a rejection": ("s3", "get_object", {"Bucket": "{InboxBucket}", "Key": "rejected/probe/batches/none.json"}),
    "put a rejection": ("s3", "put_object", {"Bucket": "{InboxBucket}", "Key": "rejected/probe.json"}),
    "delete a request": ("s3", "delete_object", {"Bucket": "{InboxBucket}", "Key": "tasks/probe/role.json"}),
    "delete a version": ("s3", "delete_object", {"Bucket": "{InboxBucket}", "Key": "tasks/probe/a", "VersionId": "1"}),
    "list versions": ("s3", "list_object_versions", {"Bucket": "{InboxBucket}", "MaxKeys": 1}),
    "list the inbox": ("s3", "list_objects_v2", {"Bucket": "{InboxBucket}", "MaxKeys": 1}),
    "get a video": ("s3", "get_object", {"Bucket": "{VideosBucket}", "Key": "videos/probe/none.mp4"}),
    "put a video": ("s3", "put_object", {"Bucket": "{VideosBucket}", "Key": "videos/probe/role.mp4"}),
    "put beside the videos": ("s3", "put_object", {"Bucket": "{VideosBucket}", "Key": "other/role.mp4"}),
    "delete a video": ("s3", "delete_object", {"Bucket": "{VideosBucket}", "Key": "videos/probe/role.mp4"}),
    "list the videos": ("s3", "list_objects_v2", {"Bucket": "{VideosBucket}", "MaxKeys": 1}),
    "put a failed record": ("s3", "put_object", {"Bucket": "{FailuresBucket}", "Key": "role"}),
    "get a failed record": ("s3", "get_object", {"Bucket": "{FailuresBucket}", "Key": "none"}),
    "list failed records": ("s3", "list_objects_v2", {"Bucket": "{FailuresBucket}", "MaxKeys": 1}),
    "drop a bucket's policy": ("s3", "delete_bucket_policy", {"Bucket": "{VideosBucket}"}),
    "read the provider's key": ("secretsmanager", "get_secret_value", {"SecretId": "{ProviderSecret}"}),
    "read the callback keys": ("secretsmanager", "get_secret_value", {"SecretId": "{CallbackSecret}"}),
    "read the webhook keys": ("secretsmanager", "get_secret_value", {"SecretId": "{WebhookSecret}"}),
    "change a key": ("secretsmanager", "put_secret_value", {"SecretId": "{ProviderSecret}", "SecretString": "x"}),
    "ask for a delivery": ("sqs", "send_message", {"QueueUrl": "{DeliveriesQueue}", "MessageBody": DELIVERY}),
    "take a delivery": ("sqs", "receive_message", receive("{DeliveriesQueue}")),
    "ask for a task": ("sqs", "send_message", {"QueueUrl": "{RequestsQueue}", "MessageBody": BATCH}),
    "take a request": ("sqs", "receive_message", receive("{RequestsQueue}")),
    "ask for a notification": ("sqs", "send_message", {"QueueUrl": "{NotificationsQueue}", "MessageBody": "x"}),
    "take a notification": ("sqs", "receive_message", receive("{NotificationsQueue}")),
    "give up a notification": ("sqs", "send_message", {"QueueUrl": "{NotificationsDeadLetters}", "MessageBody": "x"}),
    "take what was given up": ("sqs", "receive_message", receive("{DeliveriesDeadLetters}")),
    "empty a queue": ("sqs", "purge_queue", {"QueueUrl": "{DeliveriesDeadLetters}"}),
    "publish as the relay": ("events", "put_events", event("vidu-relay")),
    "publish as another": ("events", "put_events", event("some.app")),
    "replay events": ("events", "list_archives", {}),
    "open the bus": ("events", "remove_permission", {"EventBusName": "{EventBus}", "RemoveAllPermissions": True}),
    "start a poller": ("stepfunctions", "start_execution", {"stateMachineArn": "{machine}", "input": '{"lease": 0}'}),
    "list pollers": ("stepfunctions", "list_executions", {"stateMachineArn": "{machine}"}),
    "call a function": ("lambda", "invoke", {"FunctionName": "{DescribeApi}", "Payload": b"{}"}),
    "have a task checked": ("lambda", "invoke", {"FunctionName": "{CheckTask}", "Payload": UNKNOWN_TASK}),
    "have the sweep run": ("lambda", "invoke", {"FunctionName": "{FindOverdueTasks}", "Payload": b"{}"}),
    "change a function": ("lambda", "update_function_configuration", {"FunctionName": "{DescribeApi}", "Timeout": 1}),
    "read the log": ("logs", "filter_log_events", {"logGroupName": "{FunctionLogs}"}),
    "write another log": ("logs", "create_log_stream", {"logGroupName": "{ApiLogs}", "logStreamName": "probe"}),
    "become another role": ("sts", "assume_role", {"RoleArn": "{other_role}", "RoleSessionName": "probe"}),
    "stay its role": ("sts", "assume_role", {"RoleArn": "{own_role}", "RoleSessionName": "probe"}),
    "make a user": ("iam", "create_user", {"UserName": "probe"}),
    "change the stack": ("cloudformation", "delete_stack", {"StackName": "{stack}"}),
    "change the API": ("apigatewayv2", "get_apis", {}),
    "write a metric": ("cloudwatch", "put_metric_data", {"Namespace": "X", "MetricData": [{"MetricName": "Probe"}]}),
    "raise an alarm": ("sns", "publish", {"TopicArn": "{AlarmTopic}", "Message": "probe"}),
}

CHANGES_TASKS = {"get an item", "put an item", "put items at once"}
CALLS_PROVIDER = {*CHANGES_TASKS, "read the provider's key", "start a poller"}
SUBMITS = {*CHANGES_TASKS, "update an item", "read the provider's key", "read the callback keys"}
READS_IMAGES = {"get a request", "get an upload", "get a drop"}
ALLOWED: dict[str, set[str]] = {
    "authorize_request": {"get an item"},
    "submit_task": {*SUBMITS, *READS_IMAGES, "get items", "query what waits", "put a request", "start a poller"},
    "create_upload": {"update an item", "put an upload", "put a batch"},
    "accept_request": {*SUBMITS, *READS_IMAGES, "get items", "put a request", "put a rejection", "list the inbox"}
    | {"publish as the relay", "take a request", "start a poller", "get a summary", "put a summary"}
    | {"ask for a task", "have the sweep run"},
    "cancel_task": CALLS_PROVIDER,
    "read_tasks": {"get an item", "get items", "query the owners", "get a request", "get a video", "list the inbox"}
    | {"query the ledger", "query what waits", "get an upload", "get a drop", "get a summary", "get a rejection"},
    "delete_task": {*CHANGES_TASKS, "get a request", "delete a request", "delete a version", "list versions"}
    | {"list the inbox", "delete a video", "list the videos", "update an item"},
    "record_spending": {"get an item", "update an item", "get a row", "put a row"}
    | {"put a failed record", "list failed records"},
    "reconcile_spending": {*CHANGES_TASKS, "get items", "update an item", "query the owners", "query the ledger"}
    | {"read the provider's key", "publish as the relay"},
    "describe_api": set(),
    "serve_console": set(),
    "list_models": {"read the provider's key", "get items"},
    "receive_callback": {*CALLS_PROVIDER, "read the callback keys"},
    "check_task": {*SUBMITS, *READS_IMAGES, "ask for a delivery"},
    "find_overdue_tasks": {*CHANGES_TASKS, "get items", "update an item", "query what is due", "query what waits"}
    | {"start a poller", "have a task checked", "ask for a task"},
    "deliver_videos": {*CHANGES_TASKS, "get a video", "put a video", "list the videos"}
    | {"read the provider's key", "take a delivery"},
    "notify_client": {"get an item", "update an item", "get a video", "publish as the relay"}
    | {"take a notification", "give up a notification", "read the webhook keys"},
    "send_webhook": {"get an item", "update an item", "read the webhook keys", "ask for a notification"},
    "publish_events": {"publish as the relay", "put a failed record", "list failed records"}
    | {"get an item", "have the sweep run"},
}
"""What each role may do of the list, besides writing its own log."""


def filled(value: Any, names: dict[str, str]) -> Any:
    """Arguments with the names of what they are tried on: `{name}` alone stands for one."""
    if isinstance(value, dict):
        return {filled(key, names): filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    return names.get(value[1:-1], value) if isinstance(value, str) and value.startswith("{") else value


def denied(client: Any, method: str, arguments: Arguments) -> bool:
    """Whether IAM refuses: any other answer, good or bad, came from behind it."""
    try:
        getattr(client, method)(**arguments)
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
    names, describe = relay.resources(), relay.aws("lambda").get_function_configuration
    names |= {"stack": relay.stack.stack_name, "machine": relay.stack.state_machine_arn}
    for role, name in (
        ("own_role", folder),
        ("other_role", "read_tasks" if folder == "submit_task" else "submit_task"),
    ):
        names[role] = describe(FunctionName=relay.stack.functions[name])["Role"]
    clients = {service: as_function(relay, folder, service) for service in {one for one, _, _ in ACTIONS.values()}}
    open_to_it = {
        action
        for action, (service, method, arguments) in ACTIONS.items()
        if not denied(clients[service], method, filled(arguments, names))
    }
    relay.aws("s3").delete_object(Bucket=names["FailuresBucket"], Key="role")  # other tests count the objects in it

    assert open_to_it == ALLOWED[folder]
