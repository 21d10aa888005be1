"""The commands of docs/runbook.md, run on the deployed stack with the operator's tool."""

import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.chaos.backends import Backends
from local.client import RelayClient
from local.programs import ROOT
from tests.e2e.sweeps import without_sweeps
from tests.e2e.waiting import wait_until

Body = dict[str, Any]
Tool = Callable[..., Any]

REVOKED_WITHIN_SECONDS = 2
OUTAGE_SECONDS = 15


@pytest.fixture(scope="module")
def run(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[int, str, str]]:
    """Runs `cli/relay`: exit status, standard output, standard error."""
    file = tmp_path_factory.mktemp("operator") / "stack.json"
    relay.stack.write(file)

    def run(*arguments: str) -> tuple[int, str, str]:
        command = [str(ROOT / "cli" / "relay"), "--local-file", str(file), *arguments]
        done = subprocess.run(command, capture_output=True, check=False, text=True, env={"PATH": "/usr/bin:/bin"})  # noqa: S603 - ours
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def tool(run: Callable[..., tuple[int, str, str]]) -> Tool:
    """Runs a command that must succeed; its answer as data."""

    def ask(*arguments: str) -> Any:
        status, out, error = run("--json", *arguments)
        assert status == 0, error
        return json.loads(out)

    return ask


@pytest.fixture(scope="module")
def resources(relay: RelayClient) -> dict[str, str]:
    return relay.resources()


@contextmanager
def deliveries_stand_still(relay: RelayClient, resources: dict[str, str]) -> Iterator[None]:
    """Meanwhile no worker reads the queue of deliveries."""
    aws = relay.aws("lambda")
    (mapping,) = aws.list_event_source_mappings(FunctionName=relay.stack.functions["deliver_videos"])[
        "EventSourceMappings"
    ]
    aws.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        aws.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def lose_delivery(relay: RelayClient, url: str, task_id: str) -> None:
    """Delete the message that asks for a task's delivery, once it is in the queue; others stay in it."""
    sqs, others = relay.aws("sqs"), list[str]()

    def lost() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        ours = [message["ReceiptHandle"] for message in messages if task_id in message["Body"]]
        others.extend(message["ReceiptHandle"] for message in messages if task_id not in message["Body"])
        for handle in ours:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
        return bool(ours)

    try:
        wait_until(lost, "the message that asks for the delivery")
    finally:
        for handle in others:
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)


@pytest.fixture
def undelivered(relay: RelayClient, request_body: Body, resources: dict[str, str]) -> str:
    """The id of a task whose video is generated, and whose delivery was lost on the way."""
    with deliveries_stand_still(relay, resources):
        task_id = str(relay.submit(request_body)["task_id"])
        relay.wait(task_id, "generated")
        lose_delivery(relay, resources["DeliveriesQueue"], task_id)
    return task_id


@pytest.fixture
def dead_letters(relay: RelayClient, resources: dict[str, str]) -> str:
    """The address of the dead-letter queue of deliveries, which is empty."""
    relay.aws("sqs").purge_queue(QueueUrl=resources["DeliveriesDeadLetters"])
    return resources["DeliveriesDeadLetters"]


def test_schemas_are_published_once_and_deleted(relay: RelayClient, tool: Tool) -> None:
    published = tool("schemas", "publish")
    aws, registry = relay.aws("schemas"), f"{relay.stack.stack_name}-events"
    names = {schema["SchemaName"] for schema in aws.list_schemas(RegistryName=registry)["Schemas"]}
    assert names == set(published["created"])
    assert "vidu-relay@VideoTaskCompleted" in names
    assert set(tool("schemas", "publish")["unchanged"]) == names
    tool("schemas", "delete")
    with pytest.raises(aws.exceptions.NotFoundException):
        aws.describe_registry(RegistryName=registry)


@contextmanager
def answers_kept_for(relay: RelayClient, resources: dict[str, str], seconds: int) -> Iterator[None]:
    """The authorizer's answers are cached for a shorter time than the template's 60 seconds."""
    api, gateway = resources["Api"], relay.aws("apigatewayv2")
    (authorizer,) = gateway.get_authorizers(ApiId=api)["Items"]
    where = {"ApiId": api, "AuthorizerId": authorizer["AuthorizerId"]}
    gateway.update_authorizer(**where, AuthorizerResultTtlInSeconds=seconds)
    try:
        yield
    finally:
        gateway.update_authorizer(**where, AuthorizerResultTtlInSeconds=authorizer["AuthorizerResultTtlInSeconds"])


