"""The ledger table: rows of tasks by UTC day and tenant, and the counters of the task table that follow them.

`pk` is the day of creation and `sk` is `<tenant>#<task_id>`. Amounts are text, digit for digit. A row is only replaced
by a later state of its task. Where the amount that budgets count differs from the row before, the row and the tenant's
counters (`committed` of `cap#<tenant>#<day>` and `spend#<tenant>#<month>`, those that exist) change in one transaction:
each difference is counted once, however often and in whatever order records come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from vidu_relay.domain.billing import BillingState
from vidu_relay.domain.errors import TransactionConflictError
from vidu_relay.domain.ledger import LedgerRow
from vidu_relay.domain.money import money_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["Ledger", "row_from_item", "row_item"]

MAX_TRIES = 4
_AMOUNTS = ("reserved", "cost", "counted")
_LATER = "(#version < :version OR (#version = :version AND revision < :revision))"

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class Ledger:
    """Writes and reads rows. `counters` is the task table; a reader of rows needs none."""

    def __init__(self, client: DynamoDBClient, table_name: str, counters: str = "") -> None:
        self._client = client
        self._table = table_name
        self._counters = counters

    def record(self, row: LedgerRow, *, settles: bool = False) -> bool:
        """Write a row over an older one of its task, and settle the difference; whether it was written.

        False if the row stands at this state of the task or at a later one. `settles` says that a difference is likely:
        then the row is read first, which costs a fifth of a write that fails. Raises `TransactionConflictError` if
        other writes came first at each try: the same call may be repeated.
        """
        current = self._read(row) if settles else self._put(row)
        for _ in range(MAX_TRIES):
            if current is None:
                return True
            if current and _state_of(current) >= (row.version, row.revision):
                return False
            if self._settle(row, current):
                return True
            current = self._read(row)
        raise TransactionConflictError(row.task_id)

    def rows(self, tenant_id: str | None, day: str) -> Iterator[LedgerRow]:
        """The rows of a UTC day, of one tenant or of all, read page by page."""
        condition, values = "pk = :day", {":day": {"S": day}}
        if tenant_id is not None:
            condition, values = f"{condition} AND begins_with(sk, :owner)", {**values, ":owner": {"S": f"{tenant_id}#"}}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table, KeyConditionExpression=condition, ExpressionAttributeValues=values
        )
        for page in pages:
            yield from map(row_from_item, page["Items"])

    def _read(self, row: LedgerRow) -> Mapping[str, Any]:
        """The row of the same task; empty for none."""
        return self._client.get_item(TableName=self._table, Key=_key(row), ConsistentRead=True).get("Item", {})

    def _put(self, row: LedgerRow) -> Mapping[str, Any] | None:
        """Write the row if nothing is to be settled. None once it is written, else the row before: empty for none."""
        unchanged = f"(counted = :counted AND {_LATER})"
        first = "" if row.counted != row.first_counted else "attribute_not_exists(pk) OR "
        put = self._write(row, f"{first}{unchanged}", {":counted": {"S": money_text(row.counted)}, **_position(row)})
        try:
            self._client.put_item(**put, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            before: Any = error.response.get("Item", {})
            found: Mapping[str, Any] = before
            return found
        return None

    def _settle(self, row: LedgerRow, before: Mapping[str, Any]) -> bool:
        """Write the row over the one before, and add the difference to the counters; False if one of them has moved."""
        counted = Decimal(before["counted"]["S"]) if before else row.first_counted
        if before:
            version, revision = _state_of(before)
            seen = {":version": {"N": str(version)}, ":revision": {"N": str(revision)}}
            put = self._write(row, "#version = :version AND revision = :revision", seen)
        else:
            put = self._write(row, "attribute_not_exists(pk)", {})
        writes: list[Any] = [{"Put": put}, *self._additions(row, row.counted - counted)]
        try:
            self._client.transact_write_items(TransactItems=writes)
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            codes = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
            if codes - {"None", "ConditionalCheckFailed", "TransactionConflict"}:
                raise
            return False
        return True

    def _additions(self, row: LedgerRow, difference: Decimal) -> Iterator[Any]:
        """The difference for each counter that exists."""
        if not difference:
            return
        names = (f"cap#{row.tenant_id}#{row.day}", f"spend#{row.tenant_id}#{row.day[:7]}")
        keys: list[Any] = [{"pk": {"S": name}} for name in names]
        wanted: Any = {self._counters: {"Keys": keys, "ConsistentRead": True}}
        found: list[Any] = []
        while wanted:
            reply = self._client.batch_get_item(RequestItems=wanted)
            found += reply["Responses"].get(self._counters, [])
            wanted = reply["UnprocessedKeys"]
        for item in found:
            if "committed" in item:
                yield {
                    "Update": {
                        "TableName": self._counters,
                        "Key": {"pk": item["pk"]},
                        "UpdateExpression": "ADD committed :difference",
                        "ConditionExpression": "attribute_exists(committed)",
                        "ExpressionAttributeValues": {":difference": {"N": money_text(difference)}},
                    }
                }

    def _write(self, row: LedgerRow, condition: str, values: Mapping[str, Any]) -> dict[str, Any]:
        put: dict[str, Any] = {"TableName": self._table, "Item": row_item(row), "ConditionExpression": condition}
        if values:
            put |= {"ExpressionAttributeValues": values, "ExpressionAttributeNames": {"#version": "version"}}
        return put


def row_item(row: LedgerRow) -> dict[str, Any]:
    """A row as an item: the fields that have a value, by their names."""
    plain = {field.name: getattr(row, field.name) for field in fields(row)}
    plain |= {name: money_text(plain[name]) for name in _AMOUNTS if plain[name] is not None}
    plain |= {"state": row.state.value, "parameters": dict(row.parameters)}
    shown = {name: _serialize(value) for name, value in plain.items() if value is not None}
    return {**shown, **_key(row)}


def row_from_item(item: Mapping[str, Any]) -> LedgerRow:
    """A row from its item; an attribute that this release does not know is passed over."""
    known = {field.name for field in fields(LedgerRow)}
    plain: dict[str, Any] = dict.fromkeys(known)
    plain |= {name: _plain(_deserialize(value)) for name, value in item.items() if name in known}
    plain |= {name: Decimal(plain[name]) for name in _AMOUNTS if plain[name] is not None}
    return LedgerRow(**{**plain, "state": BillingState(plain["state"])})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return int(value) if isinstance(value, Decimal) else value


def _key(row: LedgerRow) -> dict[str, Any]:
    return {"pk": {"S": row.day}, "sk": {"S": f"{row.tenant_id}#{row.task_id}"}}


def _position(row: LedgerRow) -> dict[str, Any]:
    return {":version": {"N": str(row.version)}, ":revision": {"N": str(row.revision)}}


def _state_of(item: Mapping[str, Any]) -> tuple[int, int]:
    """Which state of its task a row shows."""
    return int(item["version"]["N"]), int(item["revision"]["N"])
