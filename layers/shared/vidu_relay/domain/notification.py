"""The notifications to a client's `callback_url`: of which changes, in which form, and when they are tried again.

Pure. `now` and `sent_at` are in milliseconds since the epoch; `sent_at` is when the notification was queued.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vidu_relay.domain.representation import represent, timestamp
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import EVENT_TYPES, Status
from vidu_relay.domain.task import Task, Video

if TYPE_CHECKING:
    from vidu_relay.domain import documents, webhook_documents

__all__ = [
    "EVENT_TYPE_NOTIFICATION_FAILED",
    "GIVE_UP_MS",
    "MIN_RECEIVES",
    "NOTIFIED",
    "Notification",
    "NotificationAttempt",
    "NotificationRecord",
    "answer_text",
    "attempt_facts",
    "failure_detail",
    "gives_up",
    "is_notified",
    "latest_notified",
    "notification_body",
    "notified_versions",
    "represent_notification",
    "retry_seconds",
    "status_of",
    "waiting_seconds",
    "webhook_id",
]

NOTIFIED = frozenset({Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELED})
"""The changes that clients are notified of: those of the provider's page, and every end."""

EVENT_TYPE_NOTIFICATION_FAILED = "VideoTaskNotificationFailed"
"""Published when a notification has failed and is not tried again."""

GIVE_UP_MS = 72 * 3_600_000
"""How long a notification is tried, at least."""
MIN_RECEIVES = 6
"""A message that waited in the queue all that time is still tried."""
FIRST_RETRY_SECONDS = 5.0
RETRY_FACTOR = 3
"""Times the age of a notification that the next try is away: with the two numbers beside it, 15 tries in 72 hours."""
LONGEST_RETRY_SECONDS = 10 * 3600.0
LONGEST_RETRY_AFTER_SECONDS = 6 * 3600.0
"""The most that a client's `Retry-After` can ask for."""
LONGEST_SPREAD_SECONDS = 1800.0
"""The most that jitter adds to a wait."""


@dataclass(frozen=True, slots=True)
class Notification:
    """Which change of which task a message is about. It only triggers a read of the record.

    A `replay` was asked for: it is sent also where a later change has overtaken it.
    """

    task_id: str
    version: int
    replay: bool = False


@dataclass(frozen=True, slots=True)
class NotificationAttempt:
    """One call of a client's address. `at` is when it began, in ms; `answer` is the beginning of the answer's text.

    `status` is HTTP's where a whole answer came; else `fault` says why none did.
    """

    at: int
    latency_ms: int
    status: int | None
    fault: str | None = None
    answer: str = ""


@dataclass(frozen=True, slots=True)
class NotificationRecord:
    """What is kept of a notification: its latest attempts, oldest first, whether one was answered 2xx, and when the
    next one is due at the earliest (ms), if there is one."""

    attempts: tuple[NotificationAttempt, ...]
    delivered: bool
    next_at: int | None


def answer_text(start: bytes) -> str:
    """The beginning of a foreign server's answer, safe to show: text in UTF-8, one line.

    U+FFFD stands for bytes that are none and for characters that are not printed, such as escapes and changes of
    direction. A character that is cut at the end is left out.
    """
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(start)
    return "".join(c if c.isprintable() else " " if c in "\r\n\t" else "\ufffd" for c in text)


def attempt_facts(attempt: NotificationAttempt) -> webhook_documents.WebhookAttempt:
    """An attempt as the API shows it."""
    return {
        "at": timestamp(attempt.at),
        "status": attempt.status,
        "fault": attempt.fault,
        "latency_ms": attempt.latency_ms,
        "answer": attempt.answer,
    }


def represent_notification(task: Task, version: int, record: NotificationRecord) -> webhook_documents.TaskNotification:
    """A notification as the API shows it. The version must be one that was reached."""
    status = status_of(task, version)
    if status is None:
        raise ValueError(f"the task has no version {version}")
    return {
        "version": version,
        "webhook_id": webhook_id(task.task_id, version),
        "status": status.value,
        "state": "retrying" if record.next_at is not None else "delivered" if record.delivered else "gave_up",
        "next_try_at": timestamp(record.next_at) if record.next_at is not None else None,
        "attempts": [attempt_facts(attempt) for attempt in record.attempts],
    }


