"""The table: each fault, how many tasks met it, and what became of them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal

from local.chaos.expectation import Evidence, Result, bill

__all__ = ["details", "summary", "table"]

HEAD = ("fault", "tasks", "settled", "wrong", "extra creates", "calls", "median s", "max s", "by hand")


def table(results: Sequence[Result], by_hand: Collection[str]) -> str:
    """One row for each fault, and their sum."""
    names = sorted({one.submitted.plan.row for one in results})
    rows = [HEAD, *(_row(name, [o for o in results if o.submitted.plan.row == name], by_hand) for name in names)]
    rows.append(_row("all", results, by_hand))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [" | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    rule = "|".join(["-" * (widths[0] + 2), *["-" * (width + 1) + ":" for width in widths[1:]]])
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *[f"| {line} |" for line in lines[1:]]])


def _row(name: str, found: Sequence[Result], by_hand: Collection[str]) -> tuple[str, ...]:
    seconds = [one.seconds for one in found]
    numbers = (
        len(found),
        sum(one.settled for one in found),
        sum(bool(one.problems) for one in found),
        sum(one.extra_creates for one in found),
        sum(one.calls for one in found),
    )
    hands = sum(one.submitted.task_id in by_hand for one in found)
    return (name, *map(str, numbers), f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}", str(hands))


def summary(results: Sequence[Result], evidence: Evidence) -> str:
    """What the run was made of."""
    versions, taken = {one.webhook_id for one in evidence.calls}, {o.webhook_id for o in evidence.calls if o.taken}
    injected = Counter(entry["how"].replace("_", " ") for entry in evidence.injected)
    ends = Counter(str(one.found) for one in results)
    creates, made, events = (sum(map(len, d.values())) for d in (evidence.creates, evidence.remote, evidence.events))
    return "\n".join(
        (
            f"{creates} create calls, {made} of them created; {events} events; {len(evidence.objects)} objects, hashed",
            f"faults of AWS injected: {', '.join(f'{n} {how}' for how, n in sorted(injected.items())) or 'none'}",
            f"ends: {', '.join(f'{count} {end}' for end, count in ends.most_common())}",
            f"tasks with two right ends, as AWS failed at the create call: {sum(len(one.ends) > 1 for one in results)}",
            _spending(evidence),
            f"{len(evidence.calls)} calls of clients, for {len(versions)} changes, {len(taken)} of them taken",
            f"notifications given up: {len(evidence.given_up)}; uploads cut off: {len(evidence.open_uploads)}",
        )
    )


def _spending(evidence: Evidence) -> str:
    """The ledger beside the simulator's books."""
    rows = evidence.ledger.items()
    settled = [(row.cost, bill(evidence.remote.get(name, ()), evidence)) for name, row in rows if row.cost is not None]
    booked, billed = (sum((one or Decimal(0) for one in amounts), Decimal(0)) for amounts in zip(*settled, strict=True))
    states = Counter(row.state for _, row in rows)
    shown = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return f"ledger: {booked} USD, the provider billed {billed} USD for these tasks; {shown}"


def details(results: Sequence[Result], problems: Sequence[str]) -> Iterator[str]:
    """A line for everything that is wrong."""
    for one in results:
        plan = one.submitted.plan
        yield from (
            f"{plan.row}: task {one.submitted.task_id}: {found}; script {plan.script}" for found in one.problems
        )
    yield from problems
