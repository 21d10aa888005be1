"""Accept a request, whichever door it came by: one record, at most one create call, whatever is repeated."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.domain.errors import DailyCapReachedError, IdempotencyConflictError, InvalidRequestError
from vidu_relay.domain.identifiers import fingerprint, request_key, task_id_for_key, task_id_from_random
from vidu_relay.domain.lifecycle import begin_attempt, never_begun, new_task
from vidu_relay.domain.request import VideoRequest
from vidu_relay.domain.task import Task
from vidu_relay.observability import logger
from vidu_relay.usecases.attempt_submission import SubmissionPorts, attempt_submission
from vidu_relay.usecases.check_images import ImageCheck, check_images
from vidu_relay.usecases.ports import new_claim
from vidu_relay.usecases.present_images import store_images
from vidu_relay.usecases.record_change import record_change

__all__ = ["CREATE_CALL_MS", "MAX_KEY_CHARACTERS", "check_idempotency_key", "submit_task"]

MAX_KEY_CHARACTERS = 255

CREATE_CALL_MS = 20_000
"""How long a caller must live on for a create call: it ends within 18 s, the rest is for the writes around it."""


def check_idempotency_key(key: str | None) -> None:
    """Raises `InvalidRequestError` unless the key is absent or 1 to 255 printable ASCII characters."""
    if key is not None and not (1 <= len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise InvalidRequestError(
            "invalid_idempotency_key", f"Idempotency-Key takes 1 to {MAX_KEY_CHARACTERS} printable ASCII characters."
        )


def submit_task(
    request: VideoRequest,
    *,
    tenant_id: str,
    idempotency_key: str | None,
    daily_cap: int,
    quota: DailyQuota,
    archive: RequestArchive,
    images: ImageCheck,
    ports: SubmissionPorts,
    source: str = "http",
    queued: bool = False,
    time_is_short: Callable[[], bool] = lambda: False,
) -> Task:
    """Record the task, then create it at the provider; the task as it stands after.

    `source` is the door, for the task's history. A `queued` request, one whose message comes again if this call dies,
    is recorded in `accepted` first: until its create call is begun, a repetition or a check may go on with it. Its
    caller has looked at the idempotency key, which may be one of our own (`own_key`).

    `time_is_short` says whether the caller may be cut off in the middle of a create call, after which nobody would know
    what became of it: then the call is not begun, and the task is left in `accepted` for a check to submit.

    The same key with the same request gives the same task, without a second write or call, and does not count towards
    the tenant's `daily_cap`; its images are not looked at again. Raises, before anything is recorded,
    `IdempotencyConflictError` for the same key with another request, `InvalidRequestError` for images that cannot be
    used (`check_images`), `DailyCapReachedError`, and `ConfigurationError` if a secret is missing.
    """
    if not queued:
        check_idempotency_key(idempotency_key)
    ports.ready()
    given = request.given()
    mark = fingerprint(given)
    task_id = (
        task_id_for_key(tenant_id, idempotency_key)
        if idempotency_key is not None
        else task_id_from_random(secrets.token_bytes(16))
    )
    logger.append_keys(task_id=task_id, tenant_id=tenant_id)
    there = ports.store.get(task_id) if idempotency_key is not None else None
    if there:
        repeated = _repeated(there, tenant_id, mark)
        return _go_on(repeated, request.for_archive(), ports, time_is_short) if queued else repeated
    checked = check_images(request, tenant_id, images)
    now = ports.clock()
    try:
        quota.take(tenant_id, daily_cap, now)
    except DailyCapReachedError:
        # the last place may just have gone to this very request, sent twice at the same moment
        there = ports.store.get(task_id) if idempotency_key is not None else None
        if there is None:
            raise
        return _repeated(there, tenant_id, mark)
    record, reduced = request.for_record()
    whole = request.for_archive()
    key = request_key(tenant_id, task_id, mark) if reduced else None
    store_images(given, tenant_id, task_id, ports.images)
    if key:
        archive.put(key, whole)
    begin = partial(
        new_task,
        task_id=task_id,
        tenant_id=tenant_id,
        provider=ports.provider.name,
        request=record,
        request_key=key,
        image_versions=checked.versions,
        fingerprint=mark,
        claim=new_claim(),
        now=now,
        source=source,
        policy=ports.policy,
    )
    task = begin(queued=queued)
    sent = whole if queued else ports.present(task, whole)
    left = not queued and time_is_short()
    if left:
        task = begin(queued=True)
    recorded = ports.store.create(task)
    if recorded.attempt is None or task.attempt is None or recorded.attempt.claim != task.attempt.claim:
        # two submits with one key at the same moment: the other one counts
        _give_back(quota, tenant_id, now)
        return _repeated(recorded, tenant_id, mark)
    if left:
        logger.warning("submission_left_for_later")
        return recorded
    return _go_on(recorded, whole, ports, time_is_short) if queued else attempt_submission(recorded, sent, ports)


def _go_on(task: Task, whole: Mapping[str, Any], ports: SubmissionPorts, time_is_short: Callable[[], bool]) -> Task:
    """Begin the create call of a queued task, unless somebody else has; the task as it stands after."""
    claim, now = new_claim(task.attempt), ports.clock()
    if not never_begun(task, now):
        return task
    sent = ports.present(task, whole)
    if time_is_short():
        logger.warning("submission_left_for_later")
        return task
    begun = record_change(
        ports.store,
        task,
        lambda there: begin_attempt(there, claim=claim, now=now) if never_begun(there, now) else there,
    )
    if begun.attempt is None or begun.attempt.claim != claim:
        return begun
    return attempt_submission(begun, sent, ports)


def _give_back(quota: DailyQuota, tenant_id: str, now: int) -> None:
    try:
        quota.give_back(tenant_id, now)
    except (ClientError, BotoCoreError):
        logger.warning("place_not_given_back")  # one place fewer until midnight; the answer is right all the same


def _repeated(recorded: Task, tenant_id: str, mark: str) -> Task:
    if recorded.tenant_id != tenant_id or recorded.fingerprint != mark:
        raise IdempotencyConflictError
    logger.info("task_repeated")
    return recorded
