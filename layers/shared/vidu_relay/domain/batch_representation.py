"""A batch as others see it: the API's JSON, the detail of an event, and the facts in its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from vidu_relay.domain.batch import Batch, BatchState
from vidu_relay.domain.representation import timestamp

if TYPE_CHECKING:
    from vidu_relay.domain import batch_documents

__all__ = ["EVENT_TYPE_BATCH_ACCEPTED", "EVENT_TYPE_BATCH_COMPLETED", "batch_event", "batch_event_type", "batch_facts"]

EVENT_TYPE_BATCH_ACCEPTED = "VideoBatchAccepted"
"""Published once each line of a batch is a task or a rejection."""
EVENT_TYPE_BATCH_COMPLETED = "VideoBatchCompleted"
"""Published once every task of a batch has ended and its summary is written."""


def batch_facts(batch: Batch) -> batch_documents.BatchFacts:
    """What is said of a batch everywhere."""
    known = batch.state is not BatchState.ACCEPTING
    facts: batch_documents.BatchFacts = {
        "batch_id": batch.batch_id,
        "state": batch.state.value,
        "created_at": timestamp(batch.created_at),
        "attempt": batch.attempt,
        "lines": batch.lines,
        "tasks": batch.tasks if known else None,
        "rejected": batch.rejected if known else None,
        "expected_cost_usd": batch.expected_usd if known else batch.reserved_usd,
        "ended": dict(batch.counts),
        "cost_usd": batch.cost_usd,
        "uncertain_usd": batch.uncertain_usd,
    }
    if batch.name is not None:
        facts["name"] = batch.name
    if batch.retry_of is not None:
        facts["retry_of"] = batch.retry_of
    return facts


def batch_event_type(batch: Batch) -> str:
    """The detail type of the event of a batch's present state, which is not `accepting`."""
    return EVENT_TYPE_BATCH_COMPLETED if batch.state is BatchState.COMPLETED else EVENT_TYPE_BATCH_ACCEPTED


def batch_event(batch: Batch) -> batch_documents.VideoBatchEvent:
    """The detail of that event: the same each time it is made from the same record."""
    shown = cast("batch_documents.EventBatch", batch_facts(batch))
    if batch.state is BatchState.COMPLETED:
        shown["summary"] = {"bucket": batch.file.bucket, "key": batch.summary_key}
        if batch.retries:
            shown["retry"] = {"bucket": batch.file.bucket, "key": batch.retry_key}
    return {"event_id": f"{batch.batch_id}:{batch.state.value}", "tenant_id": batch.tenant_id, "batch": shown}
