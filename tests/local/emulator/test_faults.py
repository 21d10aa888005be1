"""The emulator's switch for faults: what is ordered happens to functions and to no other caller, until it is ended."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from cli.fault_switch import FaultSwitch, SwitchRefusedError
from tests.local.emulator.test_events import a_queue
from tests.local.emulator.test_streams import batches, catch_up, put
from tests.local.probe import Emulator, eventually


@pytest.fixture
def switch(emulator: Emulator) -> Iterator[FaultSwitch]:
    """The switch, off at the end."""
    switch = FaultSwitch(emulator.endpoint_url, emulator.ca_bundle, emulator.region)
    yield switch
    switch.end()


def write(dynamodb: Any, emulator: Emulator, key: str) -> None:
    dynamodb.put_item(TableName=emulator.outputs["Table"], Item={"pk": {"S": key}})


def exists(emulator: Emulator, key: str) -> bool:
    table = emulator.outputs["Table"]
    return "Item" in emulator.client("dynamodb").get_item(TableName=table, Key={"pk": {"S": key}})


@pytest.mark.parametrize("method", ("GET", "PUT", "DELETE"))
def test_the_switch_takes_the_operators_credentials_alone(emulator: Emulator, method: str) -> None:
    forged = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/faults/aws4_request, SignedHeaders=host, Signature=00"
    url = f"{emulator.endpoint_url}/_faults"
    for headers in ({}, {"Authorization": forged, "X-Amz-Date": "20260101T000000Z"}):
        assert requests.request(method, url, headers=headers, verify=emulator.ca_bundle, timeout=30).status_code == 403


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
def test_a_functions_call_fails_before_or_after_its_effect_and_the_operators_does_not(
    emulator: Emulator, switch: FaultSwitch, how: str, code: str, written: bool
) -> None:
    key, of_function = uuid.uuid4().hex, emulator.client_of_function("dynamodb")
    switch.order([{"at": "dynamodb", "how": how}], 1)

    with pytest.raises(ClientError, match=code):
        write(of_function, emulator, key)

    assert exists(emulator, key) is written
    write(emulator.client("dynamodb"), emulator, key)
    assert exists(emulator, key)


def test_a_limit_ends_a_fault_of_one_operation(emulator: Emulator, switch: FaultSwitch) -> None:
    of_function, before = emulator.client_of_function("dynamodb"), len(switch.given())
    switch.order([{"at": "dynamodb", "how": "break", "limit": 2, "operation": "PutItem"}], 1)
    for _ in range(2):
        with pytest.raises(ClientError, match="InternalServerError"):
            write(of_function, emulator, "limited")
    write(of_function, emulator, "limited")

    given = switch.given()[before:]
    assert [(entry["how"], entry["what"]) for entry in given] == [("break", "PutItem")] * 2
    assert all(":assumed-role/" in entry["caller"] for entry in given)


def test_a_lost_reply_of_s3_leaves_the_object(emulator: Emulator, switch: FaultSwitch) -> None:
    s3, which = emulator.client_of_function("s3"), {"Bucket": emulator.outputs["Failures"], "Key": uuid.uuid4().hex}
    switch.order([{"at": "s3", "how": "lose_reply"}], 1)

    with pytest.raises(ClientError, match="InternalError"):
        s3.put_object(**which, Body=b"whole")
    assert emulator.client("s3").get_object(**which)["Body"].read() == b"whole"


def test_a_throttled_function_is_not_run(emulator: Emulator, switch: FaultSwitch) -> None:
    switch.order([{"at": emulator.outputs["Probe"], "how": "throttle", "limit": 1}], 1)

    with pytest.raises(ClientError, match="TooManyRequestsException"):
        emulator.invoke()
    assert emulator.invoke()[1] is None


@pytest.mark.parametrize(("visibility", "limit", "left", "tries"), ((43_200, 3, 0, 3), (3, None, 1, 4)))
def test_a_throttled_functions_message_is_retried_while_hidden_and_dead_lettered_after(
    emulator: Emulator, switch: FaultSwitch, visibility: int, limit: int | None, left: int, tries: int
) -> None:
    """Retried within its first receive where that is long enough; else in each of its two, several times."""
    name, sqs, functions = uuid.uuid4().hex, emulator.client("sqs"), emulator.client("lambda")
    dead, dead_arn, _ = a_queue(emulator, f"{name}-dead")
    queue, arn, _ = a_queue(emulator, name)
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": str(visibility)}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=attributes)
    source = functions.create_event_source_mapping(FunctionName=emulator.outputs["Probe"], EventSourceArn=arn)
    before = len(switch.given())
    switch.order([{"at": emulator.outputs["Probe"], "how": "throttle", "limit": limit}], 1)
    sqs.send_message(QueueUrl=queue, MessageBody="{}")

    try:
        eventually(lambda: (messages_in(sqs, queue), messages_in(sqs, dead)) == (0, left))
    finally:
        functions.delete_event_source_mapping(UUID=source["UUID"])
    given = len(switch.given()) - before
    assert given == tries if limit else given >= tries


def messages_in(sqs: Any, queue: str) -> int:
    """How many messages a queue has, hidden ones too."""
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=counts)["Attributes"]
    return sum(map(int, found.values()))


@pytest.mark.parametrize(("how", "words"), (("kill", "exited"), ("time_out", "timed out")))
def test_an_invocation_ends_while_it_runs(emulator: Emulator, switch: FaultSwitch, how: str, words: str) -> None:
    before, _ = emulator.invoke()
    switch.order([{"at": emulator.outputs["Probe"], "how": how, "limit": 1}], 1)

    failure, error = emulator.invoke(do="wait", seconds=5)
    after, _ = emulator.invoke()

    assert error == "Unhandled"
    assert words in failure["errorMessage"]
    assert after["pid"] != before["pid"]
    assert switch.given()[-1]["how"] == how


def test_a_fault_that_an_invocation_ended_before_does_not_count(emulator: Emulator, switch: FaultSwitch) -> None:
    emulator.invoke()
    before = len(switch.given())
    switch.order([{"at": emulator.outputs["Probe"], "how": "kill", "limit": 1, "within_seconds": 10_000}], 1)

    assert emulator.invoke()[1] is None
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
