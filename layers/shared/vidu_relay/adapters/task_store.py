"""The task table: DynamoDB items of tasks and of the remote ids they own.

One item a task, written whole under a condition on `revision`, so a change is one conditional write and the stream
carries it. Every write also carries a random `stamp`: when DynamoDB's reply is lost and the SDK's own retry meets
the condition, the stamp tells that the record is ours after all.

Attributes with short contents are plain; `request` is deflated JSON, because the size of the item is paid for with
each write of it.
"""

from __future__ import annotations

import base64
import json
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from vidu_relay.domain.errors import RemoteTaskClaimedError, StaleTaskError
from vidu_relay.domain.snapshot import TaskError, Usage
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Attempt, HistoryEntry, Output, Task, Video

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["DUE_SHARDS", "REQUEST_WORDS", "Lease", "TaskStore", "task_from_image"]

DUE_INDEX = "due"
OWNER_INDEX = "by_owner"
TASK_PREFIX = "task#"
REMOTE_PREFIX = "remote#"
DUE_SHARDS = 8
"""Partitions of the due index: 1,000 index writes a second each (DynamoDB's limit for one partition)."""
BATCH_GET_LIMIT = 100

REQUEST_WORDS = (
    b'","callback_url":"https://,"payload":","meta_data":","voice_id":","off_peak":true,"watermark":true,"seed":'
    b',"audio":true,"aspect_ratio":"9:16","resolution":"1080p","aspect_ratio":"16:9","resolution":"720p","duration":5'
    b',"images":["s3://.webp"]},{"id":".jpg","https://.png"]}],"prompt":"{"model":"viduq2_pro_fast_reference2video"'
    b',"subjects":[{"id":"1","images":["https://'
)
"""What most requests have in common, the likeliest last: with it a usual record stays below the kilobyte that one write
unit takes. Never changed: records are read with the words they were written with. Other ones need another name."""

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to look at a task: its number, since when the task has been due (ms), and whose task it is."""

    number: int
    due_since: int
    tenant_id: str


class TaskStore:
    """Reads and conditional writes of tasks. `stamp` gives the random mark of a write."""

    def __init__(
        self, client: DynamoDBClient, table_name: str, stamp: Callable[[], str] = lambda: secrets.token_urlsafe(6)
    ) -> None:
        self._client = client
        self._table = table_name
        self._stamp = stamp

    def get(self, task_id: str) -> Task | None:
        """The task as it is now (consistent read), or None."""
        reply = self._client.get_item(TableName=self._table, Key=_key(task_id), ConsistentRead=True)
        item = reply.get("Item")
        return task_from_image(item) if item else None

    def create(self, task: Task) -> Task:
        """Record a new task; the task as recorded.

        If a task with this id is there already, that one is returned: compare the fingerprints.
        """
        return self._put(task, condition="attribute_not_exists(pk)", values={})

    def save(self, task: Task) -> Task:
        """Write a changed task over the revision it came from; the task as recorded.

        Raises `StaleTaskError` if the record has moved on.
        """
        return self._put(task, condition="revision = :seen", values={":seen": {"N": str(task.revision)}})

    def claim_remote(self, provider: str, remote_id: str, task_id: str, expires_at: int) -> None:
        """Make a remote id this task's own, once and for all; safe to repeat.

        Raises `RemoteTaskClaimedError` if another task owns it.
        """
        key = {"pk": {"S": f"{REMOTE_PREFIX}{provider}#{remote_id}"}}
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**key, "task_id": {"S": task_id}, "expires_at": {"N": str(expires_at)}},
                ConditionExpression="attribute_not_exists(pk) OR task_id = :me",
                ExpressionAttributeValues={":me": {"S": task_id}},
            )
        except ClientError as error:
            if _is_condition_failure(error):
                raise RemoteTaskClaimedError(remote_id) from error
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
        """Take the lease of a due task found by `find_due`, or None if somebody else was faster.

        A lost reply counts as "somebody else": the lease then lapses and is taken again. Since when the task has been
        due is kept until a worker writes the record, so that a task whose pollers all die grows old visibly.
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
            if _is_condition_failure(error):
                return None
            raise
        there = reply["Attributes"]
        return Lease(int(there["lease"]["N"]), int(there["due_since"]["N"]), there["owner"]["S"])

    def list_keys(self, tenant_id: str, *, limit: int, after: tuple[int, str] | None) -> list[tuple[int, str]]:
        """`(created_at, task_id)` of a tenant's tasks, newest first, at most `limit`, from behind `after` on."""
        start: dict[str, Any] = {}
        if after:
            created_at, task_id = after
            start["ExclusiveStartKey"] = {
                **_key(task_id),
                "owner": {"S": tenant_id},
                "created_at": {"N": str(created_at)},
            }
        reply = self._client.query(
            TableName=self._table,
            IndexName=OWNER_INDEX,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": tenant_id}},
            ScanIndexForward=False,
            Limit=limit,
            **start,
        )
        return [(int(i["created_at"]["N"]), i["pk"]["S"].removeprefix(TASK_PREFIX)) for i in reply["Items"]]

    def get_many(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Tasks by id; ids without a record are left out."""
        wanted: list[Any] = [_key(task_id) for task_id in task_ids]
        found: dict[str, Task] = {}
        while wanted:
            now, wanted = wanted[:BATCH_GET_LIMIT], wanted[BATCH_GET_LIMIT:]
            reply = self._client.batch_get_item(RequestItems={self._table: {"Keys": now}})
            for item in reply["Responses"].get(self._table, []):
                task = task_from_image(item)
                found[task.task_id] = task
            left = reply["UnprocessedKeys"]
            wanted = [*(left[self._table]["Keys"] if self._table in left else ()), *wanted]
        return found

    def _put(self, task: Task, *, condition: str, values: Mapping[str, Any]) -> Task:
        saved = replace(task, revision=task.revision + 1)
        stamp = self._stamp()
        arguments: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**_to_item(saved), "stamp": {"S": stamp}},
                ConditionExpression=condition,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **arguments,
            )
        except ClientError as error:
            if not _is_condition_failure(error):
                raise
            there: Any = error.response.get("Item")
            if there is None:
                raise StaleTaskError(task.task_id) from error
            if there.get("stamp", {}).get("S") == stamp:
                return saved  # our own write, whose reply was lost
            if condition.startswith("revision"):
                raise StaleTaskError(task.task_id) from error
            return task_from_image(there)
        return saved


def task_from_image(item: Mapping[str, Any]) -> Task:
    """A task from its DynamoDB item or stream image.

    Stream images arrive through JSON, where binary values are base 64 text: both forms are read.
    """
    plain = {name: _deserialize(_binary(value)) for name, value in item.items()}
    attempt = plain.get("attempt")
    error = plain.get("error")
    usage = plain.get("usage")
    return Task(
        task_id=plain["pk"].removeprefix(TASK_PREFIX),
        tenant_id=plain["owner"],
        status=Status(plain["status"]),
        revision=int(plain["revision"]),
        version=int(plain["version"]),
        provider=plain["provider"],
        created_at=int(plain["created_at"]),
        updated_at=int(plain["updated_at"]),
        deadline_at=int(plain["deadline_at"]),
        fingerprint=plain["fingerprint"],
        request=_unpack(bytes(plain["request"])),
        request_key=plain.get("request_key"),
        image_versions=tuple(plain.get("image_versions", ())),
        attempt=Attempt(attempt[0], int(attempt[1]), int(attempt[2]) if len(attempt) > 2 else None)
        if attempt
        else None,
        attempts=int(plain.get("attempts", 1)),
        remote_id=plain.get("remote_id"),
        hints=tuple(plain.get("hints", ())),
        due_at=int(plain["due_at"]) if "due_at" in plain else None,
        lease=int(plain.get("lease", 0)),
        due_since=int(plain["due_since"]) if "due_since" in plain else None,
        checks=int(plain.get("checks", 0)),
        delivery_requests=int(plain.get("delivery_requests", 0)),
        source_faults=int(plain.get("source_faults", 0)),
        error=TaskError(error[0], error[1]) if error else None,
        outputs=tuple(Output(o[0] or None, o[1] or None, int(o[2])) for o in plain.get("outputs", ())),
        usage=Usage(usage.get("cost"), usage.get("discount")) if usage is not None else None,
        upstream_id=plain.get("upstream_id"),
        remote_model=plain.get("remote_model"),
        videos=tuple(_video(video) for video in plain.get("videos", ())),
        history=tuple(_history(plain["history"])),
        expires_at=int(plain["expires_at"]) if "expires_at" in plain else None,
    )


def _to_item(task: Task) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "pk": TASK_PREFIX + task.task_id,
        "owner": task.tenant_id,
        "status": task.status.value,
        "revision": task.revision,
        "version": task.version,
        "provider": task.provider,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "deadline_at": task.deadline_at,
        "fingerprint": task.fingerprint,
        "request": _pack(task.request),
        "history": " ".join(f"{entry.status.value}:{entry.at}:{entry.source}" for entry in task.history),
    }
    if task.attempt:
        plain["attempt"] = [
            task.attempt.claim,
            task.attempt.started_at,
            *([] if task.attempt.ended_at is None else [task.attempt.ended_at]),
        ]
    if task.due_at is not None:
        plain["due_at"] = task.due_at
        plain["due_shard"] = str(zlib.crc32(task.task_id.encode()) % DUE_SHARDS)
    if task.attempts != 1:
        plain["attempts"] = task.attempts
    for name in ("lease", "checks", "delivery_requests", "source_faults"):
        if count := getattr(task, name):
            plain[name] = count
    for name in ("request_key", "remote_id", "upstream_id", "remote_model", "expires_at"):
        if (value := getattr(task, name)) is not None:
            plain[name] = value
    lists: dict[str, list[Any]] = {
        "hints": list(task.hints),
        "image_versions": list(task.image_versions),
        "error": [task.error.code, task.error.message] if task.error else [],
        "outputs": [[o.task_id or "", o.task_status or "", o.videos] for o in task.outputs],
        "videos": [_video_item(video) for video in task.videos],
    }
    plain |= {name: content for name, content in lists.items() if content}
    if task.usage:
        usage = {"cost": task.usage.cost, "discount": task.usage.discount}
        plain["usage"] = {name: value for name, value in usage.items() if value is not None}
    return {name: _serialize(value) for name, value in plain.items()}


def _pack(request: Mapping[str, Any]) -> bytes:
    packer = zlib.compressobj(9, zdict=REQUEST_WORDS)
    text = json.dumps(dict(request), separators=(",", ":"), ensure_ascii=False)
    return packer.compress(text.encode()) + packer.flush()


def _unpack(packed: bytes) -> dict[str, Any]:
    """A request as `_pack` made it, or packed without the words, as before there were any."""
    unpacker = zlib.decompressobj(zdict=REQUEST_WORDS)
    request: dict[str, Any] = json.loads(unpacker.decompress(packed))
    if not unpacker.eof:
        raise ValueError("a request is cut off")
    return request


def _video_item(video: Video) -> dict[str, Any]:
    item: dict[str, Any] = {
        "bucket": video.bucket,
        "key": video.key,
        "size": video.size,
        "sha256": bytes.fromhex(video.sha256),
        "type": video.content_type,
    }
    if video.duration_seconds is not None:
        item["duration"] = str(video.duration_seconds)
    if video.width is not None and video.height is not None:
        item["width"], item["height"] = video.width, video.height
    return item


def _video(item: Mapping[str, Any]) -> Video:
    return Video(
        bucket=item["bucket"],
        key=item["key"],
        size=int(item["size"]),
        sha256=bytes(item["sha256"]).hex(),
        content_type=item["type"],
        duration_seconds=float(item["duration"]) if "duration" in item else None,
        width=int(item["width"]) if "width" in item else None,
        height=int(item["height"]) if "height" in item else None,
    )


def _history(text: str) -> Iterator[HistoryEntry]:
    for entry in text.split():
        status, at, source = entry.split(":", 2)
        yield HistoryEntry(int(at), Status(status), source)


def _binary(value: Any) -> Any:
    """A DynamoDB value whose base 64 text, as stream events carry it, is turned into bytes."""

    (kind, content), *_ = value.items()
    if kind == "B" and isinstance(content, str):
        return {"B": base64.b64decode(content)}
    if kind == "L":
        return {"L": [_binary(part) for part in content]}
    if kind == "M":
        return {"M": {name: _binary(part) for name, part in content.items()}}
    return value


def _key(task_id: str) -> dict[str, Any]:
    return {"pk": {"S": TASK_PREFIX + task_id}}


def _is_condition_failure(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"
