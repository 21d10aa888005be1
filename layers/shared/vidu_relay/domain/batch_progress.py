"""How a batch goes on: when and how the ends of its tasks are counted, and what is submitted again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.batch import Batch
from vidu_relay.domain.billing import billing_of
from vidu_relay.domain.image_reference import is_data_uri
from vidu_relay.domain.money import money_text
from vidu_relay.domain.request import with_images
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

if TYPE_CHECKING:
    from vidu_relay.domain import batch_documents

__all__ = ["Tally", "describe_failure", "may_complete", "may_pass", "next_count_at", "retry_header", "retry_line"]

SHORTEST_WAIT_MS, LONGEST_WAIT_MS = 60_000, 900_000
"""The tasks of an open batch are counted again after a tenth of its age, within these bounds."""
RETRIED = frozenset({Status.FAILED, Status.EXPIRED})
"""Tasks that ended so are submitted again by the retry file; a canceled one is not wanted."""
PASSING = frozenset({"image_unreachable"})
"""Codes of rejected lines that the same line may not meet a second time."""


class Tally:
    """Counts how tasks ended, and what they cost, from the counts of a batch on."""

    def __init__(self, batch: Batch) -> None:
        self._counts = Counter(batch.counts)
        self._cost, self._uncertain = Decimal(batch.cost_usd), Decimal(batch.uncertain_usd)

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
        amounts: dict[str, Any] = {"cost_usd": money_text(self._cost), "uncertain_usd": money_text(self._uncertain)}
        return replace(batch, counts=dict(self._counts), **amounts, **changes)


def next_count_at(batch: Batch, now: int) -> int:
    """When the tasks of a batch are counted again (ms), one of which is open."""
    return now + min(LONGEST_WAIT_MS, max(SHORTEST_WAIT_MS, (now - batch.created_at) // 10))


def describe_failure(line: int, task: Task) -> batch_documents.BatchFailure:
    """A task that did not complete, as the summary lists it."""
    error = task.error
    return {
        "line": line,
        "task_id": task.task_id,
        "status": task.status.value,
        "error": {"code": error.code, "message": error.message} if error else None,
    }


def may_complete(failed: Mapping[str, Any]) -> bool:
    """Whether the line of a task that failed is submitted again."""
    return failed["status"] in RETRIED


def may_pass(rejected: Mapping[str, Any]) -> bool:
    """Whether a rejected line is submitted again."""
    problem = rejected["error"]
    return ({fault.get("code") for fault in problem.get("errors", ())} or {problem["code"]}) <= PASSING


def retry_header(batch: Batch) -> bytes:
    """The first line of the retry file, which says what it repeats."""
    named = {} if batch.name is None else {"name": batch.name}
    header = {"batch": {**named, "retry_of": batch.batch_id, "attempt": batch.attempt + 1}}
    return _json_line(header)


def retry_line(line: bytes, folder: str, *, had_task: bool) -> bytes:
    """A line of the batch's file as its retry file has it, wherever that is dropped.

    Image keys relative to `folder`, the `s3://` URI of the first file's, become whole. A task that failed keeps its
    `external_id`: the next one has none.
    """

    def whole(_: str, image: str) -> str:
        return image if "://" in image or is_data_uri(image) else folder + image

    text = line.strip()
    request = json.loads(text)
    kept = {name: value for name, value in request.items() if name != "external_id" or not had_task}
    again = with_images(kept, whole)
    return text + b"\n" if again == request else _json_line(again)


def _json_line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
