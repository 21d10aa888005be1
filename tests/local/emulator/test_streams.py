"""A consumer of a DynamoDB stream that fails: nothing is lost, nothing blocks the shard, what is given up is kept."""

import json
import uuid
from typing import Any

import pytest

from tests.local.probe import Emulator, eventually


@pytest.fixture
def run(emulator: Emulator) -> str:
    """A word of this test's records alone. The consumer has read all records before."""
    catch_up(emulator)
    return uuid.uuid4().hex[:8]


def catch_up(emulator: Emulator) -> None:
    """Wait until the consumer has had all that was written before."""
    last = uuid.uuid4().hex
    put(emulator, last)
    eventually(lambda: batches(emulator, last))


def configure(emulator: Emulator, **settings: Any) -> None:
    functions = emulator.client("lambda")
    (source,) = functions.list_event_source_mappings()["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=source["UUID"], **settings)


def put(emulator: Emulator, *keys: str) -> None:
    """Write records while the stream is not read, so that they are one batch."""
    configure(emulator, Enabled=False)
    for key in keys:
        emulator.client("dynamodb").put_item(TableName=emulator.outputs["Table"], Item={"pk": {"S": key}})
    configure(emulator, Enabled=True)


def given_up(emulator: Emulator, key: str) -> tuple[str, int, list[str]] | None:
    """Why a record is in the bucket of failures, after how many calls, and with which other records."""
    s3, bucket = emulator.client("s3"), emulator.outputs["Failures"]
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix="aws/lambda/").get("Contents", []):
        document = json.loads(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
        keys = [record["dynamodb"]["Keys"]["pk"]["S"] for record in json.loads(document["payload"])["Records"]]
        if key in keys:
            context = document["requestContext"]
            return context["condition"], context["approximateInvokeCount"], keys
    return None


def batches(emulator: Emulator, run: str) -> list[list[str]]:
    """What the consumer was called with, in order."""
    logs = emulator.client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    group = next((name for name in groups if "Consumer" in name), None)
    events = logs.filter_log_events(logGroupName=group)["events"] if group else []  # none before the first call
    lines = [json.loads(event["message"]) for event in events if event["message"].startswith('{"batch"')]
    return [line["batch"] for line in lines if any(run in key for key in line["batch"])]


def test_a_record_that_raises_is_cut_out_and_kept_whole(emulator: Emulator, run: str) -> None:
    put(emulator, f"good-1-{run}", f"poison-{run}", f"good-2-{run}")
    condition, _, keys = eventually(lambda: given_up(emulator, f"poison-{run}"))
    assert (condition, keys) == ("RetryAttemptsExhausted", [f"poison-{run}"])
    put(emulator, f"later-{run}")
    eventually(lambda: [f"later-{run}"] in batches(emulator, run))
    seen = batches(emulator, run)
    assert [f"good-1-{run}"] in seen
    assert [f"good-2-{run}"] in seen


def test_reported_failures_are_retried_from_the_first_one(emulator: Emulator, run: str) -> None:
    put(emulator, f"good-{run}", f"reported-{run}")
    assert eventually(lambda: given_up(emulator, f"reported-{run}"))[2] == [f"reported-{run}"]
    assert batches(emulator, run) == [[f"good-{run}", f"reported-{run}"], [f"reported-{run}"]]


def test_without_a_limit_of_retries_a_record_is_tried_until_it_is_too_old(emulator: Emulator, run: str) -> None:
    configure(emulator, MaximumRetryAttempts=-1, MaximumRecordAgeInSeconds=4)
    try:
        put(emulator, f"reported-{run}", f"good-{run}")
        condition, calls, _ = eventually(lambda: given_up(emulator, f"reported-{run}"))
    finally:
        configure(emulator, MaximumRetryAttempts=1, MaximumRecordAgeInSeconds=-1)
    assert condition == "MaxRecordAgeExceeded"
    assert calls > 3