def webhook_id(task_id: str, version: int) -> str:
    """The `webhook-id` of a notification, the same at every try: the `event_id` of the change."""
    return f"{task_id}:{version}"


def status_of(task: Task, version: int) -> Status | None:
    """The state that a version of the task published; None for one that it has not reached."""
    entry = _entries(task).get(version)
    return task.history[entry].status if entry is not None else None


def is_notified(task: Task, version: int) -> bool:
    """Whether clients are notified of this version of the task."""
    delayed = task.delivery is not None and task.delivery.delayed_version == version
    return delayed or status_of(task, version) in NOTIFIED


def notified_versions(task: Task) -> list[int]:
    """The versions so far that the client is notified of, in ascending order."""
    return sorted(version for version in _entries(task) if is_notified(task, version))


def latest_notified(task: Task) -> int | None:
    """The latest version that the client is notified of; None if there is none yet."""
    return max(notified_versions(task), default=None)


def notification_body(task: Task, version: int, sign: Callable[[Video], str]) -> documents.Task:
    """The task as it stood at this version, as the API shows it. The version must be one that was reached.

    Of an earlier version only state and moment are kept: outcome and videos are empty.
    """
    if version == task.version:
        return represent(task, sign=sign)
    entry = _entries(task).get(version)
    if entry is None:
        raise ValueError(f"the task has no version {version}")
    then = task.history[entry]
    return represent(
        replace(
            task,
            status=then.status,
            version=version,
            updated_at=then.at,
            error=None,
            outputs=(),
            usage=None,
            videos=(),
            delivery=None,
            history=task.history[: entry + 1],
        )
    )


def retry_seconds(sent_at: int, now: int, *, jitter: float, requested: float | None) -> int:
    """How long to wait after a try that failed: three times as long as it has been tried, 5 seconds to 10 hours.

    `jitter` in [0, 1) adds up to a sixth: never less, or there would be more than 15 tries, and never more than
    the 11 hours and 40 minutes for which the queue hides a message. The wait is at least `requested`, the client's
    `Retry-After`, of which up to 6 hours count.
    """
    age = max(0.0, (now - sent_at) / 1000)
    own = min(max(RETRY_FACTOR * age, FIRST_RETRY_SECONDS), LONGEST_RETRY_SECONDS) * (1 + jitter / 6)
    return round(max(own, min(requested or 0.0, LONGEST_RETRY_AFTER_SECONDS)))


def waiting_seconds(sent_at: int, now: int, *, wait_ms: int, jitter: float) -> int:
    """How long to put a message back that may be tried in `wait_ms` at the earliest.

    `jitter` in [0, 1) adds up to a quarter of that, or up to half of the message's age if that is more, at most half an
    hour: messages that wait for the same server come back one after the other, and old ones seldom.
    """
    age = max(0.0, (now - sent_at) / 1000)
    spread = max(wait_ms / 4000, min(age / 2, LONGEST_SPREAD_SECONDS))
    return round(wait_ms / 1000 + jitter * spread) + 1


def gives_up(sent_at: int, now: int, *, receives: int) -> bool:
    """Whether a message is not tried again: 72 hours after the change, and after several receipts."""
    return now - sent_at >= GIVE_UP_MS and receives >= MIN_RECEIVES


def failure_detail(
    task: Task, version: int, url_origin: str, attempts: int, error: TaskError
) -> webhook_documents.NotificationFailure:
    """The detail of `VideoTaskNotificationFailed`. `url_origin` is the address without path and query."""
    return {
        "event_id": f"{webhook_id(task.task_id, version)}:notification",
        "tenant_id": task.tenant_id,
        "task_id": task.task_id,
        "version": version,
        "url_origin": url_origin,
        "attempts": attempts,
        "error": {"code": error.code, "message": error.message},
    }


def _entries(task: Task) -> dict[int, int]:
    """The index in the history of what each version published, by version.

    The first entry is the acceptance, whatever its state. The last one published the present version, each one before
    it the version before.
    """
    published = [0, *(n for n, entry in enumerate(task.history) if n and entry.status in EVENT_TYPES)]
    return {task.version - age: entry for age, entry in enumerate(reversed(published))}
