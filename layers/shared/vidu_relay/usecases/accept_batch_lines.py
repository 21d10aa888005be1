"""Accept the next lines of a batch: each becomes a task in its provider's queue, or a rejection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.domain.batch import Batch, BatchState
from vidu_relay.domain.batch_lines import Line, read_lines
from vidu_relay.domain.errors import FileGoneError, InvalidRequestError, StaleTaskError, TransactionConflictError
from vidu_relay.domain.money import NO_MONEY, money_text, read_money
from vidu_relay.domain.queued_requests import BatchMessage, own_key
from vidu_relay.domain.request_model import parse_request
from vidu_relay.domain.task import Origin, Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.accept_batch import GO_ON_MS, BatchDependencies
from vidu_relay.usecases.attempt_submission import TimeLeft
from vidu_relay.usecases.follow_batch import follow_batch
from vidu_relay.usecases.request_dispatch import start_dispatch
from vidu_relay.usecases.submit_task import queue_task

__all__ = ["accept_batch_lines", "go_on_with_batch"]

LEASE_MS = 75_000
"""Longer than the function runs that accepts lines."""
SLICE_MS = 15_000
"""For so long an execution accepts lines: a single request waits no longer behind a batch."""
LINE_MS = 25_000
"""What one line, and the writes after the last, may take: the check of its images, and calls that are repeated."""
SLICE_REJECTIONS = 1_000
"""So many rejections are in memory: with `MAX_FAULTS` faults each, some MB."""

GONE = InvalidRequestError("file_gone", "The file was deleted before these lines were read. Send them in another file.")


@dataclass(slots=True)
class Slice:
    """What became of the lines of one execution. `line` and `byte` are where the next slice begins."""

    line: int
    byte: int
    tasks: int = 0
    reserved: Decimal = NO_MONEY
    rejected: int = 0
    rejections: list[Mapping[str, Any]] = field(default_factory=list)
    providers: set[str] = field(default_factory=set)

    def add(self, task: Task) -> None:
        """Count a task."""
        self.tasks += 1
        self.reserved += read_money(task.reserved_usd) or NO_MONEY
        self.providers.add(task.provider)

    def reject(self, problem: Mapping[str, Any], line: int, lines: int | None = None) -> None:
        """Count a rejection, or one of so many lines from a line on."""
        self.rejected += 1 if lines is None else lines
        several = {} if lines is None else {"lines": lines}
        self.rejections.append({"line": line, **several, "error": problem})


def go_on_with_batch(message: BatchMessage, deps: BatchDependencies, *, time_left: TimeLeft) -> None:
    """Do what a message about a batch asks for; nothing for bytes that are accepted already."""
    batch = deps.batches.get(message.batch_id)
    if batch is None:
        logger.warning("batch_unknown", batch_id=message.batch_id)
        return
    logger.append_keys(batch_id=batch.batch_id, tenant_id=batch.tenant_id)
    if batch.state is not BatchState.ACCEPTING:
        follow_batch(batch, deps, time_left=time_left)
    elif message.first_byte is None:
        _send_again(batch, deps)
    elif message.first_byte == batch.next_byte:
        accept_batch_lines(batch, deps, time_left=time_left)


def _send_again(batch: Batch, deps: BatchDependencies) -> None:
    """Have lines accepted by a message in the tenant's group: one with many batches has one turn all the same."""
    now = deps.clock()
    if batch.due_at is not None and batch.due_at <= now:
        try:
            deps.queue.go_on(deps.batches.save(replace(batch, due_at=now + GO_ON_MS)))
        except StaleTaskError:
            logger.info("batch_lines_overtaken")


def accept_batch_lines(batch: Batch, deps: BatchDependencies, *, time_left: TimeLeft) -> None:
    """Accept lines for `SLICE_MS`, record how far the batch is, and have the next lines accepted.

    One execution at a time holds the batch's lease; for any other nothing happens. What dies before the batch is
    written is done again, and finds its tasks. After the last line the counters get back what the batch reserved for
    lines that became no tasks. An error of AWS ends the slice before its line; at the first line it is raised.
    """
    acceptance = deps.requests.acceptance
    now = acceptance.submission.clock()
    if now < batch.lease_until:
        return
    try:
        leased = deps.batches.save(replace(batch, lease_until=now + LEASE_MS, due_at=now + LEASE_MS))
        done = _accept(leased, deps, time_left)
        logger.remove_keys(["task_id"])
        if done.providers:
            start_dispatch(done.providers, acceptance.submission.pauses, deps.sweep, now=acceptance.submission.clock())
        _record(replace(leased, parts=_put_rejections(leased, done, deps)), done, deps)
    except StaleTaskError:
        logger.info("batch_lines_overtaken")


