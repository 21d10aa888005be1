"""What 1,000 tasks cost on AWS, from counted calls and a table of prices.

Runs tasks on the local stack with the emulator's meter on, counts every request, invocation, write and read unit,
state transition, event and byte of log (`benchmarks/bill.py`), and multiplies by `benchmarks/prices.py`. A function's
time is its CPU time here at Lambda's share of a CPU, and the waiting for AWS, the provider and the network, which is
assumed: see the constants.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bill import Bill, Counter
from benchmarks.prices import AS_OF, REGION
from benchmarks.rows import Row, row, table
from benchmarks.workload import (
    GENERATION_SECONDS,
    check,
    empty_queue,
    finish,
    finish_in_turn,
    finish_without_callbacks,
    request,
)
from local.chaos.backends import Backends
from local.client import RelayClient
from local.stack import LocalStack
from tests.unit.template import FUNCTIONS, TEMPLATE, of_type, properties
from vidu_relay.adapters.price_book import PriceLists
from vidu_relay.domain.catalogue import DEFAULT_MODEL

__all__ = [
    "AWS_CALL_SECONDS",
    "METRICS_ON_GOOD_DAYS",
    "VIDEO_BYTES",
    "WAITING_SECONDS",
    "billed_seconds",
    "measure",
    "memory_of_functions",
    "report",
]

TASKS = 10
MONTHLY_TASKS = (10_000, 100_000, 1_000_000)
TARGET_MONTH = 100_000
"""Tasks in the month that the target is set for."""
MONTH_MINUTES = 43_200

# Assumed, because an emulator cannot show it.
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
CLIENT_READS = 2
"""How often a client reads its task. A client that listens to events reads none."""
OFF_PEAK_HOURS = 12
POLLS_OF_A_QUEUE = 5
"""Lambda keeps five long polls of 20 s on each queue, busy or not.

It goes down to two only where no `MaximumConcurrency` is set (Lambda developer guide, scaling behavior for SQS); ours
have one, so that a queue cannot take a new account's ten executions.
"""
LAPSED = 0.02
"""Share of the tasks whose callbacks are lost, in what tasks that go well are computed to cost."""
METRICS_ON_GOOD_DAYS = 7
"""Five events of a good task, TaskSeconds and SpendUSD, as if each were written in every hour."""
PRICES_SET = {"prices": [{"model": DEFAULT_MODEL, "usd": "0.0450", "per": "video", "since": "2026-01-01"}]}
"""What the simulator bills: an operator's list, or what was learned, has it in the long run, and nothing is settled."""
WAITING_SECONDS: Mapping[str, float] = {
    "authorize_request": AWS_CALL_SECONDS,
    "accept_request": PROVIDER_CREATE_SECONDS + 5 * AWS_CALL_SECONDS,
    "cancel_task": 2 * PROVIDER_READ_SECONDS + 2 * AWS_CALL_SECONDS,
    "create_upload": AWS_CALL_SECONDS,
    "delete_task": 8 * AWS_CALL_SECONDS,
    "reconcile_spending": 20 * AWS_CALL_SECONDS,
    "record_spending": 2 * AWS_CALL_SECONDS,
    "describe_api": 0.0,
    "list_models": AWS_CALL_SECONDS,
    "submit_task": PROVIDER_CREATE_SECONDS + 4 * AWS_CALL_SECONDS,
    "receive_callback": PROVIDER_READ_SECONDS + 2 * AWS_CALL_SECONDS,
    "check_task": PROVIDER_READ_SECONDS + 2 * AWS_CALL_SECONDS,
    "deliver_videos": PROVIDER_READ_SECONDS + VIDEO_BYTES / COPY_BYTES_PER_SECOND + 3 * AWS_CALL_SECONDS,
    "publish_events": AWS_CALL_SECONDS,
    "read_tasks": AWS_CALL_SECONDS,
    "find_overdue_tasks": 12 * AWS_CALL_SECONDS,
    "notify_client": CLIENT_SECONDS + 5 * AWS_CALL_SECONDS,
    "send_webhook": CLIENT_SECONDS + 3 * AWS_CALL_SECONDS,
}
"""Waiting that the local stack does not show, by function: the provider and AWS answer at once there."""


