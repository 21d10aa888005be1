"""Stands in for what Lambda does when a function fails on records of a DynamoDB stream.

MiniStack delivers a batch again until it succeeds, holding up the shard for ever, and takes ``batchItemFailures`` for
success, losing the records. On AWS, and here: reported failures move the checkpoint to the first failed record; a
batch is retried ``MaximumRetryAttempts`` times and until ``MaximumRecordAgeInSeconds``; with
``BisectBatchOnFunctionError`` an error splits the batch, which does not count as a retry; what is given up goes to the
``OnFailure`` destination, to a bucket with the whole event, and the shard moves on.
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

BACKOFF_SECONDS = (0.2, 0.4, 0.8, 1.6, 2.0)
SHARD = "shardId-00000000000000000000-00000000"
WHOLE_BATCH = 0
USER_AGENT = "lambda-on-failure-destination"
"""Tells Lambda's own calls from those of the function whose permissions it uses."""


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

    @property
    def retries(self) -> float:
        attempts = self.configuration.get("MaximumRetryAttempts")
        return float("inf") if attempts is None or int(attempts) < 0 else int(attempts)

    @property
    def record_age_seconds(self) -> float:
        age = self.configuration.get("MaximumRecordAgeInSeconds")
        return float("inf") if age is None or int(age) < 0 else int(age)

    @property
    def bisects(self) -> bool:
        return str(self.configuration.get("BisectBatchOnFunctionError")).lower() == "true"

    @property
    def reports_failures(self) -> bool:
        return "ReportBatchItemFailures" in (self.configuration.get("FunctionResponseTypes") or [])

    @property
    def destination(self) -> str | None:
        on_failure = (self.configuration.get("DestinationConfig") or {}).get("OnFailure") or {}
        return on_failure.get("Destination")


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
                    spawn_background(_work_off, mapping, shard, account, region, thread_name="stream-batch")
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


def _work_off(mapping: Mapping, shard: Shard, account: str, region: str) -> None:
    try:
        with _scope(account, region):
            while shard.batches:
                _deliver(mapping, shard)
    finally:
        shard.busy = False
        esm_wake.set()


def _deliver(mapping: Mapping, shard: Shard) -> None:
    """Give the shard's next batch to the function once, and decide how it goes on."""
    batch = shard.batches[0]
    read = dynamodb.stream_records_since(mapping.table, batch.start, batch.end - batch.start)
    positions = [
        batch.start + index
        for index, record in enumerate(read)
        if lambda_svc._apply_filter_criteria([record], mapping.configuration)
    ]
    records = [read[position - batch.start] for position in positions]
    if not records:
        shard.batches.pop(0)
        return
    result = lambda_svc._execute_function(mapping.function, {"Records": records})
    if result.get("throttle"):
        time.sleep(BACKOFF_SECONDS[0])
        return
    failed = WHOLE_BATCH if result.get("error") else _first_reported_failure(mapping, result.get("body"), records)
    if failed is None:
        mapping.configuration["LastProcessingResult"] = "OK"
        shard.batches.pop(0)
        return
    mapping.configuration["LastProcessingResult"] = "PROBLEM: Function call failed"

    first = positions[failed]
    remaining = records[failed:]
    attempts = batch.attempts + 1 if failed == WHOLE_BATCH else 1
    middle = positions[failed + len(remaining) // 2]
    if mapping.bisects and result.get("error") and len(remaining) > 1:
        shard.batches[0:1] = [Batch(first, middle, batch.attempts), Batch(middle, batch.end, batch.attempts)]
    elif attempts > mapping.retries:
        _give_up(mapping, remaining, "RetryAttemptsExhausted", attempts)
        shard.batches.pop(0)
    elif _age_seconds(remaining[0]) > mapping.record_age_seconds:
        _give_up(mapping, remaining, "MaxRecordAgeExceeded", attempts)
        shard.batches.pop(0)
    else:
        shard.batches[0] = Batch(first, batch.end, attempts)
        time.sleep(BACKOFF_SECONDS[min(attempts, len(BACKOFF_SECONDS)) - 1])


def _first_reported_failure(mapping: Mapping, answer: object, records: list[Record]) -> int | None:
    """Index of the first record the function reported as failed; None if it reported none.

    An identifier that is not in the batch fails the whole batch, as does an answer of another form.
    """
    if not mapping.reports_failures or answer in (None, "", {}):
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("batchItemFailures") or [], list):
        return WHOLE_BATCH
    identifiers = [failure.get("itemIdentifier") for failure in answer.get("batchItemFailures") or []]
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    indexes = [numbers.index(identifier) if identifier in numbers else WHOLE_BATCH for identifier in identifiers]
    return min(indexes, default=None)


def _age_seconds(record: Record) -> float:
    return time.time() - float(record["dynamodb"]["ApproximateCreationDateTime"])


def _give_up(mapping: Mapping, records: list[Record], condition: str, attempts: int) -> None:
    destination = mapping.destination
    if destination is None:
        return
    function = mapping.function["config"]
    if not destination.startswith("arn:aws:s3:::"):
        failure = {"function_error": "Unhandled"}
        source = mapping.configuration["EventSourceArn"]
        lambda_svc._send_ddb_stream_failure_record(
            mapping.configuration, mapping.function, records, source, failure, condition
        )
        return
    now = datetime.datetime.now(datetime.UTC)
    key = f"aws/lambda/{mapping.configuration['UUID']}/{SHARD}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
    document = {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": function["FunctionArn"],
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
    _s3_as_function(mapping).put_object(
        Bucket=destination.removeprefix("arn:aws:s3:::"), Key=key, Body=json.dumps(document).encode()
    )


def _s3_as_function(mapping: Mapping) -> Any:
    """An S3 client with the permissions of the function, which Lambda uses for this, too."""
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
    """Whose resources MiniStack looks at."""
    tokens = responses._request_account_id.set(account), responses._request_region.set(region)
    try:
        yield
    finally:
        responses._request_account_id.reset(tokens[0])
        responses._request_region.reset(tokens[1])
