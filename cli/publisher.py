"""Stream records handed again to the deployed function that could not process them.

Events go through `publish_events`, as the bus refuses the source vidu-relay from others, bills through
`record_spending`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.config import Config

from cli.answer import RefusedError
from cli.connection import Connection

# Invoked once: a retry would publish again.
_ONCE = Config(read_timeout=60, retries={"total_max_attempts": 1})
_LARGEST_CALL_BYTES = 6 * 1024 * 1024


def publish_again(
    records: Sequence[Mapping[str, Any]], connection: Connection, consumer: str = "PublishEvents"
) -> list[str]:
    """Hand stream records to a function, all of them; the sequence numbers of those it could not process.

    `consumer` names it in the template. A record that cannot be processed does not keep back those behind it, and the
    function does not set it aside: the caller still has it. Raises `RefusedError` if the function itself fails.
    """
    function = connection.resource(consumer)
    client = connection.client("lambda", _ONCE)
    left, failed = list(records), []
    while left:
        handed, payload = _first_call(left)
        reply = client.invoke(FunctionName=function, Payload=payload)
        result = json.loads(reply["Payload"].read() or b"null")
        if "FunctionError" in reply or not isinstance(result, dict):
            reason = result.get("errorMessage") if isinstance(result, dict) else result
            raise RefusedError(f"{function} failed ({reason}): see its log, `sam logs --name {consumer}`")
        numbers = [str(record["dynamodb"]["SequenceNumber"]) for record in left[:handed]]
        faults = [str(fault["itemIdentifier"]) for fault in result.get("batchItemFailures", [])]
        if not faults:
            left = left[handed:]
            continue
        first = min(numbers.index(fault) if fault in numbers else 0 for fault in faults)
        failed.append(numbers[first])
        left = left[first + 1 :]
    return failed


def _first_call(records: Sequence[Mapping[str, Any]]) -> tuple[int, bytes]:
    """How many of the records, from the first on, fit into one call, and its payload."""
    count = len(records)
    while True:
        payload = json.dumps({"Records": records[:count], "set_aside": False}, ensure_ascii=False).encode()
        if count == 1 or len(payload) <= _LARGEST_CALL_BYTES:
            return count, payload
        count //= 2