@dataclass(frozen=True)
class Costs:
    """For 1,000 tasks each, unless it says otherwise."""

    healthy: Bill
    notified: Bill
    attempts: Bill
    reading: Bill
    lost: Bill
    queued: Bill
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
    with tempfile.TemporaryDirectory() as folder, Backends() as backends:
        backend = backends.origins["well"]
        parameters = {"OffPeakAvailable": "true", "TrustedOrigins": backend}
        local_stack = LocalStack(
            Path(folder), generation_seconds=GENERATION_SECONDS, parameters=parameters, progress=progress
        )
        with local_stack as stack:
            relay = RelayClient(stack)
            try:
                return _measure(relay, Counter(relay, TASKS, memory_of_functions(), billed_seconds), backend)
            finally:
                relay.close()


def _measure(relay: RelayClient, counter: Counter, backend: str) -> Costs:
    def prompts(word: str = "") -> list[str]:
        return [f"{word} {number}" for number in range(TASKS)]

    prices = PriceLists(relay.aws("dynamodb"), relay.stack.table)
    prices.write(PRICES_SET, seen=prices.read().version, now=1)
    finish(relay, ["warms up"])
    finish_without_callbacks(relay, 1)
    healthy = counter.bill("a task that goes well", lambda: finish(relay, prompts()))
    writes, size = counter.writes, counter.largest
    notified = counter.bill(
        "... and its client is notified by webhook, twice",
        lambda: finish(relay, prompts("notified"), callback_url=f"{backend}/notified"),
    )
    attempts = Bill("of this, the record of the attempts", {"DynamoDB write unit": counter.attempt_units})
    task_id = relay.submit(request(relay, "is read"))["task_id"]
    reading = counter.bill("a client reads its task", lambda: [relay.task(task_id) for _ in range(TASKS)])
    lost = counter.bill("a task whose callbacks are lost", lambda: finish_without_callbacks(relay, TASKS))
    off_peak = counter.bill("an off-peak task", lambda: finish(relay, prompts("off-peak"), off_peak=True))
    finish_in_turn(relay, prompts("warms up checks at the same time"))
    queued = counter.bill(
        "a task that waits in the queue, with its sweeps", lambda: finish_in_turn(relay, prompts("waits")), sweeps=True
    )
    empty_queue(relay)
    relay.script("takes long", {"generation_seconds": 3600})
    slow = [relay.submit(request(relay, prompt, off_peak=True))["task_id"] for prompt in prompts("takes long")]
    idle_check = counter.bill("a check that finds nothing new", lambda: check(relay, *slow))
    sweep = counter.bill("a sweep that finds nothing", lambda: [relay.sweep() for _ in range(TASKS)], sweeps=True)
    sweeps = Bill("").plus(sweep, MONTH_MINUTES / 1000, "sweeps in a month")
    sweeps.add("Scheduler invocation", MONTH_MINUTES)
    queues = [mapping for mapping in of_type("AWS::Lambda::EventSourceMapping").values() if "Queue" in str(mapping)]
    polls = len(queues) * POLLS_OF_A_QUEUE * 3 * MONTH_MINUTES
    return Costs(
        healthy=healthy,
        notified=notified,
        attempts=attempts,
        reading=reading,
        lost=lost,
        queued=queued,
        off_peak=off_peak.plus(idle_check, OFF_PEAK_HOURS, f"an off-peak task that takes {OFF_PEAK_HOURS} hours"),
        naive=naive(),
        sweeps=sweeps,
        polling=Bill("empty polls of queues in a month", {"SQS request": polls}),
        standing=standing(),
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
    for bill in (
        costs.healthy,
        whole,
        costs.notified,
        costs.attempts,
        costs.lost,
        costs.queued,
        costs.off_peak,
        costs.naive,
    ):
        dearest = ", ".join(f"{what} {dollars:.4f}" for what, _, dollars in bill.rows()[:4])
        lines.append(f"| {bill.title} | {bill.dollars:.4f} | {dearest} |")
    lines += ["", "| units of 1,000 tasks that go well | units | US$ |", "|---|---|---|"]
    lines += [f"| {what} | {units:,.4g} | {dollars:.5f} |" for what, units, dollars in costs.healthy.rows()]
    lines += ["", "| all in, 1,000 tasks | " + " | ".join(f"{n:,} a month" for n in MONTHLY_TASKS) + " |"]
    lines += ["|---|" + "---|" * len(MONTHLY_TASKS)]
    parts: list[tuple[str, Callable[[int], float]]] = [
        ("the task itself", lambda _: costs.healthy.dollars),
        ("sweeps, polls of the queues", lambda n: (costs.sweeps.dollars + costs.polling.dollars) / n * 1000),
        (f"{LAPSED:.0%} of tasks lose their callbacks, and cost more", lambda _: _lapsed(costs)),
        ("secrets, alarms, metrics", lambda n: (costs.standing.dollars + costs.busy.dollars) / n * 1000),
        ("sum", lambda n: sum(price(n) for _, price in parts[:-1])),
    ]
    for name, price in parts:
        lines.append(f"| {name} | " + " | ".join(f"{price(n):.4f}" for n in MONTHLY_TASKS) + " |")
    for title, bill in (
        ("an idle stack, a month", _idle(costs)),
        ("besides, in a month with tasks", costs.busy),
        (f"1,000 videos of {VIDEO_BYTES / 1e6:g} MB, each sent to a client once; all kept for a month", _videos(costs)),
    ):
        lines += ["", f"| {title} | units | US$ |", "|---|---|---|"]
        lines += [f"| {what} | {units:,.4g} | {dollars:.3f} |" for what, units, dollars in bill.rows()]
        lines += [f"| sum | | {bill.dollars:.2f} |"]
    return [*table(targets(costs)), "", *lines]


def targets(costs: Costs) -> list[Row]:
    """What has a target, for 1,000 tasks at 100,000 a month. Sweeps and polls are part of all that is counted."""
    overhead = (costs.sweeps.dollars + costs.polling.dollars) / TARGET_MONTH * 1000
    found = [
        ("1,000 tasks that go well, with sweeps and polls", costs.healthy.dollars + overhead + _lapsed(costs), 0.050),
        ("1,000 tasks with lost callbacks, with sweeps and polls", costs.lost.dollars + overhead, 0.10),
        (
            f"1,000 off-peak tasks of {OFF_PEAK_HOURS} hours, with sweeps and polls",
            costs.off_peak.dollars + overhead,
            0.13,
        ),
        ("an idle stack, a month", _idle(costs).dollars, 5.50),
    ]
    return [row(what, [dollars], "US$", at_most=target) for what, dollars, target in found]


def _lapsed(costs: Costs) -> float:
    """What 1,000 tasks cost more because some lose their callbacks: those are not tasks that go well besides."""
    return LAPSED * (costs.lost.dollars - costs.healthy.dollars)


def _idle(costs: Costs) -> Bill:
    """A month without a task. It stores nothing but its log: table, backups, buckets and archive are empty."""
    bill = costs.standing.plus(costs.sweeps, 1).plus(costs.polling, 1)
    bill.add("log storage GB", bill.units.get("log GB", 0.0))
    return bill


def _videos(costs: Costs) -> Bill:
    """What 1,000 tasks leave behind and send to clients. In no other sum: it depends on the videos and the clients."""
    videos, records = 1000 * VIDEO_BYTES / 1e9, 1000 * costs.record_bytes / 1e9
    return Bill(
        "",
        {
            "internet egress GB": videos,
            "S3 storage GB": videos,
            "DynamoDB storage GB": records,
            "DynamoDB continuous backup GB": records,
            "log storage GB": costs.healthy.units.get("log GB", 0.0),
        },
    )


def standing() -> Bill:
    """What the stack costs in a month while nothing happens, besides sweeps and polls; with the template's defaults."""
    bill = Bill("secrets, alarms and dashboard in a month")
    bill.add("secret", len(of_type("AWS::SecretsManager::Secret")))
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        metrics = alarm["Properties"].get("Metrics", [{"MetricStat": {}}])
        bill.add("alarm metric", sum("MetricStat" in metric for metric in metrics))
    wanted = TEMPLATE["Parameters"]["CreateDashboard"]["Default"] == "true"
    bill.add("dashboard", wanted * len(of_type("AWS::CloudWatch::Dashboard")))
    bill.add("custom metric", 0)  # a sweep that finds nothing writes none
    return bill


def naive() -> Bill:
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


def memory_of_functions() -> dict[str, float]:
    """Megabytes of each function, by folder."""
    default: Any = TEMPLATE["Globals"]["Function"]["MemorySize"]
    return {folder: properties(name).get("MemorySize", default) for folder, name in FUNCTIONS.items()}


def billed_seconds(folder: str, cpu_seconds: float, waiting: float | None = None) -> float:
    """Of an invocation on Lambda; `waiting` is in place of `WAITING_SECONDS`."""
    working = cpu_seconds * MEMORY_OF_ONE_CPU / memory_of_functions()[folder]
    return working + (WAITING_SECONDS[folder] if waiting is None else waiting) + COLD_STARTS * COLD_START_SECONDS
