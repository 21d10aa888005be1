"""When to poll a task for which no callback came: the first check, the backoff, the deadlines."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ATTEMPT_LIMIT_MS",
    "DELIVERY_GRACE_MS",
    "HANDOVER_MS",
    "LEASE_MS",
    "MAX_INTERVAL_MS",
    "PROBE_MS",
    "SLOW_INTERVAL_MS",
    "PollingPolicy",
]

LEASE_MS = 120_000
"""How long a lease outlives the check it was taken for. A dead execution's lease lapses after that."""

ATTEMPT_LIMIT_MS = 90_000
"""A create attempt is over by then, whatever happened to it: the longest time-out of a function that submits (60 s,
see the template) and half a minute for clocks that disagree."""

DELIVERY_GRACE_MS = 420_000
"""How long a delivery may take before it is asked for again: the time-out of `deliver_videos` (300 s) and two minutes.
If the first message still waits for a free execution, two copies may run at once; the result is the same."""

HANDOVER_MS = 120_000
"""How long only the entry point that recorded a task may submit it; then a check does. More than
`ATTEMPT_LIMIT_MS`, and the first check by default, so that a create call begun at once moves nothing in the index."""

PROBE_MS = 60_000
"""How often a paused provider is probed with one create call."""

MAX_INTERVAL_MS = 15 * 60_000
"""Where the doubling of the check interval ends."""

SLOW_INTERVAL_MS = 60 * 60_000
"""Interval for off-peak tasks and for tasks past their deadline."""

EXTERNAL_ID_SECONDS = 90 * 86_400
"""How long an external id stays taken at least after its task's record is gone."""

OFF_PEAK_DEADLINE_MS = 48 * 3_600_000
"""The provider ends unfinished off-peak tasks after 48 h (its page, `off_peak`)."""


@dataclass(frozen=True, slots=True)
class PollingPolicy:
    """The operator's timing, in the units of the template's parameters."""

    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int

    def first_check_at(self, now: int, *, off_peak: bool) -> int:
        """When to check a task submitted at `now` (ms) for the first time, if no callback comes."""
        wait = SLOW_INTERVAL_MS if off_peak else self.first_check_seconds * 1000
        return now + wait

    def deadline_at(self, created_at: int, *, off_peak: bool) -> int:
        """When the wait for an answer ends (ms)."""
        return created_at + (OFF_PEAK_DEADLINE_MS if off_peak else self.task_deadline_seconds * 1000)

    def backoff_ms(self, tries: int, jitter: float) -> int:
        """The wait after `tries` unsuccessful tries: doubling to 15 min, spread over ±20 % by `jitter` in [0, 1)."""
        base = min(self.check_interval_seconds * 1000 * 2 ** min(tries, 20), MAX_INTERVAL_MS)
        return max(1000, int(base * (0.8 + 0.4 * jitter)))

    def late_until(self, deadline_at: int) -> int:
        """Until when a task past its deadline is still polled (ms)."""
        return deadline_at + self.late_watch_hours * 3_600_000

    def copied_until(self, generated_at: int) -> int:
        """Until when the copy of a generated task's videos is attempted (ms): as long as a late video is waited for."""
        return generated_at + self.late_watch_hours * 3_600_000

    def paused_until(self, paused_since: int) -> int:
        """Until when a task waits for the provider to accept our account again (ms)."""
        return paused_since + self.late_watch_hours * 3_600_000

    def external_id_until(self, deadline_at: int) -> int:
        """When the external id of a task with this deadline may be deleted, in *seconds* since the epoch (TTL).

        The task is gone by then: all its waits together take four times `late_watch_hours`, at most 28 days. The rest
        is for tasks that an operator reopens.
        """
        return self.forget_at(deadline_at) + EXTERNAL_ID_SECONDS

    def forget_at(self, now: int) -> int:
        """When the record of a task settled at `now` (ms) may be deleted, in *seconds* since the epoch (TTL)."""
        return now // 1000 + self.retain_tasks_days * 86_400
