"""DLQ messages: shown, and moved back whole, never lost and never moved in circles."""

import json
from typing import Any

import pytest

from tests.unit.builders import TASK_ID
from tests.unit.cli.conftest import STACK, Ask, Deployment, Refused, Run, Stacks

DEAD = "deliveries-dead-letters"
ARN = "arn:aws:sqs:eu-central-1:123456789012:"
CHANGE = {"task_id": TASK_ID, "version": 3}
GENERATED = json.dumps({"detail-type": "VideoTaskGenerated", "detail": {"task": {"task_id": TASK_ID}}})
REQUESTED = {"id": "1", "source": "acme.orders", "detail-type": "VideoTaskRequested", "detail": {}}
DROPPED = {"source": "aws.s3", "detail-type": "Object Created",
           "detail": {"bucket": {"name": "inbox"}, "object": {"key": "requests/acme/x.json"}}}  # fmt: skip


def put(deployment: Deployment, output: str, body: str, target: str | None = None, **more: Any) -> None:
    attributes = {"TARGET_ARN": {"DataType": "String", "StringValue": target}} if target else {}
    deployment.client("sqs").send_message(
        QueueUrl=deployment.resources[output], MessageBody=body, MessageAttributes=attributes, **more
    )


def take(deployment: Deployment, output: str) -> list[tuple[str, dict[str, str]]]:
    """Bodies and groups of a queue's messages, which are deleted."""
    sqs, url = deployment.client("sqs"), deployment.resources[output]
    found = []
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
    ).get("Messages", []):
        for message in messages:
            found.append((message["Body"], message.get("Attributes", {})))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def bodies(deployment: Deployment, output: str) -> list[str]:
    return sorted(body for body, _ in take(deployment, output))


def depth(ask: Ask, name: str) -> int:
    return {queue["name"]: int(queue["depth"] + queue["in_flight"]) for queue in ask("queues", "list")["queues"]}[name]


def test_queues_are_found_by_their_names_in_the_template(ask: Ask, deployment: Deployment) -> None:
    put(deployment, "UnroutedEvents", "x")
    assert {queue["name"]: queue["depth"] for queue in ask("queues", "list")["queues"]} == {
        **dict.fromkeys((DEAD, "notifications-dead-letters", "requests-dead-letters"), 0),
        "unrouted-events": 1,
    }


@pytest.mark.parametrize(
    ("queue", "output", "body", "target", "about"),
    [
        (DEAD, "DeliveriesDeadLetters", json.dumps({"task_id": TASK_ID}), None, f"copies the videos of task {TASK_ID}"),
        (DEAD, "DeliveriesDeadLetters", "garbage\x1b[2J", None, "unreadable: it names no task"),
        ("notifications-dead-letters", "NotificationsDeadLetters", json.dumps(CHANGE), None,
         f"sends the webhook about version 3 of task {TASK_ID}"),
        ("requests-dead-letters", "RequestsDeadLetters", json.dumps(REQUESTED), None,
         "submits the request of event 1 from acme.orders"),
        ("requests-dead-letters", "RequestsDeadLetters", json.dumps(DROPPED), None,
         "submits the request in s3://inbox/requests/acme/x.json"),
        ("unrouted-events", "UnroutedEvents", GENERATED, f"{ARN}deliveries", f"copies the videos of task {TASK_ID}"),
    ],
)  # fmt: skip
def test_peek_says_what_messages_are_about_and_leaves_them(
    ask: Ask, relay: Run, deployment: Deployment, queue: str, output: str, body: str, target: str | None, about: str
) -> None:
    put(deployment, output, body, target)
    (shown,) = ask("queues", "peek", queue)["messages"]
    assert (shown["about"], shown["body"]) == (about, body)
    text = relay("queues", "peek", queue)[1]
    assert (about in text, f"queues redrive {queue}" in text, "\x1b" in text) == (True, True, False)
    assert bodies(deployment, output) == [body]
    assert relay("queues", "peek", queue)[1] == f"{queue} is empty.\n"


