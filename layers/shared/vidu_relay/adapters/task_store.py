"""The task table: DynamoDB items of tasks, and of the remote ids and external ids they own.

One item a task, written whole under a condition on `revision`, so a change is one conditional write and the stream
carries it. Every write also carries a random `stamp`: when DynamoDB's reply is lost and the SDK's own retry meets
the condition, the stamp shows that the record is our own.

A remote id has an item of its own, which names the task that owns it. It is written before the task that learns the id,
or in one transaction with a task of which it is not certain until then that it is the owner. A
task with an external id is recorded in one transaction with an item for that id, unique in its tenant; the item counts
only while the task that it names has this external id.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.adapters.task_item import (
    DUE_SHARDS,
    TASK_PREFIX,
    external_key,
    external_put,
    ownership_put,
    task_from_image,
    to_item,
)
from vidu_relay.domain.errors import (
    ExternalIdTakenError,
    RemoteTaskOwnedError,
    StaleTaskError,
    TransactionConflictError,
)
from vidu_relay.domain.task import MAX_MOMENT, Task

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["Lease", "TaskStore"]

DUE_INDEX = "due"
OWNER_INDEX = "by_owner"
CREATE_TRIES = 6
"""Of a transaction that meets others, or an external id whose task is gone."""
BATCH_GET_LIMIT = 100
FIRST_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to check a task: its number, and the task as it was when the lease was taken."""

    number: int
    due_since: int
    """Since when the task has been due, in ms."""
    tenant_id: str
    polled_slowly: bool