@pytest.mark.parametrize("way", ["the key is revoked", "the tenant is disabled", "the tenant's record is gone"])
def test_key_in_use_is_refused_once_the_authorizers_cache_is_over(
    relay: RelayClient, tool: Tool, resources: dict[str, str], way: str
) -> None:
    tenant = f"tenant-{uuid.uuid4().hex[:8]}"
    tool("tenants", "create", tenant)
    key = tool("keys", "create", "--tenant", tenant)
    client = RelayClient(relay.stack, key["api_key"])
    with answers_kept_for(relay, resources, REVOKED_WITHIN_SECONDS):
        assert client.call("GET", "/v1/tasks").status_code == 200
        if way == "the key is revoked":
            tool("keys", "revoke", "--tenant", tenant, key["key_id"])
        elif way == "the tenant is disabled":
            tool("tenants", "disable", tenant)
        else:
            relay.aws("dynamodb").delete_item(TableName=relay.stack.table, Key={"pk": {"S": f"tenant#{tenant}"}})
        time.sleep(REVOKED_WITHIN_SECONDS)  # from then on the first call counts, however long it takes
        assert client.call("GET", "/v1/tasks").status_code == 403
        if way == "the tenant is disabled":
            tool("tenants", "enable", tenant)
            time.sleep(REVOKED_WITHIN_SECONDS)
            assert client.call("GET", "/v1/tasks").status_code == 200
    client.close()


def test_task_is_shown_without_its_secrets_and_with_its_webhook_errors(
    relay: RelayClient, tool: Tool, run: Callable[..., tuple[int, str, str]], request_body: Body, backends: Backends
) -> None:
    request = {**request_body, "payload": "not-to-be-shown", "callback_url": f"{backends.origins['410']}/shown"}
    task = relay.wait(relay.submit(request)["task_id"], "completed")
    wait_until(lambda: "last_error" in tool("task", "show", task["task_id"])["webhook"], "the webhook that fails")
    shown = tool("task", "show", task["task_id"])
    text = run("task", "show", task["task_id"])[1]

    (host,) = (one for one in tool("webhooks", "failing")["hosts"] if one["host"] == backends.origins["410"])
    assert (relay.stack.tenant_id in host["tenants"], host["given_up"] > 0) == (True, True)
    (listed,) = (one for one in tool("task", "list")["tasks"] if one["task_id"] == task["task_id"])
    assert (listed["status"], listed["wrong"], listed["cost"]) == ("completed", None, task["usage"]["cost"])

    assert [(entry["status"], entry["source"]) for entry in shown["history"]] == [
        (entry["status"], entry["source"]) for entry in task["history"]
    ]
    assert (shown["videos"], shown["usage"], shown["attempts"]) == (task["videos"], task["usage"], 1)
    assert shown["due"] == "never: it needs no more checks"
    assert f"from {backends.origins['410']}, try 1, given up" in shown["webhook"]["last_error"]
    for word in (relay.stack.tenant_id, "completed", task["videos"][0]["sha256"], shown["webhook"]["last_error"]):
        assert word in text
    assert [secret for secret in ("not-to-be-shown", "X-Amz-", "token=") if secret in text + json.dumps(shown)] == []


def test_task_without_a_callback_is_checked_at_once(relay: RelayClient, tool: Tool, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"callbacks": {"drop": True}})
    with without_sweeps(relay):
        task_id = relay.submit(request_body)["task_id"]
        before = tool("task", "show", task_id)
        assert before["due"].startswith(("in ", "overdue"))

        checked = tool("task", "check", task_id)
        assert checked["started"]
        assert checked["lease"] > before["lease"]
        again = tool("task", "check", task_id)
        relay.wait(task_id, "completed")
    if again["started"]:
        assert again["lease"] > checked["lease"]
    late = tool("task", "check", task_id)
    assert (late["started"], late["status"]) == (False, "completed")
    assert len(relay.seen_by_provider(request_body["prompt"])) == 1


def test_lost_delivery_is_asked_for_again(relay: RelayClient, tool: Tool, request_body: Body, undelivered: str) -> None:
    assert re.match("in [4-6] min", tool("task", "show", undelivered)["due"])
    assert tool("task", "deliver", undelivered)["asked"]
    assert tool("task", "deliver", undelivered)["status"] in ("generated", "completed")
    task = relay.wait(undelivered, "completed")

    nothing = tool("task", "deliver", undelivered)
    assert (nothing["asked"], nothing["status"]) == (False, "completed")
    assert task["videos"][0]["key"] in nothing["reason"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]


