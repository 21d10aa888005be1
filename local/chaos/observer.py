"""What can be seen of a stack from outside: its table, API, queues and bucket, and the provider's own log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from local.chaos.oracle import Booked
from local.client import RelayClient
from local.stack import Stack

__all__ = ["Observer"]

Items = dict[str, list[dict[str, Any]]]


class Observer:
    """Reads them."""

    def __init__(self, stack: Stack, relay: RelayClient) -> None:
        self._stack, self._relay = stack, relay

    def items(self, prefix: str, table: str | None = None) -> Iterator[dict[str, Any]]:
        scan = self._relay.aws("dynamodb").get_paginator("scan")
        for page in scan.paginate(TableName=table or self._stack.table, ConsistentRead=True):
            yield from (item for item in page["Items"] if item["pk"]["S"].startswith(prefix))

    def records(self) -> dict[str, dict[str, Any]]:
        return {item["pk"]["S"].removeprefix("task#"): _record(item) for item in self.items("task#")}

    def ledger(self) -> dict[str, Booked]:
        """The rows of the ledger by task."""
        rows = self.items("", self._relay.resources()["LedgerTable"])
        return {
            row["task_id"]["S"]: Booked(
                row["state"]["S"],
                Decimal(row["cost"]["S"]) if "cost" in row else None,
                Decimal(row["counted"]["S"]),
            )
            for row in rows
        }

    def shown(self) -> dict[str, dict[str, Any]]:
        """Every task as the API shows it."""
        found: dict[str, dict[str, Any]] = {}
        query: dict[str, str] | None = {"limit": "100"}
        while query:
            reply = self._relay.call("GET", "/v1/tasks", params=query)
            reply.raise_for_status()
            found |= {task["task_id"]: task for task in reply.json()["tasks"]}
            cursor = reply.json()["next_cursor"]
            query = {"limit": "100", "cursor": cursor} if cursor else None
        return found

    def creates(self) -> Items:
        """The simulator's create calls by our task: each names the address that it is to be called back at."""
        found: Items = {}
        for call in self._relay.ask_provider("requests"):
            if call.get("call") == "create":
                found.setdefault(_task_of(call.get("identity", "")), []).append(call)
        return found

    def remote(self, task_ids: set[str] | None) -> Items:
        """The simulator's tasks by ours, all or those of `task_ids`."""
        found: Items = {}
        for short in self._relay.ask_provider("tasks"):
            task_id = _task_of(short["callback_url"] or "")
            if task_ids is None or task_id in task_ids:
                found.setdefault(task_id, []).append(self._relay.ask_provider(f"tasks/{short['id']}"))
        return found

    def objects(self) -> dict[str, tuple[int, str]]:
        s3, bucket, found = self._relay.aws("s3"), self._stack.videos_bucket, {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
                found[entry["Key"]] = (len(body), hashlib.sha256(body).hexdigest())
        return found

    def messages(self, queue_url: str) -> list[str]:
        query = {"QueueUrl": queue_url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600}
        sqs, found = self._relay.aws("sqs"), list[str]()
        while messages := sqs.receive_message(**query).get("Messages", []):
            found += [str(message["Body"]) for message in messages]
        return found


def _record(item: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared of a task's item."""
    status = item["status"]["S"]
    return {
        "status": status,
        "version": int(item["version"]["N"]),
        "first_version": int(item["created_at"]["N"]) // 1000,
        "due_at": int(item["due_at"]["N"]) if "due_at" in item else None,
        "remote_id": item["remote_id"]["S"] if "remote_id" in item else None,
        "candidates": bool(item.get("candidates", {}).get("L")),
        "open": status == "accepted" or (status == "submitting" and "ended_at" not in item["attempt"]["M"]),
        "code": item["error"]["M"]["code"]["S"] if "error" in item else None,
    }


def _task_of(callback_url: str) -> str:
    """The id of our task in an address for callbacks."""
    return callback_url.partition("?")[0].rpartition("/")[2]
