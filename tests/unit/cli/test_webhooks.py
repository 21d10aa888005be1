"""A tenant's webhook secret under the operator's hands, and notifications sent again."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from cli.connection import Connection, now
from tests.unit.account import WEBHOOK_MASTER
from tests.unit.builders import TASK_ID, task_in
from tests.unit.cli.conftest import Deployment, Run
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.states import Status
from vidu_relay.domain.webhook_signature import ROTATION_MS, tenant_secret


def waiting(deployment: Deployment, url: str) -> list[Any]:
    reply = deployment.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in reply.get("Messages", [])]


def recorded(deployment: Deployment, status: Status, **request: Any) -> int:
    task = task_in(status)
    task = replace(task, request={**task.request, **request})
    recorded, _ = TaskStore(deployment.client("dynamodb"), deployment.account.table).create(task)
    return recorded.version


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
    monkeypatch.setattr(Connection, "time_at_aws", lambda _: later)
    assert ask("webhooks", "secret", "acme")["previous_secret"] is None
    assert ask("webhooks", "rotate", "acme")["generation"] == 4


def test_rotation_is_dated_by_the_clock_of_aws(
    ask: Any, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The laptop is a day behind: by its clock the overlap of both secrets would be over at once."""
    ask("tenants", "create", "acme")
    monkeypatch.setattr("cli.connection.time.time_ns", lambda: 0)
    answer = ask("webhooks", "rotate", "acme")
    (tenant,) = (item for item in deployment.items() if item["pk"]["S"] == "tenant#acme")
    rotated_at = int(tenant["webhook_rotated_at"]["N"])
    assert abs(rotated_at / 1000 - datetime.now(UTC).timestamp()) < 60
    assert answer["previous_secret"] == tenant_secret(WEBHOOK_MASTER, "acme", 1)


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_reply_that_does_not_tell_the_time_rotates_nothing(
    relay: Run, ask: Any, monkeypatch: pytest.MonkeyPatch, date: Any
) -> None:
    ask("tenants", "create", "acme")
    with monkeypatch.context() as patch:
        patch.setattr("cli.connection.parsedate_to_datetime", lambda _: parsedate_to_datetime(date))
        assert relay("webhooks", "rotate", "acme")[0] == 1
    assert ask("webhooks", "secret", "acme")["generation"] == 1


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


def test_message_keeps_its_group_on_the_way_back(ask: Any, deployment: Deployment) -> None:
    sqs, account, body = deployment.client("sqs"), deployment.account, json.dumps({"task_id": TASK_ID, "version": 3})
    sqs.send_message(QueueUrl=account.notifications_dead_url, MessageBody=body, MessageGroupId="acme")
    assert ask("queues", "redrive", "notifications-dead-letters")["moved"] == 1
    reply = sqs.receive_message(QueueUrl=account.notifications_url, MessageSystemAttributeNames=["MessageGroupId"])
    assert [message["Attributes"] for message in reply["Messages"]] == [{"MessageGroupId": "acme"}]


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
        QueueUrl=deployment.resources["UnroutedEvents"],
        MessageBody=json.dumps({"detail": {"task": good}}),
        MessageAttributes={"TARGET_ARN": {"DataType": "String", "StringValue": arn}},
    )
    assert ask("queues", "redrive", "unrouted-events")["moved"] == 1
    assert waiting(deployment, account.notifications_url) == [good, good]
