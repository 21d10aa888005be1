"""A tenant's webhook secret under the operator's hands, and notifications sent again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cli import webhooks
from cli.connection import now
from tests.unit.builders import TASK_ID, task_in
from tests.unit.cli.conftest import Deployment, Run
from tests.unit.usecases.account import WEBHOOK_MASTER
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.states import Status
from vidu_relay.domain.webhook_signature import ROTATION_MS, tenant_secret


def waiting(deployment: Deployment, url: str) -> list[Any]:
    reply = deployment.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in reply.get("Messages", [])]


def recorded(deployment: Deployment, status: Status, **request: Any) -> int:
    task = task_in(status)
    task = replace(task, request={**task.request, **request})
    return TaskStore(deployment.client("dynamodb"), deployment.account.table).create(task).version


def test_secret_is_shown_and_rotation_keeps_the_one_before_for_a_day(
    relay: Run, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("tenants", "create", "acme")
    first = ask("webhooks", "secret", "acme")
    assert first["secret"] == tenant_secret(WEBHOOK_MASTER, "acme", 1)
    assert (first["generation"], first["previous_secret"], first["previous_signs_until"]) == (1, None, None)
    rotated = ask("webhooks", "rotate", "acme")
    assert (rotated["generation"], rotated["previous_secret"]) == (2, first["secret"])
    status, _, complaint = relay("webhooks", "rotate", "acme")
    assert (status, "--again" in complaint) == (1, True)
    again = ask("webhooks", "rotate", "acme", "--again")
    assert (again["generation"], again["previous_secret"]) == (3, rotated["secret"])
    later = now() + ROTATION_MS
    monkeypatch.setattr(webhooks, "now", lambda: later)
    assert ask("webhooks", "secret", "acme")["previous_secret"] is None
    assert ask("webhooks", "rotate", "acme")["generation"] == 4


def test_secret_of_nobody_is_not_made_up(relay: Run) -> None:
    assert relay("webhooks", "secret", "nobody")[0] == 1
    assert relay("webhooks", "rotate", "nobody")[0] == 1


def test_client_is_told_again_of_the_latest_change(ask: Any, deployment: Deployment) -> None:
    version = recorded(deployment, Status.COMPLETED, callback_url="https://client.example.com/hook")
    assert ask("task", "notify", TASK_ID)["version"] == version
    assert waiting(deployment, deployment.account.notifications_url) == [{"task_id": TASK_ID, "version": version}]


@pytest.mark.parametrize(
    ("status", "request_"),
    [(Status.COMPLETED, {}), (Status.SUBMITTED, {"callback_url": "https://client.example.com/hook"})],
)
def test_nobody_is_told_where_there_is_nobody_or_nothing(
    ask: Any, deployment: Deployment, status: Status, request_: dict[str, Any]
) -> None:
    recorded(deployment, status, **request_)
    assert ask("task", "notify", TASK_ID)["asked"] is False
    assert waiting(deployment, deployment.account.notifications_url) == []


def test_notifications_go_back_from_both_dead_letter_queues_and_unreadable_ones_stay(
    ask: Any, deployment: Deployment
) -> None:
    good = {"task_id": TASK_ID, "version": 3}
    sqs, account = deployment.client("sqs"), deployment.account
    for body in (json.dumps(good), json.dumps({"task_id": TASK_ID}), "not json"):
        sqs.send_message(QueueUrl=account.notifications_dead_url, MessageBody=body)
    answer = ask("queues", "redrive", "notifications-dead-letters")
    assert (answer["moved"], len(answer["left"])) == (1, 2)
    arn = "arn:aws:sqs:eu-central-1:123456789012:notifications"
    sqs.send_message(
        QueueUrl=deployment.outputs["UnroutedEventsUrl"],
        MessageBody=json.dumps({"detail": {"task": good}}),
        MessageAttributes={"TARGET_ARN": {"DataType": "String", "StringValue": arn}},
    )
    assert ask("queues", "redrive", "unrouted-events")["moved"] == 1
    assert waiting(deployment, account.notifications_url) == [good, good]
