"""The queue doors on the deployed stack, IAM enforced: files dropped into the inbox, events on the bus."""

import hashlib
import json
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.chaos.switch import FaultSwitch
from local.client import RelayClient
from tests.e2e.test_queues import left, wait_until_empty
from tests.e2e.waiting import wait_until
from tests.unit.pictures import png

Body = dict[str, Any]


def tasks_of(relay: RelayClient, body: Body) -> list[Body]:
    """The tenant's tasks with this prompt."""
    listed = relay.call("GET", "/v1/tasks?limit=100").json()["tasks"]
    return [task for task in listed if task["request"]["prompt"] == body["prompt"]]


def the_task(relay: RelayClient, body: Body, *statuses: str) -> Body:
    """The one task with this prompt, once it is in one of the states."""
    wait_until(lambda: bool(tasks_of(relay, body)), "the task")
    (task,) = tasks_of(relay, body)
    return relay.wait(task["task_id"], *statuses)


def worked_off(relay: RelayClient) -> None:
    """Wait until no request is waiting."""
    wait_until_empty(relay, relay.resources()["RequestsQueue"])


def answer(relay: RelayClient, key: str) -> Body:
    """The problem document beside a refused file."""
    reply = relay.aws("s3").get_object(Bucket=relay.stack.inbox_bucket, Key=key.replace("requests/", "rejected/", 1))
    assert reply["ContentType"] == "application/problem+json"
    problem: Body = json.loads(reply["Body"].read())
    return problem


def test_dropped_file_becomes_a_video(relay: RelayClient, request_body: Body) -> None:
    relay.drop("shop/order.json", request_body)
    task = the_task(relay, request_body, "completed")

    sources = [entry["source"] for entry in task["history"]]
    assert (sources[:2], sources[-1]) == (["s3", "create"], "delivery")
    assert task["history"][0]["status"] == "accepted"
    assert task["request"] == request_body
    assert relay.download(task)[4:8] == b"ftyp"


