"""What the provider shows of a task at one moment, in our own terms, the same for every provider."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CallbackReport", "ProgressState", "ProviderOutput", "ProviderSnapshot", "TaskError", "Usage"]


class ProgressState(StrEnum):
    """How far the provider is. `unknown` is any other word: not an end."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task did not succeed: the provider's code or one of ours, and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the task cost. `cost` is the provider's decimal string in USD, kept digit for digit; `discount` likewise.

    `credits` is the bill of a provider that has no price in money.
    """

    cost: str | None = None
    discount: str | None = None
    credits: str | None = None


@dataclass(frozen=True, slots=True)
class ProviderOutput:
    """One output of the provider: its upstream task id, its own state and the links of its videos.

    The links are signed and expire. They live in memory only: never in the table, an event or a log line.
    """

    task_id: str | None
    task_status: str | None
    video_urls: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ProviderOutput({self.task_id!r}, {self.task_status!r}, {len(self.video_urls)} videos)"


@dataclass(frozen=True, slots=True)
class ProviderSnapshot:
    """One authenticated reading of a remote task.

    - `remote_id` is the id that was asked for, or the one that a create reply gave.
    - `named_ids` are the ids by which the reply itself names the task (`id` and `task_id`, at the top or under `data`);
      none where it names none.
    - `upstream_id` is the id of the task behind the gateway's, where the reply shows it.
    - `created_at` is in milliseconds since the epoch by the provider's clock, where the provider gave it.
    - `clock_offset_ms` is how far the provider's clock is ahead of ours, measured by the reply's `Date` header; None
      without that header.
    - `tag` is our correlation tag (`submission.correlation_tag`) that the provider hands back, where it does.
    - `conclusive` is False for a failure of the provider itself (parsing, HTTP, status check), not of the generation:
      the video may still come.
    """

    remote_id: str
    state: ProgressState
    outputs: tuple[ProviderOutput, ...] = ()
    error: TaskError | None = None
    usage: Usage | None = None
    upstream_id: str | None = None
    model: str | None = None
    created_at: int | None = None
    tag: str | None = None
    named_ids: tuple[str, ...] = ()
    clock_offset_ms: int | None = None
    conclusive: bool = True

    @property
    def video_urls(self) -> tuple[str, ...]:
        """Every video link, in the order of the provider's outputs. The n-th becomes the n-th file."""
        return tuple(url for output in self.outputs for url in output.video_urls)


@dataclass(frozen=True, slots=True)
class CallbackReport:
    """What a callback's body reports. Not evidence: it only decides whether to read the provider, and under which ids.

    `state` is None where the body names none that we know; `ids` are valid remote ids, at most four.
    """

    state: ProgressState | None = None
    ids: tuple[str, ...] = ()
