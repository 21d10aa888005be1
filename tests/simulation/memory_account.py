"""An AWS account in plain dictionaries, twenty times quicker than moto, for use-case tests and simulation.

Only what the use cases call is there, in the form boto3 gives it; anything else raises by its name.
`test_memory_account.py` makes the same calls of this account and of moto and compares the answers.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import quote

import boto3
from botocore.exceptions import ClientError, HTTPClientError

from tests.simulation.expressions import holds, updated
from tests.unit.account import (
    CALLBACK_SECRET,
    CHECK_FUNCTION,
    PROVIDER_KEY,
    REGION,
    SERVICES,
    SWEEP_FUNCTION,
    WEBHOOK_MASTER,
    Account,
)
from tests.unit.template import properties

INBOX, POLLER = "relay-inbox", "poll_task"

_INDEXES: dict[str, list[str]] = {
    index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
    for index in properties("TaskTable")["GlobalSecondaryIndexes"]
}


def _error(code: str, operation: str, **more: Any) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": code}, **more}
    return ClientError(response, operation)


class _Client:
    """Says which call is missing, so that a use case that needs a new one fails with its name."""

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"the account in memory has no {type(self).__name__}.{name}")


def _id(key: Any) -> str:
    """What names an item: its key, or the item itself, of either table."""
    return "#".join(key[name]["S"] for name in ("pk", "sk") if name in key)


class _DynamoDB(_Client):
    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        """Of the transactions that took effect."""

    def get_item(self, *, TableName: str, Key: Any, ConsistentRead: bool = False) -> dict[str, Any]:
        found = self.items.get(_id(Key))
        return {} if found is None else {"Item": dict(found)}

    def batch_get_item(self, *, RequestItems: Any) -> dict[str, Any]:
        ((table, wanted),) = RequestItems.items()
        found = [self.items.get(_id(key)) for key in wanted["Keys"]]
        return {"Responses": {table: [dict(item) for item in found if item]}, "UnprocessedKeys": {}}

    def put_item(self, *, TableName: str, Item: Any, **options: Any) -> dict[str, Any]:
        self._check(_id(Item), "PutItem", options)
        self.items[_id(Item)] = dict(Item)
        return {}

    def update_item(self, *, TableName: str, Key: Any, **options: Any) -> dict[str, Any]:
        self._check(Key["pk"]["S"], "UpdateItem", options)
        after = self._update(Key, options)
        return {"Attributes": dict(after)} if options.get("ReturnValues") == "ALL_NEW" else {}

    def transact_write_items(self, *, TransactItems: Any, ClientRequestToken: str = "") -> dict[str, Any]:
        if ClientRequestToken in self.tokens:
            return {}
        reasons: list[dict[str, Any]] = []
        for write in TransactItems:
            ((_, one),) = write.items()
            try:
                self._check(_id(one.get("Item") or one["Key"]), "TransactWriteItems", one)
                reasons.append({"Code": "None"})
            except ClientError as error:
                shown = {"Item": error.response["Item"]} if "Item" in error.response else {}  # type: ignore[typeddict-item]  # DynamoDB adds it
                reasons.append({"Code": "ConditionalCheckFailed", **shown})
        if any(reason["Code"] != "None" for reason in reasons):
            raise _error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)
        for write in TransactItems:
            if "Put" in write:
                self.items[_id(write["Put"]["Item"])] = dict(write["Put"]["Item"])
            else:
                self._update(write["Update"]["Key"], write["Update"])
        self.tokens.update([ClientRequestToken] if ClientRequestToken else [])
        return {}

    def delete_item(self, *, TableName: str, Key: Any, ReturnValues: str = "") -> dict[str, Any]:
        gone = self.items.pop(Key["pk"]["S"], None)
        return {"Attributes": gone} if gone and ReturnValues else {}

    def scan(self, *, TableName: str) -> dict[str, Any]:
        return {"Items": [dict(item) for item in self.items.values()]}

    def query(
        self,
        *,
        TableName: str,
        IndexName: str = "",
        KeyConditionExpression: str,
        ScanIndexForward: bool = True,
        Limit: int | None = None,
        ExclusiveStartKey: Any = None,
        **options: Any,
    ) -> dict[str, Any]:
        names, values = options.get("ExpressionAttributeNames", {}), options["ExpressionAttributeValues"]
        if not IndexName:  # the ledger, whose rows have a second key
            rows = [dict(item) for item in self.items.values() if "sk" in item]
            return {"Items": [item for item in rows if holds(KeyConditionExpression, item, names, values)]}
        wanted = ["pk", *_INDEXES[IndexName]]
        partition = values[KeyConditionExpression.partition(" = ")[2].partition(" ")[0]]
        found = [
            {name: item[name] for name in wanted}
            for item in self.items.values()
            if item.get(wanted[1]) == partition  # holds for few, and is quicker than an expression
            and all(name in item for name in wanted)
            and holds(KeyConditionExpression, item, names, values)
        ]

        def place(item: Any) -> tuple[Any, str]:
            ((kind, value),) = item[wanted[-1]].items()
            return int(value) if kind == "N" else value, item["pk"]["S"]

        found.sort(key=place, reverse=not ScanIndexForward)
        if ExclusiveStartKey:
            start = place(ExclusiveStartKey)
            found = [item for item in found if (place(item) > start if ScanIndexForward else place(item) < start)]
        page = found[:Limit]
        return {"Items": page, **({"LastEvaluatedKey": page[-1]} if len(page) < len(found) else {})}

    def get_paginator(self, operation: str) -> Any:
        if operation != "query":
            raise NotImplementedError(f"the account in memory has no paginator of {operation}")
        return self

    def paginate(self, **arguments: Any) -> Iterator[Any]:
        yield self.query(**arguments)

    def _update(self, key: Any, options: dict[str, Any]) -> dict[str, Any]:
        names, values = options.get("ExpressionAttributeNames", {}), options.get("ExpressionAttributeValues", {})
        before = self.items.get(key["pk"]["S"], key)
        after = self.items[key["pk"]["S"]] = updated(options["UpdateExpression"], before, names, values)
        return after

    def _check(self, pk: str, operation: str, options: dict[str, Any]) -> None:
        """Raise as DynamoDB does if the condition of a write does not hold."""
        names, values = options.get("ExpressionAttributeNames", {}), options.get("ExpressionAttributeValues", {})
        condition, current = options.get("ConditionExpression"), self.items.get(pk)
        if condition and not holds(condition, current or {}, names, values):
            shown = options.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and current is not None
            raise _error(
                "ConditionalCheckFailedException", operation, **({"Item": dict(current or {})} if shown else {})
            )


class _Body(BytesIO):
    def iter_chunks(self, size: int) -> Iterator[bytes]:
        while block := self.read(size):
            yield block


class _S3(_Client):
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], tuple[bytes, str | None]] = {}
        self.versions: dict[tuple[str, str, str], bytes] = {}
        """What was put into the inbox, which keeps versions."""
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.begun = 0

    def put_object(self, *, Bucket: str, Key: str, Body: Any, **options: Any) -> dict[str, Any]:
        data = Body if isinstance(Body, bytes) else _all_of(Body)
        if len(data) != options.get("ContentLength", len(data)):
            raise _error("IncompleteBody", "PutObject")
        checksum = _checksum(data) if options.get("ChecksumAlgorithm") else None
        self._create(Bucket, Key, data, checksum, "PutObject", options)
        if Bucket != INBOX:
            return {"ChecksumSHA256": checksum} if checksum else {}
        version_id = f"version-{len(self.versions) + 1}"
        self.versions[Bucket, Key, version_id] = data
        return {"VersionId": version_id}

    def head_object(self, *, Bucket: str, Key: str, ChecksumMode: str = "", VersionId: str = "") -> dict[str, Any]:
        if VersionId:
            if (Bucket, Key, VersionId) not in self.versions:
                raise _error("404", "HeadObject")
            return {"ContentLength": len(self.versions[Bucket, Key, VersionId])}
        if (Bucket, Key) not in self.objects:
            raise _error("404", "HeadObject")
        data, checksum = self.objects[Bucket, Key]
        found: dict[str, Any] = {"ContentLength": len(data)}
        if checksum and ChecksumMode:
            found |= {"ChecksumSHA256": checksum, "ChecksumType": "COMPOSITE" if "-" in checksum else "FULL_OBJECT"}
        return found

    def get_object(self, *, Bucket: str, Key: str, VersionId: str = "", Range: str = "") -> dict[str, Any]:
        if VersionId and (Bucket, Key, VersionId) not in self.versions:
            raise _error("NoSuchVersion", "GetObject")
        if not VersionId and (Bucket, Key) not in self.objects:
            raise _error("NoSuchKey", "GetObject")
        data = self.versions[Bucket, Key, VersionId] if VersionId else self.objects[Bucket, Key][0]
        first, last = map(int, Range.removeprefix("bytes=").split("-")) if Range else (0, len(data) - 1)
        part = data[first : last + 1]
        if Range and not part:
            raise _error("InvalidRange", "GetObject")
        found: dict[str, Any] = {"Body": _Body(part), "ContentLength": len(part)}
        if Range:
            found["ContentRange"] = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        if Bucket == INBOX:
            versions = [version for bucket, key, version in self.versions if (bucket, key) == (Bucket, Key)]
            found["VersionId"] = VersionId or versions[-1]
        return found

    def delete_object(self, *, Bucket: str, Key: str, VersionId: str = "") -> dict[str, Any]:
        if VersionId:
            self.versions.pop((Bucket, Key, VersionId), None)
        else:
            self.objects.pop((Bucket, Key), None)
        return {}

    def list_objects_v2(self, *, Bucket: str, Prefix: str = "") -> dict[str, Any]:
        keys = [key for bucket, key in self.objects if bucket == Bucket and key.startswith(Prefix)]
        return {"KeyCount": len(keys), **({"Contents": [{"Key": key} for key in keys]} if keys else {})}

    def generate_presigned_url(self, operation: str, *, Params: Any, ExpiresIn: int) -> str:
        version = f"versionId={Params['VersionId']}&" if "VersionId" in Params else ""
        signed = f"X-Amz-Expires={ExpiresIn}&X-Amz-Signature=s"
        named = quote(Params.get("ResponseContentDisposition", ""))
        saved = f"response-content-disposition={named}&" if named else ""
        return f"https://{Params['Bucket']}.s3.amazonaws.com/{quote(Params['Key'])}?{version}{saved}{signed}"

    def generate_presigned_post(self, bucket: str, key: str, **options: Any) -> dict[str, Any]:
        return dict(_signer().generate_presigned_post(bucket, key, **options))

    def create_multipart_upload(self, *, Bucket: str, Key: str, **options: Any) -> dict[str, Any]:
        self.begun += 1
        self.uploads[str(self.begun)] = {}
        return {"UploadId": str(self.begun)}

    def upload_part(self, *, UploadId: str, PartNumber: int, Body: Any, **options: Any) -> dict[str, Any]:
        body = Body if isinstance(Body, bytes) else _all_of(Body)
        self._upload(UploadId, "UploadPart")[PartNumber] = body
        return {"ETag": hashlib.md5(body, usedforsecurity=False).hexdigest(), "ChecksumSHA256": _checksum(body)}

    def complete_multipart_upload(
        self, *, Bucket: str, Key: str, UploadId: str, MultipartUpload: Any, **options: Any
    ) -> dict[str, Any]:
        parts = self._upload(UploadId, "CompleteMultipartUpload")
        blocks = [parts[part["PartNumber"]] for part in MultipartUpload["Parts"]]
        digest = b"".join(hashlib.sha256(block).digest() for block in blocks)
        checksum = f"{_checksum(digest)}-{len(blocks)}"
        self._create(Bucket, Key, b"".join(blocks), checksum, "CompleteMultipartUpload", options)
        del self.uploads[UploadId]
        return {}

    def abort_multipart_upload(self, *, UploadId: str, **options: Any) -> dict[str, Any]:
        self._upload(UploadId, "AbortMultipartUpload")
        del self.uploads[UploadId]
        return {}

    def _upload(self, upload_id: str, operation: str) -> dict[int, bytes]:
        if upload_id not in self.uploads:
            raise _error("NoSuchUpload", operation)
        return self.uploads[upload_id]

    def _create(
        self, bucket: str, key: str, data: bytes, checksum: str | None, operation: str, options: Mapping[str, Any]
    ) -> None:
        if options.get("IfNoneMatch") and (bucket, key) in self.objects:
            raise _error("PreconditionFailed", operation)
        self.objects[bucket, key] = (data, checksum)


def _all_of(body: Any) -> bytes:
    """botocore turns what is raised while it reads a body into an error of its own."""
    blocks: list[bytes] = []
    try:
        while block := body.read(64 * 1024):
            blocks.append(block)
    except Exception as error:
        raise HTTPClientError(error=error) from error
    return b"".join(blocks)


def _checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@cache
def _signer() -> Any:
    """A client of S3 for what is signed without a call."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
    return boto3.client("s3", **keys)  # type: ignore[call-overload]  # as keywords they are not literal