def test_dropped_files_images_are_found_beside_it_and_reach_the_provider(
    relay: RelayClient, request_body: Body
) -> None:
    """Whatever S3 takes in a key: nothing in it is decoded or encoded on the way."""
    folder = "ünï 日本/a+b %2B"
    beside, below = png(300, 300, comment=1), png(300, 300)
    for name, content in (("fox & co.png", beside), ("more/fox#1?.png", below)):
        key = f"requests/{relay.stack.tenant_id}/{folder}/{name}"
        relay.aws("s3").put_object(Bucket=relay.stack.inbox_bucket, Key=key, Body=content)
    request_body["subjects"][0]["images"] = ["fox & co.png", "more/fox#1?.png"]
    relay.drop(f"{folder}/order 1+1.json", request_body)
    task = the_task(relay, request_body, "completed")

    base = f"s3://{relay.stack.inbox_bucket}/requests/{relay.stack.tenant_id}/{folder}/"
    assert task["request"]["subjects"][0]["images"] == [base + "fox & co.png", base + "more/fox#1?.png"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    digests = [image["sha256"] for image in relay.images_at_provider(seen["id"])[:2]]
    assert digests == [hashlib.sha256(content).hexdigest() for content in (beside, below)]
    assert relay.download(task)[4:8] == b"ftyp"


def test_event_becomes_a_video(relay: RelayClient, request_body: Body) -> None:
    relay.put_event({"request": request_body, "tenant_id": relay.stack.tenant_id})
    task = the_task(relay, request_body, "completed")

    sources = [entry["source"] for entry in task["history"]]
    assert (sources[:2], sources[-1]) == (["event", "create"], "delivery")
    assert relay.download(task)[4:8] == b"ftyp"


def test_throttled_requests_and_deliveries_are_processed_once_an_execution_is_free(
    relay: RelayClient, request_body: Body
) -> None:
    """A delivery is refused more often than it may be received, a request is received more than five times."""
    sqs, urls, stack = relay.aws("sqs"), relay.resources(), relay.stack
    switch = FaultSwitch(stack.aws_endpoint_url, stack.aws_ca_bundle or "", stack.region)
    accept, deliver = (
        {"at": stack.functions[name], "how": "throttle"} for name in ("accept_request", "deliver_videos")
    )
    dead = [urls["RequestsDeadLetters"], urls["DeliveriesDeadLetters"]]
    before, given = [left(relay, url) for url in dead], len(switch.given())
    patience = sqs.get_queue_attributes(QueueUrl=urls["RequestsQueue"], AttributeNames=["VisibilityTimeout"])
    sqs.set_queue_attributes(QueueUrl=urls["RequestsQueue"], Attributes={"VisibilityTimeout": "1"})
    try:
        switch.order([accept], 1)
        relay.drop("throttled.json", request_body)
        wait_until(lambda: len(switch.given()) >= given + 14, "fourteen refusals, two for each receive")
        switch.order([{**deliver, "limit": 6}], 1)
        task = the_task(relay, request_body, "completed")
    finally:
        switch.end()
        sqs.set_queue_attributes(QueueUrl=urls["RequestsQueue"], Attributes=patience["Attributes"])

    assert [entry["at"] for entry in switch.given()[-6:]] == [stack.functions["deliver_videos"]] * 6
    assert task["delivery"] is None
    assert [left(relay, url) for url in dead] == before


def test_events_own_key_is_the_key_of_http(relay: RelayClient, request_body: Body) -> None:
    submitted = relay.submit(request_body, request_body["prompt"])
    for _ in range(2):
        relay.put_event({"request": request_body, "idempotency_key": request_body["prompt"]})
    worked_off(relay)
    assert [task["task_id"] for task in tasks_of(relay, request_body)] == [submitted["task_id"]]
    assert len(relay.seen_by_provider(request_body["prompt"])) == 1


def test_same_content_makes_no_second_task_and_other_content_does(relay: RelayClient, request_body: Body) -> None:
    key = relay.drop("again.json", request_body)
    first = the_task(relay, request_body, "completed")
    relay.drop("again.json", request_body)  # a new version, and a new notification
    version = relay.aws("s3").head_object(Bucket=relay.stack.inbox_bucket, Key=key)["VersionId"]
    detail = {"bucket": {"name": relay.stack.inbox_bucket}, "object": {"key": key, "version-id": version}}
    notification = {"id": "again", "source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    relay.aws("sqs").send_message(QueueUrl=relay.resources()["RequestsQueue"], MessageBody=json.dumps(notification))
    worked_off(relay)
    assert [task["task_id"] for task in tasks_of(relay, request_body)] == [first["task_id"]]
    assert len(relay.seen_by_provider(request_body["prompt"])) == 1

    relay.drop("again.json", {**request_body, "seed": 7})
    wait_until(lambda: len(tasks_of(relay, request_body)) == 2, "the second task")
    assert {task["request"].get("seed") for task in tasks_of(relay, request_body)} == {None, 7}


def test_each_notification_is_about_its_own_upload(relay: RelayClient, request_body: Body) -> None:
    """Two uploads of one key, faster than the first is read: both are tasks."""
    for seed in (1, 2):
        relay.drop("quick.json", {**request_body, "seed": seed})
    wait_until(lambda: len(tasks_of(relay, request_body)) == 2, "both tasks")
    assert {task["request"]["seed"] for task in tasks_of(relay, request_body)} == {1, 2}


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("bad.json", b"{", 400, "malformed_json"),
        ("utf16.json", '{"model": 1}'.encode("utf-16"), 400, "malformed_json"),
        ("invalid.json", b'{"prompt": ""}', 422, "008017002"),
        ("outside.json", b'{"images": ["../other/fox.png"]}', 422, "validation_error"),
        ("large.json", b" " * (4 * 1024 * 1024 + 1), 413, "body_too_large"),
    ],
)
def test_refused_file_is_answered_beside_it_and_on_the_bus(
    relay: RelayClient, name: str, content: bytes, status: int, code: str
) -> None:
    key = relay.drop(f"refused/{name}", content)
    event = relay.rejection(f"s3://{relay.stack.inbox_bucket}/{key}")

    assert (event["source"], event["detail-type"]) == ("vidu-relay", "VideoTaskRejected")
    assert event["detail"].keys() == {"event_id", "tenant_id", "source", "error"}
    assert event["detail"]["tenant_id"] == relay.stack.tenant_id
    problem = event["detail"]["error"]
    assert (problem["status"], problem["code"]) == (status, code)
    assert answer(relay, key) == problem
    over_http = relay.call("POST", "/v1/tasks", data=content)
    assert over_http.status_code == status
    if name != "outside.json":  # a relative key is a thing of files
        assert over_http.json()["code"] == code


def test_file_in_nobodys_folder_is_answered_to_nobody(relay: RelayClient, request_body: Body) -> None:
    key = relay.drop("order.json", request_body, tenant_id="nobody")
    event = relay.rejection(f"s3://{relay.stack.inbox_bucket}/{key}")

    assert (event["detail"]["tenant_id"], event["detail"]["error"]["code"]) == (None, "unknown_tenant")
    assert answer(relay, key)["status"] == 403
    assert relay.seen_by_provider(request_body["prompt"]) == []


