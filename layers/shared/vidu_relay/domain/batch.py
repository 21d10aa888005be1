"""A batch: the requests of one file, a request a line.

A batch is identified by its tenant and the bytes of its file, so the same file is the same batch however it comes. Its
tasks are identified by batch and line number. Line numbers begin at 1 and count empty lines too.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.queued_requests import REQUESTS_PREFIX, DroppedFile, own_key
from vidu_relay.domain.utc_day import DAY_MS

__all__ = [
    "BATCH_ID",
    "Batch",
    "BatchState",
    "batch_id_of",
    "line_task_id",
    "uploaded_key",
]

BATCH_ID = re.compile(r"b[a-z2-7]{26}")
"""`b` and 16 bytes in lower-case base 32: one character longer than a task id, so neither passes for the other."""


class BatchState(StrEnum):
    """How far a batch is. The values are public.

    - `accepting`: cap and budget are reserved, and its lines become tasks or rejections;
    - `accepted`: each line is a task or a rejection;
    - `completed`: each of its tasks has ended, and the summary is written.
    """

    ACCEPTING = "accepting"
    ACCEPTED = "accepted"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The record of a batch. Moments are in milliseconds since the epoch, amounts in US dollars as text.

    - `revision` counts the writes: each is conditional on the one before.
    - `file` is the version of the object that is read, `sha256` its digest in hex, `size` its bytes.
    - `created_at` is the moment of the reservation: its UTC day is charged, and every task is created on it.
    - `lines` are the lines that are not empty, without the header; `bad_lines` those of them that the first reading
      refused; `last_line` is the number of the last line.
    - `reserved_usd` is what the other lines cost together by the first reading.
    - `next_line` begins at `next_byte`: what comes before is accepted. `tasks` and `rejected` are how many of its lines
      became tasks and rejections, `expected_usd` is what the tasks reserved. `parts` are the first lines of the
      objects with rejections (`rejections_key`).
    - `lease_until` is until when an execution accepts lines; no other does before.
    - `cursor` is the first line whose task may be open; `counts` the tasks before it by their end, `cost_usd` their
      bills as far as they are known, and `uncertain_usd` what those without a known bill reserved. `failures`
      name the objects that list those that did not complete (`failures_key`).
    - `retries` are the lines of the retry file; 0 where there is none.
    - `due_at` is when the sweep has the batch go on, if nothing happens before; None once it is completed.
    - `accepted_published` and `completed_published` say that the event is on the bus.
    - `expires_at` is in seconds; None until the batch is completed.
    """

    batch_id: str
    tenant_id: str
    state: BatchState
    file: DroppedFile
    sha256: str
    size: int
    created_at: int
    lines: int
    bad_lines: int
    last_line: int
    reserved_usd: str
    name: str | None = None
    retry_of: str | None = None
    attempt: int = 1
    next_line: int = 1
    next_byte: int = 0
    tasks: int = 0
    rejected: int = 0
    expected_usd: str = "0"
    parts: tuple[int, ...] = ()
    lease_until: int = 0
    cursor: int = 1
    counts: Mapping[str, int] = field(default_factory=dict)
    cost_usd: str = "0"
    uncertain_usd: str = "0"
    failures: tuple[str, ...] = ()
    retries: int = 0
    due_at: int | None = None
    accepted_published: bool = False
    completed_published: bool = False
    revision: int = 0
    expires_at: int | None = None

    @property
    def folder(self) -> str:
        """Below which the answers to the batch lie in the inbox bucket."""
        return f"batches/{self.tenant_id}/{self.batch_id}/"

    @property
    def summary_key(self) -> str:
        """Where the summary is written."""
        return f"{self.folder}summary.json"

    @property
    def retry_key(self) -> str:
        """Where the file is written that submits again what failed for a passing reason."""
        return f"{self.folder}retry.jsonl"

    def rejections_key(self, first_line: int) -> str:
        """Where rejected lines from `first_line` on are written."""
        return f"{self.folder}rejected/{first_line:05}.jsonl"

    def failures_key(self, name: str) -> str:
        """Where tasks are listed that did not complete, of lines that were counted together."""
        return f"{self.folder}failed/{name}.jsonl"

    def task_id(self, line: int) -> str:
        """The id of the task of a line, whether or not it has one."""
        return line_task_id(self.tenant_id, self.batch_id, line)

    def created_at_of(self, line: int) -> int:
        """When the task of a line counts as created: in the order of lines, on the day that the batch is charged to.

        Not after `created_at`, so that no task is created in the future.
        """
        return max(self.created_at // DAY_MS * DAY_MS, self.created_at - self.last_line + line)


def batch_id_of(tenant_id: str, sha256: str) -> str:
    """The id of a tenant's batch from the SHA-256, in hex, of its file."""
    digest = hashlib.sha256(f"batch\0{tenant_id}\0{sha256}".encode()).digest()[:16]
    return f"b{base64.b32encode(digest).rstrip(b'=').decode().lower()}"


def line_task_id(tenant_id: str, batch_id: str, line: int) -> str:
    """The id of the task of a line of a batch."""
    return task_id_for_key(tenant_id, own_key("batch", batch_id, str(line)))


def uploaded_key(tenant_id: str, batch_id: str) -> str:
    """Where a file that is uploaded by a form lies in the inbox bucket."""
    return f"{REQUESTS_PREFIX}{tenant_id}/batches/{batch_id}.jsonl"
