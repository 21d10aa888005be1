"""From the table's stream to the ledger: a row for each change of what a task costs.

Records may come again, late, or in another order: `Ledger.record` writes only later states of a task. After an error
of AWS the stream delivers the record again for as long as it keeps it. A record that raises anything else, or that
DynamoDB refuses as invalid, is stored whole in the failures bucket, and the records behind it go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.adapters.task_item import task_from_image
from vidu_relay.domain.errors import TransactionConflictError
from vidu_relay.domain.ledger import bill_changed, ledger_row
from vidu_relay.observability import logger
from vidu_relay.usecases.ports import Clock, clock
from vidu_relay.usecases.set_aside import record_key, sequence_number, set_aside

__all__ = ["record_spending"]

INVALID = frozenset({"ValidationException", "ValidationError"})
"""DynamoDB's codes for a call, or a part of a transaction, that it would refuse each time."""


def record_spending(
    records: Sequence[Mapping[str, Any]], ledger: Ledger, failures: FailuresBucket | None, clock: Clock = clock
) -> str | None:
    """Record stream records in order; the sequence number from which the stream must deliver again, or None.

    Without `failures` a record that can never be recorded is not set aside: its number is returned.
    """
    for record in records:
        try:
            _record(record["dynamodb"], ledger, clock())
        except Exception as error:  # noqa: BLE001 - one bad record must not stop those behind it
            if _may_succeed_later(error):
                logger.exception("spending_not_recorded", sequence_number=sequence_number(record))
                return sequence_number(record)
            logger.exception("record_unreadable", record_key=record_key(record))
            stopped = set_aside(record, type(error).__name__, failures)
            if stopped is not None:
                return stopped
    return None


def _record(change: Mapping[str, Any], ledger: Ledger, now: int) -> None:
    """Write the row after a change of what a task costs. Raises what an unreadable image and the ledger raise.

    A record that the operator's tool makes has no image of before: its row is written if it is later.
    """
    image, old = change.get("NewImage"), change.get("OldImage")
    if image is None:
        return
    task, before = task_from_image(image), task_from_image(old) if old else None
    if bill_changed(before, task, now):
        row = ledger_row(task, now)
        ledger.record(row, settles=before is not None and ledger_row(before, now).counted != row.counted)


def _may_succeed_later(error: Exception) -> bool:
    if isinstance(error, ClientError):
        reasons: Any = error.response.get("CancellationReasons", [])
        return INVALID.isdisjoint((error.response["Error"]["Code"], *(reason.get("Code") for reason in reasons)))
    return isinstance(error, BotoCoreError | TransactionConflictError) and not isinstance(error, ParamValidationError)
