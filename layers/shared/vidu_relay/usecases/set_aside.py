"""A stream record that can never be processed: kept whole in the failures bucket, so that those behind it go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.observability import Metric, count, logger

__all__ = ["record_key", "sequence_number", "set_aside"]


def set_aside(record: Mapping[str, Any], reason: str, failures: FailuresBucket | None) -> str | None:
    """Put a record that cannot be processed into the failures bucket; None if it is in it, else its sequence number."""
    number = sequence_number(record)
    if failures is None:
        return number
    try:
        key = failures.keep(record, reason)
    except (ClientError, BotoCoreError):
        logger.exception("record_not_set_aside", sequence_number=number)
        return number
    count(Metric.RECORDS_SET_ASIDE)
    logger.error("record_set_aside", sequence_number=number, reason=reason, failure_key=key)
    return None


def sequence_number(record: Mapping[str, Any]) -> str:
    """A record's number in the stream."""
    return str(record["dynamodb"]["SequenceNumber"])


def record_key(record: Mapping[str, Any]) -> Any:
    """The key of the item that a record is about; None where it names none."""
    return record["dynamodb"].get("Keys", {}).get("pk", {}).get("S")
