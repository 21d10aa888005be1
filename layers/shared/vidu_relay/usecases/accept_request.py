"""Accept a request that came by a file or an event: the same as over HTTP, answered by a task or by a rejection."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.tenant_directory import Tenant, TenantDirectory, TenantMapping
from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.errors import EventRefusedError, Fault, InvalidRequestError
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.limit_errors import DailyCapReachedError
from vidu_relay.domain.queued_requests import DroppedFile, RequestEvent, own_key, rejection_detail
from vidu_relay.domain.request import Request
from vidu_relay.domain.request_model import check_request, parse_request
from vidu_relay.domain.states import EVENT_TYPE_REJECTED
from vidu_relay.domain.strict_json import MAX_NAME_CHARACTERS, TWICE, repeated_names
from vidu_relay.domain.submission import may_begin
from vidu_relay.domain.task import Origin, Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.attempt_submission import TimeLeft
from vidu_relay.usecases.begin_submission import begin_submission
from vidu_relay.usecases.submit_task import Acceptance, check_idempotency_key, submit_task

__all__ = ["AcceptRequestDependencies", "accept_request", "reject_request", "sender_of", "why_closed"]

DETAIL_FIELDS = ("request", "idempotency_key", "tenant_id")


@dataclass(frozen=True, slots=True)
class AcceptRequestDependencies:
    """What the queued entry points need. `describe` makes the problem document that HTTP answers a refusal with."""

    acceptance: Acceptance
    directory: TenantDirectory
    inbox: RequestInbox
    bus: EventBus
    describe: Callable[[InvalidRequestError], Mapping[str, Any]]
    default_daily_cap: int
    max_file_bytes: int


def accept_request(
    asked: DroppedFile | RequestEvent, deps: AcceptRequestDependencies, *, time_left: TimeLeft
) -> Task | None:
    """Record and submit the request of a message, or reject it; None if there is no task.

    A message may be received any number of times: its task is made once, and its rejection has the same `event_id`
    each time. The record is read before the request is checked, so that a message whose task exists is never rejected.
    What the client must change is rejected. Everything else is raised, and SQS delivers the message again. Raises
    `ValueError` for a file of another bucket: no rule sends one.
    """
    if isinstance(asked, DroppedFile) and asked.bucket != deps.inbox.bucket:
        raise ValueError("the message names another bucket")
    tenant: Tenant | None = None
    try:
        tenant, mapped = sender_of(asked, deps.directory)
        logger.append_keys(tenant_id=tenant.tenant_id)
        closed = why_closed(asked, tenant, mapped=mapped)
        try:
            given = _file(asked, deps) if isinstance(asked, DroppedFile) else _event(asked)
        except InvalidRequestError as error:
            raise closed or error from None
        if given is None:
            logger.info("dropped_file_gone", source=asked.source)
            return None
        read, key = given
        known = _task_of(asked, tenant, key, deps) or _task_of_former(asked, key, deps)
        if known is not None:
            return _go_on(known, deps, time_left)
        if closed is not None:
            raise closed
        cap = deps.default_daily_cap if tenant.daily_cap is None else tenant.daily_cap
        origin = Origin(tenant.tenant_id, cap, key, asked.entry_point, asked.message_id, tenant.budget)
        return submit_task(read(deps.acceptance.offering), origin, deps.acceptance, time_left=time_left)
    except InvalidRequestError as error:
        reject_request(asked, tenant, error, deps)
        return None


def _task_of(
    asked: DroppedFile | RequestEvent, tenant: Tenant, key: str, deps: AcceptRequestDependencies
) -> Task | None:
    """The task that an earlier receipt of this message made."""
    task = deps.acceptance.submission.store.get(task_id_for_key(tenant.tenant_id, key))
    ours = task is not None and task.tenant_id == tenant.tenant_id and task.message_id == asked.message_id
    return task if ours else None


def _task_of_former(asked: DroppedFile | RequestEvent, key: str, deps: AcceptRequestDependencies) -> Task | None:
    """The task that this message made for the tenant that its source was mapped to before."""
    former = (
        deps.directory.find_former_owner(TenantMapping.SOURCE, asked.source)
        if isinstance(asked, RequestEvent)
        else None
    )
    return _task_of(asked, former, key, deps) if former else None


def _go_on(task: Task, deps: AcceptRequestDependencies, time_left: TimeLeft) -> Task:
    """Begin the create call of a task that an earlier receipt of the message recorded, if none was begun."""
    submission = deps.acceptance.submission
    logger.append_keys(task_id=task.task_id)
    logger.info("task_repeated")
    if not may_begin(task, submission.clock()):  # asked before the archive is read
        return task
    return begin_submission(
        task,
        deps.acceptance.archive.request_of(task),
        submission,
        time_left=time_left,
    )


def sender_of(asked: DroppedFile | RequestEvent, directory: TenantDirectory) -> tuple[Tenant, bool]:
    """The tenant of a request, by the file's folder or the operator's mapping, and whether the mapping still holds.

    A source that was taken from its tenant still names it, so that the task of an earlier receipt is found. Nothing in
    the request chooses the tenant.
    """
    if isinstance(asked, DroppedFile):
        found = directory.find_tenant(asked.tenant_id) if asked.tenant_id else None
        if found is None:
            raise InvalidRequestError(
                "unknown_tenant", "The folder is no tenant's: drop the file below requests/<tenant>/."
            )
        return found, True
    owner = directory.find_owner(TenantMapping.SOURCE, asked.source)
    if owner is not None:
        return owner, True
    former = directory.find_former_owner(TenantMapping.SOURCE, asked.source)
    if former is None:
        raise _not_mapped()
    return former, False


def _not_mapped() -> InvalidRequestError:
    return InvalidRequestError(
        "source_not_mapped", "The event's source is mapped to no tenant: ask the operator to add it to yours."
    )


def why_closed(asked: DroppedFile | RequestEvent, tenant: Tenant, *, mapped: bool) -> InvalidRequestError | None:
    """Why the sender may not create a task for this tenant; None if it may."""
    if not mapped:
        return _not_mapped()
    if isinstance(asked, RequestEvent):
        named = asked.detail.get("tenant_id")
        if named is not None and named != tenant.tenant_id:
            return InvalidRequestError(
                "tenant_mismatch",
                "tenant_id is not the tenant that the event's source is mapped to: correct it, or leave it out.",
            )
    if tenant.disabled:
        return InvalidRequestError("tenant_disabled", "The tenant is disabled: ask the operator.")
    return None


Read = Callable[[Offering], Request]
"""Reads the request of a message by what the deployment offers."""


def _file(asked: DroppedFile, deps: AcceptRequestDependencies) -> tuple[Read, str] | None:
    """The request and idempotency key of a dropped file; None if it is gone."""
    content = deps.inbox.read(asked, max_bytes=deps.max_file_bytes)
    if content is None:
        return None
    key = own_key(asked.entry_point, asked.bucket, asked.key, hashlib.sha256(content).hexdigest())
    return lambda offering: parse_request(content, offering, folder=asked.folder), key


def _event(asked: RequestEvent) -> tuple[Read, str]:
    """The request and idempotency key of an event: its `idempotency_key`, shared with HTTP, or its id."""
    if asked.fault is not None:
        raise asked.fault
    faults = [
        Fault(f"detail.{name[:MAX_NAME_CHARACTERS]}", f"unknown field; known are: {', '.join(DETAIL_FIELDS)}")
        for name in asked.detail
        if name not in DETAIL_FIELDS
    ]
    faults += [Fault(f"detail.{name}", TWICE) for name in repeated_names(asked.detail)]
    if "request" not in asked.detail:
        faults.append(Fault("detail.request", "is missing: the body of POST /v1/tasks"))
    if faults:
        raise InvalidRequestError("validation_error", "The event is not valid. See `errors`.", tuple(faults))
    key = asked.detail.get("idempotency_key")
    if key is not None:
        check_idempotency_key(key if isinstance(key, str) else "")
    raw = asked.detail["request"]
    return (
        lambda offering: check_request(raw, offering),
        key or own_key(asked.entry_point, asked.event_id),
    )


def reject_request(
    asked: DroppedFile | RequestEvent,
    tenant: Tenant | None,
    error: InvalidRequestError,
    deps: AcceptRequestDependencies,
) -> None:
    """Answer a request that was refused: an object beside a file, an event in any case.

    Raises `EventRefusedError`, or what AWS raises; then the message is delivered again.
    """
    problem = deps.describe(error)
    if isinstance(asked, DroppedFile):
        deps.inbox.put_rejection(asked, problem)
    detail = rejection_detail(asked, tenant.tenant_id if tenant else None, problem)
    if deps.bus.publish([Event(EVENT_TYPE_REJECTED, detail, deps.acceptance.submission.clock() // 1000)]) is not None:
        raise EventRefusedError(asked.rejection_id)
    count(Metric.DAILY_CAP_REACHED if isinstance(error, DailyCapReachedError) else Metric.REQUEST_REFUSED)
    count(EVENT_TYPE_REJECTED)
    logger.info("request_rejected", code=error.code, entry_point=asked.entry_point, event_id=asked.rejection_id)
