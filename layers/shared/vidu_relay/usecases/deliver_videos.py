"""Copy the videos of a generated task into our bucket, from links read anew, safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass

from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.video_archive import VideoArchive
from vidu_relay.adapters.video_source import VideoSource
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import (
    BadSourceError,
    ConfigurationError,
    DeliveryError,
    DeliveryInterruptedError,
    ProviderUnavailableError,
)
from vidu_relay.domain.identifiers import video_key
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task, Video
from vidu_relay.domain.watching import WatchPolicy
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Provider, clock, spread
from vidu_relay.usecases.record_change import record_change

__all__ = ["DeliveryPorts", "deliver_videos"]


@dataclass(frozen=True, slots=True)
class DeliveryPorts:
    """What a delivery needs."""

    store: TaskStore
    provider: Provider
    source: VideoSource
    archive: VideoArchive
    policy: WatchPolicy
    clock: Clock = clock


def deliver_videos(task_id: str, ports: DeliveryPorts, *, again: bool, deadline: float) -> Task | None:
    """Deliver one task; the task as it stands after, None if there is no such task.

    `again` says that an earlier try may have stored something: then the bucket is asked first. `deadline`, on the
    monotonic clock, is when a copy under way must have ended. A failed delivery is recorded, due again by its own
    backoff; nothing is raised for it.
    """
    task = ports.store.get(task_id)
    if task is None:
        logger.warning("delivery_of_unknown_task", task_id=task_id)
        return None
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id)
    if task.status is not Status.GENERATED:
        return task
    try:
        videos = _copy(task, ports, again=again or task.delivery_requests > 0, deadline=deadline)
    except DeliveryError as error:
        return _failed(task, error, ports)
    delivered = record_change(
        ports.store,
        task,
        lambda there: lifecycle.record_delivery(there, videos, now=ports.clock(), policy=ports.policy),
    )
    logger.info("videos_copied", videos=len(videos), bytes=sum(video.size for video in videos))
    return delivered


def _copy(task: Task, ports: DeliveryPorts, *, again: bool, deadline: float) -> tuple[Video, ...]:
    keys = [
        video_key(task.tenant_id, task.task_id, task.created_at, number)
        for number in range(1, sum(output.videos for output in task.outputs) + 1)
    ]
    stored = [ports.archive.find(key) if again else None for key in keys]
    if all(stored):
        return tuple(video for video in stored if video)
    urls = _fresh_links(task, len(keys), ports)
    return tuple(
        there or _copy_one(url, key, ports, deadline) for there, url, key in zip(stored, urls, keys, strict=True)
    )


def _copy_one(url: str, key: str, ports: DeliveryPorts, deadline: float) -> Video:
    with ports.source.open(url, deadline=deadline) as stream:
        return ports.archive.store(key, stream)


def _fresh_links(task: Task, wanted: int, ports: DeliveryPorts) -> tuple[str, ...]:
    try:
        links = ports.provider.read(task.remote_id or "").video_urls
    except (ProviderUnavailableError, ConfigurationError) as error:
        raise _link_missing(task, str(error), ports) from error
    if len(links) < wanted:
        raise _link_missing(task, "The provider shows fewer videos than before.", ports)
    return links[:wanted]


def _link_missing(task: Task, reason: str, ports: DeliveryPorts) -> DeliveryError:
    """No fresh link: tried again for as long as a late video would be, then counted against the source."""
    if ports.clock() > ports.policy.late_until(task.deadline_at):
        return BadSourceError("video_lost", "The provider no longer shows this task's videos.")
    return DeliveryInterruptedError("link_missing", reason)


def _failed(task: Task, error: DeliveryError, ports: DeliveryPorts) -> Task:
    bad = isinstance(error, BadSourceError)
    logger.warning("delivery_failed", code=error.code, reason=error.message, bad_source=bad)
    count(Metric.DELIVERY_BAD_SOURCE if bad else Metric.DELIVERY_INTERRUPTED)
    fault = TaskError(error.code, error.message) if bad else None
    jitter = spread()
    return record_change(
        ports.store,
        task,
        lambda there: lifecycle.record_delivery_fault(
            there, fault, now=ports.clock(), jitter=jitter, policy=ports.policy
        ),
    )
