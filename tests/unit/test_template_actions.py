"""Each function's role grants the actions its code calls, and those only."""

from functools import cache

import pytest

from tests.unit.account import clients
from tests.unit.aws_calls import operations
from tests.unit.template import FUNCTIONS, statements

CLIENTS = clients()
PREFIXES = {"stepfunctions": "states"}
"""Services whose name in policies is not boto3's."""

OTHERWISE_NAMED = {
    "s3:HeadObject": "s3:GetObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:GeneratePresignedPost": "s3:PutObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "lambda:Invoke": "lambda:InvokeFunction",
    "dynamodb:TransactWriteItems": "dynamodb:PutItem",  # a transaction is granted by what it holds: puts, but for
}
"""Operations that are granted under another action."""

UPDATES_IN_TRANSACTIONS = {"RecordSpending": {"dynamodb:UpdateItem"}}

FROM_STREAM = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
    "s3:ListBucket",
    "s3:PutObject",
}
BY_LAMBDA = {
    # every function's log lines
    "*": {"logs:CreateLogStream", "logs:PutLogEvents"},
    # polls the queue in the function's name
    "DeliverVideos": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    "AcceptRequest": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    "NotifyClient": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    # reads the stream, and keeps the records it gives up in the failures bucket
    "PublishEvents": FROM_STREAM,
    "RecordSpending": FROM_STREAM,
}
"""Actions that Lambda takes with a function's role."""

FOR_ITS_ANSWER = {
    # S3 says 404 only to those who may list; to others a missing object is 403
    "ReadTasks": {"s3:ListBucket"},
    "DeliverVideos": {"s3:ListBucket"},
    # a read that names a version needs an action of its own
    "AcceptRequest": {"s3:ListBucket", "s3:GetObjectVersion"},
}
"""Actions that no call takes and that change what another call answers."""

CALL_NOTHING = {"DescribeApi", "ServeConsole"}
"""Functions that answer from their own code: calls that were not found are not taken for none."""

WITH_A_VERSION = {
    **{name: {"s3:GetObjectVersion"} for name in ("AcceptRequest", "CheckTask", "SubmitTask")},
    "DeleteTask": {"s3:DeleteObjectVersion"},
}
"""What S3 wants in place of `s3:GetObject` where a call names a version of the object, as links to images do."""


@cache
def action(service: str, method: str) -> str:
    """The IAM action of a method of a boto3 client. KeyError if the client has no such method."""
    if method == "generate_presigned_post":  # signs a form in place of a request
        return OTHERWISE_NAMED["s3:GeneratePresignedPost"]
    name = f"{PREFIXES.get(service, service)}:{CLIENTS[service].meta.method_to_api_mapping[method]}"
    return OTHERWISE_NAMED.get(name, name)


@pytest.mark.parametrize(("folder", "name"), FUNCTIONS.items())
def test_a_role_grants_what_the_code_calls_and_nothing_else(folder: str, name: str) -> None:
    called = {action(service, method) for service, method in operations(folder)}
    granted = {one for statement in statements(f"{name}Role") for one in statement["Action"]}
    assert bool(called) is (name not in CALL_NOTHING)
    others = (BY_LAMBDA, FOR_ITS_ANSWER, WITH_A_VERSION, UPDATES_IN_TRANSACTIONS)
    assert granted == called.union(BY_LAMBDA["*"], *(other.get(name, set()) for other in others))
