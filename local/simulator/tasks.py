"""The tasks the simulator holds, and the one place where they change state.

States are neutral (`pending`, `processing`, `succeeded`, `failed`, `canceled`); each API flavour has its own words.
A task changes when its time has come, by a poll or the timer, and each change is announced exactly once.
"""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from local.simulator.clock import Timer
from local.simulator.encoder import LOOKS, Picture, encode, frame_size, stamped
from local.simulator.models import Model
from local.simulator.scripts import Script
from local.simulator.video_file import VideoFile, padded

State = Literal["pending", "processing", "succeeded", "failed", "canceled"]
ApiFlavour = Literal["gateway", "vidu"]
END_STATES: frozenset[State] = frozenset({"succeeded", "failed", "canceled"})
_QUEUED_PART = 0.2


@dataclass
class Received:
    """A create request as it arrived; `headers` are without the key, `params` as parsed."""

    body: bytes
    headers: dict[str, str]
    params: dict[str, Any]
    identity: str
    model: Model


@dataclass
class Task:
    """One task. Mutable parts are guarded by `lock`; times named `_at` are Unix time, `started` is monotonic."""

    id: str
    remote_id: str
    api_key: str
    received: Received
    script: Script
    script_id: str | None
    generation_seconds: float
    seed: int
    created_at: float
    started: float
    flavour: ApiFlavour = "gateway"
    state: State = "pending"
    created_as: State = "pending"
    """What the reply to the create call shows, however long that takes: the state the task was made in."""
    history: list[dict[str, Any]] = field(default_factory=list)
    polls: list[dict[str, Any]] = field(default_factory=list)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    downloads: list[dict[str, Any]] = field(default_factory=list)
    cancels: list[dict[str, Any]] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)
    files: dict[int, VideoFile] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def params(self) -> dict[str, Any]:
        """The request's parameters."""
        return self.received.params

    @property
    def model(self) -> Model:
        """What was asked for it."""
        return self.received.model

    def value(self, name: str) -> Any:
        """A parameter, with its default where it was left out; None where it has none."""
        return self.model.value(name, self.params)

    @property
    def finishes_after(self) -> float | None:
        """Seconds from creation to the end, None for a task that never ends."""
        if self.script.outcome.never_finish:
            return None
        own = self.script.generation_seconds
        return (self.generation_seconds if own is None else own) + self.script.outcome.finish_late

    def shown_state(self) -> State:
        """The state as a poll shows it: a cancel only after as many polls as the script says."""
        late = self.state == "canceled" and self.take("cancel.shown_after", self.script.cancel.shown_after)
        return self.canceled_from if late else self.state

    @property
    def canceled_from(self) -> State:
        """The state the task was in before its last change."""
        state: State = self.history[-2]["state"]
        return state

    def take(self, fault: str, n: int | None) -> bool:
        """True, and counted, if the fault is still to be given (`None`: always)."""
        with self.lock:
            if n is not None and self.used[fault] >= n:
                return False
            self.used[fault] += 1
            return True

    def next_change(self) -> tuple[float, State] | None:
        """The monotonic moment and target of the next change, None if there will be none."""
        if self.state in END_STATES:
            return None
        whole = self.finishes_after
        if self.state == "pending":
            own = self.script.generation_seconds
            return self.started + _QUEUED_PART * (self.generation_seconds if own is None else own), "processing"
        if whole is None:
            return None
        return self.started + whole, "failed" if self.script.outcome.fail else "succeeded"


class TaskBook:
    """All tasks by id. `on_change(task, state)` is called once for each state a task enters, `pending` included."""

    def __init__(self, timer: Timer, on_change: Callable[[Task, State], None]) -> None:
        self._timer = timer
        self._on_change = on_change
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}

    def create(
        self,
        api_key: str,
        received: Received,
        script: Script,
        script_id: str | None,
        generation_seconds: float,
        flavour: ApiFlavour = "gateway",
    ) -> Task:
        """Record a new task and start its clock. Only the gateway has ids of its own beside the upstream's."""
        now = time.time()
        remote_id = str(uuid.uuid4().int % 10**18).zfill(18)
        task = Task(
            id=remote_id if flavour == "vidu" else uuid.uuid4().hex,
            remote_id=remote_id,
            flavour=flavour,
            api_key=api_key,
            received=received,
            script=script,
            script_id=script_id,
            generation_seconds=generation_seconds,
            seed=received.params.get("seed") or random.randrange(1, 2**31),  # noqa: S311 - a look, not a secret
            created_at=now,
            started=time.monotonic(),
        )
        with self._lock:
            self._tasks[task.id] = task
        with task.lock:
            self._enter(task, "pending")
            if script.create.immediate is not None:
                self._enter(task, "succeeded" if script.create.immediate == "completed" else "failed")
            self._advance_to(task, task.started)
            task.created_as = task.state
        self._watch(task)
        return task

    def get(self, task_id: str) -> Task | None:
        """The task of this (gateway) id, brought up to the present."""
        with self._lock:
            task = self._tasks.get(task_id)
        if task is not None:
            self.advance(task)
        return task

    def cancel(self, task: Task) -> bool:
        """Cancel a task, if it still can be: True if it was."""
        self.advance(task)
        with task.lock:
            runs_on = task.state == "processing" and (task.params.get("off_peak") is True or task.script.cancel.anytime)
            if task.state != "pending" and not runs_on:
                return False
            self._enter(task, "canceled")
            return True

    def all(self) -> list[Task]:
        """All tasks, oldest first."""
        with self._lock:
            return list(self._tasks.values())

    def clear(self) -> None:
        """Forget all tasks."""
        with self._lock:
            self._tasks.clear()

    def rescript(self, task: Task, script: Script, *, restarted: set[str]) -> None:
        """Put a live task under another script; the counters of the parts named in `restarted` restart.

        With `videos` among them, the files are made again (equal, unless the patch says another size or layout).
        """
        with task.lock:
            task.script = script
            for name in [name for name in task.used if name.partition(".")[0] in restarted]:
                del task.used[name]
            if "videos" in restarted:
                task.files.clear()
        self.advance(task)
        self._watch(task)

    def advance(self, task: Task) -> None:
        """Make every change whose time has come."""
        with task.lock:
            changed = self._advance_to(task, time.monotonic())
        if changed:
            self._watch(task)

    def video(self, task: Task, number: int) -> VideoFile:
        """Video `number` (from 0) of the task, encoded at need. Takes up to some seconds the first time."""
        with task.lock:
            known = task.files.get(number)
            script = task.script.videos
        if known is not None:
            return known
        value = task.value
        width, height = frame_size(value("resolution") or "720p", value("aspect_ratio") or "16:9")
        picture = Picture(
            width=width,
            height=height,
            seconds=value("duration") or 5,
            look=(task.seed + number) % LOOKS,
            audio=value("audio") is True,
            layout=script.layout,
            prompt=str(value("prompt") or ""),
        )
        head = stamped(encode(picture), f"vidu-simulator:{task.id}/{number}")
        with task.lock:
            return task.files.setdefault(number, padded(head, script.size_bytes))

    def _advance_to(self, task: Task, moment: float) -> bool:
        """Make every change up to a (monotonic) moment; whether there was one."""
        changed = False
        while (change := task.next_change()) and change[0] <= moment:
            self._enter(task, change[1])
            changed = True
        return changed

    def _enter(self, task: Task, state: State) -> None:
        task.state = state
        task.history.append({"state": state, "at": time.time()})
        self._on_change(task, state)

    def _watch(self, task: Task) -> None:
        change = task.next_change()
        if change is not None:
            self._timer.call_at(change[0], lambda: self.advance(task))
