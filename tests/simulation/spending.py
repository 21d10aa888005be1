"""What the tasks of a simulation cost: counters and ledger against the reservations, and against the provider's books.

As in `invariants.py`, no code under test takes part.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from local.chaos.oracle import Booked, Invariant, ViolationError, check_spending
from tests.simulation.simulation import Simulation
from tests.simulation.wiring import PRICE

NO_MONEY = Decimal(0)


def booked(sim: Simulation) -> dict[str, Booked]:
    """The rows of the ledger, by task."""
    return {
        row["task_id"]["S"]: Booked(row["state"]["S"], _amount(row, "cost"), _amount(row, "counted") or NO_MONEY)
        for row in sim.items(ledger=True)
    }


def bill(sim: Simulation, remote_id: str | None) -> Decimal | None:
    """What the provider's books say of a remote task; None where they name no amount."""
    found = sim.provider.remote.get(remote_id or "")
    if found is None or sim.provider.name == "vidu":  # which charges no failed task, and states no credits here
        return NO_MONEY if found and found.state == "failed" else None
    return Decimal(found.usage.cost) if found.usage and found.usage.cost else None


def find_wrong_spending(sim: Simulation, lost_slots: int | None) -> Iterator[ViolationError]:
    """At any moment: the counters hold what tasks count, and at most the reservations that faults left without a task.

    A task counts with its reservation until its first row. A daily budget bounds the counter: the provider bills less
    than was reserved.
    """
    images = {record["dynamodb"]["NewImage"]["pk"]["S"]: record["dynamodb"]["NewImage"] for record in sim.stream}
    rows, counted = booked(sim), defaultdict[str, Decimal](Decimal)
    for name, image in images.items():
        task_id, reserved = name.removeprefix("task#"), _amount(image, "reserved_usd")
        if reserved != PRICE:
            yield ViolationError(Invariant.SPENDING, f"{task_id} has reserved {reserved}, whose price is unknown")
        tenant = image["owner"]["S"]
        counted[tenant] += rows[task_id].counted if task_id in rows else PRICE
    for tenant, amount in counted.items():
        days = [item for item in sim.items() if item["pk"]["S"].startswith(f"cap#{tenant}#")]
        committed = sum((_amount(day, "committed") or NO_MONEY for day in days), NO_MONEY)
        most = None if lost_slots is None else amount + lost_slots * PRICE - sum(sim.freed)
        yield from check_spending(amount, committed, most)
    if min(sim.freed, default=NO_MONEY) < 0:
        yield ViolationError(Invariant.SPENDING, f"a comparison found too little: {sim.freed}")
    if sim.budget.daily is not None and max(sim.committed, default=NO_MONEY) > sim.budget.daily:
        yield ViolationError(Invariant.SPENDING, f"{max(sim.committed)} was counted, of {sim.budget.daily}")


def _amount(item: Mapping[str, Any], name: str) -> Decimal | None:
    return Decimal(next(iter(item[name].values()))) if name in item else None
