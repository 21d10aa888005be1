"""Bills: units used, by the name of their price, counted around a piece of work on the local stack.

The emulator's meter counts calls, invocations and bytes of log; the table's stream has the writes, the bus the events.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from benchmarks.overhead import item_bytes
from benchmarks.prices import PRICES
from benchmarks.workload import OVERDUE
from local.client import RelayClient

__all__ = ["NOTIFIED", "Bill", "Counter", "add_call", "is_measurement", "is_queued", "write_units"]

WAIT_SECONDS = 60.0
API_LOG_BYTES = 420
"""A line of the API's access log, in the format of the template, with CloudWatch's 26 bytes."""
NOTIFIED = frozenset(
    f"VideoTask{change}" for change in ("Processing", "DeliveryDelayed", "Completed", "Failed", "Expired", "Canceled")
)
"""Events that a client with a `callback_url` is notified of."""
INDEXES = (("due_shard", "due_at"), ("owner", "created_at"), ("waits_at", "place"))
"""The keys of the indexes, which are keys-only: only a change of a key writes them."""


@dataclass
class Bill:
    """Units used, by the name of their price."""

    title: str
    units: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, units: float) -> None:
        """Charge so many units of something that has a price."""
        if what not in PRICES:
            raise KeyError(what)
        self.units[what] = self.units.get(what, 0.0) + units

    def plus(self, other: Bill, times: float, title: str = "") -> Bill:
        """This bill and another one, so many times."""
        sum_of = Bill(title, dict(self.units))
        for what, units in other.units.items():
            sum_of.add(what, units * times)
        return sum_of

    @property
    def dollars(self) -> float:
        """The sum."""
        return sum(PRICES[what][0] * units for what, units in self.units.items())

    def rows(self) -> list[tuple[str, float, float]]:
        """What, units, dollars; the dearest first."""
        listed = [(what, units, PRICES[what][0] * units) for what, units in self.units.items()]
        return sorted(listed, key=lambda row: -row[2])


LEDGER_UNITS: Mapping[str, int] = {"PutItem": 1, "TransactWriteItems": 4}
"""Write units of a row, which is smaller than 1 KB, and of a row with the day's counter in a transaction."""


