"""Answer a callback: verify the caller, then read from the provider what happened.

Nothing in the body changes state. It only decides whether a read is needed (not for a known `processing`), whether to
poll (a reported end that the read does not show yet), and under which id an unconfirmed create may be found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import lifecycle, submission
from vidu_relay.domain.callback_signature import is_signed, verify_signature
from vidu_relay.domain.callback_token import CallbackKeys, callback_url
from vidu_relay.domain.errors import (
    AttemptUnderwayError,
    CallbackRefusedError,
    ConfigurationError,
    ProviderUnavailableError,
)
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.domain.snapshot import CallbackReport, ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Providers, clock
from vidu_relay.usecases.read_remote_task import read_remote_task
from vidu_relay.usecases.reconcile_task import reconcile_task
from vidu_relay.usecases.save_with_retry import save_with_retry
from vidu_relay.usecases.start_polling import DONE, start_polling

__all__ = ["Callback", "CallbackDependencies", "receive_callback"]

ENDS = frozenset({ProgressState.SUCCEEDED, ProgressState.FAILED, ProgressState.CANCELED})

SignatureMode = Literal["off", "verify-if-present", "require"]


@dataclass(frozen=True, slots=True)
class Callback:
    """A call to our callback route, as it came."""

    task_id: str
    token: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class CallbackDependencies:
    """What answering takes.

    `callback_keys(token)` gives the keys, reread if the token names an unknown one. `signature_keys(provider)` are all
    keys that this provider may have signed with, the default one without a name; `fresh_signature_keys(provider)` the
    same reread, or none if that was done lately.
    """

    store: TaskStore
    providers: Providers
    poller: TaskPoller
    callback_keys: Callable[[str], CallbackKeys]
    signature_keys: Callable[[str | None], tuple[str, ...]]
    signature_mode: str
    public_base_url: str
    policy: PollingPolicy
    clock: Clock = clock
    fresh_signature_keys: Callable[[str], tuple[str, ...]] = lambda _: ()


def receive_callback(callback: Callback, deps: CallbackDependencies) -> Task:
    """Handle one callback; the task as it stands after.

    Raises `CallbackRefusedError` if the caller proves nothing, and `AttemptUnderwayError` if the create call of a
    task without a remote id may still be running: the provider should call again then, and if it does not, the next
    check reads the id that the callback named.
    """
    task = _verified(callback, deps)
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id)
    if task.status in DONE:
        return task
    report = deps.providers(task.provider).read_callback(callback.body)
    if task.remote_id is None:
        return _reconcile(task, report, deps)
    running = report.state is ProgressState.PROCESSING
    if running and task.status is Status.PROCESSING:
        return task
    try:
        snapshot = read_remote_task(task, deps.providers)
    except (ProviderUnavailableError, ConfigurationError) as error:
        logger.warning("provider_read_failed", reason=str(error))
        count(Metric.READ_BACK_FAILED)
        return task if running else _start_polling(task, deps)
    settled = save_with_retry(
        deps.store,
        task,
        lambda current: lifecycle.apply_snapshot(
            current, snapshot, now=deps.clock(), source="callback", policy=deps.policy
        ),
    )
    if report.state in ENDS and settled.status in (Status.SUBMITTED, Status.PROCESSING):
        return _start_polling(settled, deps)
    return settled


def _verified(callback: Callback, deps: CallbackDependencies) -> Task:
    """The task that the caller has proved to call back for."""
    keys = deps.callback_keys(callback.token)
    good = keys.verify(callback.task_id, callback.token) and TASK_ID.fullmatch(callback.task_id) is not None
    # only the holder of a token causes a read; both token and signature are always checked, also for an id that cannot
    # be ours: every refusal takes the same path
    task = deps.store.get(callback.task_id) if good else None
    provider = task.provider if task else None
    fault = None if _unsigned(callback, deps) else _fault_of_signature(callback, deps, deps.signature_keys(provider))
    if not good:
        raise CallbackRefusedError("token")
    if task is None:
        raise CallbackRefusedError("unknown_task")
    if fault == "signature_wrong":
        # the key may be newer than our copy of the secret; only a caller with a good token causes this second read
        fault = _fault_of_signature(callback, deps, deps.fresh_signature_keys(task.provider))
    if fault:
        raise CallbackRefusedError(fault)
    return task


def _unsigned(callback: Callback, deps: CallbackDependencies) -> bool:
    """Whether no signature is asked for. A mode that is not known asks for one."""
    if deps.signature_mode == "verify-if-present":
        return not is_signed(callback.headers)
    return deps.signature_mode == "off"


def _fault_of_signature(callback: Callback, deps: CallbackDependencies, keys: tuple[str, ...]) -> str | None:
    try:
        verify_signature(
            keys,
            method="POST",
            url=callback_url(deps.public_base_url, callback.task_id, callback.token),
            headers=callback.headers,
            now=deps.clock(),
        )
    except CallbackRefusedError as refusal:
        return refusal.reason
    return None


def _reconcile(task: Task, report: CallbackReport, deps: CallbackDependencies) -> Task:
    """A task without a remote id: keep the candidates, and read them now if no create call can be running."""
    over = task.attempt_is_over(deps.clock())
    task = save_with_retry(
        deps.store, task, lambda current: submission.note_candidates(current, report.ids, now=deps.clock())
    )
    if not over:
        raise AttemptUnderwayError(task.task_id)
    return reconcile_task(task, tuple(dict.fromkeys((*report.ids, *task.candidate_ids))), deps, source="callback")


def _start_polling(task: Task, deps: CallbackDependencies) -> Task:
    """The provider reports an end that its API does not show: check soon, and until it does."""
    return start_polling(task, store=deps.store, poller=deps.poller, clock=deps.clock)
