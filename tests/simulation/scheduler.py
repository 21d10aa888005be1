"""A deterministic scheduler: use cases run in threads, one at a time, and change over only before an effect.

What lies between two effects is local to a process, so every behaviour of concurrent functions is one of these
schedules. `explore` runs all of them where there are few, and a sample where there are many.
"""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import comb

from tests.simulation.effects import Effects, Fault, ProcessDeathError

LOCAL = frozenset({"secretsmanager.get_secret_value", "source.read"})
"""Effects that no other process can see or change: no need to change over before them."""

TIMEOUT_SECONDS = 60.0
"""A thread that has not come back by then hangs, and the test fails."""


def _taken() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False)
class Actor:
    """One process. `waits_for` names the effect it is about to have; None once it has ended."""

    name: str
    run: Callable[[], object]
    started_at: int = 0
    waits_for: str | None = None
    steps: int = 0
    faults: dict[int, Fault] = field(default_factory=dict)
    error: BaseException | None = None
    killed: bool = False
    go: threading.Lock = field(default_factory=_taken)
    thread: threading.Thread | None = None

    @property
    def ended(self) -> bool:
        return self.waits_for is None


class Scheduler:
    """Runs actors step by step; a step is one effect, and what follows it up to the next."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._back = _taken()
        self._actors: dict[int, Actor] = {}
        self.actors: list[Actor] = []
        effects.gate = self._gate

    def spawn(self, actor: Actor) -> Actor:
        """Start a process and run it up to its first effect."""
        self.actors.append(actor)
        actor.thread = threading.Thread(target=self._live, args=(actor,), name=actor.name, daemon=True)
        actor.thread.start()
        self._wait(actor)
        return actor

    def step(self, actor: Actor) -> None:
        """Let it have the effect it waits for."""
        actor.go.release()
        self._wait(actor)

    def finish(self, actor: Actor) -> None:
        while not actor.ended:
            self.step(actor)

    def kill(self, actor: Actor) -> None:
        actor.killed = True
        self.finish(actor)

    def _wait(self, actor: Actor) -> None:
        if not self._back.acquire(timeout=TIMEOUT_SECONDS):
            raise AssertionError(f"{actor.name} hangs")
        if actor.ended and actor.thread:
            actor.thread.join(TIMEOUT_SECONDS)

    def _live(self, actor: Actor) -> None:
        self._actors[threading.get_ident()] = actor
        try:
            actor.run()
        except (Exception, ProcessDeathError) as error:  # noqa: BLE001 - Lambda catches whatever a function raises
            actor.error = error
        finally:
            self._effects.revive()
            del self._actors[threading.get_ident()]
            actor.waits_for = None
            self._back.release()

    def _gate(self, name: str) -> Fault | None:
        actor = self._actors.get(threading.get_ident())
        if actor is None:
            return None
        if name not in LOCAL:
            actor.waits_for = name
            self._back.release()
            actor.go.acquire()
            actor.waits_for = name
        if actor.killed:
            return Fault.DIES_BEFORE
        actor.steps += 1
        return actor.faults.pop(actor.steps - 1, None)


class Choices:
    """Who is next, each time there is a choice: first as `prefix` says, then by chance or the first."""

    def __init__(self, prefix: Sequence[int], rng: random.Random | None) -> None:
        self._prefix = list(prefix)
        self._rng = rng
        self.trail: list[tuple[int, int]] = []

    def __call__(self, options: int) -> int:
        if options == 1:
            return 0
        at = len(self.trail)
        if at < len(self._prefix):
            chosen = min(self._prefix[at], options - 1)
        else:
            chosen = self._rng.randrange(options) if self._rng else 0
        self.trail.append((chosen, options))
        return chosen


def explore(scenario: Callable[[Choices], Sequence[int]], *, limit: int, sample: int, seed: int) -> tuple[int, bool]:
    """Run a scenario under its schedules: all of them if there are at most `limit`, else `sample` chosen by chance.

    The scenario returns how many effects each of its actors had. Returns how many different schedules ran, and whether
    these were all.
    """
    first = Choices((), None)
    lengths = scenario(first)
    total, left = 1, sum(lengths)
    for length in lengths:
        total *= comb(left, length)
        left -= length
    seen = {tuple(chosen for chosen, _ in first.trail)}
    if total > limit:
        rng = random.Random(seed)  # noqa: S311 - the same sample each time
        for _ in range(sample - 1):
            choices = Choices((), rng)
            scenario(choices)
            seen.add(tuple(chosen for chosen, _ in choices.trail))
        return len(seen), False
    trail = list(first.trail)
    for _ in range(limit):
        while trail and trail[-1][0] == trail[-1][1] - 1:
            trail.pop()
        if not trail:
            return len(seen), True
        choices = Choices([*(chosen for chosen, _ in trail[:-1]), trail[-1][0] + 1], None)
        scenario(choices)
        trail = list(choices.trail)
        seen.add(tuple(chosen for chosen, _ in trail))
    return len(seen), False  # what one actor does made others do far more than the first schedule showed
