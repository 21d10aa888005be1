"""The queue in front of a provider: which task waits, how many may run there at once. Pure functions.

A slot is the id of a task that the queue let go on. It is held while the task's record shows that the provider may work
on it, so a slot cannot be lost: the records decide, at each dispatch again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from vidu_relay.domain.polling import LEASE_MS, SLOW_INTERVAL_MS, PollingPolicy
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

__all__ = ["QueueState", "admit", "count_slots", "queued_until", "wait_for_turn", "waiting_check_at"]

ADMITTING_MS = 60_000
"""How long a slot is held for a task that a dispatch has chosen and not yet let go on: longer than a sweep may run."""

SAME_REFUSAL_MS = 5_000
"""A 429 so soon after another is of a call that began before that one: nothing goes on in between."""

CREATES_BEFORE_GROWTH = 50
"""So many create calls succeed before one more task is tried than the provider is known to take."""

STALLED_MS = 300_000
"""After so long without a 429 and without a free slot one more task is tried: tasks in flight may take hours."""

WAITING_CHECK_MS = 8 * SLOW_INTERVAL_MS
"""How often a task that waits is checked at least."""

OPENING_MS = 60_000
"""A function that submits a task and read that none waits has ended by then."""

AT_PROVIDER = frozenset({Status.SUBMITTED, Status.PROCESSING})


@dataclass(frozen=True, slots=True)
class QueueState:
    """What dispatches remember of a provider's queue. `revision` counts the writes.

    - `slots`: the tasks in flight, by id, and when (ms) each was chosen; `confirmed`: those the provider has taken.
    - `limit`: how many slots there are.
    - `proven`: how many tasks the provider is known to take at once; 0 before its first 429.
    - `credit`: create calls that succeeded since `limit` last changed, while every slot was held.
    - `refused_at`: the moment of the last 429 that is counted. `turn`: the tenant that was served last.
    - `opened_at`: when the first dispatch found tasks waiting; 0 while none wait.
    """

    slots: Mapping[str, int] = field(default_factory=dict)
    confirmed: tuple[str, ...] = ()
    limit: int = 1
    proven: int = 0
    credit: int = 0
    refused_at: int = 0
    opened_at: int = 0
    turn: str = ""
    revision: int = 0

    @property
    def free(self) -> int:
        """How many tasks may be let go on."""
        return max(0, self.limit - len(self.slots))

    def opening(self, now: int) -> bool:
        """Whether tasks may be in flight that were submitted before others had to wait, and hold no slot yet."""
        return now < (self.opened_at or now) + OPENING_MS

    def with_running(self, tasks: Iterable[Task], now: int) -> QueueState:
        """The state with a slot for each of these tasks that has none and that the provider works on."""
        running = {task.task_id: now for task in tasks if task.status in AT_PROVIDER and task.task_id not in self.slots}
        return replace(self, slots={**self.slots, **running}, confirmed=(*self.confirmed, *running))


def queued_until(task: Task, policy: PollingPolicy) -> int:
    """Until when a task waits in the queue (ms): one that was never submitted waits beyond its deadline."""
    return task.deadline_at if task.attempts else max(task.deadline_at, policy.paused_until(task.created_at))


def wait_for_turn(task: Task, *, now: int, policy: PollingPolicy) -> Task:
    """An `accepted` task waits in the queue; the same task in any other state."""
    if task.status is not Status.ACCEPTED:
        return task
    waiting = replace(task, queued_at=now, admitted_at=None, paused_since=None, checks=0)
    return replace(waiting, due_at=waiting_check_at(waiting, now=now, policy=policy))


def waiting_check_at(task: Task, *, now: int, policy: PollingPolicy) -> int:
    """When a task that waits is checked next: its tenant may be disabled, its wait over.

    Within `WAITING_CHECK_MS`, each task at another moment: thousands may have been recorded in one minute.
    """
    spread = zlib.crc32(task.task_id.encode()) % (WAITING_CHECK_MS // 2)
    return min(now + WAITING_CHECK_MS // 2 + spread, queued_until(task, policy))


def admit(task: Task, *, now: int, policy: PollingPolicy) -> Task:
    """It is the task's turn: the caller takes its lease and has it checked. The same task if it does not wait.

    The deadline of a task that was never submitted begins now.
    """
    if not task.waits:
        return task
    begins = policy.deadline_at(now, off_peak=task.off_peak)
    return replace(
        task,
        queued_at=None,
        admitted_at=now,
        deadline_at=task.deadline_at if task.attempts else max(task.deadline_at, begins),
        lease=task.lease + 1,
        due_at=now + LEASE_MS,
    )


def count_slots(
    state: QueueState, tasks: Mapping[str, Task], *, refused_at: int | None, ceiling: int, now: int
) -> QueueState:
    """The state by the present records of its slots: those that are over are free, and `limit` follows the provider.

    A 429 since the last one that was counted (`refused_at`) halves `limit`, however many calls were refused with it.
    Before any 429 one more is tried than are in flight. Each create call that succeeded while every slot was held adds
    one up to `proven`, or before any 429; beyond, `CREATES_BEFORE_GROWTH` do. Where no slot has become free for
    `STALLED_MS`, there is one more, until others are free. Off-peak tasks hold slots and show nothing of what the
    provider takes.
    """
    known = tuple(task_id for task_id in state.slots if (task := tasks.get(task_id)) and task.remote_id is not None)
    slots = {
        task_id: chosen_at
        for task_id, chosen_at in state.slots.items()
        if (task := tasks.get(task_id)) and _holds(task, chosen_at, now)
    }
    running = sum(tasks[task_id].status in AT_PROVIDER and not tasks[task_id].off_peak for task_id in slots)
    fresh = len(set(known) - set(state.confirmed)) if len(state.slots) >= state.limit else 0
    limit, proven, credit = state.limit, state.proven, state.credit
    refused = refused_at is not None and refused_at > state.refused_at + SAME_REFUSAL_MS
    if refused:
        limit = max(1, (limit if proven else max(limit, running)) // 2)
        proven, credit = max(1, running, proven - 1), 0
    elif proven:
        proven = max(proven, running)
    for _ in range(fresh):
        credit = credit + 1 if proven and limit >= proven else CREATES_BEFORE_GROWTH
        if credit >= CREATES_BEFORE_GROWTH:
            limit, credit = limit + 1, 0
    if len(slots) >= limit and now >= max(state.refused_at, refused_at or 0, *slots.values()) + STALLED_MS:
        limit = len(slots) + 1
    elif proven:
        limit = min(limit, max(proven, len(slots)) + 1)
    else:
        limit = max(limit, sum(tasks[task_id].status in AT_PROVIDER for task_id in slots) + 1)
    return replace(
        state,
        slots=slots,
        confirmed=tuple(task_id for task_id in known if task_id in slots),
        limit=min(limit, ceiling),
        proven=proven,
        credit=credit,
        refused_at=refused_at if refused and refused_at else state.refused_at,
    )


def _holds(task: Task, chosen_at: int, now: int) -> bool:
    """Whether the provider may work on the task, or is about to be asked to."""
    if task.waits:  # chosen, and not yet let go on; one that has waited since came back
        return (task.queued_at or 0) < chosen_at and now < chosen_at + ADMITTING_MS
    if task.status is Status.ACCEPTED:
        return task.admitted_at is not None and task.paused_since is None
    return task.status in AT_PROVIDER or (task.status is Status.SUBMITTING and not task.attempt_is_over(now))
