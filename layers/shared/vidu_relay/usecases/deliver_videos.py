"""Copy the videos of a generated task into our bucket, from fresh links, safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.video_archive import VideoArchive
from vidu_relay.adapters.video_source import VideoSource
from vidu_relay.domain.client_fields import object_metadata
from vidu_relay.domain.delivery import Copies, links_in_order, only_first_range, record_copies, whole_copy_is_due
from vidu_relay.domain.errors import (
    BadSourceError,
    ConfigurationError,
    DeliveryError,
    DeliveryInterruptedError,
    ProviderUnavailableError,
    RemoteTaskNotFoundError,
)
from vidu_relay.domain.identifiers import link_digest, video_key
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task, Video
from vidu_relay.domain.video_proof import VideoProof
from vidu_relay.observability import Metric, count, gauge, logger
from vidu_relay.usecases.ports import Clock, Providers, clock, spread
from vidu_relay.usecases.read_remote_task import read_remote_task
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["DeliveryDependencies", "deliver_videos"]

FIRST_BYTES = 64 * 1024
"""What is read of a video whose source failed often, before a whole copy is tried."""


@dataclass(frozen=True, slots=True)
class DeliveryDependencies:
    """What a delivery needs."""

    store: TaskStore
    providers: Providers
    source: VideoSource
    archive: VideoArchive
    policy: PollingPolicy
    clock: Clock = clock


@dataclass(slots=True)
class _Attempt:
    """What one attempt gave so far: copies by number, and the error to show: the source's before ours."""

    videos: dict[int, Video]
    error: DeliveryError | None = None
    whole_copies: int = 0

    def fail(self, error: DeliveryError) -> None:
        if self.error is None or isinstance(error, BadSourceError):
            self.error = error


def deliver_videos(task_id: str, deps: DeliveryDependencies, *, again: bool, deadline: float) -> Task | None:
    """Deliver one task; the task as it stands after, None if there is no such task.

    `again`: an earlier try may have stored something, so the bucket is read first. `deadline`, on the
    monotonic clock, is when a copy under way must have ended. Videos that came are kept, whatever became of the others.
    A failed delivery is recorded, due again by its own backoff; nothing is raised for it.
    """
    task = deps.store.get(task_id)
    if task is None:
        logger.warning("delivery_of_unknown_task", task_id=task_id)
        return None
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id)
    if task.status is not Status.GENERATED:
        return task
    attempt = _Attempt({})
    try:
        _copy(task, attempt, deps, again=again or task.delivery is not None, deadline=deadline)
    except DeliveryError as error:
        attempt.fail(error)
    return _record(task, attempt, deps)


def _copy(task: Task, attempt: _Attempt, deps: DeliveryDependencies, *, again: bool, deadline: float) -> None:
    keys = {
        number: video_key(task.tenant_id, task.task_id, task.created_at, number)
        for number in range(1, task.expected_videos + 1)
    }
    if again:
        for number, key in keys.items():
            if (found := deps.archive.find(key)) is not None:
                attempt.videos[number] = _numbered(found, number)
    missing = [number for number in keys if number not in attempt.videos]
    if not missing:
        return
    links = _fresh_links(task, deps)
    for number in missing:
        url = links[number - 1]
        if url is None:
            attempt.fail(BadSourceError("link_missing", "The provider shows fewer videos than before."))
            continue
        try:
            attempt.videos[number] = _numbered(_copy_one(task, url, keys[number], attempt, deps, deadline), number)
        except DeliveryError as error:
            attempt.fail(error)


def _copy_one(task: Task, url: str, key: str, attempt: _Attempt, deps: DeliveryDependencies, deadline: float) -> Video:
    """Copy one video. A source that failed often must show good first bytes before it is read whole."""
    due = whole_copy_is_due(task, now=deps.clock(), policy=deps.policy)
    if only_first_range(task) or not due:
        with deps.source.open(url, deadline=deadline, first_bytes=FIRST_BYTES) as stream:
            VideoProof().feed(stream.read(FIRST_BYTES))
        if not due:
            copies = task.delivery.whole_copies if task.delivery else 0
            raise BadSourceError("copies_used_up", f"{copies} copies broke off. The next one waits, or is asked for.")
    received = 0
    try:
        with deps.source.open(url, deadline=deadline) as stream:
            try:
                return deps.archive.store(key, stream, dict(object_metadata(task.external_id, task.labels)))
            finally:
                received = stream.received
    except DeliveryError as error:
        paid_for = received > FIRST_BYTES and _is_the_sources(error)
        attempt.whole_copies = max(attempt.whole_copies, int(paid_for))
        raise


def _numbered(video: Video, number: int) -> Video:
    return replace(video, number=number)


def _fresh_links(task: Task, deps: DeliveryDependencies) -> Sequence[str | None]:
    """A fresh link for each video, in the order of the task's videos; None where the provider shows none."""
    try:
        urls = read_remote_task(task, deps.providers).video_urls
    except RemoteTaskNotFoundError as error:
        raise BadSourceError("video_lost", "The provider no longer knows this task.") from error
    except (ProviderUnavailableError, ConfigurationError) as error:
        raise DeliveryInterruptedError("link_missing", str(error)) from error
    return links_in_order(task, [(link_digest(url), url) for url in urls])


def _is_the_sources(error: DeliveryError) -> bool:
    return isinstance(error, BadSourceError) or error.code.startswith("source_")


def _record(task: Task, attempt: _Attempt, deps: DeliveryDependencies) -> Task:
    videos = tuple(attempt.videos[number] for number in sorted(attempt.videos))
    error, jitter = attempt.error, spread()
    bad = isinstance(error, BadSourceError)
    if error is not None:
        logger.warning("delivery_failed", code=error.code, reason=error.message, bad_source=bad)
        count(Metric.DELIVERY_BAD_SOURCE if bad else Metric.DELIVERY_INTERRUPTED)
        gauge(Metric.OLDEST_GENERATED_SECONDS, (deps.clock() - (task.generated_at or task.created_at)) // 1000)
    shown = TaskError(error.code, error.message) if error else None
    copies = Copies(videos, shown, bad, attempt.whole_copies)
    delivered = save_with_retry(
        deps.store,
        task,
        lambda current: record_copies(current, copies, now=deps.clock(), jitter=jitter, policy=deps.policy),
    )
    if delivered.status is Status.COMPLETED:
        logger.info("videos_copied", videos=len(videos), bytes=sum(video.size for video in videos))
    return delivered
