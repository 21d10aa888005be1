"""Dead letters: moved back whole, never lost, never round in circles."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.builders import TASK_ID
from tests.unit.cli.conftest import Deployment, Run, Stacks

DEAD = "deliveries-dead-letters"


def put(deployment: Deployment, output: str, body: str, target: str | None = None) -> None:
    attributes = {"TARGET_ARN": {"DataType": "String", "StringValue": target}} if target else {}
    deployment.client("sqs").send_message(
        QueueUrl=deployment.resources[output], MessageBody=body, MessageAttributes=attributes
    )


def bodies(deployment: Deployment, output: str) -> list[str]:
    """What lies in a queue; it is taken out."""
    sqs, url = deployment.client("sqs"), deployment.resources[output]
    found: list[str] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        found += [message["Body"] for message in messages]
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_queues_are_found_by_their_names_in_the_template(ask: Any, deployment: Deployment, stacks: Stacks) -> None:
    url = deployment.client("sqs").create_queue(QueueName="notify-dead")["QueueUrl"]
    stacks["relay"]["NotificationsDeadLetters"] = url
    put(deployment, "UnroutedEvents", "x")
    assert {queue["name"]: queue["depth"] for queue in ask("queues", "list")["queues"]} == {
        DEAD: 0,
        "notifications-dead-letters": 0,
        "requests-dead-letters": 0,
        "unrouted-events": 1,
    }


def test_every_letter_goes_back_and_nothing_is_left(ask: Any, deployment: Deployment) -> None:
    letters = [json.dumps({"task_id": TASK_ID[:-1] + letter}) for letter in "abcdefghijklmnopqrstuvwxy"]
    for letter in letters:
        put(deployment, "DeliveriesDeadLetters", letter)
    assert ask("queues", "redrive", DEAD) == {"queue": DEAD, "moved": 25, "discarded": 0, "left": []}
    assert sorted(bodies(deployment, "DeliveriesQueue")) == sorted(letters)
    assert ask("queues", "redrive", DEAD)["moved"] == 0


def test_letter_is_not_deleted_before_its_copy_is_sent(
    relay: Run, ask: Any, deployment: Deployment, stacks: Stacks
) -> None:
    put(deployment, "DeliveriesDeadLetters", json.dumps({"task_id": TASK_ID}))
    good = stacks["relay"]["DeliveriesQueue"]
    stacks["relay"]["DeliveriesQueue"] = f"{good}-gone"
    status, _, complaint = relay("queues", "redrive", DEAD)
    assert (status, bool(complaint)) == (1, True)
    (queue,) = (q for q in ask("queues", "list")["queues"] if q["name"] == DEAD)
    assert queue["depth"] + queue["in_flight"] == 1


@pytest.mark.parametrize("body", ["", "x", "[]", "{}", '{"task_id": "../x"}', '{"detail": {}}', '{"detail": []}'])
def test_letter_that_names_no_task_stays_and_is_shown_until_it_is_discarded(
    relay: Run, ask: Any, deployment: Deployment, body: str
) -> None:
    put(deployment, "DeliveriesDeadLetters", body or " ")
    assert "--discard-unreadable" in relay("queues", "redrive", DEAD)[1]
    (left,) = ask("queues", "redrive", DEAD)["left"]
    assert (left["reason"], left["body"]) == ("it names no task", body or " ")
    assert bodies(deployment, "DeliveriesQueue") == []
    assert ask("queues", "redrive", DEAD, "--discard-unreadable")["discarded"] == 1
    assert bodies(deployment, "DeliveriesDeadLetters") == []


def test_unrouted_event_goes_where_its_rule_pointed(ask: Any, deployment: Deployment) -> None:
    arn = "arn:aws:sqs:eu-central-1:123456789012:"
    event = json.dumps({"detail-type": "VideoTaskGenerated", "detail": {"task": {"task_id": TASK_ID}}})
    put(deployment, "UnroutedEvents", event, f"{arn}deliveries")
    put(deployment, "UnroutedEvents", json.dumps({"task_id": TASK_ID}), f"{arn}deliveries")
    put(deployment, "UnroutedEvents", event, f"{arn}elsewhere")
    put(deployment, "UnroutedEvents", event)
    answer = ask("queues", "redrive", "unrouted-events")
    assert (answer["moved"], len(answer["left"])) == (2, 2)
    assert [json.loads(body) for body in bodies(deployment, "DeliveriesQueue")] == [{"task_id": TASK_ID}] * 2


REQUESTED = {"id": "1", "source": "acme.orders", "detail-type": "VideoTaskRequested", "detail": {}}


def test_request_goes_back_and_what_asks_for_nothing_stays(ask: Any, deployment: Deployment) -> None:
    put(deployment, "RequestsDeadLetters", json.dumps(REQUESTED))
    put(deployment, "RequestsDeadLetters", json.dumps({**REQUESTED, "detail-type": "Other"}))
    answer = ask("queues", "redrive", "requests-dead-letters")
    assert (answer["moved"], [left["reason"] for left in answer["left"]]) == (
        1,
        ["it asks for no video: the message asks for nothing"],
    )
    assert bodies(deployment, "RequestsQueue") == [json.dumps(REQUESTED)]


def test_unrouted_request_goes_to_the_requests_queue(ask: Any, deployment: Deployment) -> None:
    put(deployment, "UnroutedEvents", json.dumps(REQUESTED), "arn:aws:sqs:eu-central-1:123456789012:requests")
    assert ask("queues", "redrive", "unrouted-events")["moved"] == 1
    assert bodies(deployment, "RequestsQueue") == [json.dumps(REQUESTED)]


@pytest.mark.parametrize("name", ["", "deliveries", "DeliveriesDeadLetters", "../x"])
def test_queue_that_is_none_is_refused_with_those_there_are(relay: Run, name: str) -> None:
    status, _, complaint = relay("queues", "redrive", name)
    assert status == 1
    assert DEAD in complaint
    assert "unrouted-events" in complaint


def test_trouble_with_aws_is_said_in_one_line(relay: Run, deployment: Deployment) -> None:
    sqs = deployment.client("sqs")
    sqs.delete_queue(QueueUrl=deployment.resources["UnroutedEvents"])
    with pytest.raises(ClientError):
        sqs.get_queue_attributes(QueueUrl=deployment.resources["UnroutedEvents"])
    status, out, complaint = relay("queues", "list")
    assert (status, out) == (1, "")
    assert complaint.startswith("relay: ")
    assert complaint.count("\n") == 1
