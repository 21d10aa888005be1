"""The table: each fault, how many tasks met it, and what became of them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from local.chaos.verdict import Evidence, Judgement

__all__ = ["details", "summary", "table"]

HEAD = ("fault", "tasks", "settled", "wrong", "extra creates", "calls", "median s", "max s", "by hand")


def table(judgements: Sequence[Judgement], by_hand: Collection[str]) -> str:
    """One row a fault, in the order in which they came, and their sum."""
    rows: list[tuple[str, ...]] = [HEAD]
    names = dict.fromkeys(sorted(judgement.submitted.plan.row for judgement in judgements))
    rows += [_row(name, [one for one in judgements if one.submitted.plan.row == name], by_hand) for name in names]
    rows.append(_row("all", judgements, by_hand))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
    rule = (
        "|" + "|".join("-" * (width + 1) + ("-" if column == 0 else ":") for column, width in enumerate(widths)) + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])


def summary(judgements: Sequence[Judgement], evidence: Evidence, republished: int, asked_again: int) -> str:
    """What the campaign was made of."""
    heard = evidence.told.heard
    changes, taken = {one.webhook_id for one in heard}, {one.webhook_id for one in heard if one.taken}
    given = Counter(f"{entry['how'].replace('_', ' ')}" for entry in evidence.given)
    creates = sum(map(len, evidence.creates.values()))
    made = sum(map(len, evidence.remote.values()))
    open_ends = sum(len(one.ends) > 1 for one in judgements)
    ends = Counter(str(one.found) for one in judgements)
    told, kept = sum(map(len, evidence.events.values())), len(evidence.objects)
    lines = (
        f"{creates} create calls, {made} of them created; {told} events; {kept} objects in S3, each hashed",
        f"faults of AWS given: {', '.join(f'{count} {how}' for how, count in sorted(given.items())) or 'none'}",
        f"ends: {', '.join(f'{count} {end}' for end, count in ends.most_common())}",
        f"tasks with two right ends, because AWS failed around the create call: {open_ends}",
        f"{len(heard)} calls of clients, for {len(changes)} changes, {len(taken)} of them taken",
        f"notifications given up: {len(evidence.told.given_up)}; asked for again by the operator: {asked_again}",
        f"uploads left open by a cut: {len(evidence.open_uploads)}; times the operator published again: {republished}",
    )
    return "\n".join(lines)


def details(judgements: Sequence[Judgement], problems: Sequence[str]) -> Iterator[str]:
    """A line for everything that is wrong."""
    for one in judgements:
        for problem in one.problems:
            plan = one.submitted.plan
            yield f"{plan.row}: task {one.submitted.task_id}: {problem}; script {plan.script}"
    yield from problems


def _row(name: str, found: Sequence[Judgement], by_hand: Collection[str]) -> tuple[str, ...]:
    seconds = [one.seconds for one in found]
    return (
        name,
        str(len(found)),
        str(sum(one.settled for one in found)),
        str(sum(bool(one.problems) for one in found)),
        str(sum(one.extra_creates for one in found)),
        str(sum(one.calls for one in found)),
        f"{statistics.median(seconds):.1f}",
        f"{max(seconds):.1f}",
        str(sum(one.submitted.task_id in by_hand for one in found)),
    )
