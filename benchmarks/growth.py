"""How the work for one task grows with the number of settled tasks in the table: counted, so that it is exact.

The relay's own code runs on an account in memory that already holds 10, 100, 1,000 and 10,000 completed tasks of the
same tenant. Counted are the calls, and the keys that DynamoDB reads for its queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tests.simulation.simulation import TENANT, Simulation
from tests.unit.account import Account, empty, mock_aws, new_account
from vidu_relay.adapters.task_item import to_item
from vidu_relay.domain.identifiers import task_id_from_random
from vidu_relay.observability import logger
from vidu_relay.usecases.read_tasks import list_tasks

__all__ = ["SIZES", "Work", "measure", "report", "work_with"]

SIZES = (10, 100, 1_000, 10_000)
BATCH = 25
"""As many writes as DynamoDB takes in one call."""


@dataclass(frozen=True)
class Work:
    """What one thing costs: calls of AWS and of the provider, and keys that queries read."""

    calls: int
    keys: int


def measure(sizes: tuple[int, ...] = SIZES, say: Callable[[str], None] = lambda _: None) -> dict[str, dict[int, Work]]:
    """The work by what is done and how many settled tasks there are."""
    say("counting the work beside 10 to 10,000 settled tasks")
    level = logger.log_level
    logger.setLevel("ERROR")  # the relay's own code runs in this process
    found: dict[str, dict[int, Work]] = {}
    try:
        with mock_aws():
            account = new_account()
            for size in sizes:
                for what, work in work_with(account, size).items():
                    found.setdefault(what, {})[size] = work
    finally:
        logger.setLevel(level)
    return found


def report(found: Mapping[str, Mapping[int, Work]]) -> list[str]:
    """The table, as Markdown."""
    sizes = list(next(iter(found.values())))
    lines = ["Calls of AWS and of the provider, and keys that queries read.", ""]
    lines += ["| settled tasks in the table | " + " | ".join(f"{size:,}" for size in sizes) + " |"]
    lines.append("|---|" + "---|" * len(sizes))
    for what, by_size in found.items():
        cells = (f"{work.calls} calls, {work.keys} keys" for work in by_size.values())
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return lines


def work_with(account: Account, settled: int) -> dict[str, Work]:
    """What a sweep, a page of a listing and a whole task take while so many settled tasks are in the table."""
    empty(account)
    sim = Simulation(account)
    _fill(sim, settled)
    found: dict[str, Work] = {}
    with _counting(account, sim, found) as counted:
        counted("a sweep that finds nothing", sim.sweep)
        counted("a page of 20 tasks", lambda: _page(sim))
        counted("a task that goes well", lambda: _healthy(sim))
        counted("a task whose callbacks are lost", lambda: _overdue(sim))
    return found


def _healthy(sim: Simulation) -> None:
    task_id = sim.submit(key="healthy").task_id
    sim.call_back(task_id, {"status": "processing"})
    sim.provider.finish("gen-2")
    sim.call_back(task_id, {"status": "completed"})
    _deliver(sim, task_id)


def _overdue(sim: Simulation) -> None:
    task_id = sim.submit(key="overdue").task_id
    sim.provider.finish("gen-3")
    sim.clock.advance(125)
    sim.sweep()
    sim.check(task_id)
    _deliver(sim, task_id)


def _deliver(sim: Simulation, task_id: str) -> None:
    sim.publish()
    sim.deliver(task_id)
    sim.publish()


def _page(sim: Simulation) -> None:
    list_tasks(TENANT, {"limit": "20"}, store=sim.store, videos=sim.videos)


def _fill(sim: Simulation, settled: int) -> None:
    """Put so many completed tasks into the table, made from one that was run."""
    task_id = sim.submit(key="first").task_id
    sim.provider.finish("gen-1")
    sim.call_back(task_id, {"status": "completed"})
    _deliver(sim, task_id)
    done = sim.task(task_id)
    client, table = sim.account.clients["dynamodb"], sim.account.table
    for start in range(0, settled - 1, BATCH):
        numbers = range(start, min(start + BATCH, settled - 1))
        copies = [
            replace(done, task_id=task_id_from_random(number.to_bytes(16)), created_at=done.created_at - number)
            for number in numbers
        ]
        client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": to_item(copy)}} for copy in copies]})


@contextmanager
def _counting(account: Account, sim: Simulation, found: dict[str, Work]) -> Iterator[Any]:
    keys = [0]

    def count_keys(parsed: Mapping[str, Any], **_: Any) -> None:
        keys[0] += parsed["ScannedCount"]

    def counted(what: str, run: Any) -> None:
        keys[0] = 0
        sim.effects.names.clear()
        run()
        found[what] = Work(len(sim.effects.names), keys[0])

    events = account.clients["dynamodb"].meta.events
    events.register("after-call.dynamodb.Query", count_keys)
    try:
        yield counted
    finally:
        events.unregister("after-call.dynamodb.Query", count_keys)
