"""The emulator's switch for faults: what is ordered happens to functions, to nobody else, until it is ended."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from local.chaos.switch import FaultSwitch, SwitchRefusedError
from tests.local.emulator.test_events import a_queue
from tests.local.emulator.test_streams import batches, catch_up, put
from tests.local.probe import Emulator, eventually


@pytest.fixture
def switch(emulator: Emulator) -> Iterator[FaultSwitch]:
    """The switch, off at the end."""
    switch = FaultSwitch(emulator.endpoint_url, emulator.ca_bundle, emulator.region)
    yield switch
    switch.end()


@pytest.fixture
def of_function(emulator: Emulator) -> Any:
    """Makes clients with a function's own credentials."""
    answer, _ = invoke(emulator)
    return emulator.session_of(answer["environment"])


def invoke(emulator: Emulator, **event: Any) -> tuple[Any, str | None]:
    reply = emulator.client("lambda").invoke(FunctionName=emulator.outputs["Probe"], Payload=json.dumps(event))
    return json.loads(reply["Payload"].read()), reply.get("FunctionError")


def write(client: Any, emulator: Emulator, key: str) -> None:
    client("dynamodb").put_item(TableName=emulator.outputs["Table"], Item={"pk": {"S": key}})


def there(emulator: Emulator, key: str) -> bool:
    reply = emulator.client("dynamodb").get_item(TableName=emulator.outputs["Table"], Key={"pk": {"S": key}})
    return "Item" in reply


@pytest.mark.parametrize("method", ("GET", "PUT", "DELETE"))
def test_nobody_without_the_operators_credentials_works_the_switch(emulator: Emulator, method: str) -> None:
    forged = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/faults/aws4_request, SignedHeaders=host, Signature=00"
    for headers in ({}, {"Authorization": forged, "X-Amz-Date": "20260101T000000Z"}):
        reply = requests.request(
            method, f"{emulator.endpoint_url}/_faults", headers=headers, verify=emulator.ca_bundle, timeout=10
        )
        assert reply.status_code == 403


@pytest.mark.parametrize(
    ("fault", "complaint"),
    (
        ({"at": "dynamodb", "how": "explode"}, "no fault 'explode'"),
        ({"at": "route53", "how": "break"}, "one of the services"),
        ({"at": "dynamodb", "how": "break", "share": 0}, "above 0"),
        ({"at": "dynamodb"}, "It takes"),
        ({"at": "dynamodb", "how": "break", "given": 3}, "It takes"),
    ),
)
def test_an_order_that_means_nothing_is_refused(switch: FaultSwitch, fault: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SwitchRefusedError, match=complaint):
        switch.order([fault], 1)


@pytest.mark.parametrize(
    ("how", "code", "written"),
    (
        ("refuse", "ProvisionedThroughputExceededException", False),
        ("break", "InternalServerError", False),
        ("lose_reply", "InternalServerError", True),
    ),
)
def test_a_functions_call_fails_before_or_after_its_effect(
    emulator: Emulator, switch: FaultSwitch, of_function: Any, how: str, code: str, written: bool
) -> None:
    key = uuid.uuid4().hex
    switch.order([{"at": "dynamodb", "how": how}], 1)

    with pytest.raises(ClientError) as failure:
        write(of_function, emulator, key)

    assert failure.value.response["Error"]["Code"] == code
    assert there(emulator, key) is written


def test_the_operators_own_calls_go_well_meanwhile(emulator: Emulator, switch: FaultSwitch) -> None:
    switch.order([{"at": "dynamodb", "how": "break"}, {"at": "s3", "how": "break"}], 1)

    write(emulator.client, emulator, "operator")

    assert there(emulator, "operator")


def test_a_limit_ends_a_fault_and_a_share_spares_some(
    emulator: Emulator, switch: FaultSwitch, of_function: Any
) -> None:
    before = len(switch.given())
    switch.order([{"at": "dynamodb", "how": "break", "limit": 2, "operation": "PutItem"}], 1)
    for _ in range(4):
        write(of_function, emulator, "limited")  # the SDK tries again
    given = switch.given()[before:]

    assert [(entry["how"], entry["what"]) for entry in given] == [("break", "PutItem")] * 2
    assert all(":assumed-role/" in entry["caller"] for entry in given)


def test_a_lost_reply_of_s3_leaves_the_object(emulator: Emulator, switch: FaultSwitch, of_function: Any) -> None:
    switch.order([{"at": "s3", "how": "lose_reply"}], 1)
    key = uuid.uuid4().hex

    with pytest.raises(ClientError, match="InternalError"):
        of_function("s3").put_object(Bucket=emulator.outputs["Failures"], Key=key, Body=b"whole")

    found = emulator.client("s3").get_object(Bucket=emulator.outputs["Failures"], Key=key)
    assert found["Body"].read() == b"whole"
    emulator.client("s3").delete_object(Bucket=emulator.outputs["Failures"], Key=key)


