"""The programs of docs/examples: what they make of the relay's own events, files and webhooks."""

import json
import time
from collections.abc import Callable

import boto3
import pytest
from cfnlint.api import lint_file  # type: ignore[import-untyped]
from moto import mock_aws

from docs.examples import sqs_consumer, webhook_receiver
from docs.examples.consumer_lambda.handler import handler as consume_event
from docs.examples.s3_trigger.handler import handler as take_video
from tests.unit.template import ROOT, sample
from vidu_relay.adapters.task_item import task_from_image
from vidu_relay.domain.representation import event_detail
from vidu_relay.domain.webhook_signature import signed_headers, tenant_secret

EXAMPLES = ROOT / "docs" / "examples"
SECRET, OTHER_SECRET = (tenant_secret({"master": "m" * 64}, "acme", generation) for generation in (1, 2))
DETAILS = [
    event_detail(task_from_image(record["dynamodb"]["NewImage"]))
    for record in sample("publish_events__whole_life")["Records"]
    if record["dynamodb"]["NewImage"]["status"]["S"] != "submitting"  # no event is published for it
]
TASK = DETAILS[-1]["task"]
VIDEO = f"s3://{TASK['videos'][0]['bucket']}/{TASK['videos'][0]['key']}"
BODY = json.dumps(TASK).encode()


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sqs_consumer, webhook_receiver):
        monkeypatch.setattr(module, "latest", {})


def test_consumer_lambda_prints_each_video(capsys: pytest.CaptureFixture[str]) -> None:
    consume_event({"detail": DETAILS[-1]}, None)
    assert capsys.readouterr().out.split()[:2] == [f"{TASK['task_id']}:{TASK['version']}", VIDEO]


def test_s3_trigger_reads_task_and_tenant_in_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    event = json.loads(sample("accept_request__file")["Records"][0]["body"])
    event["detail"]["object"]["key"] = TASK["videos"][0]["key"]
    take_video(event, None)
    assert capsys.readouterr().out.split() == ["acme", TASK["task_id"], "1.mp4", "214"]


@pytest.mark.parametrize("folder", ["consumer_lambda", "s3_trigger"])
def test_templates_can_be_deployed(folder: str) -> None:
    assert lint_file(EXAMPLES / folder / "template.yaml") == []


def test_sqs_consumer_handles_each_state_once_and_empties_the_queue(capsys: pytest.CaptureFixture[str]) -> None:
    with mock_aws():
        sqs = boto3.client("sqs", "eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")
        url = sqs.create_queue(QueueName="events")["QueueUrl"]
        for detail in (*DETAILS, DETAILS[-1], DETAILS[0], {"task_id": "without a task"}):
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"detail": detail}))
        assert sqs_consumer.consume(sqs, url) == len(DETAILS) + 3
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert {attributes[name] for name in attributes if name.startswith("ApproximateNumberOf")} == {"0"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [detail["task"]["status"] for detail in DETAILS]
    assert lines[-1].endswith(VIDEO)


def receive(headers: dict[str, str], body: bytes = BODY) -> int:
    return webhook_receiver.receive(SECRET, headers, body)


def headers(*secrets: str, age: int = 0) -> dict[str, str]:
    return signed_headers(f"{TASK['task_id']}:{TASK['version']}", (int(time.time()) - age) * 1000, BODY, secrets)


@pytest.mark.parametrize("secrets", [(SECRET,), (OTHER_SECRET, SECRET)])
def test_receiver_acts_once_on_what_the_relay_signed(
    secrets: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [receive(headers(*secrets)), receive(headers(*secrets, age=200))] == [204, 204]
    assert capsys.readouterr().out.splitlines() == [f"{TASK['task_id']} completed"]


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (lambda: headers(SECRET), BODY + b" "),
        (lambda: headers(OTHER_SECRET), BODY),
        (lambda: headers(SECRET) | {"webhook-id": "another:1"}, BODY),
        (lambda: headers(SECRET) | {"webhook-timestamp": str(int(time.time()) - 1)}, BODY),
        (lambda: headers(SECRET) | {"webhook-signature": "v1,é"}, BODY),
        (lambda: headers(SECRET, age=600), BODY),
        (lambda: headers(SECRET, age=-600), BODY),
        (dict, BODY),
    ],
)
def test_receiver_refuses_forgeries_and_replays(
    sent: Callable[[], dict[str, str]], body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert receive(sent(), body) == 400
    assert capsys.readouterr().out == ""


def test_examples_are_short() -> None:
    lengths = {
        path.name: len(path.read_text().splitlines())
        for path in EXAMPLES.rglob("*.*")
        if path.suffix not in (".pyc", ".json")
    }
    assert max(lengths.values()) <= 60, lengths
