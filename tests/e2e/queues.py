"""The stack's queues as tests read them, and providers' queues as if no task had ever waited."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from local.client import RelayClient
from tests.e2e.waiting import wait_until


def left(relay: RelayClient, url: str) -> int:
    """How many messages a queue has, hidden ones too."""
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = relay.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
    return sum(map(int, found.values()))


def wait_until_empty(relay: RelayClient, url: str) -> None:
    """Wait until every message of a queue is processed or was given up."""
    wait_until(lambda: left(relay, url) == 0, "an empty queue", 180)


def take_all(relay: RelayClient, url: str) -> list[str]:
    """Take every visible message out of a queue; their bodies."""
    sqs, taken = relay.aws("sqs"), list[str]()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            taken.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return taken


def messages_until(
    relay: RelayClient, url: str, ours: Callable[[str], bool], enough: Callable[[list[str]], bool] = bool
) -> list[str]:
    """Those bodies in a queue that are ours, once they are enough. All messages are taken out."""
    found: list[str] = []

    def came() -> bool:
        found.extend(body for body in take_all(relay, url) if ours(body))
        return enough(found)

    wait_until(came, "the messages")
    return found


@contextmanager
def retried(relay: RelayClient, url: str, seconds: int = 0, receives: int | None = None) -> Iterator[None]:
    """Meanwhile a message that fails is received again after so many seconds, and given up after so many receives."""
    sqs, names = relay.aws("sqs"), ["VisibilityTimeout", "RedrivePolicy"]
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    policy = json.loads(before["RedrivePolicy"])
    policy["maxReceiveCount"] = receives or policy["maxReceiveCount"]
    changed = {"VisibilityTimeout": str(seconds), "RedrivePolicy": json.dumps(policy)}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=changed)
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def forget_queues(relay: RelayClient) -> None:
    """Forget refusals and slots: after a 429, an earlier test's tasks that never end would hold a later one's slots."""
    for provider in ("gateway", "vidu"):
        for kind in ("queue", "pause"):
            relay.aws("dynamodb").delete_item(TableName=relay.stack.table, Key={"pk": {"S": f"{kind}#{provider}"}})
