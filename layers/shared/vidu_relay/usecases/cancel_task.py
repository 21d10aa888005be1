"""Call a task off, as far as that can still be done."""

from __future__ import annotations

from dataclasses import dataclass

from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import (
    CancelNotSupportedError,
    CancelRefusedError,
    ConfigurationError,
    InvalidRequestError,
    ProviderUnavailableError,
)
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.domain.watching import WatchPolicy
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Provider, clock
from vidu_relay.usecases.record_change import record_change
from vidu_relay.usecases.watch_now import watch_now

__all__ = ["CancelPorts", "cancel_task"]

AT_PROVIDER = frozenset({Status.SUBMITTED, Status.PROCESSING})


@dataclass(frozen=True, slots=True)
class CancelPorts:
    """What calling off takes."""

    store: TaskStore
    provider: Provider
    poller: TaskPoller
    policy: WatchPolicy
    clock: Clock = clock


def cancel_task(task_id: str, tenant_id: str, ports: CancelPorts) -> Task | None:
    """Call a task off; the task as it stands after, None if this tenant has no such task. Safe to repeat.

    `canceled` is written only on certainty: nothing was submitted, or our own read of the provider says so. A task
    whose cancel was taken and is not shown yet comes back as it is, and is watched. Raises `InvalidRequestError`
    (`submission_underway`, `task_already_settled`, `cancel_not_supported`, `cancel_refused`) where it cannot be called
    off, and `ProviderUnavailableError` where nobody knows whether the provider heard it.
    """
    task = ports.store.get(task_id) if TASK_ID.fullmatch(task_id) else None
    if task is None or task.tenant_id != tenant_id:
        return None
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id)
    task = record_change(
        ports.store,
        task,
        lambda there: lifecycle.cancel_unsubmitted(there, now=ports.clock(), policy=ports.policy),
    )
    if task.status in AT_PROVIDER:
        return _call_off(task, ports)
    if task.status is Status.CANCELED:
        return task
    if task.status in (Status.ACCEPTED, Status.SUBMITTING):
        raise InvalidRequestError(
            "submission_underway",
            "The create call of this task is under way, or ended without an answer: it may exist at the provider. "
            "Try again later.",
        )
    raise _over(task)


def _call_off(task: Task, ports: CancelPorts) -> Task:
    try:
        ports.provider.cancel(task.remote_id or "")
    except CancelNotSupportedError as error:
        raise InvalidRequestError(
            "cancel_not_supported",
            f"The provider {ports.provider.name!r} has no call that cancels a task. This one goes on.",
        ) from error
    except CancelRefusedError as refusal:
        logger.info("cancel_refused", reason=refusal.code)
        after = _still_open(_read_back(task, ports))
        if after.status is Status.CANCELED:
            return after  # called off before, by somebody else or by a call whose answer was lost
        raise InvalidRequestError(
            "cancel_refused", f"The provider does not cancel this task: {refusal.message} ({refusal.code})"
        ) from refusal
    except ProviderUnavailableError as error:
        logger.warning("cancel_unanswered", reason=str(error))
        after = _still_open(_read_back(task, ports))
        if after.status is not Status.CANCELED:
            watch_now(after, store=ports.store, poller=ports.poller, clock=ports.clock)
            raise
        return after
    after = _read_back(task, ports)
    if after.status in AT_PROVIDER:
        return watch_now(after, store=ports.store, poller=ports.poller, clock=ports.clock)
    return after


def _read_back(task: Task, ports: CancelPorts) -> Task:
    """What the provider shows now, written; the task as it was if it cannot be read."""
    try:
        snapshot = ports.provider.read(task.remote_id or "")
    except (ProviderUnavailableError, ConfigurationError) as error:
        logger.warning("read_back_failed", reason=str(error))
        count(Metric.READ_BACK_FAILED)
        return task
    return record_change(
        ports.store,
        task,
        lambda there: lifecycle.apply_snapshot(
            there, snapshot, now=ports.clock(), source="cancel", policy=ports.policy
        ),
    )


def _still_open(task: Task) -> Task:
    """The task, if it is at the provider or canceled. Raises `InvalidRequestError` if it came to another end."""
    if task.status not in AT_PROVIDER and task.status is not Status.CANCELED:
        raise _over(task)
    return task


def _over(task: Task) -> InvalidRequestError:
    return InvalidRequestError("task_already_settled", f"The task is {task.status.value}: there is nothing to cancel.")
