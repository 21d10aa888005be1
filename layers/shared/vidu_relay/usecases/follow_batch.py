"""Follow an open batch: it is accepted once every range of lines has a result, completed once every task has ended.

Each step is one conditional write of the record, and each event is published from the record after the write, before a
second write says so. An execution that dies anywhere, or runs beside another, repeats an event or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vidu_relay.adapters.batch_files import BatchFiles
from vidu_relay.adapters.batch_queue import BatchQueue
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.batch import Batch, BatchState
from vidu_relay.domain.batch_progress import RESEND_MS, Tally, accepted, look_again
from vidu_relay.domain.batch_representation import batch_event, batch_event_type
from vidu_relay.domain.errors import EventRefusedError, StaleTaskError
from vidu_relay.domain.task import Task
from vidu_relay.observability import count, logger
from vidu_relay.usecases.ports import Clock, clock

__all__ = ["FollowDependencies", "follow_batch", "tasks_of"]

PAGE = 100


@dataclass(frozen=True, slots=True)
class FollowDependencies:
    """What following takes. A completed batch is kept for `retain_days`."""

    batches: BatchStore
    tasks: TaskStore
    files: BatchFiles
    queue: BatchQueue
    bus: EventBus
    retain_days: int
    clock: Clock = clock


def follow_batch(batch_id: str, deps: FollowDependencies) -> None:
    """Take a batch that is due as far as it comes now. Does nothing for one that is not due.

    Raises `EventRefusedError`, or what AWS raises; then the message is delivered again.
    """
    batch = deps.batches.get(batch_id)
    if batch is None or batch.due_at is None or batch.due_at > deps.clock():
        return
    logger.append_keys(batch_id=batch_id, tenant_id=batch.tenant_id)
    try:
        _follow(batch, deps)
    except StaleTaskError:
        logger.info("batch_followed_elsewhere")


def _follow(batch: Batch, deps: FollowDependencies) -> None:
    if batch.state is BatchState.ACCEPTING:
        results = deps.batches.results(batch)
        missing = [one for one in batch.ranges if one.first_line not in results]
        if missing:
            if deps.clock() >= batch.created_at + RESEND_MS:
                deps.queue.send_ranges(batch, missing)
            deps.batches.save(look_again(batch, deps.clock()))
            return
        counted, tasks, usd = accepted(batch, results.values(), deps.clock())
        batch = deps.batches.accept(counted, back_tasks=tasks, back_usd=usd)
    if batch.state is BatchState.ACCEPTED:
        if not batch.accepted_published:
            _publish(batch, deps)
            batch = deps.batches.save(replace(batch, accepted_published=True))
        batch = _count_ends(batch, deps)
        if batch.cursor <= batch.last_line:
            deps.batches.save(look_again(batch, deps.clock()))
            return
        batch = deps.batches.save(_completed(batch, deps))
    _publish(batch, deps)
    deps.batches.save(replace(batch, completed_published=True, due_at=None))


def _count_ends(batch: Batch, deps: FollowDependencies) -> Batch:
    """The batch with the ends counted up to the first line whose task is open."""
    tally = Tally(batch)
    for line, task in tasks_of(batch, deps.tasks, batch.cursor):
        if not task.settled:
            return tally.put(batch, cursor=line)
        tally.add(task)
    return tally.put(batch, cursor=batch.last_line + 1)


def tasks_of(batch: Batch, store: TaskStore, first: int = 1) -> Iterator[tuple[int, Task]]:
    """The tasks of a batch in the order of their lines, from line `first` on, as they are now (consistent reads)."""
    for begin in range(first, batch.last_line + 1, PAGE):
        ids = {line: batch.task_id(line) for line in range(begin, min(begin + PAGE, batch.last_line + 1))}
        found = store.get_many(ids.values(), consistent=True)
        yield from ((line, found[task_id]) for line, task_id in ids.items() if task_id in found)


def _completed(batch: Batch, deps: FollowDependencies) -> Batch:
    """The batch with its summary and retry file written, and the counts that stand in them."""
    from vidu_relay.usecases.complete_batch import complete_batch

    ended = complete_batch(batch, tasks=lambda: tasks_of(batch, deps.tasks), batches=deps.batches, files=deps.files)
    return replace(ended, expires_at=deps.clock() // 1000 + deps.retain_days * 86_400)


def _publish(batch: Batch, deps: FollowDependencies) -> None:
    kind, detail = batch_event_type(batch), batch_event(batch)
    if deps.bus.publish([Event(kind, detail, deps.clock() // 1000)]) is not None:
        raise EventRefusedError(detail["event_id"])
    count(kind)
    logger.info(kind, tasks=batch.tasks, rejected=batch.rejected, **batch.counts)
