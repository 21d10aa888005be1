"""Follow an accepted batch until every task of it has ended.

Each step is one conditional write of the record, and each event is published from the record after the write, before a
second write says so. An execution that dies anywhere, or runs beside another, repeats an event or nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vidu_relay.adapters.event_bus import Event
from vidu_relay.domain.batch import Batch, BatchState
from vidu_relay.domain.batch_progress import Tally, describe_failure, next_count_at
from vidu_relay.domain.batch_representation import batch_event, batch_event_type
from vidu_relay.domain.errors import EventRefusedError, StaleTaskError
from vidu_relay.domain.states import Status
from vidu_relay.observability import count, logger
from vidu_relay.usecases.accept_batch import BatchDependencies
from vidu_relay.usecases.attempt_submission import TimeLeft
from vidu_relay.usecases.complete_batch import complete_batch

__all__ = ["follow_batch"]

PAGE = 100
COMPLETION_MS = 40_000
"""What is left of an execution's time when it stops counting: writing the summary and the retry file fits in."""
KEEP_SECONDS = 90 * 86_400
"""A batch outlives its tasks by so much: the same file is the same batch for as long."""


def follow_batch(batch: Batch, deps: BatchDependencies, *, time_left: TimeLeft) -> None:
    """Take a batch as far as it comes now, if it is due and each of its lines is a task or a rejection.

    Raises `EventRefusedError`, or what AWS raises; then the message is delivered again.
    """
    if batch.state is BatchState.ACCEPTING or batch.due_at is None or batch.due_at > deps.clock():
        return
    try:
        _follow(batch, deps, time_left)
    except StaleTaskError:
        logger.info("batch_followed_elsewhere")


def _follow(batch: Batch, deps: BatchDependencies, time_left: TimeLeft) -> None:
    if batch.state is BatchState.ACCEPTED:
        if not batch.accepted_published:
            _publish(batch, deps)
            batch = deps.batches.save(replace(batch, accepted_published=True))
        batch = deps.batches.save(_count_ends(batch, deps, time_left))
        if batch.cursor <= batch.last_line:
            if batch.due_at is not None and batch.due_at <= deps.clock():
                deps.queue.follow(batch.batch_id)
            return
        kept_until = deps.requests.acceptance.submission.policy.forget_at(deps.clock()) + KEEP_SECONDS
        batch = deps.batches.save(replace(complete_batch(batch, deps.requests.inbox), expires_at=kept_until))
    _publish(batch, deps)
    deps.batches.save(replace(batch, completed_published=True, due_at=None))


def _count_ends(batch: Batch, deps: BatchDependencies, time_left: TimeLeft) -> Batch:
    """The batch with the ends counted up to the first line whose task is open, or as far as there is time.

    Tasks that did not complete are listed in an object of their own before. Only the record says which objects count.
    """
    submission = deps.requests.acceptance.submission
    tally, failed, cursor, due_at = Tally(batch), list[Mapping[str, Any]](), batch.cursor, deps.clock()
    while cursor <= batch.last_line and due_at <= deps.clock():
        if cursor > batch.cursor and time_left() < COMPLETION_MS:
            break
        page = range(cursor, min(cursor + PAGE, batch.last_line + 1))
        found = submission.store.get_many(map(batch.task_id, page), consistent=True)
        for cursor in page:
            task = found.get(batch.task_id(cursor))
            if task is None:  # an empty line, or a rejected one
                continue
            if not task.settled:
                due_at = next_count_at(batch, deps.clock())
                break
            tally.add(task)
            if task.status is not Status.COMPLETED:
                failed.append(describe_failure(cursor, task))
        else:
            cursor = page.stop
    names = batch.failures
    if failed:
        names = (*names, f"{batch.cursor:05}-{secrets.token_hex(8)}")
        deps.requests.inbox.put_lines(batch.failures_key(names[-1]), failed)
    return tally.put(batch, cursor=cursor, failures=names, due_at=due_at)


def _publish(batch: Batch, deps: BatchDependencies) -> None:
    kind, detail = batch_event_type(batch), batch_event(batch)
    if deps.requests.bus.publish([Event(kind, detail, deps.clock() // 1000)]) is not None:
        raise EventRefusedError(detail["event_id"])
    count(kind)
    logger.info(kind, batch_id=batch.batch_id, tenant_id=batch.tenant_id, tasks=batch.tasks, rejected=batch.rejected)
