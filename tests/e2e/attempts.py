"""What an attacker can send, and everything that it could have changed."""

import http.client
import io
import json
import ssl
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3

from cli.main import main
from local.client import RelayClient
from local.stack import Stack
from tests.e2e.sweeps import change_record
from tests.e2e.waiting import wait_until
from tests.unit.template import of_type

PER_CALL = frozenset({"apigw-requestid", "date"})
FAR = 10**13
"""A `due_at` (ms) that no sweep reaches: the year 2286."""

WITH_A_KEY = sorted(
    route["Properties"]["RouteKey"]
    for route in of_type("AWS::ApiGatewayV2::Route").values()
    if route["Properties"]["AuthorizationType"] == "CUSTOM"
)
"""The routes that ask for an API key."""

Item = dict[str, Any]


class Answer(NamedTuple):
    """An answer without its request id and date. Header names are lower case."""

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
    """A request whose path and headers go out exactly as given, which no ordinary client would do."""
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


def operate(relay: RelayClient, *arguments: str) -> Any:
    """Run a command of the operator's tool that must succeed; what it prints with `--json`."""
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()) as said:
        relay.stack.write(Path(folder) / "stack.json")
        assert main([f"--local-file={folder}/stack.json", "--json", *arguments]) == 0
    return json.loads(said.getvalue())


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


def listed(relay: RelayClient, service: str, operation: str, what: str, **arguments: Any) -> list[Any]:
    """What is under the name `what` on all pages of a paginated operation."""
    pages = relay.aws(service).get_paginator(operation).paginate(**arguments)
    return [one for page in pages for one in page.get(what, [])]


def log_lines(relay: RelayClient) -> list[str]:
    """What the functions have logged so far."""
    group = relay.resources()["FunctionLogs"]
    return [event["message"] for event in listed(relay, "logs", "filter_log_events", "events", logGroupName=group)]


def restart(relay: RelayClient, folder: str) -> None:
    """The next call of a function is a cold start."""
    function = {"FunctionName": relay.stack.functions[folder]}
    memory = relay.aws("lambda").get_function_configuration(**function)["MemorySize"]
    relay.aws("lambda").update_function_configuration(**function, MemorySize=memory)


def record(relay: RelayClient, task_id: str) -> Item:
    key = {"pk": {"S": f"task#{task_id}"}}
    found: Item = relay.aws("dynamodb").get_item(TableName=relay.stack.table, Key=key, ConsistentRead=True)["Item"]
    return found


def calm_task(relay: RelayClient, request: Mapping[str, Any]) -> str:
    """A task that stays as it is unless the test changes something: it never ends, and no check is due or under way."""
    relay.script(str(request["prompt"]), {"outcome": {"never_finish": True}, "callbacks": {"drop": True}})
    task_id: str = relay.submit(request)["task_id"]
    # a slow machine may have let a sweep come in between, and the check that it starts: that one loses its lease
    change = "SET due_at = :far ADD revision :one, lease :one"
    condition = "attribute_exists(due_at) AND attribute_exists(remote_id)"
    change_record(relay, f"task#{task_id}", change, condition, far={"N": str(FAR)})
    wait_until(lambda: not _being_checked(relay, task_id), "the end of a check")
    return task_id


def settled_task(relay: RelayClient, request: Mapping[str, Any]) -> dict[str, Any]:
    """A completed task for which neither a check nor a callback is under way."""
    task = relay.wait(relay.submit(request)["task_id"], "completed")

    def at_rest() -> bool:
        (seen,) = [one for one in relay.ask_provider("tasks") if task["task_id"] in (one["callback_url"] or "")]
        sent = relay.ask_provider(f"tasks/{seen['id']}")["callbacks"]
        # the last one is tried again until it is taken, the one before is not
        taken = {one["state"] for one in sent if one["state"] == "processing" or one["http_status"] == 200}
        return taken == {"processing", "success"} and not _being_checked(relay, task["task_id"])

    wait_until(at_rest, "the end of every check and callback")
    return task


def _being_checked(relay: RelayClient, task_id: str) -> bool:
    """Whether a check that the relay has started for a task is under way."""
    running = {"stateMachineArn": relay.stack.state_machine_arn, "statusFilter": "RUNNING"}
    runs = listed(relay, "stepfunctions", "list_executions", "executions", **running)
    return any(one["name"].startswith(f"{task_id}-") for one in runs)


def token_of(relay: RelayClient, request: Mapping[str, Any]) -> str:
    """The query of the callback address that the provider was given for the (only) task of a request."""
    (seen,) = relay.seen_by_provider(str(request["prompt"]))
    return str(seen["request"]["params"]["callback_url"]).partition("?")[2]


def effects(relay: RelayClient, *task_ids: str) -> dict[str, Any]:
    """What an attempt could change for these tasks: their records, calls of the provider, objects."""
    records = {task_id: record(relay, task_id) for task_id in task_ids}
    remote = {item["remote_id"]["S"] for item in records.values() if "remote_id" in item}
    seen = [task for task in relay.seen_by_provider("") if task["id"] in remote or task["remote_id"] in remote]
    buckets = (relay.stack.videos_bucket, relay.stack.inbox_bucket)
    objects = [one for bucket in buckets for one in listed(relay, "s3", "list_objects_v2", "Contents", Bucket=bucket)]
    return {
        "records": records,
        "creates": {task_id: relay.create_calls(task_id) for task_id in task_ids},
        "seen": {task["id"]: (len(task["polls"]), len(task["downloads"])) for task in seen},
        "objects": sorted((o["Key"], o["ETag"]) for o in objects if any(task_id in o["Key"] for task_id in task_ids)),
    }
