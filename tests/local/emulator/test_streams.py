"""A consumer of a DynamoDB stream that fails: nothing is lost, nothing blocks the shard, what is given up is kept."""

import json
import uuid
from typing import Any

import pytest

from tests.local.probe import Emulator, eventually


@pytest.fixture
def run(emulator: Emulator) -> str:
    """A word that tells this test's records from others', none of which is still to come."""
    catch_up(emulator)
    return uuid.uuid4().hex[:8]


def catch_up(emulator: Emulator) -> None:
    """Wait until the consumer has had all that was written before."""
    last = uuid.uuid4().hex
    emulator.client("dynamodb").put_item(TableName=emulator.outputs["Table"], Item={"pk": {"S": last}})
    eventually(lambda: batches(emulator, last))


def put(emulator: Emulator, *keys: str) -> None:
    """Write records while nobody reads the stream, so that they are one batch."""
    functions, dynamodb = emulator.client("lambda"), emulator.client("dynamodb")
    (source,) = functions.list_event_source_mappings()["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    for key in keys:
        dynamodb.put_item(TableName=emulator.outputs["Table"], Item={"pk": {"S": key}})
    functions.update_event_source_mapping(UUID=source["UUID"], Enabled=True)


def given_up(emulator: Emulator, key: str) -> dict[str, Any] | None:
    """The document about a record in the bucket of failures."""
    s3 = emulator.client("s3")
    for entry in s3.list_objects_v2(Bucket=emulator.outputs["Failures"]).get("Contents", []):
        text = s3.get_object(Bucket=emulator.outputs["Failures"], Key=entry["Key"])["Body"].read()
        document: dict[str, Any] = json.loads(text)
        if key in document["payload"]:
            assert entry["Key"].startswith("aws/lambda/")
            return document
    return None


def keys_in(document: dict[str, Any]) -> list[str]:
    return [record["dynamodb"]["Keys"]["pk"]["S"] for record in json.loads(document["payload"])["Records"]]


def batches(emulator: Emulator, run: str) -> list[list[str]]:
    """What the consumer was called with, in order."""
    logs = emulator.client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    group = next((name for name in groups if "Consumer" in name), None)
    if group is None:
        return []  # it has not been called yet
    events = logs.filter_log_events(logGroupName=group)["events"]
    lines = [json.loads(event["message"]) for event in events if event["message"].startswith('{"batch"')]
    return [line["batch"] for line in lines if any(run in key for key in line["batch"])]


def test_a_record_that_raises_is_cut_out_and_kept_whole(emulator: Emulator, run: str) -> None:
    put(emulator, f"good-1-{run}", f"poison-{run}", f"good-2-{run}")
    document = eventually(lambda: given_up(emulator, f"poison-{run}"))
    assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert keys_in(document) == [f"poison-{run}"]
    put(emulator, f"later-{run}")
    eventually(lambda: [f"later-{run}"] in batches(emulator, run))
    seen = batches(emulator, run)
    assert [f"good-1-{run}"] in seen
    assert [f"good-2-{run}"] in seen


def test_reported_failures_are_retried_from_the_first_one(emulator: Emulator, run: str) -> None:
    put(emulator, f"good-{run}", f"reported-{run}")
    document = eventually(lambda: given_up(emulator, f"reported-{run}"))
    assert keys_in(document) == [f"reported-{run}"]
    assert batches(emulator, run) == [[f"good-{run}", f"reported-{run}"], [f"reported-{run}"]]


def test_without_a_limit_of_retries_a_record_is_tried_until_it_is_too_old(emulator: Emulator, run: str) -> None:
    functions = emulator.client("lambda")
    (source,) = functions.list_event_source_mappings()["EventSourceMappings"]
    before = {"MaximumRetryAttempts": 1, "MaximumRecordAgeInSeconds": -1}
    functions.update_event_source_mapping(UUID=source["UUID"], MaximumRetryAttempts=-1, MaximumRecordAgeInSeconds=4)
    try:
        put(emulator, f"reported-{run}", f"good-{run}")
        document = eventually(lambda: given_up(emulator, f"reported-{run}"))
    finally:
        functions.update_event_source_mapping(UUID=source["UUID"], **before)
    assert document["requestContext"]["condition"] == "MaxRecordAgeExceeded"
    assert document["requestContext"]["approximateInvokeCount"] > 3
