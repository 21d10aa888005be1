"""What docs/runbook.md tells an operator to do, done on the deployed stack with the operator's own tool."""

import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

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
    """Runs `cli/relay`: exit status, what it prints, what it complains of."""
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
        status, out, complaint = run("--json", *arguments)
        assert status == 0, complaint
        return json.loads(out)

    return ask


@pytest.fixture(scope="module")
def resources(relay: RelayClient) -> dict[str, str]:
    return relay.resources()


@contextmanager
def deliveries_stand_still(relay: RelayClient, resources: dict[str, str]) -> Iterator[None]:
    """Meanwhile nobody takes from the queue of deliveries."""
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
    """Take the message that asks for a task's delivery out of the queue, once it is there; others stay in it."""
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
def dead_letters(relay: RelayClient, resources: dict[str, str]) -> dict[str, str]:
    """Addresses of the dead-letter queues, by the tool's names for them; empty."""
    urls = {
        "deliveries-dead-letters": resources["DeliveriesDeadLetters"],
        "unrouted-events": resources["UnroutedEvents"],
    }
    for url in urls.values():
        relay.aws("sqs").purge_queue(QueueUrl=url)
    return urls


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


# ------------------------------------------------------------------------------------------- tenants and keys


@contextmanager
def answers_kept_for(relay: RelayClient, resources: dict[str, str], seconds: int) -> Iterator[None]:
    """The authorizer's answers are kept for less than the template's 60 seconds, so that a test need not wait."""
    api, gateway = resources["Api"], relay.aws("apigatewayv2")
    (authorizer,) = gateway.get_authorizers(ApiId=api)["Items"]
    where = {"ApiId": api, "AuthorizerId": authorizer["AuthorizerId"]}
    gateway.update_authorizer(**where, AuthorizerResultTtlInSeconds=seconds)
    try:
        yield
    finally:
        gateway.update_authorizer(**where, AuthorizerResultTtlInSeconds=authorizer["AuthorizerResultTtlInSeconds"])


@pytest.mark.parametrize("way", ["the key is revoked", "the tenant is disabled", "the tenant's record is gone"])
def test_key_in_use_opens_nothing_once_the_authorizers_cache_is_over(
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


def test_tenants_are_set_up_and_listed(tool: Tool, run: Callable[..., tuple[int, str, str]]) -> None:
    one, other = (f"tenant-{uuid.uuid4().hex[:8]}" for _ in range(2))
    tool("tenants", "create", one, "--event-source", f"{one}.orders")
    tool("tenants", "create", other)
    tool("tenants", "add-bucket", one, f"{one}-drops")
    tool("tenants", "set-cap", one, "5")
    for name in ("source", "bucket"):
        status, _, complaint = run(
            "tenants", f"add-{name}", other, f"{one}{'.orders' if name == 'source' else '-drops'}"
        )
        assert (status, f"another tenant, {one}" in complaint) == (1, True)
    found = {tenant["tenant_id"]: tenant for tenant in tool("tenants", "list")["tenants"]}
    assert found[one] | {"created_at": ""} == {
        "tenant_id": one,
        "created_at": "",
        "disabled": False,
        "daily_cap": 5,
        "event_sources": [f"{one}.orders"],
        "buckets": [f"{one}-drops"],
    }
    assert found[other]["event_sources"] == []
    tool("tenants", "remove-source", one, f"{one}.orders")
    tool("tenants", "add-source", other, f"{one}.orders")
    tool("tenants", "remove-bucket", one, f"{one}-drops")


# -------------------------------------------------------------------------------------------------- one task


def test_whole_life_of_a_task_is_shown_without_its_secrets(
    relay: RelayClient, tool: Tool, run: Callable[..., tuple[int, str, str]], request_body: Body
) -> None:
    task = relay.wait(relay.submit({**request_body, "payload": "not-to-be-shown"})["task_id"], "completed")
    shown = tool("task", "show", task["task_id"])
    text = run("task", "show", task["task_id"])[1]

    assert [(entry["status"], entry["source"]) for entry in shown["history"]] == [
        (entry["status"], entry["source"]) for entry in task["history"]
    ]
    assert (shown["videos"], shown["usage"], shown["attempts"]) == (task["videos"], task["usage"], 1)
    assert shown["due"] == "never: nobody need look at it again"
    for word in (task["task_id"], relay.stack.tenant_id, "completed", task["videos"][0]["sha256"], "never"):
        assert word in text
    for secret in ("not-to-be-shown", "X-Amz-", "token="):
        assert secret not in text
        assert secret not in json.dumps(shown)


def test_task_that_nobody_called_back_about_is_checked_at_once(
    relay: RelayClient, tool: Tool, request_body: Body
) -> None:
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


def test_overdue_task_is_listed_until_somebody_looks(relay: RelayClient, tool: Tool, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"callbacks": {"drop": True}})

    def overdue() -> bool:
        return task_id in {task["task_id"] for task in tool("task", "overdue")["tasks"]}

    with without_sweeps(relay):
        task_id = relay.submit(request_body)["task_id"]
        wait_until(overdue, "the overdue task")
        tool("task", "check", task_id)
        relay.wait(task_id, "completed")
    assert not overdue()


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


