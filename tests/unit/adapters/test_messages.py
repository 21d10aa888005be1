"""What is asked of other parts: deliveries by the queue, polling by the state machine."""

import json

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from tests.unit.adapters.conftest import SESSION
from tests.unit.builders import TASK_ID
from vidu_relay.adapters.delivery_queue import DeliveryQueue, read_message
from vidu_relay.adapters.request_queue import read_request
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.domain.queued_requests import DroppedFile, RequestEvent, rejection_detail
from vidu_relay.http import problem_document

ARN = "arn:aws:states:eu-central-1:123456789012:stateMachine:poll-task"


def test_a_delivery_that_is_asked_for_can_be_read_by_who_delivers(account: None) -> None:
    sqs = SESSION.client("sqs")
    url = sqs.create_queue(QueueName="deliveries")["QueueUrl"]
    DeliveryQueue(sqs, url).ask(TASK_ID)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert read_message(message["Body"]) == TASK_ID


@pytest.mark.parametrize(
    "body",
    [
        *("", "not json", "null", "[]", f'"{TASK_ID}"', "{}", '{"task_id": null}', '{"task_id": 5}', "[" * 100_000),
        *(
            json.dumps({"task_id": odd})
            for odd in ("", TASK_ID.upper(), f"{TASK_ID}a", f"{TASK_ID}\n", "../" + TASK_ID[3:])
        ),
        json.dumps({"taskId": TASK_ID}),
    ],
    ids=lambda body: body[:24],
)
def test_a_message_that_names_no_task_goes_to_the_dead_letter_queue(body: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_message(body)


def notification(key: str = "requests/acme/a b+c%20.json", **more: object) -> dict[str, object]:
    detail = {"bucket": {"name": "inbox"}, "object": {"key": key, "version-id": "v1"}}
    return {"source": "aws.s3", "detail-type": "Object Created", "id": "1", "detail": detail, **more}


def test_a_dropped_file_is_read_with_its_version_and_its_key_as_it_is() -> None:
    # unlike S3's own notifications, EventBridge does not encode keys
    assert read_request(json.dumps(notification())) == DroppedFile("inbox", "requests/acme/a b+c%20.json", "v1")


def test_an_event_is_read_with_its_id_source_and_detail() -> None:
    event = {"id": "7", "source": "acme.orders", "detail-type": "VideoTaskRequested", "detail": {"request": {}}}
    assert read_request(json.dumps(event)) == RequestEvent("7", "acme.orders", {"request": {}})


DETAIL = '"detail-type": "VideoTaskRequested"'


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "[]", "{}", "[" * 100_000),
        *(json.dumps(notification(key)) for key in ("rejected/acme/x.json", "requests/acme/a.png", "uploads/x.json")),
        *(json.dumps({**notification(), "replay-name": "again"}), json.dumps({**notification(), "source": "acme"})),
        *(json.dumps({**notification(), "detail-type": "Deleted"}), json.dumps({**notification(), "detail": {}})),
        *('{"batch_id": 7}', '{"batch_id": "acme"}', json.dumps({"batch_id": TASK_ID, "first_byte": 1})),
        f'{{"source": "acme", {DETAIL}, "detail": {{}}}}',
        f'{{"id": "7", {DETAIL}, "detail": {{}}}}',
        f'{{"id": "7", "source": "acme", {DETAIL}, "detail": {{}}, "replay-name": "r"}}',
        f'{{"id": "7", "source": "acme", {DETAIL}, "replay-name": "r", "detail": ' + "[" * 9000,
        f'{{"id": "7", "source": "\\x", {DETAIL}, "detail": ' + "[" * 9000,
    ],
    ids=lambda body: body[:60],
)
def test_a_message_that_asks_for_nothing_goes_to_the_dead_letter_queue(body: str) -> None:
    with pytest.raises(ValueError, match=r"message|Expecting|Invalid"):
        read_request(body)


def event(detail: str, *, source: str = "acme.orders", first: bool = False) -> str:
    """A message as EventBridge writes it, with this very text as its detail, at its end or at its beginning."""
    rest = f'"version": "0", "id": "7", "detail-type": "VideoTaskRequested", "year": 2026, "source": "{source}"'
    return f'{{"detail": {detail}, {rest}}}' if first else f'{{{rest}, "detail": {detail}}}'


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("detail", "code"),
    [
        ('{"request": {}, "\\ud83d": 1}', "malformed_json"),
        ('{"request": {"prompt": "a fox \\ud83d"}}', "malformed_json"),
        ('{"request": {"seed": ' + "9" * 5_000 + "}}", "malformed_json"),
        ('{"seed": 1' + "0" * 5_000 + ".5}", "malformed_json"),
        ('{"request": ' + "[" * 20_000 + "]" * 20_000 + "}", "malformed_json"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "malformed_json"),
        ('{"request": {"images": [' + "[]," * 20_000 + "[]]}}", "validation_error"),
        ('{"request": {"n": "\\"}, \\"source\\": \\"stray\\"", "seed": ' + "9" * 50 + "}}", "malformed_json"),
        ('"text"', "validation_error"),
        ("null", "validation_error"),
        ("[]", "validation_error"),
    ],
    ids=lambda part: part[:30],
)
def test_event_whose_detail_cannot_be_read_is_known_by_id_and_source(detail: str, code: str, first: bool) -> None:
    asked = read_request(event(detail, first=first))
    assert isinstance(asked, RequestEvent)
    assert (asked.event_id, asked.source, asked.detail) == ("7", "acme.orders", {})
    assert asked.fault is not None
    assert asked.fault.code == code
    json.dumps(rejection_detail(asked, "acme", problem_document(asked.fault)), ensure_ascii=False).encode()


def test_half_a_character_in_an_events_source_is_replaced() -> None:
    asked = read_request(event("{}", source="acme\\ud83d"))
    assert isinstance(asked, RequestEvent)
    assert (asked.source, asked.fault is None) == ("acme\ufffd", False)


def test_an_execution_is_named_after_its_lease_and_a_lease_starts_one_only(account: None) -> None:
    states = SESSION.client("stepfunctions")
    asked = {"stateMachineArn": ARN, "name": f"{TASK_ID}-7", "input": json.dumps({"task_id": TASK_ID, "lease": 7})}
    with Stubber(states) as stub:
        stub.add_response("start_execution", {"executionArn": ARN, "startDate": 0}, asked)
        TaskPoller(states, ARN).start(TASK_ID, 7)
        stub.add_client_error("start_execution", "ExecutionAlreadyExists")
        TaskPoller(states, ARN).start(TASK_ID, 7)
        for code in ("ExecutionLimitExceeded", "StateMachineDoesNotExist", "ThrottlingException"):
            stub.add_client_error("start_execution", code)
            with pytest.raises(ClientError):
                TaskPoller(states, ARN).start(TASK_ID, 7)
        stub.assert_no_pending_responses()
