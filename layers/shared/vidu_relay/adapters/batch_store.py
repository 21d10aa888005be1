"""Batches in the task table: one item a batch, written whole under a condition on its `revision`.

batch#<batch_id>    the fields of `domain.batch.Batch` by their names, without those that have their default;
                    `bucket`, `key` and `version_id` of its file; `due_shard` while it has a `due_at`
                    stamp: random, by which a write whose reply was lost knows itself
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from vidu_relay.domain.batch import Batch, BatchState
from vidu_relay.domain.errors import StaleTaskError
from vidu_relay.domain.queued_requests import DroppedFile

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["BatchStore"]

PREFIX = "batch#"
DUE_INDEX = "due"
DUE_SHARD = "batch"
"""Beside the shards of tasks: a tenant's batches are few."""

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class BatchStore:
    """Reads and conditional writes of batches."""

    def __init__(
        self, client: DynamoDBClient, table_name: str, stamp: Callable[[], str] = lambda: secrets.token_urlsafe(6)
    ) -> None:
        self._client = client
        self._table = table_name
        self._stamp = stamp

    def get(self, batch_id: str) -> Batch | None:
        """The batch as it is now (consistent read), or None."""
        item = self._client.get_item(TableName=self._table, Key=_key(batch_id), ConsistentRead=True).get("Item")
        return batch_from_item(item) if item else None

    def putting(self, batch: Batch) -> dict[str, Any]:
        """The put of the batch's next revision, for a transaction. It fails where the record has another revision than
        the batch: any, for one of revision 0.
        """
        put: dict[str, Any] = {"TableName": self._table, "Item": self._item(batch)}
        if not batch.revision:
            return {**put, "ConditionExpression": "attribute_not_exists(pk)"}
        seen = {":seen": {"N": str(batch.revision)}}
        return {**put, "ConditionExpression": "revision = :seen", "ExpressionAttributeValues": seen}

    def save(self, batch: Batch) -> Batch:
        """Write a changed batch over the revision it came from; the batch as recorded.

        Raises `StaleTaskError` if the record has moved on.
        """
        put = self.putting(batch)
        try:
            self._client.put_item(**put, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            current: Any = error.response.get("Item", {})
            if current.get("stamp") != put["Item"]["stamp"]:  # else our own write, whose reply was lost
                raise StaleTaskError(batch.batch_id) from error
        return replace(batch, revision=batch.revision + 1)

    def find_due(self, before: int) -> Iterator[str]:
        """Ids of batches due at or before a moment (ms), oldest first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=DUE_INDEX,
            KeyConditionExpression="due_shard = :shard AND due_at <= :before",
            ExpressionAttributeValues={":shard": {"S": DUE_SHARD}, ":before": {"N": str(before)}},
        )
        for page in pages:
            yield from (item["pk"]["S"].removeprefix(PREFIX) for item in page["Items"])

    def _item(self, batch: Batch) -> dict[str, Any]:
        plain = {f.name: _shown(value) for f in fields(batch) if (value := getattr(batch, f.name)) != f.default}
        file: DroppedFile = plain.pop("file")
        plain |= {"bucket": file.bucket, "key": file.key, "revision": batch.revision + 1, "stamp": self._stamp()}
        if file.version_id is not None:
            plain["version_id"] = file.version_id
        if batch.due_at is not None:
            plain["due_shard"] = DUE_SHARD
        del plain["batch_id"]
        return {**_key(batch.batch_id), **{name: _serialize(value) for name, value in plain.items()}}


def batch_from_item(item: Mapping[str, Any]) -> Batch:
    """A batch from its item; an attribute that this release does not know is passed over."""
    plain = {name: _plain(_deserialize(value)) for name, value in item.items()}
    known = {field.name: plain[field.name] for field in fields(Batch) if field.name in plain}
    known |= {
        "batch_id": plain["pk"].removeprefix(PREFIX),
        "file": DroppedFile(plain["bucket"], plain["key"], plain.get("version_id")),
        "state": BatchState(plain["state"]),
    }
    return Batch(**known)


def _shown(value: Any) -> Any:
    if isinstance(value, BatchState):
        return value.value
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return tuple(_plain(part) for part in value)
    return int(value) if isinstance(value, Decimal) else value


def _key(batch_id: str) -> dict[str, Any]:
    return {"pk": {"S": PREFIX + batch_id}}