class _SQS(_Client):
    def send_message(self, *, QueueUrl: str, MessageBody: str, MessageGroupId: str = "") -> dict[str, Any]:
        return {"MessageId": "1"}


class _StepFunctions(_Client):
    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: A002
        if stateMachineArn != POLLER:
            raise _error("StateMachineDoesNotExist", "StartExecution")
        if self.inputs.setdefault(name, input) != input:
            raise _error("ExecutionAlreadyExists", "StartExecution")
        return {"executionArn": name}

    def list_executions(self, *, stateMachineArn: str) -> dict[str, Any]:
        return {"executions": [{"executionArn": name} for name in self.inputs]}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        return {"input": self.inputs[executionArn]}


class _Lambda(_Client):
    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        if InvocationType != "Event":
            raise NotImplementedError(InvocationType)
        if FunctionName not in (CHECK_FUNCTION, SWEEP_FUNCTION):
            raise _error("ResourceNotFoundException", "Invoke")
        return {"StatusCode": 202}


class _Events(_Client):
    def __init__(self) -> None:
        self.refusing: Callable[[dict[str, Any]], bool] = lambda _: False

    def put_events(self, *, Entries: Any) -> dict[str, Any]:
        results = [{"ErrorCode": "InternalFailure"} if self.refusing(entry) else {"EventId": "1"} for entry in Entries]
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}


class _SecretsManager(_Client):
    def __init__(self) -> None:
        self.secrets = {"provider": json.dumps({"api_key": PROVIDER_KEY}), "callback": json.dumps(CALLBACK_SECRET)}
        self.secrets["webhook"] = json.dumps(WEBHOOK_MASTER)

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:
        if SecretId not in self.secrets:
            raise _error("ResourceNotFoundException", "GetSecretValue")
        return {"SecretString": self.secrets[SecretId]}

    def create_secret(self, *, Name: str, SecretString: str = "") -> dict[str, Any]:
        self.secrets.update({Name: SecretString} if SecretString else {})
        return {"ARN": Name}

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> dict[str, Any]:
        self.secrets[SecretId] = SecretString
        return {"VersionId": "1"}


def memory_account() -> Account:
    """A new account with nothing in it but the secrets."""
    services = (_DynamoDB(), _S3(), _SQS(), _StepFunctions(), _Lambda(), _Events(), _SecretsManager())
    urls = ("deliveries", POLLER, "provider", "callback", "webhook", "notifications", "notifications-dead", "requests")
    return Account(dict(zip(SERVICES, services, strict=True)), *urls, inbox=INBOX)
