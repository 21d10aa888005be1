"""Accept a request, from whichever entry point: one record, at most one create call, whatever is repeated."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from decimal import Decimal

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.price_book import PriceBooks
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.domain.admission import wait_for_turn
from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.errors import ExternalIdTakenError, IdempotencyConflictError, InvalidRequestError, StaleTaskError
from vidu_relay.domain.identifiers import request_key, task_id_for_key, task_id_from_random
from vidu_relay.domain.lifecycle import new_task
from vidu_relay.domain.limit_errors import BudgetReachedError, DailyCapReachedError
from vidu_relay.domain.request import Request
from vidu_relay.domain.submission import may_begin
from vidu_relay.domain.task import Origin, StoredRequest, Task
from vidu_relay.observability import logger
from vidu_relay.usecases.attempt_submission import SubmissionDependencies, TimeLeft
from vidu_relay.usecases.begin_submission import begin_submission
from vidu_relay.usecases.check_references import ReferenceCheck, check_references
from vidu_relay.usecases.price_request import check_max_cost, price_request
from vidu_relay.usecases.resolve_image_links import store_images
from vidu_relay.usecases.start_polling import start_polling

__all__ = ["MAX_KEY_CHARACTERS", "Acceptance", "check_idempotency_key", "queue_task", "submit_task"]

MAX_KEY_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What accepting a request needs, besides the create call. `poller` starts checks that need not wait."""

    quota: DailyQuota
    archive: RequestArchive
    images: ReferenceCheck
    poller: TaskPoller
    offering: Offering
    prices: PriceBooks
    submission: SubmissionDependencies


def check_idempotency_key(key: str | None) -> None:
    """Raises `InvalidRequestError` unless the key is absent or 1 to 255 printable ASCII characters."""
    if key is not None and not (1 <= len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise InvalidRequestError(
            "invalid_idempotency_key", f"Idempotency-Key takes 1 to {MAX_KEY_CHARACTERS} printable ASCII characters."
        )


def submit_task(request: Request, origin: Origin, acceptance: Acceptance, *, time_left: TimeLeft) -> Task:
    """Record the task as `accepted`, then begin its create call; the task as it stands after.

    Where a client waits (HTTP: `origin` has no `message_id`), a create body over 1 MB is left to a check that starts at
    once. So is every call for which the function has no time.

    The same key with the same request gives the same task, without a second record or slot of the daily cap; its images
    are not checked again, and its create call is begun only if none was. Raises, before anything is recorded,
    `IdempotencyConflictError` for the same key with another request, `InvalidRequestError` for images and addresses
    that cannot be used (`check_references`), `DailyCapReachedError`, `BudgetReachedError`, `MaxCostExceededError` and
    `ExternalIdTakenError`. If a secret is not set up, a new task of an HTTP client raises `ConfigurationError`; one
    that came by a message waits as `accepted`.
    """
    deps = acceptance.submission
    recorded = _record(request, origin, acceptance, queued=False)
    client_waits = origin.message_id is None
    task = begin_submission(recorded, request, deps, time_left=time_left, client_waits=client_waits)
    if may_begin(task, deps.clock()) and task.paused_since is None:
        return _hand_over(task, acceptance)
    return task


def queue_task(request: Request, origin: Origin, acceptance: Acceptance) -> Task:
    """Record the task as one that waits in its provider's queue, even if none waits there; the task as recorded.

    No create call is begun: the caller starts a dispatch after a group of tasks (`request_dispatch.start_dispatch`).
    A repetition gives the task as it stands. Raises what `submit_task` raises.
    """
    return _record(request, origin, acceptance, queued=True)


def _record(request: Request, origin: Origin, acceptance: Acceptance, *, queued: bool) -> Task:
    """The task of this request, recorded now or before."""
    deps, key = acceptance.submission, origin.idempotency_key
    task_id = task_id_from_random(secrets.token_bytes(16)) if key is None else task_id_for_key(origin.tenant_id, key)
    logger.append_keys(task_id=task_id, tenant_id=origin.tenant_id)
    current = None if key is None else deps.store.get(task_id)
    if current is not None:
        _check_repetition(current, origin, request)
        return current
    if origin.message_id is None:
        deps.ready(request.provider)
    return _accept(task_id, request, origin, acceptance, queued=queued)


def _accept(task_id: str, request: Request, origin: Origin, acceptance: Acceptance, *, queued: bool) -> Task:
    """Check images and price, take a slot of the cap, reserve the price and record the task; the task as recorded."""
    deps, now = acceptance.submission, acceptance.submission.clock()
    versions = check_references(request, origin.tenant_id, acceptance.images)
    priced = price_request(request, acceptance.prices, now)
    check_max_cost(priced.price, origin.max_cost)
    reserved = priced.price.reserved
    try:
        now = origin.created_at or acceptance.quota.take(
            origin.tenant_id, origin.daily_cap, now, price=reserved, budget=origin.budget
        )
    except (DailyCapReachedError, BudgetReachedError):
        # what was left may just have gone to this very request, sent twice at the same moment
        current = deps.store.get(task_id)
        if current is None:
            raise
        _check_repetition(current, origin, request)
        return current
    task = new_task(
        task_id,
        origin,
        _store(task_id, request, origin.tenant_id, acceptance, versions),
        token=secrets.token_urlsafe(9),
        provider=request.provider,
        now=now,
        policy=deps.policy,
        price=priced.price,
        credit_usd=priced.credit_usd,
    )
    task = wait_for_turn(task, now=deps.clock(), policy=deps.policy) if queued else task
    try:
        recorded, ours = deps.store.create(task, external_id_until=deps.policy.external_id_until(task.deadline_at))
    except ExternalIdTakenError:
        _give_back(acceptance.quota, origin, now, reserved)
        raise
    if not ours:  # two submits with one key at the same moment: the first one counts
        _give_back(acceptance.quota, origin, now, reserved)
        _check_repetition(recorded, origin, request)
    return recorded


def _store(
    task_id: str, request: Request, tenant_id: str, acceptance: Acceptance, versions: tuple[str, ...]
) -> StoredRequest:
    """What the record holds of the request; its images, and what is too large for the record, are put beside it."""
    parameters, whole = request.for_record()
    key = None if whole else request_key(tenant_id, task_id, request.digest)
    store_images(request, tenant_id, task_id, acceptance.submission.images)
    if key:
        acceptance.archive.put(key, request.parameters)
    own = (request.external_id, request.labels, request.priority or 0)
    return StoredRequest(parameters, request.digest, key, versions, *own)


def _hand_over(task: Task, acceptance: Acceptance) -> Task:
    """Start the check that begins the create call; should that fail, the sweep starts it."""
    deps = acceptance.submission
    try:
        return start_polling(task, store=deps.store, poller=acceptance.poller, clock=deps.clock)
    except (ClientError, BotoCoreError, StaleTaskError):
        logger.exception("check_not_started")
        return task


def _give_back(quota: DailyQuota, origin: Origin, now: int, reserved: Decimal) -> None:
    if origin.batch_id is not None:
        return
    try:
        quota.give_back(origin.tenant_id, now, reserved)
    except (ClientError, BotoCoreError):
        # one slot fewer until midnight, and less of the budget for half an hour; the answer is right all the same
        logger.warning("slot_not_given_back")


def _check_repetition(current: Task, origin: Origin, request: Request) -> None:
    if current.tenant_id != origin.tenant_id or current.request_digest != request.digest:
        raise IdempotencyConflictError
    logger.info("task_repeated")