def _accept(batch: Batch, deps: BatchDependencies, time_left: TimeLeft) -> Slice:
    clock = deps.requests.acceptance.submission.clock
    done, until = Slice(batch.next_line, batch.next_byte), clock() + SLICE_MS
    pieces = deps.requests.inbox.pieces(batch.file, batch.next_byte, batch.size)
    try:
        for line in read_lines(pieces, batch.next_line, batch.next_byte):
            begun = line.number > batch.next_line
            if begun and (clock() >= until or time_left() < LINE_MS or len(done.rejections) >= SLICE_REJECTIONS):
                break
            try:
                _accept_line(line, batch, done, deps)
            except (ClientError, BotoCoreError, TransactionConflictError):
                if not begun:
                    raise
                logger.exception("line_not_accepted", line=line.number)
                break
            done.line, done.byte = line.number + 1, line.end_byte
    except FileGoneError:
        _reject_rest(batch, done, deps)
    return done


def _reject_rest(batch: Batch, done: Slice, deps: BatchDependencies) -> None:
    """The file is gone: what an execution that died has recorded is a task all the same."""
    rest = map(batch.task_id, range(done.line, batch.last_line + 1))
    for task in deps.requests.acceptance.submission.store.get_many(rest, consistent=True).values():
        done.add(task)
    lines = batch.lines - batch.tasks - batch.rejected - done.tasks - done.rejected
    if lines:
        done.reject(deps.requests.describe(GONE), done.line, lines)
    done.byte = batch.size


def _accept_line(line: Line, batch: Batch, done: Slice, deps: BatchDependencies) -> None:
    """A line whose task an earlier execution recorded is that task, whatever its checks say now."""
    if line.empty:
        return
    acceptance = deps.requests.acceptance
    origin = Origin(
        batch.tenant_id,
        0,
        own_key("batch", batch.batch_id, str(line.number)),
        "batch",
        batch.file.message_id,
        batch_id=batch.batch_id,
        created_at=batch.created_at_of(line.number),
    )
    try:
        request = parse_request(line.whole(), acceptance.offering, folder=batch.file.folder)
        done.add(queue_task(request, origin, acceptance))
    except InvalidRequestError as error:
        recorded = acceptance.submission.store.get(batch.task_id(line.number))
        if recorded is not None:
            done.add(recorded)
        else:
            done.reject(deps.requests.describe(error), line.number)


def _put_rejections(batch: Batch, done: Slice, deps: BatchDependencies) -> tuple[int, ...]:
    """Write the slice's rejections behind those of slices before it, up to `SLICE_REJECTIONS`; the batch's parts.

    Not an object a slice: where images are slow there are thousands, and the summary is made in one execution.
    """
    if not done.rejections:
        return batch.parts
    inbox, room = deps.requests.inbox, SLICE_REJECTIONS - len(done.rejections)
    for part in batch.parts[-1:]:
        # an execution that died may have written more than it recorded
        recorded = (one for one in inbox.read_lines(batch.rejections_key(part)) if one["line"] < batch.next_line)
        before = list(islice(recorded, room + 1))
        if len(before) <= room:
            inbox.put_lines(batch.rejections_key(part), [*before, *done.rejections])
            return batch.parts
    inbox.put_lines(batch.rejections_key(batch.next_line), done.rejections)
    return (*batch.parts, batch.next_line)


def _record(batch: Batch, done: Slice, deps: BatchDependencies) -> None:
    """Write how far the batch is, and send what comes next. Raises `StaleTaskError` if another execution has."""
    now = deps.requests.acceptance.submission.clock()
    after = replace(
        batch,
        next_line=done.line,
        next_byte=done.byte,
        tasks=batch.tasks + done.tasks,
        rejected=batch.rejected + done.rejected,
        expected_usd=money_text(Decimal(batch.expected_usd) + done.reserved),
        lease_until=0,
        due_at=now + GO_ON_MS,
    )
    logger.info("batch_lines_accepted", tasks=done.tasks, rejected=done.rejected, next_line=done.line)
    count(Metric.REQUEST_REFUSED, done.rejected)
    if after.next_byte < after.size:
        deps.queue.go_on(deps.batches.save(after))
        return
    current = deps.requests.acceptance.quota.settle_batch(
        deps.batches.putting(replace(after, state=BatchState.ACCEPTED, due_at=now)),
        batch.tenant_id,
        batch.created_at,
        tasks=batch.lines - batch.bad_lines - after.tasks,
        price=Decimal(batch.reserved_usd) - Decimal(after.expected_usd),
    )
    if current is not None:
        raise StaleTaskError(batch.batch_id)
    deps.queue.follow(batch.batch_id)
