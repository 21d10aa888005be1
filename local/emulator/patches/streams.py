"""A DynamoDB stream whose function fails (Lambda developer guide, "Process DynamoDB records with Lambda").

Reported failures move the checkpoint to the first failed record. A batch is retried ``MaximumRetryAttempts`` times and
until ``MaximumRecordAgeInSeconds``. With ``BisectBatchOnFunctionError`` an error splits the batch, which is no retry.
What is given up goes with its records to the bucket that ``OnFailure`` names, and the shard moves on. MiniStack repeats
a batch until it succeeds, and takes ``batchItemFailures`` for success. Only buckets are destinations here.
"""

import datetime
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ministack.core import lambda_runtime, responses
from ministack.core.concurrency import esm_wake, spawn_background
from ministack.services import dynamodb, lambda_svc

from local.emulator.settings import Settings

Record = dict[str, Any]

PAUSES_SECONDS = (0.2, 0.4, 0.8, 1.6, 2.0)
SHARD = "shardId-00000000000000000000-00000000"
WHOLE_BATCH = 0
USER_AGENT = "lambda-on-failure-destination"
"""Distinguishes Lambda's own calls from those of the function whose permissions it uses."""


@dataclass
class Batch:
    """Stream positions `start` to `end` that go to the function together."""

    start: int
    end: int
    attempts: int = 0


@dataclass
class Shard:
    """How far one event source mapping has read its table's stream."""

    position: int
    batches: list[Batch] = field(default_factory=list)
    busy: bool = False


@dataclass
class Mapping:
    """One event source mapping and what it connects."""

    settings: Settings
    configuration: dict[str, Any]
    function: dict[str, Any]
    table: str

    def limit(self, name: str) -> float:
        """A number of the configuration; none, or one below 0, is no limit."""
        number = self.configuration.get(name)
        return float("inf") if number is None or int(number) < 0 else int(number)


def apply(settings: Settings) -> None:
    shards: dict[str, Shard] = {}

    def poll() -> bool:
        """Hand what is new to each mapping's own thread: a slow function must not hold up the other event sources."""
        for account, region, configuration in lambda_svc._iter_all_esms():
            with _scope(account, region):
                mapping = _mapping(settings, configuration)
                if mapping is None:
                    continue
                oldest = dynamodb.stream_start_position(mapping.table)
                newest = dynamodb.stream_end_position(mapping.table)
                from_start = configuration.get("StartingPosition") == "TRIM_HORIZON"
                shard = shards.setdefault(configuration["UUID"], Shard(oldest if from_start else newest))
                if shard.busy:
                    continue
                shard.position = max(shard.position, oldest)
                if shard.position < newest:
                    end = min(newest, shard.position + int(configuration.get("BatchSize") or 100))
                    shard.batches, shard.position, shard.busy = [Batch(shard.position, end)], end, True
                    spawn_background(_process, mapping, shard, account, region, thread_name="stream-batch")
        return False

    lambda_svc._poll_dynamodb_streams = poll


def _mapping(settings: Settings, configuration: dict[str, Any]) -> Mapping | None:
    """The mapping, if it reads a DynamoDB stream that exists and is switched on."""
    source = configuration.get("EventSourceArn", "")
    if not source.startswith("arn:aws:dynamodb:") or not configuration.get("Enabled", True):
        return None
    found = lambda_svc._dynamodb_stream_table_from_arn_spec(lambda_svc.parse_arn(source))
    name, qualifier = configuration["FunctionName"], configuration.get("Qualifier")
    function, _ = lambda_svc._get_func_record_for_qualifier(name, qualifier)
    table = dynamodb._tables.get(found[0]) if found else None
    if function is None or table is None or table.get("LatestStreamArn") != source:
        return None
    return Mapping(settings, configuration, function, found[0])


def _process(mapping: Mapping, shard: Shard, account: str, region: str) -> None:
    try:
        with _scope(account, region):
            while shard.batches:
                _deliver(mapping, shard)
    finally:
        shard.busy = False
        esm_wake.set()