def test_event_is_published_again_under_its_own_id(relay: RelayClient, tool: Tool, request_body: Body) -> None:
    task = relay.wait(relay.submit(request_body)["task_id"], "completed")
    seen: list[dict[str, Any]] = []

    def completed() -> list[dict[str, Any]]:
        seen.extend(e for e in relay.new_events(task["task_id"]) if e["detail-type"] == "VideoTaskCompleted")
        return seen

    wait_until(lambda: len(completed()) >= 1, "the event")
    before = len(seen)
    again = tool("task", "publish", task["task_id"])
    wait_until(lambda: len(completed()) > before, "the event again")

    first, second = seen[0], seen[-1]
    assert again["event_id"] == first["detail"]["event_id"] == second["detail"]["event_id"]
    assert first["detail"] == second["detail"]
    assert second["source"] == "vidu-relay"
    assert relay.task(task["task_id"])["version"] == task["version"]


def depth(tool: Tool, name: str) -> int:
    (found,) = (queue for queue in tool("queues", "list")["queues"] if queue["name"] == name)
    return int(found["depth"] + found["in_flight"])


def test_dlq_message_is_processed_and_an_unreadable_one_stays_until_it_is_discarded(
    relay: RelayClient, tool: Tool, dead_letters: str, undelivered: str
) -> None:
    name = "deliveries-dead-letters"
    for body in (json.dumps({"task_id": undelivered}), "no task in here"):
        relay.aws("sqs").send_message(QueueUrl=dead_letters, MessageBody=body)
    assert depth(tool, name) == 2
    peeked = {message["about"] for message in tool("queues", "peek", name)["messages"]}
    assert peeked == {f"copies the videos of task {undelivered}", "unreadable: it names no task"}

    moved = tool("queues", "redrive", name)
    assert moved["moved"] == 1
    assert [left["body"] for left in moved["left"]] == ["no task in here"]
    relay.wait(undelivered, "completed")

    assert depth(tool, name) == 1
    assert tool("queues", "redrive", name, "--discard-unreadable")["discarded"] == 1
    assert depth(tool, name) == 0


def test_events_that_could_not_be_published_for_a_while_come_in_order_without_the_operator(
    relay: RelayClient, tool: Tool, request_body: Body
) -> None:
    """The function is broken for a while, as by a bad deployment: its setting names a bus that does not exist."""
    aws, function = relay.aws("lambda"), relay.stack.functions["publish_events"]
    environment = aws.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    aws.update_function_configuration(
        FunctionName=function, Environment={"Variables": {**environment, "EVENT_BUS_NAME": "gone"}}
    )
    try:
        relay.script(request_body["prompt"], {"outcome": {"never_finish": True}, "callbacks": {"drop": True}})
        task_id = relay.submit(request_body)["task_id"]
        time.sleep(OUTAGE_SECONDS)
        assert relay.new_events(task_id) == []
        assert tool("failures", "list") == {"failures": []}
    finally:
        aws.update_function_configuration(FunctionName=function, Environment={"Variables": environment})
    seen: list[str] = []

    def published() -> bool:
        seen.extend(event["detail-type"] for event in relay.new_events(task_id))
        return "VideoTaskSubmitted" in seen

    wait_until(published, "the events")
    assert list(dict.fromkeys(seen))[:2] == ["VideoTaskAccepted", "VideoTaskSubmitted"]
    assert tool("failures", "list") == {"failures": []}


def test_record_that_can_never_be_published_is_kept_for_the_operator_and_holds_up_nothing(
    relay: RelayClient, tool: Tool, resources: dict[str, str], request_body: Body
) -> None:
    poison = uuid.uuid4().hex.translate(str.maketrans("0189", "abcd"))[:26]
    key = {"pk": {"S": f"task#{poison}"}}
    relay.aws("dynamodb").put_item(
        TableName=relay.stack.table, Item={**key, "version": {"N": "1"}, "status": {"S": "failed"}}
    )
    try:
        task_id = relay.submit(request_body)["task_id"]
        wait_until(lambda: bool(relay.new_events(task_id)), "the events of the task behind it")

        def kept() -> list[str]:
            return [f["key"] for f in tool("failures", "list")["failures"] if f["tasks"] == [poison]]

        # of both consumers of the stream: events and ledger
        wait_until(lambda: len(kept()) == 2, "the record in the failures bucket")
        left = {one["key"] for one in tool("failures", "republish")["left"]}
        assert left == set(kept())  # what fails again stays where it is
        for name in left:
            relay.aws("s3").delete_object(Bucket=resources["FailuresBucket"], Key=name)
    finally:
        relay.aws("dynamodb").delete_item(TableName=relay.stack.table, Key=key)
