"""The task: one record, immutable here. Every change is a function in `lifecycle` that returns a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vidu_relay.domain.snapshot import TaskError, Usage
from vidu_relay.domain.states import SETTLED, Status

__all__ = ["Attempt", "HistoryEntry", "Output", "Task", "Video"]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A state the task entered, when (ms), and what moved it there (`http`, `create`, `callback`, `check` …)."""

    at: int
    status: Status
    source: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to create the task at the provider.

    `claim` is random and written before the call: whoever holds it, and nobody else, may record how the call went.
    `ended_at` is missing while the call may still be running. Once the remote id is known the attempt is forgotten.
    A task that was only recorded so far has one that ended as it began: its claim tells who recorded it.
    """

    claim: str
    started_at: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the provider as recorded: ids and states, and how many videos it holds. No links."""

    task_id: str | None
    task_status: str | None
    videos: int


@dataclass(frozen=True, slots=True)
class Video:
    """A video in our bucket. Size in bytes; SHA-256 in hex, as S3 computed it over what it stored.

    `notes` are codes for what is odd about the file; `docs/reference.md` lists them.
    """

    bucket: str
    key: str
    size: int
    sha256: str
    content_type: str
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A video task. Times are milliseconds since the epoch unless the name says otherwise.

    - `revision` counts the writes of the record (the store raises it), `version` the published changes.
    - `request` is the client's request with what is large replaced by a reference; where that happened,
      `request_key` names the object in the inbox bucket that holds it whole.
    - `image_versions` are the versions of its `s3://` images that were checked, one for each image in their order,
      empty where there is none; no entries at all where every one would be empty.
    - `attempts` counts the create calls that were begun: none yet for a task that a queue door only recorded.
    - `hints` are ids under which a callback said a lost create can be found: looked up, never believed.
    - `due_at` is the moment somebody must look at this task if nothing happens; None once nobody need.
    - `due_since` is when the sweep first found it overdue and nobody has looked since: every other write forgets it.
    - `lease` numbers the right to look: an execution whose number is older has lost it.
    """

    task_id: str
    tenant_id: str
    status: Status
    revision: int
    version: int
    provider: str
    created_at: int
    updated_at: int
    deadline_at: int
    fingerprint: str
    request: Mapping[str, Any]
    request_key: str | None = None
    image_versions: tuple[str, ...] = ()
    attempt: Attempt | None = None
    attempts: int = 1
    remote_id: str | None = None
    hints: tuple[str, ...] = ()
    due_at: int | None = None
    lease: int = 0
    due_since: int | None = None
    checks: int = 0
    delivery_requests: int = 0
    source_faults: int = 0
    error: TaskError | None = None
    outputs: tuple[Output, ...] = ()
    usage: Usage | None = None
    upstream_id: str | None = None
    remote_model: str | None = None
    videos: tuple[Video, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    expires_at: int | None = field(default=None)

    @property
    def off_peak(self) -> bool:
        """Whether the client chose the slow, cheap lane."""
        return bool(self.request.get("off_peak"))

    @property
    def settled(self) -> bool:
        """Whether a client need not wait any longer."""
        return self.status in SETTLED