class TaskStore:
    """Reads and conditional writes of tasks. `stamp` gives the random value by which a write knows itself."""

    def __init__(
        self,
        client: DynamoDBClient,
        table_name: str,
        stamp: Callable[[], str] = lambda: secrets.token_urlsafe(6),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table_name
        self._stamp = stamp
        self._sleep = sleep

    def get(self, task_id: str) -> Task | None:
        """The task as it is now (consistent read), or None."""
        reply = self._client.get_item(TableName=self._table, Key=_key(task_id), ConsistentRead=True)
        item = reply.get("Item")
        return task_from_image(item) if item else None

    def find_external(self, tenant_id: str, external_id: str) -> Task | None:
        """The tenant's task with this external id as it is now (consistent reads), or None."""
        key = external_key(tenant_id, external_id)
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        task = self.get(item["task_id"]["S"]) if item else None
        return task if task and (task.tenant_id, task.external_id) == (tenant_id, external_id) else None

    def create(self, task: Task, *, external_id_until: int = 0) -> tuple[Task, bool]:
        """Record a new task; the task as recorded, and whether this call did.

        If a task with this id exists already, that one is returned: compare the request digests. The external id, if
        the task has one, is its own until `external_id_until` (seconds since the epoch) in the same transaction.
        Raises `ExternalIdTakenError`, and `TransactionConflictError` where other writes did not end.
        """
        if task.external_id is not None:
            return self._create_named(task, external_id_until)
        put, _ = self._put(task, condition="attribute_not_exists(pk)", values={})
        try:
            self._client.put_item(**put, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except ClientError as error:
            if not _is_condition_failure(error):
                raise
            current: Any = error.response.get("Item")
            if current is None:
                raise StaleTaskError(task.task_id) from error
            recorded = task_from_image(current)
            return recorded, recorded.token == task.token  # our own write, whose reply was lost, may have moved on
        return replace(task, revision=task.revision + 1), True

    def save(self, task: Task, owned: Sequence[str] = ()) -> Task:
        """Write a changed task over the revision it came from; the task as recorded.

        The remote ids in `owned` become the task's own in the same transaction, once and for all.
        Raises `StaleTaskError` if the record has moved on, and `RemoteTaskOwnedError` for the first of the ids that
        belongs to another task: then nothing is written. `TransactionConflictError` means that another write was under
        way: the same call may be repeated.
        """
        put, stamp = self._put(task, condition="revision = :seen", values={":seen": {"N": str(task.revision)}})
        if owned:
            self._save_owning(task, put, stamp, owned)
            return replace(task, revision=task.revision + 1)
        try:
            self._client.put_item(**put, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except ClientError as error:
            if _is_conflict(error):
                raise TransactionConflictError(task.task_id) from error
            if not _is_condition_failure(error):
                raise
            current: Any = error.response.get("Item")
            if current is None or _stamp_of(current) != stamp:  # else our own write, whose reply was lost
                raise StaleTaskError(task.task_id) from error
        return replace(task, revision=task.revision + 1)

    def own(self, task: Task, remote_ids: Iterable[str]) -> None:
        """Make remote ids the task's own, one after the other, once and for all; those that are its own stay so.

        For ids that the provider named for this very task: they are its own even if the task is not written after.
        Raises `RemoteTaskOwnedError` for the first that belongs to another task, and `TransactionConflictError` as
        `save` does.
        """
        for remote_id in remote_ids:
            try:
                self._client.put_item(TableName=self._table, **ownership_put(task, remote_id))
            except ClientError as error:
                if _is_conflict(error):
                    raise TransactionConflictError(task.task_id) from error
                if _is_condition_failure(error):
                    raise RemoteTaskOwnedError(remote_id) from error
                raise

    def find_due(self, before: int) -> Iterator[tuple[str, int]]:
        """Ids and `due_at` of tasks due at or before a moment (ms), each shard oldest first."""
        first = before // 60_000  # another shard each minute, so that under overload none always comes last
        for shard in ((first + offset) % DUE_SHARDS for offset in range(DUE_SHARDS)):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName=DUE_INDEX,
                KeyConditionExpression="due_shard = :shard AND due_at <= :before",
                ExpressionAttributeValues={":shard": {"S": str(shard)}, ":before": {"N": str(before)}},
            )
            for page in pages:
                for item in page["Items"]:
                    yield item["pk"]["S"].removeprefix(TASK_PREFIX), int(item["due_at"]["N"])

    def take_lease(self, task_id: str, seen_due_at: int, due_at: int) -> Lease | None:
        """Take the lease of a due task found by `find_due`, or None if another sweep was faster.

        After a lost reply None is returned as well: the lease lapses and is taken again. `due_since` is kept until a
        poller writes the record, so that a task whose pollers all die shows its age.
        """
        try:
            reply = self._client.update_item(
                TableName=self._table,
                Key=_key(task_id),
                UpdateExpression=(
                    "SET due_at = :due, due_since = if_not_exists(due_since, :seen) ADD lease :one, revision :one"
                ),
                ConditionExpression="due_at = :seen",
                ExpressionAttributeValues={
                    ":due": {"N": str(due_at)},
                    ":seen": {"N": str(seen_due_at)},
                    ":one": {"N": "1"},
                },
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if _is_condition_failure(error) or _is_conflict(error):
                return None
            raise
        task = task_from_image(reply["Attributes"])
        return Lease(task.lease, task.due_since or seen_due_at, task.tenant_id, task.polled_slowly)

    def list_keys(
        self,
        tenant_id: str,
        *,
        limit: int,
        after: tuple[int, str] | None = None,
        created: tuple[int, int] = (0, MAX_MOMENT),
    ) -> list[tuple[int, str]]:
        """`(created_at, task_id)` of a tenant's tasks, newest first, at most `limit`, from behind `after` on.

        `created` bounds `created_at` (ms), both ends included; `after` is within it.
        """
        start: dict[str, Any] = {}
        if after:
            created_at, task_id = after
            start["ExclusiveStartKey"] = {
                **_key(task_id),
                "owner": {"S": tenant_id},
                "created_at": {"N": str(created_at)},
            }
        found: list[tuple[int, str]] = []
        while len(found) < limit:  # a query ends early where its page is full
            reply = self._client.query(
                TableName=self._table,
                IndexName=OWNER_INDEX,
                KeyConditionExpression="#owner = :owner AND created_at BETWEEN :first AND :last",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={
                    ":owner": {"S": tenant_id},
                    ":first": {"N": str(created[0])},
                    ":last": {"N": str(created[1])},
                },
                ScanIndexForward=False,
                Limit=limit - len(found),
                **start,
            )
            found += [(int(i["created_at"]["N"]), i["pk"]["S"].removeprefix(TASK_PREFIX)) for i in reply["Items"]]
            if "LastEvaluatedKey" not in reply:
                break
            start["ExclusiveStartKey"] = reply["LastEvaluatedKey"]
        return found

    def get_many(self, task_ids: Iterable[str], *, consistent: bool = False) -> dict[str, Task]:
        """Tasks by id; ids without a record are left out, an id that comes twice is read once.

        Items that DynamoDB leaves unprocessed are requested again after a pause that doubles to a second.
        """
        wanted: list[Any] = [_key(task_id) for task_id in dict.fromkeys(task_ids)]
        found: dict[str, Task] = {}
        pause = FIRST_PAUSE_SECONDS
        while wanted:
            now, wanted = wanted[:BATCH_GET_LIMIT], wanted[BATCH_GET_LIMIT:]
            reply = self._client.batch_get_item(RequestItems={self._table: {"Keys": now, "ConsistentRead": consistent}})
            for item in reply["Responses"].get(self._table, []):
                task = task_from_image(item)
                found[task.task_id] = task
            left = reply["UnprocessedKeys"]
            if self._table in left:
                wanted = [*left[self._table]["Keys"], *wanted]
                self._sleep(pause)
                pause = min(2 * pause, 1.0)
        return found

    def _put(self, task: Task, *, condition: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """The arguments of a conditional put of the task's next revision, and the stamp it carries."""
        stamp = self._stamp()
        put: dict[str, Any] = {
            "TableName": self._table,
            "Item": {**to_item(replace(task, revision=task.revision + 1)), "stamp": {"S": stamp}},
            "ConditionExpression": condition,
        }
        if values:
            put["ExpressionAttributeValues"] = values
        return put, stamp

    def _create_named(self, task: Task, until: int) -> tuple[Task, bool]:
        """Record the task with its external id. An item whose task is gone, or has another one, is taken over."""
        put, stamp = self._put(task, condition="attribute_not_exists(pk)", values={})
        owner, pause = task.task_id, FIRST_PAUSE_SECONDS
        for _ in range(CREATE_TRIES):
            reasons = self._transact((put, external_put(task, owner, until)), task, f"{stamp}\0{owner}")
            if not reasons:
                return replace(task, revision=task.revision + 1), True
            if reasons[0].get("Code") == "ConditionalCheckFailed":
                recorded = task_from_image(reasons[0]["Item"])
                return recorded, recorded.token == task.token
            if reasons[1].get("Code") == "ConditionalCheckFailed":
                owner = reasons[1]["Item"]["task_id"]["S"]
                current = self.get(owner)
                if current and (current.tenant_id, current.external_id) == (task.tenant_id, task.external_id):
                    raise ExternalIdTakenError(owner)
            else:
                self._sleep(pause)
                pause *= 2
        raise TransactionConflictError(task.task_id)

    def _transact(self, puts: Sequence[Mapping[str, Any]], task: Task, write: str) -> list[dict[str, Any]]:
        """Put all or nothing, under a token that names this very write; why each was refused, empty on success.

        Raises `ClientError` for all but conditions and conflicts.
        """
        token = hashlib.sha256(f"{task.task_id}\0{write}".encode()).hexdigest()[:36]
        writes: list[Any] = [
            {"Put": {"TableName": self._table, **put, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}} for put in puts
        ]
        try:
            self._client.transact_write_items(TransactItems=writes, ClientRequestToken=token)
        except ClientError as error:
            reasons: list[Any] = list(error.response.get("CancellationReasons", []))
            if not {reason.get("Code") for reason in reasons} & {"ConditionalCheckFailed", "TransactionConflict"}:
                raise
            return reasons
        return []

    def _save_owning(self, task: Task, put: dict[str, Any], stamp: str, owned: Sequence[str]) -> None:
        """One transaction of the task and its remote ids."""
        reasons = self._transact((put, *(ownership_put(task, remote_id) for remote_id in owned)), task, stamp)
        codes = [str(reason.get("Code")) for reason in reasons]
        if codes and codes[0] == "ConditionalCheckFailed":
            if _stamp_of(reasons[0].get("Item") or {}) == stamp:
                return  # our own write, whose reply was lost
            raise StaleTaskError(task.task_id)
        for remote_id, code in zip(owned, codes[1:], strict=False):
            if code == "ConditionalCheckFailed":
                raise RemoteTaskOwnedError(remote_id)
        if codes:
            raise TransactionConflictError(task.task_id)


def _stamp_of(item: Mapping[str, Any]) -> str | None:
    stamp: str | None = item.get("stamp", {}).get("S")
    return stamp


def _key(task_id: str) -> dict[str, Any]:
    return {"pk": {"S": TASK_PREFIX + task_id}}


def _is_condition_failure(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def _is_conflict(error: ClientError) -> bool:
    """Whether a transaction with the item is under way: DynamoDB refuses every other write until it has ended."""
    return error.response["Error"]["Code"] == "TransactionConflictException"
