"""How a batch goes on: when it is looked at, how the ends of its tasks are counted, and what is submitted again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from vidu_relay.domain.batch import Batch, BatchState, RangeResult
from vidu_relay.domain.billing import billing_of
from vidu_relay.domain.image_reference import is_data_uri
from vidu_relay.domain.money import NO_MONEY, money_text
from vidu_relay.domain.request import with_images
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

__all__ = ["RESEND_MS", "RETRIED", "Tally", "accepted", "look_again", "may_pass", "retry_header", "retry_line"]

FIRST_LOOK_MS, LONGEST_LOOK_MS = 60_000, 900_000
"""An open batch is looked at after a tenth of its age, within these bounds."""
RESEND_MS = 1_800_000
"""The age of a batch from which on ranges without a result are queued again."""
RETRIED = frozenset({Status.FAILED, Status.EXPIRED})
"""Tasks that ended so are submitted again by the retry file; a canceled one is not wanted."""
PASSING = frozenset({"image_unreachable"})
"""Codes of rejected lines that the same line may not meet a second time."""


class Tally:
    """Counts how tasks ended, and what they cost: from the counts of a batch on, or from nothing."""

    def __init__(self, batch: Batch | None = None) -> None:
        self._counts = Counter(batch.counts if batch else {})
        self._cost = Decimal(batch.cost_usd) if batch else NO_MONEY
        self._uncertain = Decimal(batch.uncertain_usd) if batch else NO_MONEY

    def add(self, task: Task) -> None:
        """Count a task that has ended."""
        billing = billing_of(task)
        self._counts[task.status.value] += 1
        if billing.cost is None:
            self._uncertain += billing.counted
        else:
            self._cost += billing.cost

    def put(self, batch: Batch, **changes: Any) -> Batch:
        """The batch with these counts, and other changes."""
        amounts = {"cost_usd": money_text(self._cost), "uncertain_usd": money_text(self._uncertain)}
        return replace(batch, counts=dict(self._counts), **amounts, **changes)


def look_again(batch: Batch, now: int) -> Batch:
    """The batch, to be looked at later."""
    return replace(batch, due_at=now + min(LONGEST_LOOK_MS, max(FIRST_LOOK_MS, (now - batch.created_at) // 10)))


def accepted(batch: Batch, results: Iterable[RangeResult], now: int) -> tuple[Batch, int, Decimal]:
    """The batch once every range has a result; how many tasks and dollars less than reserved it has.

    Fewer dollars than nothing where prices rose between the two readings.
    """
    found = list(results)
    tasks, rejected = sum(one.accepted for one in found), sum(one.rejected for one in found)
    expected = sum((one.reserved_usd for one in found), NO_MONEY)
    counted = replace(
        batch, state=BatchState.ACCEPTED, tasks=tasks, rejected=rejected, expected_usd=money_text(expected), due_at=now
    )
    return counted, batch.lines - batch.bad_lines - tasks, Decimal(batch.reserved_usd) - expected


def may_pass(problem: Mapping[str, Any]) -> bool:
    """Whether a rejected line may become a task when it is submitted again."""
    codes = {fault.get("code") for fault in problem.get("errors", ())} or {problem["code"]}
    return codes <= PASSING


def retry_header(batch: Batch) -> bytes:
    """The first line of the retry file, which says what it repeats."""
    named = {} if batch.name is None else {"name": batch.name}
    header = {"batch": {**named, "retry_of": batch.batch_id, "attempt": batch.attempt + 1}}
    return json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def retry_line(line: bytes, folder: str, *, had_task: bool) -> bytes:
    """A line of the batch's file as its retry file has it, wherever that is dropped.

    Image keys relative to `folder`, the `s3://` URI of the first file's, become whole. A task that failed keeps its
    `external_id`: the next one has none.
    """

    def whole(_: str, image: str) -> str:
        return image if "://" in image or is_data_uri(image) else folder + image

    request = json.loads(line)
    again = with_images({name: v for name, v in request.items() if name != "external_id" or not had_task}, whole)
    text = line.strip() if again == request else json.dumps(again, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b"\n"