def test_task_without_a_video_has_nothing_to_deliver(relay: RelayClient, tool: Tool, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}, "callbacks": {"drop": True}})
    nothing = tool("task", "deliver", relay.submit(request_body)["task_id"])
    assert nothing["asked"] is False
    assert "no video yet" in nothing["reason"]


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


@pytest.mark.parametrize("command", ["show", "check", "deliver", "publish"])
@pytest.mark.parametrize(("task_id", "rule"), [("a" * 26, "there is no task"), ("../x", "26 of a-z")])
def test_task_that_is_not_there_is_refused(
    run: Callable[..., tuple[int, str, str]], command: str, task_id: str, rule: str
) -> None:
    status, out, complaint = run("task", command, task_id)
    assert (status, out) == (1, "")
    assert rule in complaint


# ------------------------------------------------------------------------------------------------ dead letters


def depth(tool: Tool, name: str) -> int:
    (found,) = (queue for queue in tool("queues", "list")["queues"] if queue["name"] == name)
    return int(found["depth"] + found["in_flight"])


def test_dead_letter_is_worked_off_and_an_unreadable_one_stays_until_it_is_discarded(
    relay: RelayClient, tool: Tool, dead_letters: dict[str, str], undelivered: str
) -> None:
    name = "deliveries-dead-letters"
    for body in (json.dumps({"task_id": undelivered}), "no task in here"):
        relay.aws("sqs").send_message(QueueUrl=dead_letters[name], MessageBody=body)
    assert depth(tool, name) == 2

    moved = tool("queues", "redrive", name)
    assert moved["moved"] == 1
    assert [left["body"] for left in moved["left"]] == ["no task in here"]
    relay.wait(undelivered, "completed")

    assert depth(tool, name) == 1
    assert tool("queues", "redrive", name, "--discard-unreadable") == {
        "queue": name,
        "moved": 0,
        "discarded": 1,
        "left": [],
    }
    assert depth(tool, name) == 0
    assert tool("queues", "redrive", name)["moved"] == 0


def test_unrouted_event_reaches_the_queue_its_rule_was_for(
    relay: RelayClient, tool: Tool, resources: dict[str, str], dead_letters: dict[str, str], undelivered: str
) -> None:
    name = "unrouted-events"
    events: list[Body] = []

    def generated() -> bool:
        events.extend(e for e in relay.new_events(undelivered) if e["detail-type"] == "VideoTaskGenerated")
        return bool(events)

    wait_until(generated, "the event that asks for the delivery")
    queue = resources["DeliveriesQueue"].rpartition("/")[2]

    def lost(target: str) -> None:
        relay.aws("sqs").send_message(
            QueueUrl=dead_letters[name],
            MessageBody=json.dumps(events[0]),
            MessageAttributes={
                "TARGET_ARN": {"DataType": "String", "StringValue": f"arn:aws:sqs:x:000000000000:{target}"},
                "ERROR_CODE": {"DataType": "String", "StringValue": "NO_PERMISSIONS"},
            },
        )

    lost(queue)
    lost("some-other-queue")
    moved = tool("queues", "redrive", name)
    assert moved["moved"] == 1
    assert "some-other-queue" in moved["left"][0]["reason"]
    relay.wait(undelivered, "completed")
    tool("queues", "redrive", name, "--discard-unreadable")
    assert depth(tool, name) == 0


def test_queue_that_is_none_is_refused(run: Callable[..., tuple[int, str, str]]) -> None:
    status, _, complaint = run("queues", "redrive", "deliveries")
    assert status == 1
    assert "deliveries-dead-letters" in complaint


# ---------------------------------------------------------------------------------------------- lost records


def test_events_that_could_not_be_published_for_a_while_come_in_order_without_the_operator(
    relay: RelayClient, tool: Tool, request_body: Body
) -> None:
    """The function is broken for a while, as by a bad deployment: the bus that it is told of does not exist."""
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
    relay.aws("dynamodb").put_item(TableName=relay.stack.table, Item={**key, "version": {"N": "1"}})
    try:
        task_id = relay.submit(request_body)["task_id"]
        wait_until(lambda: bool(relay.new_events(task_id)), "the events of the task behind it")

        def kept() -> list[str]:
            return [f["key"] for f in tool("failures", "list")["failures"] if f["tasks"] == [poison]]

        wait_until(lambda: len(kept()) == 1, "the record in the failures bucket")
        (left,) = tool("failures", "republish")["left"]
        assert left["key"] in kept()  # what fails again stays where it is
        relay.aws("s3").delete_object(Bucket=resources["FailuresBucket"], Key=left["key"])
    finally:
        relay.aws("dynamodb").delete_item(TableName=relay.stack.table, Key=key)


def test_object_that_holds_no_records_stays_and_is_said(
    relay: RelayClient, tool: Tool, run: Callable[..., tuple[int, str, str]], resources: dict[str, str]
) -> None:
    s3, bucket = relay.aws("s3"), resources["FailuresBucket"]
    s3.put_object(Bucket=bucket, Key="not-ours", Body=b"{}")
    listed = {failure["key"]: failure["tasks"] for failure in tool("failures", "list")["failures"]}
    assert listed["not-ours"] == []
    assert "not-ours" in [left["key"] for left in tool("failures", "republish")["left"]]
    status, _, complaint = run("failures", "republish", "never-was")
    assert (status, "failures list" in complaint) == (1, True)
    s3.delete_object(Bucket=bucket, Key="not-ours")
