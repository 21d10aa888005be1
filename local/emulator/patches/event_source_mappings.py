"""Stands in for what Lambda checks when a template connects a function with a queue or a stream.

On AWS the function's role has the permissions to read the source, and a queue's visibility time-out is not below the
function's time-out (Lambda developer guide, "Creating and configuring an Amazon SQS event source mapping"; for streams,
"Process DynamoDB records with Lambda"). MiniStack checks neither, and reads with no role's permissions.
"""

from typing import Any

from ministack.core import iam_evaluator, responses
from ministack.services import sqs
from ministack.services.cloudformation import provisioners

from local.emulator.settings import Settings

QUEUE_ACTIONS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
STREAM_ACTIONS = ("GetRecords", "GetShardIterator", "DescribeStream")
"""ListStreams, which Lambda names too, takes no single stream."""


def apply(settings: Settings) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::EventSourceMapping"]
    create = handlers["create"]

    def create_mapping(logical_id: str, properties: dict[str, Any], stack_name: str) -> Any:
        _check(str(properties["EventSourceArn"]), str(properties["FunctionName"]))
        return create(logical_id, properties, stack_name)

    handlers["create"] = create_mapping


def _check(source: str, function_arn: str) -> None:
    function = provisioners._lambda_function_for_cfn_ref(function_arn)[0]["config"]
    service = source.split(":")[2]
    actions = {"sqs": QUEUE_ACTIONS, "dynamodb": STREAM_ACTIONS}[service]
    if denied := next(
        (action for action in actions if not _may(function["Role"], f"{service}:{action}", source)), None
    ):
        raise ValueError(f"The provided execution role does not have permissions to call {denied} on {service.upper()}")
    if service == "sqs":
        visibility, timeout = (
            int(sqs._queue_by_arn(source)["attributes"]["VisibilityTimeout"]),
            int(function["Timeout"]),
        )
        if visibility < timeout:
            raise ValueError(
                f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
            )


def _may(role: str, action: str, resource: str) -> bool:
    account = responses.get_account_id()
    context = iam_evaluator.EvalContext(
        principal_arn=role,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=responses.get_region(),
    )
    policies = iam_evaluator._gather_role_policies(role.rpartition("/")[2], account)
    return bool(iam_evaluator.evaluate(context, policies).decision == "Allow")
