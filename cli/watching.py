"""`relay watch`: the changes of tasks, until each is settled."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import click

from cli.answer import NoAnswerError
from cli.api import Api
from cli.command import INTERRUPTED, Command, Relay
from cli.screen import Bar
from vidu_relay.domain.states import SETTLED, Status

EXIT_STATUS: Mapping[Status, int] = {Status.COMPLETED: 0, Status.FAILED: 3, Status.EXPIRED: 4, Status.CANCELED: 5}
"""Exit status for a settled task; of several tasks the highest counts."""

STAGES = (Status.ACCEPTED, Status.SUBMITTING, Status.SUBMITTED, Status.PROCESSING, Status.GENERATED, Status.COMPLETED)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a task is read: after a tenth of the time since its last change, or when the relay advises to if that
    is later, within bounds. All in seconds.

    `longest_outage` bounds the doubling pause while there is no answer.
    """

    shortest: float
    longest: float
    longest_outage: float = 60

    def until_next(self, unchanged_for: float, advised: float | None = None) -> float:
        """The wait before the next read of a task that has not changed for so long."""
        return min(self.longest, max(self.shortest, unchanged_for / 10, advised or 0))

    def after_failures(self, number: int) -> float:
        """The wait after so many reads in a row without an answer, with jitter."""
        return min(self.longest_outage, self.shortest * 2.0 ** min(number, 30)) * random.uniform(0.5, 1)  # noqa: S311 - no secret


TRIES_AT_FIRST = 3
"""After so many tries without any answer, the address counts as wrong."""

PACE = Pace(1, 60)
LOCAL_PACE = Pace(0.2, 1, 5)


@dataclass
class _Watched:
    """A task that is watched, and what was shown of it."""

    task_id: str
    task: dict[str, Any] = field(default_factory=dict)
    """As the last read shows it; empty before the first."""
    _shown: set[tuple[str, str]] = field(default_factory=set)

    @property
    def settled(self) -> Status | None:
        """The state it is settled in; None before."""
        return next((status for status in SETTLED if status == self.task.get("status")), None)

    def read(self, api: Api) -> list[dict[str, Any]]:
        """Read the task; the entries of its history that are new. Raises `NoAnswerError`, `RefusedError`."""
        self.task = api.task(self.task_id)
        entries: list[dict[str, Any]] = self.task["history"]
        new = [entry for entry in entries if (entry["at"], entry["status"]) not in self._shown]
        self._shown |= {(entry["at"], entry["status"]) for entry in new}
        return new

    def since_creation(self, at: str) -> float:
        """Seconds between the task's creation and a moment of its history."""
        moments = [datetime.fromisoformat(text) for text in (self.task["created_at"], at)]
        return (moments[1] - moments[0]).total_seconds()


@click.command(cls=Command, examples=["watch mfzwizlnnvsg63dpo5xw2zltmu"])
@click.argument("task_id", nargs=-1, required=True)
def watch(relay: Relay, task_id: tuple[str, ...]) -> int:
    """Print the changes of tasks until all are settled; Ctrl-C ends the watching, not the tasks.

    Exit status 0 completed, 3 failed, 4 expired, 5 canceled (of several the highest).
    """
    return follow(relay, list(dict.fromkeys(task_id)), answered=False)


def follow(relay: Relay, task_ids: Sequence[str], *, answered: bool) -> int:
    """`watch`. `answered` says whether the address has answered before.

    Raises `RefusedError` if a task cannot be read, `NoAnswerError` if the address never answers.
    """
    watched = [_Watched(task_id) for task_id in task_ids]
    try:
        with relay.screen.bars() as bars:
            by_task = {one.task_id: bars.add(one.task_id, len(STAGES) - 1) for one in watched}
            _Follower(relay, by_task, answered=answered).run(watched)
    except KeyboardInterrupt:
        left = ", ".join(one.task_id for one in watched if one.settled is None)
        again = relay.again("watch", *task_ids)
        relay.screen.remark(f"\nNot watching any more; unsettled: {left or 'none'}. Watch again:\n  {again}")
        return INTERRUPTED
    return max(EXIT_STATUS[one.settled] for one in watched if one.settled is not None)


