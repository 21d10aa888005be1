"""What comparing the provider's books came to, in the task table, and which remote ids are owned there.

books#<provider>   document: the result (`domain.provider_books.BooksResult`) as JSON text
exports            day: the latest UTC day of which the ledger was written as CSV
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from vidu_relay.adapters.task_item import REMOTE_PREFIX

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from vidu_relay.domain.provider_books import BooksResult

__all__ = ["BooksStore"]

BATCH_GET_LIMIT = 100
PAUSE_SECONDS = 0.05


class BooksStore:
    """Reads and writes results. Of two runs at once the later write stays: the next run repeats what it lacks."""

    def __init__(self, client: DynamoDBClient, table_name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table_name
        self._sleep = sleep

    def read(self, provider: str) -> BooksResult | None:
        """The latest result; None where there is none."""
        item = self._get(f"books#{provider}")
        if item is None:
            return None
        result: BooksResult = json.loads(item["document"]["S"])
        return result

    def write(self, result: BooksResult) -> None:
        """Replace the result of its provider."""
        text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
        self._put({"pk": {"S": f"books#{result['provider']}"}, "document": {"S": text}})

    def exported(self) -> str:
        """The latest UTC day of which the ledger was written as CSV; empty for none."""
        day: str = (self._get("exports") or {}).get("day", {}).get("S", "")
        return day

    def note_export(self, day: str) -> None:
        """Remember that the ledger of a UTC day was written."""
        self._put({"pk": {"S": "exports"}, "day": {"S": day}})

    def owners(self, provider: str, remote_ids: Iterable[str]) -> dict[str, str]:
        """The tasks that own remote ids, by remote id (consistent); ids that no task owns are left out."""
        keys: list[Any] = [{"pk": {"S": f"{REMOTE_PREFIX}{provider}#{name}"}} for name in dict.fromkeys(remote_ids)]
        found: dict[str, str] = {}
        while keys:
            asked: Any = {self._table: {"Keys": keys[:BATCH_GET_LIMIT], "ConsistentRead": True}}
            keys = keys[BATCH_GET_LIMIT:]
            reply: Any = self._client.batch_get_item(RequestItems=asked)
            for item in reply["Responses"].get(self._table, []):
                found[item["pk"]["S"].split("#", 2)[2]] = item["task_id"]["S"]
            if self._table in reply["UnprocessedKeys"]:
                keys += reply["UnprocessedKeys"][self._table]["Keys"]
                self._sleep(PAUSE_SECONDS)
        return found

    def _get(self, pk: str) -> dict[str, Any] | None:
        return self._client.get_item(TableName=self._table, Key={"pk": {"S": pk}}, ConsistentRead=True).get("Item")

    def _put(self, item: dict[str, Any]) -> None:
        self._client.put_item(TableName=self._table, Item=item)