def test_redrive_moves_every_message_with_its_group(ask: Ask, deployment: Deployment) -> None:
    messages = [json.dumps({"task_id": TASK_ID[:-1] + character}) for character in "abcdefghijklmnopqrstuvwxy"]
    for message in messages:
        put(deployment, "DeliveriesDeadLetters", message, MessageGroupId="acme")
    assert ask("queues", "redrive", DEAD) == {"queue": DEAD, "moved": 25, "discarded": 0, "left": []}
    assert sorted(take(deployment, "DeliveriesQueue")) == [
        (message, {"MessageGroupId": "acme"}) for message in messages
    ]
    assert ask("queues", "redrive", DEAD)["moved"] == 0


def test_message_is_not_deleted_before_its_copy_is_sent(
    refused: Refused, ask: Ask, deployment: Deployment, stacks: Stacks
) -> None:
    put(deployment, "DeliveriesDeadLetters", json.dumps({"task_id": TASK_ID}))
    stacks[STACK]["DeliveriesQueue"] += "-gone"
    assert refused("queues", "redrive", DEAD)
    assert depth(ask, DEAD) == 1


@pytest.mark.parametrize(
    ("queue", "output", "body", "reason"),
    [
        *((DEAD, "DeliveriesDeadLetters", body, "it names no task")
          for body in (" ", "x", "[]", "{}", '{"task_id": "../x"}', '{"detail": {}}', '{"detail": []}')),
        *(("notifications-dead-letters", "NotificationsDeadLetters", body, "it names no change of a task")
          for body in (json.dumps({"task_id": TASK_ID}), "not json")),
        ("requests-dead-letters", "RequestsDeadLetters", json.dumps({**REQUESTED, "detail-type": "Other"}),
         "it requests no video: the message asks for nothing"),
        ("unrouted-events", "UnroutedEvents", GENERATED, "its TARGET_ARN '' is no queue of this stack"),
    ],
)  # fmt: skip
def test_unreadable_message_stays_until_it_is_discarded(
    relay: Run, ask: Ask, deployment: Deployment, queue: str, output: str, body: str, reason: str
) -> None:
    put(deployment, output, body)
    assert f"queues redrive {queue} --discard-unreadable" in relay("queues", "redrive", queue)[1]
    answer = ask("queues", "redrive", queue)
    assert (answer["moved"], [(left["reason"], left["body"]) for left in answer["left"]]) == (0, [(reason, body)])
    assert ask("queues", "redrive", queue, "--discard-unreadable")["discarded"] == 1
    assert bodies(deployment, output) == []


@pytest.mark.parametrize(
    ("target", "output", "body", "moved"),
    [
        ("deliveries", "DeliveriesQueue", GENERATED, {"task_id": TASK_ID}),
        ("deliveries", "DeliveriesQueue", json.dumps({"task_id": TASK_ID}), {"task_id": TASK_ID}),
        ("notifications", "NotificationsQueue", json.dumps({"detail": {"task": CHANGE}}), CHANGE),
        ("requests", "RequestsQueue", json.dumps(REQUESTED), REQUESTED),
    ],
)
def test_unrouted_event_goes_to_the_target_of_its_rule(
    ask: Ask, deployment: Deployment, target: str, output: str, body: str, moved: Any
) -> None:
    put(deployment, "UnroutedEvents", body, f"{ARN}elsewhere")
    put(deployment, "UnroutedEvents", body, f"{ARN}{target}")
    answer = ask("queues", "redrive", "unrouted-events")
    assert (answer["moved"], len(answer["left"])) == (1, 1)
    assert [json.loads(found) for found in bodies(deployment, output)] == [moved]


@pytest.mark.parametrize("command", ["redrive", "peek"])
@pytest.mark.parametrize("name", ["", "deliveries", "DeliveriesDeadLetters", "../x"])
def test_other_queue_is_refused_with_the_names_of_the_queues(refused: Refused, command: str, name: str) -> None:
    error = refused("queues", command, name)
    assert (DEAD in error, "unrouted-events" in error) == (True, True)
