"""Requests as files in the inbox and as events on the bus, on the deployed stack with IAM enforced."""

import hashlib
import json
from typing import Any

import pytest

from cli.fault_switch import FaultSwitch
from local.client import RelayClient
from tests.e2e.attempts import operate
from tests.e2e.queues import left, retried, wait_until_empty
from tests.e2e.waiting import wait_until
from tests.unit.pictures import png
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.domain.batch import batch_id_of

Body = dict[str, Any]


def tasks_of(relay: RelayClient, body: Body, number: int = 0) -> list[Body]:
    """The tenant's tasks with this prompt, once there are so many."""

    def listed() -> list[Body]:
        tasks = relay.call("GET", "/v1/tasks?limit=100").json()["tasks"]
        return [task for task in tasks if task["request"]["prompt"] == body["prompt"]]

    if number:
        wait_until(lambda: len(listed()) >= number, "the tasks")
    return listed()


def the_task(relay: RelayClient, body: Body) -> Body:
    """The one task with this prompt, once it is completed."""
    (task,) = tasks_of(relay, body, 1)
    return relay.wait(task["task_id"], "completed")


def wait_until_processed(relay: RelayClient) -> None:
    wait_until_empty(relay, relay.resources()["RequestsQueue"])


def answer(relay: RelayClient, key: str) -> Body:
    """The problem document beside a refused file."""
    reply = relay.aws("s3").get_object(Bucket=relay.stack.inbox_bucket, Key=key.replace("requests/", "rejected/", 1))
    assert reply["ContentType"] == "application/problem+json"
    problem: Body = json.loads(reply["Body"].read())
    return problem