class Counter:
    """Reads the emulator's meter and the table's stream around a piece of work on so many tasks.

    `seconds_of` gives the billed seconds of an invocation from the function's folder and its CPU seconds, `memory` the
    megabytes of each function by folder.
    """

    def __init__(
        self, relay: RelayClient, tasks: int, memory: Mapping[str, float], seconds_of: Callable[[str, float], float]
    ) -> None:
        stack = relay.stack
        self._meter, self._verify = f"{stack.aws_endpoint_url}/_meter", stack.aws_ca_bundle
        self._relay, self._tasks, self._memory, self._seconds_of = relay, tasks, memory, seconds_of
        self._folders = {name: folder for folder, name in stack.functions.items()}
        streams, table = relay.aws("dynamodbstreams"), relay.aws("dynamodb").describe_table(TableName=stack.table)
        self._stream = {"StreamArn": table["Table"]["LatestStreamArn"]}
        self._stream["ShardId"] = streams.describe_stream(**self._stream)["StreamDescription"]["Shards"][0]["ShardId"]
        self.writes = 0.0
        """Writes to the table for each task of the last bill."""
        self.attempt_units = 0.0
        """Of these, the write units of the records of webhook attempts, for 1,000 tasks."""
        self.largest = 0
        """Bytes of the largest item the last bill's work wrote."""

    def bill(self, title: str, work: Callable[[], object], *, sweeps: bool = False) -> Bill:
        """What the work used, for 1,000 tasks. Sweeps are no task's own: charged only where asked for."""
        self._settle()
        self._events()
        requests.delete(self._meter, verify=self._verify, timeout=30)
        before, executions = len(self._records()), self._executions()
        work()
        self._settle()
        reading = self._reading()
        records = [r["dynamodb"] for r in self._records()[before:] if not is_measurement(r)]
        used = Bill(title)
        self._add_functions(used, reading["functions"], sweeps=sweeps)
        self._add_calls(used, reading["calls"], sweeps=sweeps)
        used.add("DynamoDB write unit", sum(map(write_units, records)))
        self.writes = len(records) / self._tasks
        attempts = [r for r in records if r["Keys"]["pk"]["S"].startswith("notification#")]
        self.attempt_units = sum(map(write_units, attempts)) * 1000 / self._tasks
        self.largest = max((item_bytes(record["NewImage"]) for record in records), default=0)
        for event in self._events():
            used.add("EventBridge event", 1)
            used.add("EventBridge archive GB", len(event) / 1e9)
            if is_queued(json.loads(event)):
                used.add("SQS request", 3)  # EventBridge sends it, Lambda receives and deletes it
        used.add("Step Functions transition", sum(map(self._transitions, self._executions() - executions)))
        return Bill(title).plus(used, 1000 / self._tasks, title)

    def _add_functions(self, bill: Bill, functions: Mapping[str, Any], *, sweeps: bool) -> None:
        for name, counted in functions.items():
            folder = self._folders[name]
            if folder == "reconcile_spending" or (folder == "find_overdue_tasks" and not sweeps):
                continue
            if not counted["timed"]:
                raise RuntimeError(f"{folder}: this system does not show the CPU time of a process")
            calls, seconds = counted["invocations"], self._seconds_of(folder, counted["cpu_seconds"] / counted["timed"])
            bill.add("Lambda request", calls)
            bill.add("Lambda GB-second, arm64", seconds * calls * self._memory[folder] / 1024)
            bill.add("log GB", counted["log_bytes"] / 1e9)

    def _add_calls(self, bill: Bill, calls: Iterable[Mapping[str, Any]], *, sweeps: bool) -> None:
        for call in calls:
            if call["service"] == "execute-api":
                bill.add("HTTP API request", call["count"])
                bill.add("log GB", API_LOG_BYTES * call["count"] / 1e9)
            elif "ReconcileSpending" in call["caller"]:
                continue  # twice an hour, whatever is measured
            elif "RecordSpending" in call["caller"] and call["operation"] in LEDGER_UNITS:  # the ledger has no stream
                bill.add("DynamoDB write unit", call["count"] * LEDGER_UNITS[call["operation"]])
            elif "FindOverdueTasks" in call["caller"]:
                # a dispatch reads the record of each task in flight: all that are measured, at most
                records = self._tasks if call["operation"] == "BatchGetItem" else 1
                add_call(bill, call["service"], call["operation"], sweeps * records * call["count"])
            elif "assumed-role" in call["caller"]:
                add_call(bill, call["service"], call["operation"], call["count"])

    def _events(self) -> list[str]:
        """The events on the bus since the last call."""
        sqs, url, found = self._relay.aws("sqs"), self._relay.stack.events_queue_url, list[str]()
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(message["Body"])
        return found

    def _records(self) -> list[dict[str, Any]]:
        streams, found = self._relay.aws("dynamodbstreams"), list[dict[str, Any]]()
        reply = streams.get_shard_iterator(**self._stream, ShardIteratorType="TRIM_HORIZON")
        position = reply["ShardIterator"]
        while position and (reply := streams.get_records(ShardIterator=position, Limit=1000))["Records"]:
            found += reply["Records"]
            position = reply.get("NextShardIterator")
        return found

    def _executions(self) -> set[str]:
        which = {"stateMachineArn": self._relay.stack.state_machine_arn, "maxResults": 1000}
        return {one["executionArn"] for one in self._relay.aws("stepfunctions").list_executions(**which)["executions"]}

    def _transitions(self, execution: str) -> int:
        history = self._relay.aws("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)
        return sum(event["type"].endswith("StateEntered") for event in history["events"])

    def _reading(self) -> dict[str, Any]:
        reading: dict[str, Any] = requests.get(self._meter, verify=self._verify, timeout=30).json()
        return reading

    def _settle(self) -> None:
        """Wait until no function runs, so that all is counted where it belongs."""
        deadline, quiet, last = time.monotonic() + WAIT_SECONDS, 0, -1
        while quiet < 5 and time.monotonic() < deadline:
            now = sum(counted["invocations"] for counted in self._reading()["functions"].values())
            quiet, last = quiet + 1 if now == last else 0, now
            time.sleep(0.2)


def is_queued(event: Mapping[str, Any]) -> bool:
    """Whether a rule of the template puts an event into a queue: to be copied, or to notify a client."""
    kind = event["detail-type"]
    return kind == "VideoTaskGenerated" or (kind in NOTIFIED and bool(event["detail"]["client_callback"]))


def add_call(bill: Bill, service: str, operation: str, count: float) -> None:
    """Charge calls of a function."""
    if service == "s3":
        bill.add("S3 PUT" if operation.startswith(("PUT", "POST", "GET list-type")) else "S3 GET", count)
    elif service == "sqs":
        bill.add("SQS request", 3 * count if operation == "SendMessage" else count)  # Lambda receives and deletes it
    elif service == "secretsmanager":
        bill.add("Secrets Manager call", count)
    elif operation == "TransactWriteItems":  # a batch and the day's counters, which the stream counts once
        bill.add("DynamoDB write unit", 2 * count)
    elif service == "dynamodb" and operation in ("GetItem", "BatchGetItem"):
        bill.add("DynamoDB read unit", count)
    elif service == "dynamodb" and operation == "Query":
        bill.add("DynamoDB read unit", count / 2)  # indexes are read eventually consistent


def is_measurement(record: Mapping[str, Any]) -> bool:
    """Whether the measurement wrote a record of the stream, not the relay."""
    images = [record["dynamodb"].get(image, {}) for image in ("NewImage", "OldImage")]
    return [image.get("due_at") == {"N": OVERDUE} for image in images] == [True, False]


def write_units(change: Mapping[str, Any]) -> int:
    """Write units of one change (DynamoDB developer guide: the larger image by the kilobyte, each index likewise).

    In a transaction an item takes twice its units: `add_call` adds the other half.
    """
    old, new = change.get("OldImage"), change.get("NewImage")
    units = math.ceil(max(item_bytes(image) for image in (old, new) if image) / 1024)
    for keys in INDEXES:
        before, after = ([image[key] for key in keys] if image and keys[0] in image else None for image in (old, new))
        if before != after:
            units += (before is not None) + (after is not None)
    return units
