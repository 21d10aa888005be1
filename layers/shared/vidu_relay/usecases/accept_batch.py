"""Accept a file with a request a line as a batch: cap and budget are reserved for all lines, or it is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from vidu_relay.adapters.batch_queue import BatchQueue
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.adapters.check_function import SweepFunction
from vidu_relay.adapters.tenant_directory import Tenant
from vidu_relay.domain.batch import Batch, BatchState, batch_id_of
from vidu_relay.domain.batch_lines import MAX_FILE_BYTES, FirstReading, Line
from vidu_relay.domain.errors import FileGoneError, InvalidRequestError
from vidu_relay.domain.money import NO_MONEY, money_text
from vidu_relay.domain.queued_requests import DroppedFile
from vidu_relay.domain.request_model import parse_request
from vidu_relay.observability import logger
from vidu_relay.usecases.accept_request import AcceptRequestDependencies, reject_request, sender_of, why_closed
from vidu_relay.usecases.attempt_submission import TimeLeft
from vidu_relay.usecases.ports import Clock
from vidu_relay.usecases.price_request import price_request

__all__ = ["GO_ON_MS", "BatchDependencies", "accept_batch"]

GO_ON_MS = 60_000
"""How long after a write the sweep goes on with a batch whose next message was lost."""
ANSWER_MS = 10_000
"""What is left of an execution's time when the first reading stops: recording or refusing the file fits in."""


@dataclass(frozen=True, slots=True)
class BatchDependencies:
    """What accepting a batch and its lines takes, and following it."""

    requests: AcceptRequestDependencies
    batches: BatchStore
    queue: BatchQueue
    sweep: SweepFunction

    @property
    def clock(self) -> Clock:
        """The time, in milliseconds since the epoch."""
        return self.requests.acceptance.submission.clock


def accept_batch(file: DroppedFile, deps: BatchDependencies, *, time_left: TimeLeft) -> Batch | None:
    """Check and price every line, reserve, and have the lines accepted; None for a file that is refused or gone.

    The message may be received any number of times, and the same bytes may come in other files: the batch is recorded
    and paid for once. Raises what AWS raises; then SQS delivers the message again. Raises `ValueError` for a file of
    another bucket: no rule sends one.
    """
    if file.bucket != deps.requests.inbox.bucket:
        raise ValueError("the message names another bucket")
    tenant: Tenant | None = None
    try:
        tenant, mapped = sender_of(file, deps.requests.directory)
        logger.append_keys(tenant_id=tenant.tenant_id)
        closed = why_closed(file, tenant, mapped=mapped)
        try:
            batch = _read(file, tenant.tenant_id, deps, time_left)
        except InvalidRequestError as error:
            raise closed or error from None
        logger.append_keys(batch_id=batch.batch_id)
        known = deps.batches.get(batch.batch_id)
        if known is None:
            if closed is not None:
                raise closed
            known = _reserve(batch, tenant, deps)
    except FileGoneError:
        logger.info("dropped_file_gone", source=file.source)
        return None
    except InvalidRequestError as error:
        reject_request(file, tenant, error, deps.requests)
        return None
    if known.state is BatchState.ACCEPTING:
        deps.queue.go_on(known)
    return known


def _reserve(batch: Batch, tenant: Tenant, deps: BatchDependencies) -> Batch:
    """Record the batch and reserve what it takes, in one transaction; the batch as it is recorded.

    Raises `DailyCapReachedError` and `BudgetReachedError`.
    """
    cap = deps.requests.default_daily_cap if tenant.daily_cap is None else tenant.daily_cap
    deps.requests.acceptance.quota.take_batch(
        lambda moment: deps.batches.putting(replace(batch, created_at=moment)),
        tenant.tenant_id,
        cap,
        batch.created_at,
        tasks=batch.lines - batch.bad_lines,
        price=Decimal(batch.reserved_usd),
        budget=tenant.budget,
    )
    recorded = deps.batches.get(batch.batch_id)
    if recorded is None:
        raise RuntimeError("a recorded batch is gone")
    logger.info("batch_recorded", lines=recorded.lines, bad_lines=recorded.bad_lines, usd=recorded.reserved_usd)
    return recorded


def _read(file: DroppedFile, tenant_id: str, deps: BatchDependencies, time_left: TimeLeft) -> Batch:
    """The batch of a file as its first reading shows it. Raises `InvalidRequestError` and `FileGoneError`."""
    size = deps.requests.inbox.size(file)
    if size > MAX_FILE_BYTES:
        raise InvalidRequestError(
            "file_too_large", f"The file has {size} bytes; at most {MAX_FILE_BYTES} are taken: send several files."
        )
    now, digest = deps.requests.acceptance.submission.clock(), hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for piece in deps.requests.inbox.pieces(file, 0, size):
            if time_left() < ANSWER_MS:
                raise InvalidRequestError("file_too_large", "The file takes too long to check: send several files.")
            digest.update(piece)
            yield piece

    bad, reserved, reading = 0, NO_MONEY, FirstReading()
    for line in reading.requests(hashed()):
        price = _price(line, file, deps, now)
        bad, reserved = bad + (price is None), reserved + (price or NO_MONEY)
    return Batch(
        batch_id=batch_id_of(tenant_id, digest.hexdigest()),
        tenant_id=tenant_id,
        state=BatchState.ACCEPTING,
        file=file,
        sha256=digest.hexdigest(),
        size=size,
        created_at=now,
        lines=reading.lines,
        bad_lines=bad,
        last_line=reading.last_line,
        reserved_usd=money_text(reserved),
        name=reading.header.name,
        retry_of=reading.header.retry_of,
        attempt=reading.header.attempt,
        next_line=reading.first_line,
        next_byte=reading.first_byte,
        cursor=reading.first_line,
        due_at=now + GO_ON_MS,
    )


def _price(line: Line, file: DroppedFile, deps: BatchDependencies, now: int) -> Decimal | None:
    """What the request of a line reserves; None for a line that is no valid request."""
    acceptance = deps.requests.acceptance
    try:
        request = parse_request(line.whole(), acceptance.offering, folder=file.folder)
    except InvalidRequestError:
        return None
    return price_request(request, acceptance.prices, now).price.reserved
