"""What 1,000 tasks cost on AWS, from counted calls and a table of prices.

Runs tasks on the local stack with the emulator's meter on, counts every request, invocation, write and read unit,
state transition, event and byte of log, and multiplies by `benchmarks/prices.py`. A function's time is its CPU time
here at Lambda's share of a CPU, and the waiting for AWS, the provider and the network, which is assumed: see the
constants.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml

from benchmarks.overhead import PROMPT, item_bytes
from benchmarks.prices import AS_OF, PRICES, REGION
from benchmarks.rows import Row, row, table
from local.client import RelayClient, TooSlowError
from local.programs import ROOT
from local.stack import LocalStack, Stack

__all__ = ["FREE_DASHBOARD_METRICS", "WAITING_SECONDS", "Bill", "main", "measure", "report"]

TASKS = 10
GENERATION_SECONDS = 0.3
WAIT_SECONDS = 60.0
MONTHLY_TASKS = (10_000, 100_000, 1_000_000)
MONTH_MINUTES = 43_200

# Assumed, because an emulator cannot tell.
PROVIDER_CREATE_SECONDS = 0.5
PROVIDER_READ_SECONDS = 0.3
CLIENT_SECONDS = 0.3
VIDEO_BYTES = 15_000_000
COPY_BYTES_PER_SECOND = 55_000_000
"""What the CPU of 256 MB copies at 2.65 CPU seconds a GB (`RESULTS.md`, copy of 1 GB); a fast link is assumed."""
AWS_CALL_SECONDS = 0.006
MEMORY_OF_ONE_CPU = 1769
"""Megabytes at which a function has one CPU; with less, as much less of it (Lambda developer guide, memory)."""
COLD_STARTS = 0.01
COLD_START_SECONDS = 0.6
API_LOG_BYTES = 420
"""A line of the API's access log, in the format of the template, with CloudWatch's 26 bytes."""
CLIENT_READS = 2
"""How often a client reads its task. A client that listens to events reads none."""
OFF_PEAK_HOURS = 12
POLLS_OF_A_QUEUE = 5
"""Lambda keeps five long polls of 20 s on each queue, busy or not.

It goes down to two only where no `MaximumConcurrency` is set (Lambda developer guide, scaling behavior for SQS); ours
have one, so that a queue cannot take a new account's ten executions.
"""
LAPSED = 0.02
"""Tasks whose callbacks are lost, in the mix that "watching" is computed for."""


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

    def plus(self, other: Bill, times: float, title: str) -> Bill:
        """This bill and another one, so many times."""
        sum_of = Bill(title, dict(self.units))
        for what, units in other.units.items():
            sum_of.add(what, units * times)
        return sum_of

    @property
    def dollars(self) -> float:
        """What it comes to."""
        return sum(PRICES[what][0] * units for what, units in self.units.items())

    def rows(self) -> list[tuple[str, float, float]]:
        """What, units, dollars; the dearest first."""
        listed = [(what, units, PRICES[what][0] * units) for what, units in self.units.items()]
        return sorted(listed, key=lambda row: -row[2])


def main() -> int:
    """Count, price and print."""
    for line in report(measure()):
        sys.stdout.write(f"{line}\n")
    return 0


@dataclass(frozen=True)
class Costs:
    """For 1,000 tasks each, unless it says otherwise."""

    healthy: Bill
    told: Bill
    reading: Bill
    lost: Bill
    look: Bill
    off_peak: Bill
    naive: Bill
    sweeps: Bill
    polling: Bill
    standing: Bill
    busy: Bill
    writes_per_task: float
    record_bytes: int


def measure(progress: Callable[[str], None] = lambda _: None) -> Costs:
    """Run the paths on a local stack of their own and count them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _client_backend() as backend,
        LocalStack(
            Path(folder),
            generation_seconds=GENERATION_SECONDS,
            parameters={"OffPeakAvailable": "true", "TrustedOrigins": backend},
            progress=progress,
        ) as stack,
    ):
        relay = RelayClient(stack)
        try:
            return _measure(relay, _Counter(stack, relay, _memory()), backend)
        finally:
            relay.close()


