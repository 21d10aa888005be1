"""What it takes to accept 1,000 requests as one file, against the same requests over HTTP.

Both on one local stack whose provider is held, so that every task waits in the queue: what follows is the same. The
file is measured from its upload until each line is a task.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bill import Bill, Counter
from benchmarks.cost import AWS_CALL_SECONDS, billed_seconds, memory_of_functions
from benchmarks.rows import row, table
from benchmarks.workload import held, request, wait_until
from local.client import RelayClient
from local.stack import LocalStack
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.domain.batch import batch_id_of

__all__ = ["measure", "report"]

LINES, SINGLE = 1000, 50
CALLS_A_LINE = 2
"""The read and the write of its task."""
FUNCTION = "accept_request"


@dataclass(frozen=True)
class Acceptance:
    """Of `LINES` requests in a file, and of `SINGLE` over HTTP: the bills are for 1,000."""

    by_file: Bill
    over_http: Bill
    file_seconds: float
    http_seconds: float
    memory_mb: float
    single_memory_mb: float


def measure(say: Callable[[str], None] = lambda _: None) -> Acceptance:
    """Accept both on a stack of their own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalStack(Path(folder), parameters={"DailyTaskCap": str(3 * LINES)}, progress=say) as stack,
    ):
        relay = RelayClient(stack)
        try:
            with held(relay):
                return _measure(relay)
        finally:
            relay.close()


def _measure(relay: RelayClient) -> Acceptance:
    _accept_file(relay, 1, "warms up")
    relay.submit(request(relay, "warms up"))
    single_memory = _peak_memory(relay)
    memory = memory_of_functions()
    file_counter, http_counter = (Counter(relay, n, memory, _billed) for n in (LINES, SINGLE))
    seconds: list[float] = []
    over_http = http_counter.bill(
        "over HTTP, one by one",
        lambda: seconds.append(_timed(lambda: [relay.submit(request(relay, str(n))) for n in range(SINGLE)])),
    )
    by_file = file_counter.bill(
        f"as a file of {LINES:,} lines",
        lambda: seconds.append(_timed(lambda: _accept_file(relay, LINES, "is a line"))),
    )
    by_file.add(
        "Lambda GB-second, arm64", LINES * CALLS_A_LINE * AWS_CALL_SECONDS * memory[FUNCTION] / 1024 * 1000 / LINES
    )
    return Acceptance(by_file, over_http, seconds[1], seconds[0], _peak_memory(relay), single_memory)


def report(found: Acceptance) -> list[str]:
    """The tables, as Markdown."""
    price = found.by_file.dollars / found.over_http.dollars
    time_of_one = found.file_seconds / LINES / (found.http_seconds / SINGLE)
    memory = found.memory_mb - found.single_memory_mb
    rows = [
        row("1,000 requests, US$ as a file ÷ over HTTP", [price], "×", at_most=1),
        row("a request, time as a file ÷ over HTTP", [time_of_one], "×", at_most=1),
        row(f"a file of {LINES:,} lines, until each is a task", [found.file_seconds], "s"),
        row(f"{LINES:,} lines, peak memory above that of one line", [memory], "MB", at_most=8),
    ]
    lines = ["", "| accepted into the queue, 1,000 requests | US$ | dearest parts |", "|---|---|---|"]
    for bill in (found.by_file, found.over_http):
        dearest = ", ".join(f"{what} {dollars:.4f}" for what, _, dollars in bill.rows()[:4])
        lines.append(f"| {bill.title} | {bill.dollars:.4f} | {dearest} |")
    return [*table(rows), *lines]


def _billed(folder: str, cpu_seconds: float) -> float:
    """No create call is made while the provider is held."""
    return billed_seconds(folder, cpu_seconds, waiting=5 * AWS_CALL_SECONDS)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _accept_file(relay: RelayClient, lines: int, prompt: str) -> None:
    body = request(relay, prompt)
    content = "\n".join(json.dumps({**body, "seed": seed}) for seed in range(lines)).encode()
    batches = BatchStore(relay.aws("dynamodb"), relay.stack.table)
    batch_id = batch_id_of(relay.stack.tenant_id, hashlib.sha256(content).hexdigest())
    relay.drop(f"{prompt}.jsonl", content)

    def accepted() -> bool:
        batch = batches.get(batch_id)
        return batch is not None and batch.tasks == lines

    wait_until(accepted, f"{prompt!r} is not accepted")


def _peak_memory(relay: RelayClient) -> float:
    """Megabytes that a process of the function has had at most."""
    name, peaks = relay.stack.functions[FUNCTION].encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"AWS_LAMBDA_FUNCTION_NAME=" + name + b"\0" not in (process / "environ").read_bytes():
                continue
            status = (process / "status").read_text()
        except OSError:  # it has ended, or is another user's
            continue
        peaks.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024)
    return max(peaks)
