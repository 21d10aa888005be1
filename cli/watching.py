"""`relay watch`: how tasks go on, until each is settled."""

from __future__ import annotations

import random
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cli.api import Api, NoAnswerError, spoken_again
from cli.screen import Bar, Screen
from vidu_relay.domain.states import SETTLED, Status

__all__ = ["EXIT_STATUS", "INTERRUPTED", "Pace", "Watched", "follow", "watch"]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

EXIT_STATUS: Mapping[Status, int] = {Status.COMPLETED: 0, Status.FAILED: 3, Status.EXPIRED: 4, Status.CANCELED: 5}
"""Exit status for a settled task; of several tasks the highest counts."""

STAGES = (Status.ACCEPTED, Status.SUBMITTING, Status.SUBMITTED, Status.PROCESSING, Status.GENERATED, Status.COMPLETED)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a task is read: a tenth of the time since its last change, within bounds. All in seconds.

    `longest_outage` bounds the doubling pause while there is no answer.
    """

    shortest: float
    longest: float
    longest_outage: float = 60

    def until_next(self, unchanged_for: float) -> float:
        """The wait before the next read of a task that has not changed for so long."""
        return min(self.longest, max(self.shortest, unchanged_for / 10))

    def after_failures(self, number: int) -> float:
        """The wait after so many reads in a row without an answer, with jitter."""
        return min(self.longest_outage, self.shortest * 2.0 ** min(number, 30)) * random.uniform(0.5, 1)  # noqa: S311 - no secret


TRIES_AT_FIRST = 3
"""An address that has never answered in so many tries is taken for a wrong one."""

PACE = Pace(1, 60)
LOCAL_PACE = Pace(0.2, 1, 5)


@dataclass
class Watched:
    """A task that is watched, and what was seen of it."""

    task_id: str
    task: dict[str, Any] = field(default_factory=dict)
    """As it was read last; empty before."""
    _shown: set[tuple[str, str]] = field(default_factory=set)

    @property
    def settled(self) -> Status | None:
        """The state it is settled in; None while it goes on."""
        return next((status for status in SETTLED if status == self.task.get("status")), None)

    def look(self, api: Api) -> list[dict[str, Any]]:
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


def watch(arguments: Namespace, api: Api) -> int:
    """Show the tasks' changes until all are settled; the exit status tells how. Watching changes nothing."""
    task_ids = list(dict.fromkeys(arguments.task_id))
    again = spoken_again(arguments, "watch", *task_ids)
    return follow(task_ids, api, Screen(as_json=arguments.json), again, heard=False)


def follow(task_ids: Sequence[str], api: Api, screen: Screen, again: str, *, heard: bool) -> int:
    """`watch` on a screen. `again` is the command that resumes it, `heard` whether the address has answered before.

    Raises `RefusedError` if a task cannot be read, or the address never answers.
    """
    watched = [Watched(task_id) for task_id in task_ids]
    try:
        with screen.stages() as bars:
            by_task = {one.task_id: bars.add(one.task_id, len(STAGES) - 1) for one in watched}
            _Follower(api, screen, by_task, heard=heard).run(watched)
    except KeyboardInterrupt:
        left = [one.task_id for one in watched if one.settled is None]
        screen.remark(f"\nNo longer watching; {', '.join(left) or 'nothing'} goes on. Watch again:\n  {again}")
        return INTERRUPTED
    return max(EXIT_STATUS[one.settled] for one in watched if one.settled is not None)


class _Follower:
    """Reads tasks at their pace and shows what is new."""

    def __init__(self, api: Api, screen: Screen, bars: Mapping[str, Bar], *, heard: bool) -> None:
        self._api, self._screen, self._bars, self._heard = api, screen, bars, heard
        self._pace = LOCAL_PACE if api.local else PACE
        self._failures = 0

    def run(self, watched: Sequence[Watched]) -> None:
        """Return when each task is settled."""
        now = time.monotonic()
        due = {one.task_id: now for one in watched}
        changed = dict(due)
        open_ = list(watched)
        while open_:
            one = min(open_, key=lambda one: due[one.task_id])
            time.sleep(max(0.0, due[one.task_id] - time.monotonic()))
            try:
                new = one.look(self._api)
            except NoAnswerError as error:
                wait = self._say_failure(error)
                for other in open_:  # they all ask the same server
                    due[other.task_id] = max(due[other.task_id], time.monotonic() + wait)
                continue
            self._say_answer()
            now = time.monotonic()
            if new:
                changed[one.task_id] = now
            due[one.task_id] = now + self._pace.until_next(now - changed[one.task_id])
            self._show(one, new)
            if one.settled is not None:
                open_.remove(one)

    def _say_failure(self, error: NoAnswerError) -> float:
        self._failures += 1
        if self._failures == TRIES_AT_FIRST and not self._heard:
            raise error
        wait = max(error.retry_after or 0, self._pace.after_failures(self._failures))
        if self._failures == 1:
            goes_on = "the tasks go on, and so does the watching" if self._heard else "trying again"
            self._screen.remark(f"{self._api.url} gives no answer ({error}); {goes_on}")
        return wait

    def _say_answer(self) -> None:
        if self._failures:
            self._screen.remark(f"{self._api.url} answers again")
        self._failures, self._heard = 0, True

    def _show(self, one: Watched, new: Sequence[Mapping[str, Any]]) -> None:
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
            self._bars[one.task_id].stop()
            self._screen.line(" ".join(_outcome(one)), _outcome_data(one))


def _outcome(one: Watched) -> Iterator[str]:
    task, error = one.task, one.task["error"]
    yield f"{one.task_id} is {task['status']}" + (f": {error['code']}: {error['message']}" if error else ".")
    if one.settled is Status.COMPLETED:
        videos = task["videos"]
        size = sum(video["size"] for video in videos)
        yield f"{len(videos)} {'video' if len(videos) == 1 else 'videos'}, {size:,} bytes: `relay get {one.task_id}`."
    elif one.settled is Status.EXPIRED:
        yield "A video that comes late is still delivered: `relay watch` again later."


def _outcome_data(one: Watched) -> dict[str, Any]:
    """The end of a task, without links: they would outlive this line's readers in some log."""
    task = one.task
    said = {name: task[name] for name in ("status", "version", "error", "usage", "videos")}
    return {"task_id": one.task_id, "settled": True, "at": task["updated_at"], **said}
