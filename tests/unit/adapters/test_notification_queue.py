"""Notifications through a real queue: asked for, put back for a while, given up."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.unit.account import ENVIRONMENT, REGION, mock_aws
from tests.unit.template import sample
from vidu_relay.adapters.notification_queue import NotificationQueue, Received, read_notification
from vidu_relay.domain.notification import Notification

ASKED = Notification("myswlg5gzefra7xdps2scd42jm", 1_795_424_402)


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield boto3.client("sqs", region_name=REGION)


def test_message_that_is_put_back_is_hidden_and_one_that_is_given_up_is_copied_whole(sqs: Any) -> None:
    url, dead = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("notifications", "dead"))
    queue = NotificationQueue(sqs, url, dead)
    queue.ask(ASKED, "acme")
    (message,) = sqs.receive_message(
        QueueUrl=url, VisibilityTimeout=30, MessageSystemAttributeNames=["MessageGroupId"]
    )["Messages"]
    assert message["Attributes"] == {"MessageGroupId": "acme"}
    assert read_notification(message["Body"]) == ASKED
    received = Received(message["Body"], message["ReceiptHandle"], 1, 0, "acme")
    queue.put_back(received, 100_000)  # SQS takes 12 hours at most
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    queue.give_up(received)
    (copy,) = sqs.receive_message(QueueUrl=dead, MessageSystemAttributeNames=["MessageGroupId"])["Messages"]
    assert (copy["Body"], copy["Attributes"]) == (message["Body"], {"MessageGroupId": "acme"})


def test_record_of_lambda_says_how_often_and_since_when() -> None:
    (record,) = sample("notify_client__processing")["Records"]
    received = Received.of(record)
    assert (received.receives, received.sent_at) == (1, 1_795_424_495_000)
    assert read_notification(received.body) == ASKED


@pytest.mark.parametrize("version", [1, 1_764_457_000])
def test_version_may_begin_at_the_second_of_creation(version: int) -> None:
    asked = Notification(ASKED.task_id, version)
    assert read_notification(json.dumps({"task_id": asked.task_id, "version": asked.version})) == asked


@pytest.mark.parametrize("version", [0, -1, 10**11 + 1, 1.5, "3", None, True])
def test_version_that_is_none_is_refused(version: Any) -> None:
    with pytest.raises(ValueError, match="version"):
        read_notification(json.dumps({"task_id": ASKED.task_id, "version": version}))