def test_a_throttled_function_is_turned_away(emulator: Emulator, switch: FaultSwitch) -> None:
    switch.order([{"at": emulator.outputs["Probe"], "how": "throttle", "limit": 1}], 1)

    with pytest.raises(ClientError, match="TooManyRequestsException"):
        _once(emulator).invoke(FunctionName=emulator.outputs["Probe"], Payload=b"{}")
    assert invoke(emulator)[1] is None


@pytest.fixture
def queued(emulator: Emulator) -> Iterator[tuple[str, str]]:
    """The addresses of a queue that the probe reads, and of its dead-letter queue, for what was received twice."""
    name, sqs, functions = uuid.uuid4().hex, emulator.client("sqs"), emulator.client("lambda")
    dead, dead_arn, _ = a_queue(emulator, f"{name}-dead")
    queue, arn, _ = a_queue(emulator, name)
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": redrive})
    source = functions.create_event_source_mapping(FunctionName=emulator.outputs["Probe"], EventSourceArn=arn)
    yield queue, dead
    functions.delete_event_source_mapping(UUID=source["UUID"])


def test_a_throttled_functions_message_goes_to_it_as_soon_as_it_is_free(
    emulator: Emulator, switch: FaultSwitch, queued: tuple[str, str]
) -> None:
    sqs, (queue, dead) = emulator.client("sqs"), queued
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "43200"})  # no second receive helps
    before = len(switch.given())
    switch.order([{"at": emulator.outputs["Probe"], "how": "throttle", "limit": 3}], 1)
    sqs.send_message(QueueUrl=queue, MessageBody="{}")

    eventually(lambda: left(emulator, queue) == 0)

    assert len(switch.given()) == before + 3
    assert left(emulator, dead) == 0


def test_a_message_whose_function_stays_throttled_goes_to_the_dead_letter_queue_without_a_run(
    emulator: Emulator, switch: FaultSwitch, queued: tuple[str, str]
) -> None:
    sqs, (queue, dead) = emulator.client("sqs"), queued
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "3"})
    before = len(switch.given())
    switch.order([{"at": emulator.outputs["Probe"], "how": "throttle"}], 1)
    sqs.send_message(QueueUrl=queue, MessageBody="{}")

    eventually(lambda: left(emulator, dead) == 1)

    assert len(switch.given()) > before + 2  # several tries after each of its two receives


def left(emulator: Emulator, queue: str) -> int:
    """How many messages a queue has, hidden ones too."""
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = emulator.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=counts)["Attributes"]
    return sum(map(int, found.values()))


@pytest.mark.parametrize(("how", "words"), (("kill", "exited"), ("time_out", "timed out")))
def test_an_invocation_ends_in_its_midst(emulator: Emulator, switch: FaultSwitch, how: str, words: str) -> None:
    before, _ = invoke(emulator)
    switch.order([{"at": emulator.outputs["Probe"], "how": how, "limit": 1}], 1)

    failure, error = invoke(emulator, do="wait", seconds=5)
    after, _ = invoke(emulator)

    assert error == "Unhandled"
    assert words in failure["errorMessage"]
    assert after["pid"] != before["pid"]
    assert switch.given()[-1]["how"] == how


def test_an_invocation_that_was_quicker_does_not_count(emulator: Emulator, switch: FaultSwitch) -> None:
    invoke(emulator)
    before = len(switch.given())
    switch.order([{"at": emulator.outputs["Probe"], "how": "kill", "limit": 1, "within_seconds": 10_000}], 1)

    assert invoke(emulator)[1] is None

    assert len(switch.given()) == before


def test_a_streams_batch_comes_again_though_it_went_well(emulator: Emulator, switch: FaultSwitch) -> None:
    run = uuid.uuid4().hex[:8]
    functions = emulator.client("lambda").list_functions()["Functions"]
    catch_up(emulator)
    consumer = next(name for function in functions if "Consumer" in (name := function["FunctionName"]))
    switch.order([{"at": consumer, "how": "redeliver", "limit": 1}], 1)

    put(emulator, f"good-{run}")

    eventually(lambda: len(batches(emulator, run)) >= 2)
    assert batches(emulator, run) == [[f"good-{run}"]] * 2


def _once(emulator: Emulator) -> Any:
    """A Lambda client that does not try again."""
    return boto3.client(
        "lambda",
        endpoint_url=emulator.endpoint_url,
        verify=emulator.ca_bundle,
        region_name=emulator.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
