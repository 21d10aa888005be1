"""`relay failures`: stream records that could not be published, or recorded in the ledger.

`publish_events` and `record_spending` put them into the failures bucket one by one, or Lambda did, in batches that it
gave up on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from cli.answer import Answer, RefusedError, table
from cli.command import Group, Relay
from cli.publisher import publish_again
from vidu_relay.domain.representation import timestamp


@click.group(cls=Group)
def failures() -> None:
    """Stream records that could not be published, or recorded in the ledger."""


@failures.command("list", examples=["failures list"])
def list_all(relay: Relay) -> Answer:
    """List the objects of the failures bucket: since when, and the tasks of their records."""
    s3, bucket = relay.connection.client("s3"), relay.connection.resource("FailuresBucket")
    shown: list[dict[str, Any]] = []
    for found in _objects(s3, bucket):
        try:
            tasks = sorted({_task_id(record) for record in _records(relay, s3, bucket, found["Key"])[0]})
        except RefusedError:
            tasks = []
        at = timestamp(int(found["LastModified"].timestamp() * 1000))
        shown.append({"key": found["Key"], "at": at, "tasks": tasks})
    rows = [("SINCE", "TASKS", "KEY")]
    rows += [(failure["at"], ", ".join(failure["tasks"]) or "unreadable", failure["key"]) for failure in shown]
    return Answer(table(rows) if shown else "No failures.", {"failures": shown})


@failures.command(
    examples=["failures republish", "failures republish KEY    (one object, as `failures list` shows it)"]
)
@click.argument("key", required=False)
def republish(relay: Relay, key: str | None) -> Answer:
    """Process the records of one object, or of all, again, and remove each object whose records are done.

    After an interruption, repeat it: events are published again under the same event ids.
    """
    s3, bucket = relay.connection.client("s3"), relay.connection.resource("FailuresBucket")
    keys = [key] if key else [found["Key"] for found in _objects(s3, bucket)]
    published = 0
    left: list[dict[str, str]] = []
    for each in keys:
        try:
            records, consumer = _records(relay, s3, bucket, each)
            failed = publish_again(records, relay.connection, consumer)
        except RefusedError as error:
            if key:
                raise
            left.append({"key": each, "reason": str(error)})
            continue
        published += len(records) - len(failed)
        if failed:
            left.append({"key": each, "reason": f"records {', '.join(failed)} could not be processed"})
        else:
            s3.delete_object(Bucket=bucket, Key=each)
    removed = len(keys) - len(left)
    lines = [f"{published} records processed again; {removed} objects removed, {len(left)} left."]
    lines += [f"  {failure['key']}: {failure['reason']}" for failure in left]
    if left:
        repeat = relay.again("failures", "republish")
        lines.append(f"See `sam logs --name PublishEvents` or RecordSpending; fix it, then run `{repeat}`.")
    return Answer("\n".join(lines), {"published": published, "removed": removed, "left": left})


def _objects(s3: Any, bucket: str) -> Iterator[dict[str, Any]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from page.get("Contents", [])


def _records(relay: Relay, s3: Any, bucket: str, key: str) -> tuple[list[dict[str, Any]], str]:
    """The stream records in an object, and the function that could not process them.

    Raises `RefusedError` if there is no such object, or no records in it.

    The field `payload` is an event with them, as text.
    """
    try:
        document: Any = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        payload = document["payload"]
        records = (json.loads(payload) if isinstance(payload, str) else payload)["Records"]
        numbered = all(record["dynamodb"]["SequenceNumber"] for record in records)
    except s3.exceptions.NoSuchKey as error:
        raise RefusedError(
            f"there is no {key!r} in the failures bucket: see `{relay.again('failures', 'list')}`"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{key!r} holds no stream records: nothing can be published from it") from error
    if not numbered:
        raise RefusedError(f"{key!r} holds records without a number: nothing can be published from it")
    arn = str(document.get("requestContext", {}).get("functionArn", ""))
    spending = key.startswith("record_spending/") or "RecordSpending" in arn  # as CloudFormation names the function
    found: list[dict[str, Any]] = records
    return found, "RecordSpending" if spending else "PublishEvents"


def _task_id(record: dict[str, Any]) -> str:
    key = record["dynamodb"].get("Keys", {}).get("pk", {}).get("S", "")
    return str(key).removeprefix("task#")
