"""The task: one immutable record. Every change is a function that returns a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from vidu_relay.domain.budget import NO_BUDGET, Budget
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS
from vidu_relay.domain.snapshot import TaskError, Usage
from vidu_relay.domain.states import SETTLED, Status

__all__ = [
    "DELIVERY_DELAYED",
    "MAX_MOMENT",
    "Attempt",
    "Candidate",
    "Delivery",
    "HistoryEntry",
    "Origin",
    "Output",
    "Refusal",
    "StoredRequest",
    "Task",
    "Video",
]

DELIVERY_DELAYED = "delivery_delayed"
"""The source of the history entry that publishes `VideoTaskDeliveryDelayed`."""

MAX_MOMENT = 10**14
"""After the creation of every task: milliseconds since the epoch, in the year 5138."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A published change: the state, when (ms), and its cause (`http`, `create`, `callback`, `check` …)."""

    at: int
    status: Status
    source: str

    @property
    def notice(self) -> bool:
        """Whether the entry is a notice about a task that stays in its state."""
        return self.source == DELIVERY_DELAYED


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent a request, by which entry point (`http`, `s3`, `event`), and in which message; None for HTTP.

    `daily_cap` is how many tasks the tenant may have accepted in a day, `budget` what they may cost, and `max_cost`
    what this one may, in US dollars. A line of a batch has `batch_id` and the moment that it counts as created at: its
    slot and its price are reserved by the batch.
    """

    tenant_id: str
    daily_cap: int
    idempotency_key: str | None = None
    entry_point: str = "http"
    message_id: str | None = None
    budget: Budget = NO_BUDGET
    max_cost: Decimal | None = None
    batch_id: str | None = None
    created_at: int | None = None


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request as the fields of its task hold it: see `Task`."""

    parameters: Mapping[str, Any]
    digest: str
    key: str | None = None
    image_versions: tuple[str, ...] = ()
    external_id: str | None = None
    labels: Mapping[str, str] | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a create reply said that named an id all the same: it counts if the provider knows no task of that id.

    `error` is set for a request that was refused for good, and None for one that may be submitted again, after
    `retry_after_seconds` where the provider gave a number.
    """

    error: TaskError | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One create call at the provider.

    `token` is random and written before the call: only its holder may record how the call went. `ended_at` is missing
    while the call may still be running. `refusal` is what its reply said, where the reply also named an id. Once the
    remote id is known the attempt is forgotten.
    """

    token: str
    started_at: int
    ended_at: int | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A remote id under which an unconfirmed create may be found.

    `missing_since` is when the provider first answered 404 for it. `replied` says that the reply to our own create call
    named it; other ids come from callbacks.
    """

    remote_id: str
    missing_since: int | None = None
    replied: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the provider as recorded: its ids and states, and a digest of each video link's path. No links."""

    task_id: str | None
    task_status: str | None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the copy of a task's videos goes.

    - `requests` counts how often a check asked for the copy again, `attempts` the copies that failed;
    - `source_faults` counts the failures of the source, `whole_copies` the failed copies that read more of a video than
      its first bytes;
    - `last_error` is why the latest attempt failed;
    - `delayed_version` is the version under which `VideoTaskDeliveryDelayed` was published.
    """

    requests: int = 0
    attempts: int = 0
    source_faults: int = 0
    whole_copies: int = 0
    last_error: TaskError | None = None
    delayed_version: int | None = None


@dataclass(frozen=True, slots=True)
class Video:
    """A video in our bucket, the `number`-th of its task. Size in bytes; SHA-256 in hex, as S3 computed it.

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
    number: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A video task. Times are milliseconds since the epoch unless the name says otherwise.

    - `token` is random and never changes: it identifies the call that recorded the task, and begins every attempt's
      token.
    - `revision` counts the writes of the record (the store raises it). `version` is raised by each published change; it
      begins at the second of creation, so that a later task under a reused idempotency key has higher versions.
    - `request_digest` distinguishes requests. `request` is the client's request with what is large replaced by a
      reference; where that happened, `request_key` names the object in the inbox bucket that holds it whole.
    - `external_id`, `labels` and `priority` are the client's own, and stand in no request that is sent.
    - `batch_id` names the batch that it is a line of; its reservation is the batch's.
    - `message_id` names the message of a file or an event that the task came from; None for HTTP.
    - `image_versions` are the versions of its `s3://` images that were checked, one for each image in their order,
      empty where there is none; no entries at all where every one would be empty.
    - `attempts` counts the create calls that were begun.
    - `candidates` are ids under which an unconfirmed create may be found; each is read before it is trusted.
    - `aliases` are further ids of the remote task that its own create reply named.
    - `account_refused_at` is when the provider first refused our account for a create call of this task,
      `paused_since` since when the task waits for the account.
    - `queued_at` is since when the task waits in its provider's queue (`waits`), `admitted_at` when the queue let it go
      on: its create call waits for no other then.
    - `due_at` is when a check must act if nothing happens before; None once no check is needed.
    - `due_since` is when the sweep first found it overdue and no check has followed: every other write forgets it.
    - `lease` numbers the right to check: an execution whose number is older has lost it.
    - `delivery` is None until a copy was asked for again or failed.
    - `reserved_usd` is what the tenant's budget counts until the bill is known, `price_basis` where that comes from
      (`domain.price.Basis`), `credit_usd` what a credit of the provider cost at acceptance: exact decimals in text.
    - `content_deleted_at` is when the tenant deleted the task's content: no video is copied from then on.
    """

    task_id: str
    token: str
    tenant_id: str
    status: Status
    revision: int
    version: int
    provider: str
    created_at: int
    updated_at: int
    deadline_at: int
    request_digest: str
    request: Mapping[str, Any]
    request_key: str | None = None
    external_id: str | None = None
    labels: Mapping[str, str] | None = None
    priority: int = 0
    batch_id: str | None = None
    message_id: str | None = None
    image_versions: tuple[str, ...] = ()
    attempt: Attempt | None = None
    attempts: int = 0
    remote_id: str | None = None
    aliases: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    account_refused_at: int | None = None
    paused_since: int | None = None
    queued_at: int | None = None
    admitted_at: int | None = None
    due_at: int | None = None
    lease: int = 0
    due_since: int | None = None
    checks: int = 0
    delivery: Delivery | None = None
    error: TaskError | None = None
    outputs: tuple[Output, ...] = ()
    usage: Usage | None = None
    upstream_id: str | None = None
    remote_model: str | None = None
    videos: tuple[Video, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    reserved_usd: str | None = None
    price_basis: str | None = None
    credit_usd: str | None = None
    content_deleted_at: int | None = None
    expires_at: int | None = field(default=None)

    @property
    def first_version(self) -> int:
        """The version of the acceptance."""
        return self.created_at // 1000

    @property
    def remote_ids(self) -> tuple[str, ...]:
        """Every id of the remote task that is known: the one it is read by, and the others."""
        found = (self.remote_id, *self.aliases, self.upstream_id)
        return tuple(dict.fromkeys(remote_id for remote_id in found if remote_id is not None))

    @property
    def candidate_ids(self) -> tuple[str, ...]:
        """The ids of the candidates, in the order in which they became known."""
        return tuple(candidate.remote_id for candidate in self.candidates)

    def attempt_is_over(self, now: int) -> bool:
        """Whether no create call of this task can still be running."""
        attempt = self.attempt
        return attempt is None or attempt.ended_at is not None or now >= attempt.started_at + ATTEMPT_LIMIT_MS

    @property
    def expected_videos(self) -> int:
        """How many videos the provider showed when the task was generated."""
        return sum(len(output.links) for output in self.outputs)

    @property
    def generated_at(self) -> int | None:
        """When the task last became `generated`."""
        return next(
            (entry.at for entry in reversed(self.history) if entry.status is Status.GENERATED and not entry.notice),
            None,
        )

    @property
    def off_peak(self) -> bool:
        """Whether the client chose the slow, cheap mode."""
        return bool(self.request.get("off_peak"))

    @property
    def polled_slowly(self) -> bool:
        """Whether its checks are an hour apart: past its deadline, off-peak and known to the provider, or queued."""
        off_peak = self.off_peak and self.status in (Status.SUBMITTED, Status.PROCESSING)
        return off_peak or self.waits or self.status is Status.EXPIRED

    @property
    def waits(self) -> bool:
        """Whether it waits in its provider's queue for its turn."""
        return self.status is Status.ACCEPTED and self.queued_at is not None

    @property
    def settled(self) -> bool:
        """Whether a client need not wait any longer."""
        return self.status in SETTLED
