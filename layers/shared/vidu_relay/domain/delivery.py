"""Every change of a task while its videos are copied, as pure functions. `now` is in milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vidu_relay.domain.lifecycle import enter, settle
from vidu_relay.domain.polling import DELIVERY_GRACE_MS, SLOW_INTERVAL_MS, PollingPolicy
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import DELIVERY_DELAYED, Delivery, HistoryEntry, Task, Video

__all__ = [
    "DELAYED_AFTER",
    "MAX_WHOLE_COPIES",
    "Copies",
    "expire_delivery",
    "links_in_order",
    "only_first_range",
    "record_copies",
    "record_delivery_request",
    "reopen",
    "whole_copy_is_due",
]

DELAYED_AFTER = 5
"""After so many failed attempts `VideoTaskDeliveryDelayed` is published. A source that failed so often is asked hourly,
and for the first bytes of the video before the whole."""

MAX_WHOLE_COPIES = 12
"""How many whole copies that a source broke off are paid for in traffic, spread over the time for which the copy is
attempted. In between only the first bytes are asked for. `relay task deliver` begins the count again."""


@dataclass(frozen=True, slots=True)
class Copies:
    """What an attempt to copy gave.

    - `videos` are in our bucket by now;
    - `error` is what failed, and `source_fault` says that it was the source, not our side;
    - `whole_copies` counts the copies that the source broke off after more than its first bytes.
    """

    videos: tuple[Video, ...] = ()
    error: TaskError | None = None
    source_fault: bool = False
    whole_copies: int = 0


def only_first_range(task: Task) -> bool:
    """Whether the source failed so often that its first bytes must be good before a whole copy is tried."""
    return task.delivery is not None and task.delivery.source_faults >= DELAYED_AFTER


def whole_copy_is_due(task: Task, *, now: int, policy: PollingPolicy) -> bool:
    """Whether another whole copy may be tried.

    The first five are free, the others spread over the time for which the copy is attempted, so that a source that
    recovers late is still copied.
    """
    copies = task.delivery.whole_copies if task.delivery else 0
    if copies < DELAYED_AFTER or copies >= MAX_WHOLE_COPIES:
        return copies < DELAYED_AFTER
    began = task.generated_at or task.created_at
    shares, used = MAX_WHOLE_COPIES - DELAYED_AFTER + 1, copies - DELAYED_AFTER + 1
    return now >= began + (policy.copied_until(began) - began) * used // shares


def links_in_order(task: Task, links: Sequence[tuple[str, str]]) -> list[str | None]:
    """The fresh links (digest and URL, as the provider lists them) in the order of the task's videos.

    A video keeps its number by the digest of its link's path. Links whose paths are new take the numbers that are left,
    in their order. None where the provider shows no link any more.
    """
    wanted = [digest for output in task.outputs for digest in output.links]
    left = list(links)
    found: list[str | None] = []
    for digest in wanted:
        known = next((link for link in left if link[0] == digest), None)
        if known:
            left.remove(known)
        found.append(known[1] if known else None)
    new = iter([url for digest, url in left])
    return [url if url is not None else next(new, None) for url in found]


def record_delivery_request(task: Task, *, now: int, wait_ms: int) -> Task:
    """A copy was asked for; due again when that one should long have ended."""
    if task.status is not Status.GENERATED:
        return task
    delivery = task.delivery or Delivery()
    return replace(
        task,
        delivery=replace(delivery, requests=delivery.requests + 1),
        due_at=now + max(wait_ms, DELIVERY_GRACE_MS),
    )


def record_copies(task: Task, copies: Copies, *, now: int, jitter: float, policy: PollingPolicy) -> Task:
    """What an attempt to copy gave: the videos that are in our bucket by now, and what failed.

    - Every video is there → `completed`.
    - Else the videos that came are kept, those of earlier attempts too, and the task is due again after a backoff:
      doubling to 15 minutes, hourly once the source failed five times.
    - The fifth failure publishes `VideoTaskDeliveryDelayed`.
    - After five failures, and once the time for late videos is over → `expired` (`video_unavailable`).
    """
    if task.status is not Status.GENERATED:
        return task
    kept = {video.number: video for video in (*task.videos, *copies.videos)}
    came = tuple(kept[number] for number in sorted(kept))
    if all(number in kept for number in range(1, task.expected_videos + 1)):
        return settle(replace(task, videos=came, error=None), Status.COMPLETED, now, "delivery", policy)
    before = task.delivery or Delivery()
    delivery = replace(
        before,
        attempts=before.attempts + 1,
        source_faults=before.source_faults + copies.source_fault,
        whole_copies=before.whole_copies + copies.whole_copies,
        last_error=copies.error,
    )
    tried = replace(task, videos=came, delivery=delivery, updated_at=now)
    if delivery.attempts >= DELAYED_AFTER and now >= policy.copied_until(task.generated_at or task.created_at):
        return expire_delivery(tried, now=now, policy=policy)
    slow = delivery.source_faults >= DELAYED_AFTER
    wait = SLOW_INTERVAL_MS if slow else policy.backoff_ms(max(before.attempts, before.requests), jitter)
    waiting = replace(tried, due_at=now + wait)
    if delivery.attempts >= DELAYED_AFTER and delivery.delayed_version is None:
        version = waiting.version + 1
        return replace(
            waiting,
            version=version,
            delivery=replace(delivery, delayed_version=version),
            history=(*waiting.history, HistoryEntry(now, Status.GENERATED, DELIVERY_DELAYED)),
        )
    return waiting


def expire_delivery(task: Task, *, now: int, policy: PollingPolicy) -> Task:
    """`generated` → `expired`: the videos could not be copied in all that time. Those that came are kept.

    A later success that the provider shows, or the operator (`reopen`), still completes the task.
    """
    if task.status is not Status.GENERATED:
        return task
    last = task.delivery.last_error if task.delivery else None
    reason = f" Last: {last.code}: {last.message}" if last else ""
    error = TaskError(
        "video_unavailable",
        f"The provider made and billed this video, but it could not be copied.{reason} Ask the operator to try again.",
    )
    return settle(replace(task, error=error), Status.EXPIRED, now, "delivery", policy)


def reopen(task: Task, *, now: int) -> Task:
    """The operator asks for the copy: a fresh start, also for a task that expired with `video_unavailable`."""
    if task.content_deleted_at is not None:
        return task
    if task.status is Status.EXPIRED and task.error is not None and task.error.code == "video_unavailable":
        back = replace(enter(task, Status.GENERATED, now, "operator"), error=None, expires_at=None)
    elif task.status is Status.GENERATED:
        back = task
    else:
        return task
    fresh = Delivery(delayed_version=task.delivery.delayed_version) if task.delivery else Delivery()
    return replace(back, delivery=replace(fresh, requests=1), due_at=now + DELIVERY_GRACE_MS)