def _deliver(mapping: Mapping, shard: Shard) -> None:
    """Give the shard's next batch to the function once, and decide how it goes on."""
    batch, configuration = shard.batches[0], mapping.configuration
    read = enumerate(dynamodb.stream_records_since(mapping.table, batch.start, batch.end - batch.start), batch.start)
    found = [(position, one) for position, one in read if lambda_svc._apply_filter_criteria([one], configuration)]
    positions, records = [position for position, _ in found], [record for _, record in found]
    if not records:
        shard.batches.pop(0)
        return
    result = lambda_svc._execute_function(mapping.function, {"Records": records})
    if result.get("throttle"):
        time.sleep(PAUSES_SECONDS[0])
        return
    failed = WHOLE_BATCH if result.get("error") else _first_reported_failure(mapping, result.get("body"), records)
    configuration["LastProcessingResult"] = "OK" if failed is None else "PROBLEM: Function call failed"
    if failed is None:
        shard.batches.pop(0)
        return

    first, remaining = positions[failed], records[failed:]
    attempts = batch.attempts + 1 if failed == WHOLE_BATCH else 1
    bisects = str(configuration.get("BisectBatchOnFunctionError")).lower() == "true"
    age = time.time() - float(remaining[0]["dynamodb"]["ApproximateCreationDateTime"])
    if bisects and result.get("error") and len(remaining) > 1:
        middle = positions[failed + len(remaining) // 2]
        shard.batches[0:1] = [Batch(first, middle, batch.attempts), Batch(middle, batch.end, batch.attempts)]
    elif attempts > mapping.limit("MaximumRetryAttempts"):
        _give_up(mapping, remaining, "RetryAttemptsExhausted", attempts)
        shard.batches.pop(0)
    elif age > mapping.limit("MaximumRecordAgeInSeconds"):
        _give_up(mapping, remaining, "MaxRecordAgeExceeded", attempts)
        shard.batches.pop(0)
    else:
        shard.batches[0] = Batch(first, batch.end, attempts)
        time.sleep(PAUSES_SECONDS[min(attempts, len(PAUSES_SECONDS)) - 1])


def _first_reported_failure(mapping: Mapping, answer: object, records: list[Record]) -> int | None:
    """Index of the first record the function reported as failed; None if it reported none.

    An identifier that is not in the batch fails the whole batch, as does an answer of another form.
    """
    if "ReportBatchItemFailures" not in (mapping.configuration.get("FunctionResponseTypes") or []) or not answer:
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("batchItemFailures") or [], list):
        return WHOLE_BATCH
    identifiers = [failure.get("itemIdentifier") for failure in answer.get("batchItemFailures") or []]
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    indexes = [numbers.index(identifier) if identifier in numbers else WHOLE_BATCH for identifier in identifiers]
    return min(indexes, default=None)


def _give_up(mapping: Mapping, records: list[Record], condition: str, attempts: int) -> None:
    """Write the records to the bucket of failures, if there is one, with the permissions of the function."""
    on_failure = (mapping.configuration.get("DestinationConfig") or {}).get("OnFailure") or {}
    if not (bucket := str(on_failure.get("Destination", "")).removeprefix("arn:aws:s3:::")):
        return
    now = datetime.datetime.now(datetime.UTC)
    key = f"aws/lambda/{mapping.configuration['UUID']}/{SHARD}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
    document = {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": mapping.function["config"]["FunctionArn"],
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "DDBStreamBatchInfo": {
            "shardId": SHARD,
            "startSequenceNumber": records[0]["dynamodb"]["SequenceNumber"],
            "endSequenceNumber": records[-1]["dynamodb"]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": _iso(records[0]),
            "approximateArrivalOfLastRecord": _iso(records[-1]),
            "batchSize": len(records),
            "streamArn": mapping.configuration["EventSourceArn"],
        },
        "payload": json.dumps({"Records": records}),
    }
    _s3_as_function(mapping).put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())


def _s3_as_function(mapping: Mapping) -> Any:
    import botocore.session
    from botocore.config import Config

    credentials = lambda_runtime.execution_credentials(mapping.function["config"])
    return botocore.session.get_session().create_client(
        "s3",
        region_name=responses.get_region(),
        endpoint_url=mapping.settings.endpoint_url,
        verify=str(mapping.settings.ca_bundle),
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=credentials["AWS_SESSION_TOKEN"],
        config=Config(user_agent_extra=USER_AGENT),
    )


def _iso(record: Record) -> str:
    moment = datetime.datetime.fromtimestamp(float(record["dynamodb"]["ApproximateCreationDateTime"]), datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def _scope(account: str, region: str) -> Iterator[None]:
    """Whose resources MiniStack reads."""
    tokens = responses._request_account_id.set(account), responses._request_region.set(region)
    try:
        yield
    finally:
        responses._request_account_id.reset(tokens[0])
        responses._request_region.reset(tokens[1])
