"""What comes through the queue of requests: a file dropped into the inbox bucket, an event, a batch to go on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.strict_json import valid_text

if TYPE_CHECKING:
    from vidu_relay.domain import documents

__all__ = [
    "BATCH_SUFFIX",
    "REJECTED_PREFIX",
    "REQUESTED",
    "REQUESTS_PREFIX",
    "BatchMessage",
    "DroppedFile",
    "RequestEvent",
    "own_key",
    "rejection_detail",
]

REQUESTS_PREFIX = "requests/"
"""Files below `requests/<tenant>/` that end in `.json` are requests of that tenant."""

BATCH_SUFFIX = ".jsonl"
"""The ending of files that are batches of requests, one a line."""

REJECTED_PREFIX = "rejected/"
"""`requests/<tenant>/…` that was refused is answered at `rejected/<tenant>/…`."""

REQUESTED = "VideoTaskRequested"
"""Detail type of an event that asks for a video."""

MAX_REJECTION_BYTES = 19_500
"""Like every event of ours: under 20 KB. What does not fit is left out at the end of `errors`."""


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """One version of an object below `requests/`. `version_id` is None only where the bucket keeps no versions."""

    bucket: str
    key: str
    version_id: str | None

    @property
    def entry_point(self) -> str:
        """The entry point, as the task's history names it."""
        return "s3"

    @property
    def is_batch(self) -> bool:
        """Whether it holds a request a line."""
        return self.key.endswith(BATCH_SUFFIX)

    @property
    def tenant_id(self) -> str | None:
        """The tenant by the prefix, to which IAM restricts a writer; None for a file outside a tenant's folder."""
        tenant, slash, _ = self.key.removeprefix(REQUESTS_PREFIX).partition("/")
        return tenant if slash and tenant else None

    @property
    def folder(self) -> str:
        """The `s3://` URI that relative image keys are below, with its slash."""
        return f"s3://{self.bucket}/{self.key.rpartition('/')[0]}/"

    @property
    def rejected_key(self) -> str:
        """Where the answer to a refused file lies."""
        return REJECTED_PREFIX + self.key.removeprefix(REQUESTS_PREFIX)

    @property
    def source(self) -> str:
        """The file, as `VideoTaskRejected` names it."""
        return valid_text(f"s3://{self.bucket}/{self.key}")

    @property
    def message_id(self) -> str:
        """The same for each delivery of the same upload, another for each upload."""
        upload = "\0".join((self.bucket, self.key, self.version_id or ""))
        return hashlib.sha256(upload.encode()).hexdigest()[:32]

    @property
    def rejection_id(self) -> str:
        """The `event_id` of a rejection of this upload."""
        return f"{self.message_id}:rejected"


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """A `VideoTaskRequested` event: the id EventBridge gave it, its source and its detail.

    Where the detail cannot be read, it is empty and `fault` says why: the event is to be rejected with it.
    """

    event_id: str
    source: str
    detail: Mapping[str, Any]
    fault: InvalidRequestError | None = None

    @property
    def entry_point(self) -> str:
        """The entry point, as the task's history names it."""
        return "event"

    @property
    def message_id(self) -> str:
        """The id that PutEvents gave its caller."""
        return self.event_id

    @property
    def rejection_id(self) -> str:
        """The `event_id` of a rejection of this event."""
        return f"{self.message_id}:rejected"


@dataclass(frozen=True, slots=True)
class BatchMessage:
    """A batch to go on with: from `first_byte` of its file, or with whatever is due where the sweep sends it (None)."""

    batch_id: str
    first_byte: int | None = None


def own_key(*parts: str) -> str:
    """An idempotency key that the relay makes. It holds NUL characters, so no client can send one."""
    return "\0".join(("", *parts))


def rejection_detail(
    asked: DroppedFile | RequestEvent, tenant_id: str | None, problem: Mapping[str, Any]
) -> documents.Rejection:
    """The detail of `VideoTaskRejected`. `problem` is the problem document that HTTP would answer with.

    `tenant_id` is None where the request acts for no tenant. Faults that would make it too large are left out, and
    counted. Every text in it is valid Unicode: a name or a source may hold half a character.
    """
    shown: documents.Problem = _valid(problem)
    detail: documents.Rejection = {
        "event_id": asked.rejection_id,
        "tenant_id": tenant_id,
        "source": valid_text(asked.source),
        "error": shown,
    }
    errors = every = shown.get("errors", [])
    while errors and len(json.dumps(detail).encode()) > MAX_REJECTION_BYTES:
        errors = errors[: len(errors) // 2]
        left_out = f"{shown['detail']} {len(every) - len(errors)} more had no room in this event."
        detail["error"] = {**shown, "detail": left_out, "errors": errors}
    return detail


def _valid(value: Any) -> Any:
    """A JSON value with valid Unicode in every text."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, Mapping):
        return {valid_text(name): _valid(member) for name, member in value.items()}
    return [_valid(member) for member in value] if isinstance(value, list | tuple) else value