@contextmanager
def _client_backend() -> Iterator[str]:
    """A client's backend that takes whatever it is told; its origin."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _measure(relay: RelayClient, counter: _Counter, backend: str) -> Costs:
    _finished(relay, ["warms up"])
    _lost(relay, 1)
    healthy = counter.bill("a task that goes well", lambda: _finished(relay, map(str, range(TASKS))))
    writes, size = counter.writes, counter.largest
    told = counter.bill(
        "... and its client is notified by webhook, twice",
        lambda: _finished(relay, (f"told {n}" for n in range(TASKS)), callback_url=f"{backend}/told"),
    )
    task_id = relay.submit(_request(relay, "is read"))["task_id"]
    reading = counter.bill("a client reads its task", lambda: [relay.task(task_id) for _ in range(TASKS)])
    lost = counter.bill("a task whose callbacks are lost", lambda: _lost(relay, TASKS))
    off_peak = counter.bill(
        "an off-peak task", lambda: _finished(relay, (f"off-peak {n}" for n in range(TASKS)), off_peak=True)
    )
    relay.script("takes long", {"generation_seconds": 3600})
    slow = [relay.submit(_request(relay, f"takes long {n}", off_peak=True))["task_id"] for n in range(TASKS)]
    look = counter.bill("a look that finds nothing new", lambda: _look_at(relay, slow))
    sweep = counter.bill("a sweep that finds nothing", lambda: [relay.sweep() for _ in range(TASKS)], sweeps=True)
    sweeps = Bill("").plus(sweep, MONTH_MINUTES / 1000, "sweeps in a month")
    sweeps.add("Scheduler invocation", MONTH_MINUTES)
    polling = Bill("empty polls of queues in a month")
    polling.add("SQS request", _queues() * POLLS_OF_A_QUEUE * 3 * MONTH_MINUTES)
    return Costs(
        healthy=healthy,
        told=told,
        reading=reading,
        lost=lost,
        look=look,
        off_peak=off_peak.plus(look, OFF_PEAK_HOURS, f"an off-peak task that takes {OFF_PEAK_HOURS} hours"),
        naive=_naive(),
        sweeps=sweeps,
        polling=polling,
        standing=_standing(),
        busy=Bill("metrics of a month with tasks", {"custom metric": METRICS_ON_GOOD_DAYS}),
        writes_per_task=writes,
        record_bytes=size,
    )


def report(costs: Costs) -> list[str]:
    """The tables, as Markdown."""
    lines = [
        f"List prices of {REGION}, {AS_OF}, without free tiers; {TASKS} tasks of each kind counted on the local stack.",
        "",
        f"A task that goes well: {costs.writes_per_task:.1f} table writes, largest item {costs.record_bytes} bytes.",
        "",
        "| path, 1,000 tasks | US$ | dearest parts |",
        "|---|---|---|",
    ]
    whole = costs.healthy.plus(costs.reading, CLIENT_READS, f"... and its client reads it {CLIENT_READS} times")
    for bill in (costs.healthy, whole, costs.told, costs.lost, costs.off_peak, costs.naive):
        dearest = ", ".join(f"{what} {dollars:.4f}" for what, _, dollars in bill.rows()[:4])
        lines.append(f"| {bill.title} | {bill.dollars:.4f} | {dearest} |")
    lines += ["", "| units of 1,000 tasks that go well | units | US$ |", "|---|---|---|"]
    lines += [f"| {what} | {units:,.4g} | {dollars:.5f} |" for what, units, dollars in costs.healthy.rows()]
    lines += ["", "| all in, 1,000 tasks | " + " | ".join(f"{n:,} a month" for n in MONTHLY_TASKS) + " |"]
    lines += ["|---|" + "---|" * len(MONTHLY_TASKS)]
    parts: list[tuple[str, Callable[[int], float]]] = [
        ("the task itself", lambda _: costs.healthy.dollars),
        ("watching: sweeps, polls of the queue", lambda n: (costs.sweeps.dollars + costs.polling.dollars) / n * 1000),
        (f"watching: {LAPSED:.0%} of tasks lose their callbacks, and cost more", lambda _: _lapsed(costs)),
        ("secrets, alarms, metrics", lambda n: (costs.standing.dollars + costs.busy.dollars) / n * 1000),
    ]
    for name, price in parts:
        lines.append(f"| {name} | " + " | ".join(f"{price(n):.4f}" for n in MONTHLY_TASKS) + " |")
    total = " | ".join(f"{sum(price(n) for _, price in parts):.4f}" for n in MONTHLY_TASKS)
    lines.append(f"| sum | {total} |")
    for title, bill in (
        ("an idle stack, a month", _idle(costs)),
        ("besides, in a month with tasks", costs.busy),
        (f"1,000 videos of {VIDEO_BYTES / 1e6:g} MB, each sent to a client once; all kept for a month", _videos(costs)),
    ):
        lines += ["", f"| {title} | units | US$ |", "|---|---|---|"]
        lines += [f"| {what} | {units:,.4g} | {dollars:.3f} |" for what, units, dollars in bill.rows()]
        lines += [f"| sum | | {bill.dollars:.2f} |"]
    return [*table(judged(costs)), "", *lines]


def _idle(costs: Costs) -> Bill:
    """A month without a task. It stores nothing: table, backups, buckets and archive are empty."""
    return costs.standing.plus(costs.sweeps, 1, "").plus(costs.polling, 1, "")


def _videos(costs: Costs) -> Bill:
    """What 1,000 tasks leave behind and send to clients. In no other sum: it depends on the videos and the clients."""
    bill = Bill("")
    bill.add("internet egress GB", 1000 * VIDEO_BYTES / 1e9)
    bill.add("S3 storage GB", 1000 * VIDEO_BYTES / 1e9)
    for what in ("DynamoDB storage GB", "DynamoDB continuous backup GB"):
        bill.add(what, 1000 * costs.record_bytes / 1e9)
    bill.add("log storage GB", costs.healthy.units.get("log GB", 0.0))
    return bill


def judged(costs: Costs) -> list[Row]:
    """What has a target, for 1,000 tasks at 100,000 a month. Watching is part of everything that is counted."""
    watching = (costs.sweeps.dollars + costs.polling.dollars) / TARGET_MONTH * 1000
    well = costs.healthy.dollars + watching + _lapsed(costs)
    return [
        row("1,000 tasks that go well, with watching", [well], "US$", at_most=0.050),
        row("1,000 tasks with lost callbacks, with watching", [costs.lost.dollars + watching], "US$", at_most=0.10),
        row(
            f"1,000 off-peak tasks of {OFF_PEAK_HOURS} hours, with watching",
            [costs.off_peak.dollars + watching],
            "US$",
            at_most=0.13,
        ),
        row("an idle stack, a month", [_idle(costs).dollars], "US$", at_most=5.50),
    ]


def _lapsed(costs: Costs) -> float:
    """What 1,000 tasks cost more because some lose their callbacks: those are not tasks that go well besides."""
    return LAPSED * (costs.lost.dollars - costs.healthy.dollars)


TARGET_MONTH = 100_000
"""Tasks in the month that the target is set for."""


class _Counter:
    """Reads the emulator's meter and the table's stream around a piece of work."""

    def __init__(self, stack: Stack, relay: RelayClient, memory: Mapping[str, float]) -> None:
        self._meter = f"{stack.aws_endpoint_url}/_meter"
        self._verify = stack.aws_ca_bundle
        self._relay = relay
        self._memory = memory
        self._folders = {name: folder for folder, name in stack.functions.items()}
        streams, table = relay.aws("dynamodbstreams"), relay.aws("dynamodb").describe_table(TableName=stack.table)
        self._arn = table["Table"]["LatestStreamArn"]
        self._shard = streams.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"][0]["ShardId"]
        self.writes = 0.0
        """Writes to the table for each task of the last bill."""
        self.largest = 0
        """Bytes of the largest item the last bill's work wrote."""

    def bill(self, title: str, work: Callable[[], object], *, sweeps: bool = False) -> Bill:
        """What the work on `TASKS` tasks used, for 1,000. Sweeps are no task's own: charged only where asked for."""
        self._settle()
        self._events()
        requests.delete(self._meter, verify=self._verify, timeout=10)
        before, executions = len(self._records()), self._executions()
        work()
        self._settle()
        reading = requests.get(self._meter, verify=self._verify, timeout=10).json()
        records = [r for r in self._records()[before:] if not _ours(r)]
        bill, each = Bill(title), 1000 / TASKS
        self._add_functions(bill, reading["functions"], each, sweeps=sweeps)
        self._add_calls(bill, reading["calls"], each, sweeps=sweeps)
        written = [_write_units(record["dynamodb"]) for record in records]
        bill.add("DynamoDB write unit", sum(written) * each)
        self.writes = len(records) / TASKS
        self.largest = max((item_bytes(r["dynamodb"]["NewImage"]) for r in records), default=0)
        self._add_events(bill, each)
        transitions = sum(self._transitions(arn) for arn in self._executions() - executions)
        bill.add("Step Functions transition", transitions * each)
        return bill

    def _add_functions(self, bill: Bill, functions: Mapping[str, Any], each: float, *, sweeps: bool) -> None:
        for name, counted in functions.items():
            folder = self._folders[name]
            if folder == "find_overdue_tasks" and not sweeps:
                continue
            calls, memory = counted["invocations"], self._memory[folder]
            if not counted["timed"]:
                raise RuntimeError(f"{folder}: this system does not tell the CPU time of a process")
            working = counted["cpu_seconds"] / counted["timed"] * MEMORY_OF_ONE_CPU / memory
            seconds = working + WAITING_SECONDS[folder] + COLD_STARTS * COLD_START_SECONDS
            bill.add("Lambda request", calls * each)
            bill.add("Lambda GB-second, arm64", seconds * calls * memory / 1024 * each)
            bill.add("log GB", counted["log_bytes"] / 1e9 * each)

    def _add_calls(self, bill: Bill, calls: Iterable[Mapping[str, Any]], each: float, *, sweeps: bool) -> None:
        for call in calls:
            count = call["count"] * each
            if call["service"] == "execute-api":
                bill.add("HTTP API request", count)
                bill.add("log GB", API_LOG_BYTES * count / 1e9)
            elif "assumed-role" in call["caller"] and (sweeps or call["operation"] != "Query"):
                _add_call(bill, call["service"], call["operation"], count)

    def _add_events(self, bill: Bill, each: float) -> None:
        for event in self._events():
            bill.add("EventBridge event", each)
            bill.add("EventBridge archive GB", len(event) / 1e9 * each)
            if _is_queued(json.loads(event)):
                bill.add("SQS request", 3 * each)  # EventBridge sends it, Lambda receives and deletes it

    def _events(self) -> list[str]:
        """The events on the bus since the last call."""
        sqs, url = self._relay.aws("sqs"), self._relay.stack.events_queue_url
        found: list[str] = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(message["Body"])
        return found

    def _records(self) -> list[dict[str, Any]]:
        streams = self._relay.aws("dynamodbstreams")
        position = streams.get_shard_iterator(
            StreamArn=self._arn, ShardId=self._shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found: list[dict[str, Any]] = []
        while True:
            reply = streams.get_records(ShardIterator=position, Limit=1000)
            found += reply["Records"]
            position = reply.get("NextShardIterator")
            if not reply["Records"] or not position:
                return found

    def _executions(self) -> set[str]:
        listed = self._relay.aws("stepfunctions").list_executions(
            stateMachineArn=self._relay.stack.state_machine_arn, maxResults=1000
        )
        return {execution["executionArn"] for execution in listed["executions"]}

    def _transitions(self, execution: str) -> int:
        history = self._relay.aws("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)
        return sum(event["type"].endswith("StateEntered") for event in history["events"])

    def _settle(self) -> None:
        """Wait until no function runs any more, so that nothing is counted in the wrong place."""
        deadline, quiet, last = time.monotonic() + WAIT_SECONDS, 0, -1
        while quiet < 5 and time.monotonic() < deadline:
            reading = requests.get(self._meter, verify=self._verify, timeout=10).json()
            now = sum(counted["invocations"] for counted in reading["functions"].values())
            quiet, last = quiet + 1 if now == last else 0, now
            time.sleep(0.2)


WAITING_SECONDS: Mapping[str, float] = {
    "authorize_request": AWS_CALL_SECONDS,
    "accept_request": PROVIDER_CREATE_SECONDS + 5 * AWS_CALL_SECONDS,
    "cancel_task": 2 * PROVIDER_READ_SECONDS + 2 * AWS_CALL_SECONDS,
    "create_upload": AWS_CALL_SECONDS,
    "describe_api": 0.0,
    "submit_task": PROVIDER_CREATE_SECONDS + 4 * AWS_CALL_SECONDS,
    "receive_callback": PROVIDER_READ_SECONDS + 2 * AWS_CALL_SECONDS,
    "check_task": PROVIDER_READ_SECONDS + 2 * AWS_CALL_SECONDS,
    "deliver_videos": PROVIDER_READ_SECONDS + VIDEO_BYTES / COPY_BYTES_PER_SECOND + 3 * AWS_CALL_SECONDS,
    "publish_events": AWS_CALL_SECONDS,
    "read_tasks": AWS_CALL_SECONDS,
    "find_overdue_tasks": 8 * AWS_CALL_SECONDS,
    "notify_client": CLIENT_SECONDS + 4 * AWS_CALL_SECONDS,
}
"""Waiting that the local stack does not show, by function: the provider and AWS answer at once there."""


TOLD = frozenset(
    {
        "VideoTaskProcessing",
        "VideoTaskDeliveryDelayed",
        "VideoTaskCompleted",
        "VideoTaskFailed",
        "VideoTaskExpired",
        "VideoTaskCanceled",
    }
)
"""Events that a client with a `callback_url` is told of."""


def _is_queued(event: Mapping[str, Any]) -> bool:
    """Whether a rule of the template puts an event into a queue: to be copied, or told."""
    kind = event["detail-type"]
    return kind == "VideoTaskGenerated" or (kind in TOLD and bool(event["detail"]["client_callback"]))


def _add_call(bill: Bill, service: str, operation: str, count: float) -> None:
    if service == "s3":
        bill.add("S3 PUT" if operation.startswith(("PUT", "POST", "GET list-type")) else "S3 GET", count)
    elif service == "sqs":
        bill.add("SQS request", count)
        if operation == "SendMessage":
            bill.add("SQS request", 2 * count)  # Lambda receives and deletes it
    elif service == "secretsmanager":
        bill.add("Secrets Manager call", count)
    elif service == "dynamodb" and operation in ("GetItem", "BatchGetItem"):
        bill.add("DynamoDB read unit", count)
    elif service == "dynamodb" and operation == "Query":
        bill.add("DynamoDB read unit", count / 2)  # indexes are read eventually consistent


INDEXES = (("due_shard", "due_at"), ("owner", "created_at"))
"""The keys of the indexes, which are keys-only: only a change of a key writes them."""

MARK = "1"
"""The due date that the measurement itself sets, to make a task overdue."""


def _ours(record: Mapping[str, Any]) -> bool:
    """Whether the measurement wrote it, not the relay."""
    new: dict[str, Any] = record["dynamodb"].get("NewImage", {})
    old: dict[str, Any] = record["dynamodb"].get("OldImage", {})
    return new.get("due_at") == {"N": MARK} and old.get("due_at") != {"N": MARK}


def _write_units(change: Mapping[str, Any]) -> int:
    """Write units of one change (DynamoDB developer guide: the larger image by the kilobyte, each index likewise).

    In a transaction an item takes twice its units: an id of the remote task is written together with its owner.
    """
    old, new = change.get("OldImage"), change.get("NewImage")
    units = math.ceil(max(item_bytes(image) for image in (old, new) if image) / 1024)
    if _remote_ids(new) - _remote_ids(old):
        units *= 2
    for keys in INDEXES:
        before, after = ([image[key] for key in keys] if image and keys[0] in image else None for image in (old, new))
        if before != after:
            units += (before is not None) + (after is not None)
    return units


def _remote_ids(image: Mapping[str, Any] | None) -> set[str]:
    """The ids of the remote task that a task's image holds, or the one that an owner's item is named after."""
    item: Mapping[str, Any] = image or {}
    aliases = [alias["S"] for alias in item.get("aliases", {}).get("L", [])]
    ids = {item[name]["S"] for name in ("remote_id", "upstream_id") if name in item}
    pk = item.get("pk", {}).get("S", "")
    return {*ids, *aliases, *([pk] if pk.startswith("remote#") else [])}


def _request(relay: RelayClient, prompt: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "viduq2_pro_fast_reference2video",
        "subjects": [
            {"id": "fox", "images": [relay.image("fox.png")]},
            {"id": "robot", "images": [relay.image("robot.jpg")]},
        ],
        "prompt": f"{PROMPT} {prompt}",
        "duration": 1,
        **more,
    }


def _finished(relay: RelayClient, prompts: Iterable[str], **more: Any) -> None:
    """Tasks that go well, one after the other, by callback."""
    for prompt in prompts:
        _wait(relay, relay.submit(_request(relay, prompt, **more))["task_id"], "completed")


def _lost(relay: RelayClient, tasks: int) -> None:
    """Tasks whose callbacks are lost, each found by its first look, which comes when it would: after the end."""
    relay.script("never rings", {"callbacks": {"drop": True}})
    for number in range(tasks):
        task_id = relay.submit(_request(relay, f"never rings {number}"))["task_id"]
        time.sleep(2 * GENERATION_SECONDS)
        _look(relay, task_id)
        _wait(relay, task_id, "completed")


def _look_at(relay: RelayClient, task_ids: Iterable[str]) -> None:
    for task_id in task_ids:
        _look(relay, task_id)


def _look(relay: RelayClient, task_id: str) -> None:
    """Make a task overdue, and sweep; until its execution has ended or waits."""
    relay.aws("dynamodb").update_item(
        TableName=relay.stack.table,
        Key={"pk": {"S": f"task#{task_id}"}},
        UpdateExpression="SET due_at = :now",
        ExpressionAttributeValues={":now": {"N": MARK}},
    )
    relay.sweep()
    states, machine = relay.aws("stepfunctions"), relay.stack.state_machine_arn
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        newest = [e for e in states.list_executions(stateMachineArn=machine)["executions"] if task_id in e["name"]]
        events = states.get_execution_history(executionArn=newest[0]["executionArn"])["events"] if newest else []
        if any(event["type"] in ("WaitStateEntered", "ExecutionSucceeded") for event in events):
            return
        time.sleep(0.05)
    raise TooSlowError(f"nobody has looked at {task_id} after {WAIT_SECONDS:g} s")


def _wait(relay: RelayClient, task_id: str, status: str) -> None:
    """Until the record says so. Read by the operator, so that no client's request is counted."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        key = {"pk": {"S": f"task#{task_id}"}}
        item = relay.aws("dynamodb").get_item(TableName=relay.stack.table, Key=key, ConsistentRead=True)["Item"]
        if item["status"]["S"] == status:
            return
        time.sleep(0.05)
    raise TooSlowError(f"task {task_id} is not {status} after {WAIT_SECONDS:g} s")


def _standing() -> Bill:
    """What the stack costs in a month while nothing happens, besides sweeps and polls."""
    resources = _template()
    bill = Bill("secrets, alarms and dashboard in a month")
    bill.add("secret", sum(r["Type"] == "AWS::SecretsManager::Secret" for r in resources.values()))
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            metrics = resource["Properties"].get("Metrics", [{"MetricStat": {}}])
            bill.add("alarm metric", sum("MetricStat" in metric for metric in metrics))
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            body = json.loads(resource["Properties"]["DashboardBody"].removeprefix("Sub "))
            shown = [line for widget in body["widgets"] for line in widget["properties"].get("metrics", [])]
            bill.add("dashboard", sum(isinstance(line[0], str) for line in shown) > FREE_DASHBOARD_METRICS)
    return bill


FREE_DASHBOARD_METRICS = 50
"""So many may a dashboard refer to that is one of the account's first three, which are free (aws.amazon.com/cloudwatch/
pricing: "3 Custom Dashboards referencing up to 50 metrics each per month"). No other free tier is counted."""


METRICS_ON_GOOD_DAYS = 8
"""Five events of a good task, TaskSeconds, SpendUSD, EventsPublished, as if each were written in every hour."""


def _naive() -> Bill:
    """The usual first design: REST API, a state machine that polls each 5 s for 3 min, everything traced."""
    bill, tasks = Bill("the usual first design"), 1000
    polls = 36
    bill.add("REST API request", 4 * tasks)
    for calls, gigabytes, seconds in ((1, 1.0, 0.65), (1, 1.73, 0.9), (2, 1.0, 0.02), (polls, 0.5, 0.35)):
        bill.add("Lambda request", calls * tasks)
        bill.add("Lambda GB-second, x86", calls * gigabytes * seconds * tasks)
    bill.add("DynamoDB write unit", (4 * 2 * 3 + 4) * tasks)  # 2 KB, two full indexes; idempotency records
    bill.add("DynamoDB read unit", (polls + 2) * tasks)
    bill.add("Step Functions transition", (3 * polls + 3) * tasks)  # wait, task, choice
    bill.add("S3 PUT", 4 * tasks)  # parts of 8 MB
    bill.add("EventBridge event", 4 * tasks)
    bill.add("log GB", 60e3 * tasks / 1e9)
    bill.add("X-Ray trace", 40 * tasks)
    return bill


def _queues() -> int:
    """How many queues Lambda polls."""
    mappings = (r for r in _template().values() if r["Type"] == "AWS::Lambda::EventSourceMapping")
    return sum("Queue" in str(mapping["Properties"]["EventSourceArn"]) for mapping in mappings)


def _memory() -> dict[str, float]:
    """Megabytes of each function, by folder."""
    template = _load()
    default = template["Globals"]["Function"]["MemorySize"]
    return {
        resource["Properties"]["CodeUri"].partition("/")[2]: resource["Properties"].get("MemorySize", default)
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def _template() -> dict[str, Any]:
    resources: dict[str, Any] = _load()["Resources"]
    return resources


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, whose content does not matter here."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return f"{suffix} {loader.construct_scalar(node)}"
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    assert isinstance(node, yaml.MappingNode)  # noqa: S101 - there is no fourth kind
    return loader.construct_mapping(node)


_Loader.add_multi_constructor("!", _short_form)


def _load() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506 - a safe loader
    return loaded


if __name__ == "__main__":
    sys.exit(main())