class _Follower:
    """Reads tasks at their pace and prints what is new."""

    def __init__(self, relay: Relay, bars: Mapping[str, Bar], *, answered: bool) -> None:
        self._relay, self._api, self._screen, self._bars, self._answered = (
            relay,
            relay.api,
            relay.screen,
            bars,
            answered,
        )
        self._pace = LOCAL_PACE if relay.api.local else PACE
        self._failures = 0

    def run(self, watched: Sequence[_Watched]) -> None:
        """Return when each task is settled."""
        now = time.monotonic()
        due = {one.task_id: now for one in watched}
        changed = dict(due)
        open_ = list(watched)
        while open_:
            one = min(open_, key=lambda one: due[one.task_id])
            time.sleep(max(0.0, due[one.task_id] - time.monotonic()))
            try:
                new = one.read(self._api)
            except NoAnswerError as error:
                wait = self._after_failure(error)
                for other in open_:  # all reads go to the same server
                    due[other.task_id] = max(due[other.task_id], time.monotonic() + wait)
                continue
            self._after_answer()
            now = time.monotonic()
            if new:
                changed[one.task_id] = now
            due[one.task_id] = now + self._pace.until_next(now - changed[one.task_id], self._api.advised_wait)
            self._show(one, new)
            if one.settled is not None:
                open_.remove(one)

    def _after_failure(self, error: NoAnswerError) -> float:
        self._failures += 1
        if self._failures == TRIES_AT_FIRST and not self._answered:
            raise error
        wait = max(error.retry_after or 0, self._pace.after_failures(self._failures))
        if self._failures == 1:
            next_step = "tasks continue meanwhile; trying again" if self._answered else "trying again"
            self._screen.remark(f"{self._api.url} gives no answer ({error}); {next_step}")
        return wait

    def _after_answer(self) -> None:
        if self._failures:
            self._screen.remark(f"{self._api.url} answers again")
        self._failures, self._answered = 0, True

    def _show(self, one: _Watched, new: Sequence[Mapping[str, Any]]) -> None:
        for entry in new:
            at = one.since_creation(entry["at"])
            self._screen.line(
                f"{one.task_id}  +{at:>7.1f} s  ● {entry['status']:<11} by {entry['source']}",
                {"task_id": one.task_id, "settled": False, **entry},
            )
        status = str(one.task["status"])
        stage = STAGES.index(Status(status)) if status in STAGES else None
        if stage is not None or one.settled is not None:
            self._bars[one.task_id].show(len(STAGES) - 1 if stage is None else stage, status)
        if one.settled is not None:
            self._screen.line("\n  ".join(_outcome(one, self._relay)), _outcome_data(one))


def _outcome(one: _Watched, relay: Relay) -> Iterator[str]:
    task, error = one.task, one.task["error"]
    yield f"{one.task_id} is {task['status']}" + (f": {error['code']}: {error['message']}" if error else ".")
    if one.settled is Status.COMPLETED:
        videos = task["videos"]
        size = sum(video["size"] for video in videos)
        yield f"{len(videos)} {'video' if len(videos) == 1 else 'videos'}, {size:,} bytes. To save:"
        yield relay.again("get", one.task_id)
    elif one.settled is Status.EXPIRED:
        yield "A video that comes late is still delivered. To watch again later:"
        yield relay.again("watch", one.task_id)


def _outcome_data(one: _Watched) -> dict[str, Any]:
    """The end of a task, without its signed links, which would stay usable in a log."""
    task = one.task
    shown = {name: task[name] for name in ("status", "version", "error", "usage", "videos")}
    return {"task_id": one.task_id, "settled": True, "at": task["updated_at"], **shown}
