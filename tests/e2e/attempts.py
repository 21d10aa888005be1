"""What somebody who wants in can send, and everything that it could have changed."""

import http.client
import json
import ssl
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3

from local.client import RelayClient
from local.programs import ROOT
from local.stack import Stack
from tests.e2e.waiting import wait_until

__all__ = [
    "Answer",
    "as_function",
    "calm_task",
    "effects",
    "operate",
    "record",
    "send",
    "settled_task",
    "token_of",
]

PER_CALL = frozenset({"apigw-requestid", "date"})
FAR = 10**13
"""A `due_at` (ms) at which no sweep looks any more: the year 2286."""

Item = dict[str, Any]


class Answer(NamedTuple):
    """An answer without what differs in each: its request id and its date. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def send(
    stack: Stack,
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    key: str | None = None,
) -> Answer:
    """A request whose path and headers go out exactly as they are given, which no ordinary client would do."""
    base = urlsplit(stack.api_url)
    connection = http.client.HTTPSConnection(
        base.hostname or "", base.port, timeout=40, context=ssl.create_default_context(cafile=stack.aws_ca_bundle)
    )
    try:
        connection.putrequest(method, base.path + target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if key is not None:
            connection.putheader("authorization", f"Bearer {key}")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        with connection.getresponse() as reply:
            content = reply.read()
    finally:
        connection.close()
    kept = {name.lower(): value for name, value in reply.getheaders() if name.lower() not in PER_CALL}
    return Answer(reply.status, kept, content)


def operate(relay: RelayClient, folder: Path, *arguments: str) -> Any:
    """Run the operator's tool; what it prints with `--json`. `folder` is one of the test's own."""
    file = folder / "stack.json"
    relay.stack.write(file)
    command = [str(ROOT / "cli" / "relay"), "--local-file", str(file), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env={"PATH": "/usr/bin:/bin"})  # noqa: S603 - ours
    return json.loads(done.stdout)


def as_function(relay: RelayClient, folder: str, service: str) -> Any:
    """A client with the rights of a function's role, and no other."""
    function = relay.aws("lambda").get_function_configuration(FunctionName=relay.stack.functions[folder])
    credentials = relay.aws("sts").assume_role(RoleArn=function["Role"], RoleSessionName="thief")["Credentials"]
    return boto3.client(  # type: ignore[call-overload]  # the name is not a literal here
        service,
        endpoint_url=relay.stack.aws_endpoint_url,
        verify=relay.stack.aws_ca_bundle,
        region_name=relay.stack.region,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


def record(relay: RelayClient, task_id: str) -> Item:
    """A task's item, as it lies in the table."""
    key = {"pk": {"S": f"task#{task_id}"}}
    found: Item = relay.aws("dynamodb").get_item(TableName=relay.stack.table, Key=key, ConsistentRead=True)["Item"]
    return found


def calm_task(relay: RelayClient, request: Mapping[str, Any]) -> str:
    """A task that the provider works on for ever and that nobody looks at by himself: any change was brought about."""
    relay.script(str(request["prompt"]), {"outcome": {"never_finish": True}, "callbacks": {"drop": True}})
    task_id: str = relay.submit(request)["task_id"]
    relay.aws("dynamodb").update_item(
        TableName=relay.stack.table,
        Key={"pk": {"S": f"task#{task_id}"}},
        UpdateExpression="SET due_at = :far ADD revision :one, #lease :one",
        # a slow machine may have let a sweep come in between, and the check that it starts
        ConditionExpression="#status IN (:submitted, :processing)",
        ExpressionAttributeNames={"#status": "status", "#lease": "lease"},
        ExpressionAttributeValues={
            ":far": {"N": str(FAR)},
            ":one": {"N": "1"},
            ":submitted": {"S": "submitted"},
            ":processing": {"S": "processing"},
        },
    )
    wait_until(lambda: not _being_checked(relay, task_id), "the end of a check")
    return task_id


def settled_task(relay: RelayClient, request: Mapping[str, Any]) -> dict[str, Any]:
    """A completed task that nobody looks at any more: neither a check nor a callback is under way."""
    task = relay.wait(relay.submit(request)["task_id"], "completed")

    def at_rest() -> bool:
        (seen,) = [one for one in relay.ask_provider("tasks") if task["task_id"] in (one["callback_url"] or "")]
        rings = relay.ask_provider(f"tasks/{seen['id']}")["callbacks"]
        # the last one is tried again until it is taken, the one before is not
        told = {ring["state"] for ring in rings if ring["state"] == "processing" or ring["http_status"] == 200}
        return told == {"processing", "success"} and not _being_checked(relay, task["task_id"])

    wait_until(at_rest, "the end of every check and callback")
    return task


def _being_checked(relay: RelayClient, task_id: str) -> bool:
    """Whether an execution that the relay has started for a task is under way."""
    pages = (
        relay.aws("stepfunctions")
        .get_paginator("list_executions")
        .paginate(stateMachineArn=relay.stack.state_machine_arn, statusFilter="RUNNING")
    )
    return any(one["name"].startswith(f"{task_id}-") for page in pages for one in page["executions"])


def token_of(relay: RelayClient, request: Mapping[str, Any]) -> str:
    """The query of the callback address that the provider was given for the (only) task of a request."""
    (seen,) = relay.seen_by_provider(str(request["prompt"]))
    return str(seen["request"]["params"]["callback_url"]).partition("?")[2]


def effects(relay: RelayClient, *task_ids: str) -> dict[str, Any]:
    """Everything an attempt could bring about for these tasks: their records, calls of the provider, objects.

    Of these tasks alone: what other tests began may still go on.
    """
    records = {task_id: record(relay, task_id) for task_id in task_ids}
    remote = {item["remote_id"]["S"] for item in records.values() if "remote_id" in item}
    seen = [task for task in relay.seen_by_provider("") if task["id"] in remote or task["remote_id"] in remote]
    buckets = (relay.stack.videos_bucket, relay.stack.inbox_bucket)
    pages = [page for bucket in buckets for page in _pages(relay, bucket)]
    return {
        "records": records,
        "creates": {task_id: relay.create_calls(task_id) for task_id in task_ids},
        "seen": {task["id"]: (len(task["polls"]), len(task["downloads"])) for task in seen},
        "objects": sorted(
            (object_["Key"], object_["ETag"])
            for page in pages
            for object_ in page.get("Contents", [])
            if any(task_id in object_["Key"] for task_id in task_ids)
        ),
    }


def _pages(relay: RelayClient, bucket: str) -> Iterable[dict[str, Any]]:
    pages: Iterable[dict[str, Any]] = relay.aws("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return pages