def test_dropped_file_becomes_a_video_with_the_images_beside_it(relay: RelayClient, request_body: Body) -> None:
    """Whatever S3 takes in a key: nothing in it is decoded or encoded on the way."""
    folder = "ünï 日本/a+b %2B"
    beside, below = png(300, 300, comment=1), png(300, 300)
    for name, content in (("fox & co.png", beside), ("more/fox#1?.png", below)):
        key = f"requests/{relay.stack.tenant_id}/{folder}/{name}"
        relay.aws("s3").put_object(Bucket=relay.stack.inbox_bucket, Key=key, Body=content)
    request_body["subjects"][0]["images"] = ["fox & co.png", "more/fox#1?.png"]
    relay.drop(f"{folder}/order 1+1.json", request_body)
    task = the_task(relay, request_body)

    sources = [entry["source"] for entry in task["history"]]
    assert (sources[:2], sources[-1]) == (["s3", "create"], "delivery")
    base = f"s3://{relay.stack.inbox_bucket}/requests/{relay.stack.tenant_id}/{folder}/"
    assert task["request"]["subjects"][0]["images"] == [base + "fox & co.png", base + "more/fox#1?.png"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    digests = [image["sha256"] for image in relay.images_at_provider(seen["id"])[:2]]
    assert digests == [hashlib.sha256(content).hexdigest() for content in (beside, below)]
    assert relay.download(task)[4:8] == b"ftyp"


def test_event_becomes_a_video_and_its_own_key_is_the_key_of_http(relay: RelayClient, request_body: Body) -> None:
    detail = {"request": request_body, "tenant_id": relay.stack.tenant_id, "idempotency_key": request_body["prompt"]}
    relay.put_event(detail)
    task = the_task(relay, request_body)
    sources = [entry["source"] for entry in task["history"]]
    assert (sources[:2], sources[-1]) == (["event", "create"], "delivery")
    assert relay.download(task)[4:8] == b"ftyp"

    relay.put_event(detail)
    assert relay.submit(request_body, request_body["prompt"])["task_id"] == task["task_id"]
    wait_until_processed(relay)
    assert [one["task_id"] for one in tasks_of(relay, request_body)] == [task["task_id"]]
    assert len(relay.seen_by_provider(request_body["prompt"])) == 1


def test_throttled_requests_and_deliveries_are_processed_once_an_execution_is_free(
    relay: RelayClient, request_body: Body
) -> None:
    """A delivery is refused more often than it may be received, a request is received more than five times."""
    urls, stack = relay.resources(), relay.stack
    switch = FaultSwitch(stack.aws_endpoint_url, stack.aws_ca_bundle or "", stack.region)
    accept, deliver = (
        {"at": stack.functions[name], "how": "throttle"} for name in ("accept_request", "deliver_videos")
    )
    dead = [urls["RequestsDeadLetters"], urls["DeliveriesDeadLetters"]]
    before, given = [left(relay, url) for url in dead], len(switch.given())
    with retried(relay, urls["RequestsQueue"], 1):
        try:
            switch.order([accept], 1)
            relay.drop("throttled.json", request_body)
            wait_until(lambda: len(switch.given()) >= given + 14, "fourteen refusals, two for each receive")
            switch.order([{**deliver, "limit": 6}], 1)
            task = the_task(relay, request_body)
        finally:
            switch.end()

    assert [entry["at"] for entry in switch.given()[-6:]] == [stack.functions["deliver_videos"]] * 6
    assert task["delivery"] is None
    assert [left(relay, url) for url in dead] == before


def test_each_content_of_a_file_is_one_task(relay: RelayClient, request_body: Body) -> None:
    """Uploads that follow one another faster than the first is read are tasks, a repeated content is none."""
    for seed in (1, 2, 1):
        relay.drop("quick.json", {**request_body, "seed": seed})
    tasks_of(relay, request_body, 2)
    wait_until_processed(relay)

    assert sorted(task["request"]["seed"] for task in tasks_of(relay, request_body)) == [1, 2]
    assert len(relay.seen_by_provider(request_body["prompt"])) == 2


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("bad.json", '{"model": 1}'.encode("utf-16"), 400, "malformed_json"),
        ("invalid.json", b'{"model": "viduq2_pro_fast_reference2video", "prompt": ""}', 422, "008017002"),
        (
            "outside.json",
            b'{"model": "viduq2_pro_fast_reference2video", "images": ["../other/fox.png"]}',
            422,
            "validation_error",
        ),
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
    assert relay.call("POST", "/v1/tasks", data=content).status_code == status


def test_requests_without_a_mapped_and_enabled_tenant_are_rejected(relay: RelayClient, request_body: Body) -> None:
    operate(relay, "tenants", "create", "shut", "--event-source", "shut.orders")
    operate(relay, "tenants", "disable", "shut")
    files = {tenant: relay.drop("order.json", request_body, tenant_id=tenant) for tenant in ("unknown", "shut")}
    unmapped = ("stray.shop", "Demo.app", "demo.app ", "vidu-relay2")
    for source in (*unmapped, "shut.orders"):
        relay.put_event({"request": request_body}, source=source)
    event_id = relay.put_event({"request": request_body, "tenant_id": "another"})

    def rejected(source: str, event_id: str | None = None) -> tuple[str | None, str]:
        detail = relay.rejection(source, event_id)["detail"]
        return detail["tenant_id"], detail["error"]["code"]

    inbox = f"s3://{relay.stack.inbox_bucket}/"
    assert rejected(inbox + files["unknown"]) == (None, "unknown_tenant")
    assert answer(relay, files["unknown"])["status"] == 403
    assert rejected(inbox + files["shut"]) == rejected("shut.orders") == ("shut", "tenant_disabled")
    assert {rejected(source) for source in unmapped} == {(None, "source_not_mapped")}
    assert rejected(relay.stack.event_source, event_id) == (relay.stack.tenant_id, "tenant_mismatch")
    assert relay.seen_by_provider(request_body["prompt"]) == []


def test_file_with_a_request_a_line_is_a_batch(relay: RelayClient, request_body: Body) -> None:
    """Read as it was dropped, though it is replaced at once; the same bytes again are the same batch."""
    good = [json.dumps({**request_body, "seed": seed}) for seed in range(1, 5)]
    lines = [good[0], "{", *good[1:3], "", json.dumps({**request_body, "subjects": []}), good[3]]
    content = b"\xef\xbb\xbf" + "\r\n".join(lines).encode()
    batch_id = batch_id_of(relay.stack.tenant_id, hashlib.sha256(content).hexdigest())
    for name, body in (("night.jsonl", content), ("night.jsonl", b"\x1f\x8b\x08"), ("again.jsonl", content)):
        relay.drop(f"batch/{name}", body)
    inbox = f"s3://{relay.stack.inbox_bucket}/requests/{relay.stack.tenant_id}/batch/"
    assert relay.rejection(f"{inbox}night.jsonl")["detail"]["error"]["code"] == "file_compressed"
    tasks = [relay.wait(task["task_id"], "completed") for task in tasks_of(relay, request_body, 4)]
    wait_until_processed(relay)

    assert [task["request"]["seed"] for task in tasks] == [4, 3, 2, 1]  # listed newest first
    assert {task["history"][0]["source"] for task in tasks} == {"batch"}
    assert len(relay.seen_by_provider(request_body["prompt"])) == len(tasks_of(relay, request_body)) == 4
    batch = BatchStore(relay.aws("dynamodb"), relay.stack.table).get(batch_id)
    assert batch
    assert (batch.state, batch.lines, batch.tasks, batch.rejected) == ("accepted", 6, 4, 2)
    reply = relay.aws("s3").get_object(Bucket=relay.stack.inbox_bucket, Key=batch.rejections_key(batch.parts[0]))
    rejections = [json.loads(line) for line in reply["Body"].read().splitlines()]
    assert [(one["line"], one["error"]["code"]) for one in rejections] == [
        (2, "malformed_json"),
        (6, "008017002"),
    ]