def test_event_of_an_unmapped_source_acts_for_nobody(relay: RelayClient, request_body: Body) -> None:
    event_id = relay.put_event({"request": request_body, "tenant_id": relay.stack.tenant_id}, source="stray.shop")
    detail = relay.rejection("stray.shop")["detail"]

    assert (detail["event_id"], detail["tenant_id"]) == (f"{event_id}:rejected", None)
    assert detail["error"]["code"] == "source_not_mapped"
    assert relay.seen_by_provider(request_body["prompt"]) == []


def test_event_cannot_choose_its_tenant(relay: RelayClient, request_body: Body) -> None:
    event_id = relay.put_event({"request": request_body, "tenant_id": "somebody-else"})
    detail = relay.rejection(relay.stack.event_source, event_id)["detail"]

    assert (detail["tenant_id"], detail["error"]["code"]) == (relay.stack.tenant_id, "tenant_mismatch")
    assert relay.seen_by_provider(request_body["prompt"]) == []


def test_disabled_tenants_doors_are_closed(relay: RelayClient, request_body: Body) -> None:
    table = relay.aws("dynamodb")
    table.put_item(
        TableName=relay.stack.table,
        Item={
            "pk": {"S": "tenant#shut"},
            "owner": {"S": "#tenants"},
            "created_at": {"N": "1"},
            "disabled": {"BOOL": True},
        },
    )
    table.put_item(TableName=relay.stack.table, Item={"pk": {"S": "source#shut.orders"}, "tenant_id": {"S": "shut"}})
    key = relay.drop("order.json", request_body, tenant_id="shut")
    relay.put_event({"request": request_body}, source="shut.orders")

    for source in (f"s3://{relay.stack.inbox_bucket}/{key}", "shut.orders"):
        detail = relay.rejection(source)["detail"]
        assert (detail["tenant_id"], detail["error"]["code"]) == ("shut", "tenant_disabled")
    assert relay.seen_by_provider(request_body["prompt"]) == []


def test_replayed_event_costs_nothing(relay: RelayClient, request_body: Body) -> None:
    events = relay.aws("events")
    bus = events.describe_event_bus(Name=relay.stack.bus)["Arn"]
    archive = events.create_archive(
        ArchiveName="requests", EventSourceArn=bus, EventPattern=json.dumps({"detail-type": ["VideoTaskRequested"]})
    )["ArchiveArn"]
    began = time.time() - 1
    event_id = relay.put_event({"request": request_body})
    task = the_task(relay, request_body, "completed")
    worked_off(relay)
    # as when RetainTasksDays are over: nothing but the rule keeps the request from being made anew
    relay.aws("dynamodb").delete_item(TableName=relay.stack.table, Key={"pk": {"S": f"task#{task['task_id']}"}})

    events.start_replay(
        ReplayName="again",
        EventSourceArn=archive,
        EventStartTime=began,
        EventEndTime=time.time() + 1,
        Destination={"Arn": bus},
    )

    relay.event(lambda event: (event["id"], event.get("replay-name")) == (event_id, "again"))
    worked_off(relay)
    assert tasks_of(relay, request_body) == []
    assert len(relay.seen_by_provider(request_body["prompt"])) == 1


def test_intake_may_write_only_where_it_answers(relay: RelayClient) -> None:
    function = relay.aws("lambda").get_function(FunctionName=relay.stack.functions["accept_request"])
    role = relay.aws("sts").assume_role(RoleArn=function["Configuration"]["Role"], RoleSessionName="test")
    credentials = role["Credentials"]

    def client(service: str) -> Any:
        return boto3.client(  # type: ignore[call-overload]  # the name is not a literal here
            service,
            endpoint_url=relay.stack.aws_endpoint_url,
            verify=relay.stack.aws_ca_bundle,
            region_name=relay.stack.region,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
        )

    s3, events = client("s3"), client("events")

    s3.put_object(Bucket=relay.stack.inbox_bucket, Key="rejected/demo/x.json", Body=b"{}")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=relay.stack.inbox_bucket, Key="requests/demo/x.json", Body=b"{}")
    entry = {"EventBusName": relay.stack.bus, "DetailType": "VideoTaskRequested", "Detail": "{}"}
    with pytest.raises(ClientError, match="AccessDenied"):
        events.put_events(Entries=[{**entry, "Source": relay.stack.event_source}])
