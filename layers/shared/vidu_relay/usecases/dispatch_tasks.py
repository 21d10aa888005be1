"""Let the next tasks of a provider's queue go on: in turns of tenants, as many as it has free slots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.check_function import CheckFunction
from vidu_relay.adapters.provider_pause import Pause, ProviderPauses
from vidu_relay.adapters.provider_queue import ProviderQueue, Waiting
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.admission import QueueState, admit, count_slots
from vidu_relay.domain.errors import StaleTaskError
from vidu_relay.domain.polling import LEASE_MS, MAX_INTERVAL_MS, PollingPolicy
from vidu_relay.observability import Metric, gauge, logger
from vidu_relay.usecases.ports import Clock, clock
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["DispatchDependencies", "dispatch_queues", "dispatch_tasks"]

MAX_IN_FLIGHT = 200
SOON_MS = MAX_INTERVAL_MS + LEASE_MS
"""A task at the provider is due by then, but for off-peak ones."""
FLAG_MS = 30_000
"""How old the flag may be before a dispatch raises it again."""
INDEX_LAG_MS = 5_000
"""The index may not show yet the tasks for which a younger flag was raised."""
MAX_TENANTS_LOGGED = 10


@dataclass(frozen=True, slots=True)
class DispatchDependencies:
    """What a dispatch needs; `ceiling` is the most tasks that it lets be in flight at a provider."""

    store: TaskStore
    queue: ProviderQueue
    pauses: ProviderPauses
    checker: CheckFunction
    policy: PollingPolicy
    ceiling: int
    clock: Clock = clock


def dispatch_queues(providers: Iterable[str], deps: DispatchDependencies) -> int:
    """Dispatch each provider's queue; how many tasks were let go on. A dispatch that fails is repeated in a minute."""
    admitted = 0
    for provider in providers:
        try:
            admitted += dispatch_tasks(provider, deps)
        except (ClientError, BotoCoreError):
            logger.exception("dispatch_failed", provider=provider)
    return admitted


def dispatch_tasks(provider: str, deps: DispatchDependencies) -> int:
    """Let as many waiting tasks go on as there are free slots; how many.

    Of several dispatches at the same time one lets tasks go on. The chosen tasks are written before any is let go on:
    what dies in between holds its slot for a minute. Raises what AWS raises.
    """
    any_waits = deps.queue.next_of(provider, "") is not None
    pause, now = deps.pauses.find(provider), deps.clock()
    if pause is None and not any_waits:
        return 0
    state = deps.queue.load(provider)
    slots = deps.store.get_many([*state.slots, *_in_flight(state, deps, now)], consistent=True)
    everyone = state.with_running((task for task in slots.values() if task.provider == provider), now)
    refused_at = pause.refused_at if pause else None
    counted = count_slots(everyone, slots, refused_at=refused_at, ceiling=deps.ceiling, now=now)
    held = pause.held_tenants if pause else frozenset()
    waits = any_waits and _next_allowed(provider, "", (), held, deps.queue) is not None
    chosen = list(_choose(provider, counted, pause, deps.queue, now)) if waits else []
    flagged = _keep_flag(provider, pause, deps, now, queued=waits, full=len(chosen) >= counted.free)
    after = replace(
        counted,
        slots={**counted.slots, **{waiting.task_id: now for waiting in chosen}},
        turn=chosen[-1].tenant_id if chosen else counted.turn,
        opened_at=(state.opened_at or now) if flagged else 0,
    )
    if after == state:
        return 0
    if not deps.queue.save(provider, after):
        logger.info("dispatch_overtaken", provider=provider)
        return 0
    return sum(_let_go_on(waiting, deps) for waiting in chosen)


def _in_flight(state: QueueState, deps: DispatchDependencies, now: int) -> list[str]:
    """Ids of at most `MAX_IN_FLIGHT` tasks that are due soon, while those may be in flight that hold no slot."""
    if not state.opening(now):
        return []
    return [task_id for task_id, _ in islice(deps.store.find_due(now + SOON_MS), MAX_IN_FLIGHT)]


def _choose(provider: str, state: QueueState, pause: Pause | None, queue: ProviderQueue, now: int) -> Iterator[Waiting]:
    """The next tasks, one for each free slot: a tenant's next after the next tenant's.

    While the provider refuses our account for all tenants, one for each probe.
    """
    if pause is not None and (pause.held or now < pause.hold_until):
        return
    refused = pause is not None and pause.paused_since is not None and pause.tenant_id is None
    if refused and pause is not None and now < pause.probe_at:
        return
    turn, taken = state.turn, set(state.slots)
    held = pause.held_tenants if pause else frozenset()
    for _ in range(min(state.free, 1) if refused else state.free):
        waiting = _next_allowed(provider, turn, taken, held, queue)
        if waiting is None:
            return
        turn = waiting.tenant_id
        taken.add(waiting.task_id)
        yield waiting


def _next_allowed(
    provider: str, turn: str, taken: Collection[str], held: Collection[str], queue: ProviderQueue
) -> Waiting | None:
    """The next task whose tenant the operator does not hold up."""
    seen: set[str] = set()
    while (waiting := queue.next_of(provider, turn, taken)) is not None and waiting.tenant_id in held:
        turn = waiting.tenant_id
        if turn in seen:  # once around
            return None
        seen.add(turn)
    return waiting


def _keep_flag(
    provider: str, pause: Pause | None, deps: DispatchDependencies, now: int, *, queued: bool, full: bool
) -> bool:
    """The flag is up while tasks wait, or every slot is held; whether it is. What the operator holds up stays so."""
    raised_at = pause.queued_at if pause else None
    if pause is not None and (pause.held or pause.held_tenants):
        deps.pauses.keep(provider, now=now)
    if queued or (full and raised_at is not None):
        if raised_at is None or raised_at <= now - FLAG_MS:
            deps.pauses.raise_flag(provider, now=now)
            _measure(provider, deps.queue, now)
        return True
    if raised_at is not None and raised_at > now - INDEX_LAG_MS:
        return True
    if pause is not None:
        deps.pauses.lower_flag(provider, pause)
    return False


def _let_go_on(waiting: Waiting, deps: DispatchDependencies) -> bool:
    """Take the task's lease and have it checked. If the check is lost, the sweep starts another."""
    try:
        task = deps.store.get(waiting.task_id)
        if task is None:
            return False
        now = deps.clock()
        admitted = save_with_retry(deps.store, task, lambda current: admit(current, now=now, policy=deps.policy))
        if admitted.admitted_at != now:
            return False
        deps.checker.start(admitted.task_id, admitted.lease)
    except (ClientError, BotoCoreError, StaleTaskError):
        logger.exception("task_not_let_go_on", task_id=waiting.task_id, tenant_id=waiting.tenant_id)
        return False
    return True


def _measure(provider: str, queue: ProviderQueue, now: int) -> None:
    """Its length, the age of the task that has waited longest, and the tenants that have most of it."""
    waiting = list(queue.count(provider))
    if not waiting:
        return
    gauge(Metric.TASKS_WAITING, len(waiting))
    gauge(Metric.OLDEST_WAITING_SECONDS, (now - min(one.created_at for one in waiting)) // 1000)
    for tenant_id, tasks in Counter(one.tenant_id for one in waiting).most_common(MAX_TENANTS_LOGGED):
        logger.info("tenant_waits", provider=provider, tenant_id=tenant_id, waiting=tasks)
