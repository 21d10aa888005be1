"""What lies behind the queues: messages nobody can read, and messages about tasks that are done."""

import json
import secrets
from typing import Any

from local.client import RelayClient
from tests.e2e.sweeps import without_sweeps
from tests.e2e.waiting import wait_until

Body = dict[str, Any]


def left(relay: RelayClient, url: str) -> int:
    """How many messages a queue has, hidden ones too."""
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = relay.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
    return sum(map(int, found.values()))


def wait_until_empty(relay: RelayClient, url: str) -> None:
    """Wait until every message of a queue is worked off."""
    wait_until(lambda: left(relay, url) == 0, "an empty queue")


def test_message_nobody_can_read_ends_among_the_dead_letters(relay: RelayClient) -> None:
    sqs, urls, body = relay.aws("sqs"), relay.resources(), f"no task in here {secrets.token_hex(8)}"
    patience = sqs.get_queue_attributes(QueueUrl=urls["DeliveriesQueue"], AttributeNames=["VisibilityTimeout"])
    sqs.set_queue_attributes(QueueUrl=urls["DeliveriesQueue"], Attributes={"VisibilityTimeout": "0"})
    try:
        sqs.send_message(QueueUrl=urls["DeliveriesQueue"], MessageBody=body)

        def buried() -> bool:
            dead = sqs.receive_message(QueueUrl=urls["DeliveriesDeadLetters"]).get("Messages", [])
            return body in [message["Body"] for message in dead]

        wait_until(buried, "the dead letter")
    finally:
        sqs.set_queue_attributes(QueueUrl=urls["DeliveriesQueue"], Attributes=patience["Attributes"])


def test_delivery_asked_for_again_writes_nothing_twice(relay: RelayClient, request_body: Body) -> None:
    task = relay.wait(relay.submit(request_body)["task_id"], "completed")
    video = task["videos"][0]
    before = relay.aws("s3").head_object(Bucket=video["bucket"], Key=video["key"])

    url = relay.resources()["DeliveriesQueue"]
    relay.aws("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"task_id": task["task_id"]}))
    wait_until_empty(relay, url)
    after = relay.aws("s3").head_object(Bucket=video["bucket"], Key=video["key"])
    assert (after["LastModified"], after["ETag"]) == (before["LastModified"], before["ETag"])
    assert relay.task(task["task_id"])["version"] == task["version"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert len(seen["downloads"]) == 1


def test_message_about_an_unfinished_task_delivers_nothing(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}, "callbacks": {"drop": True}})
    url = relay.resources()["DeliveriesQueue"]
    with without_sweeps(relay):
        task_id = relay.submit(request_body)["task_id"]
        relay.aws("sqs").send_message(QueueUrl=url, MessageBody=json.dumps({"task_id": task_id}))
        wait_until_empty(relay, url)
        task = relay.task(task_id)
    assert (task["status"], task["videos"]) == ("submitted", [])
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert (seen["polls"], seen["downloads"]) == ([], [])
