"""Mutants: faults put into the code in memory, one by one. Each must be caught, by an invariant that it violates.

`mutant` names what catches it: a few crash points or schedules, or one scenario. `test_mutants.py` runs them all.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.chaos.oracle import Invariant
from tests.simulation import test_crash_points, test_schedules
from tests.simulation.effects import Fault
from tests.simulation.http_provider import HttpProvider
from tests.simulation.invariants import check_at_rest
from tests.simulation.scenarios import CALLBACKS, Act, HttpSimulation, submit, time_passes
from tests.simulation.scheduler import Choices

Patch = pytest.MonkeyPatch
Detector = Callable[[], Iterator[object]]
I = Invariant  # noqa: E741


@dataclass(frozen=True)
class Mutant:
    """A change of the code, what must catch it, and the invariants that it may violate."""

    apply: Callable[[Patch], None]
    detect: Detector
    violates: tuple[Invariant, ...]


MUTANTS: list[Mutant] = []


def mutant(detect: Detector, *violates: Invariant) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """List what it decorates."""

    def listed(apply: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS.append(Mutant(apply, detect, violates))
        return apply

    return listed


def wrap(patch: Patch, owner: Any, name: str, mutated: Callable[..., Any]) -> None:
    """Call `mutated(original, …)` wherever `owner.name(…)` is called."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **more: mutated(original, *args, **more))


def points(*names: str, tries: int = 60) -> Detector:
    """Two faults in these scenarios."""

    def run() -> Iterator[object]:
        rng, faults = random.Random(7), list(Fault)  # noqa: S311 - the same each time
        for _ in range(tries):
            for name in names:
                first, second = rng.randrange(len(test_crash_points.effects_of(name))), rng.randrange(15)
                fault, other, way = rng.choice(faults), rng.choice(faults), rng.choice(CALLBACKS)
                yield test_crash_points.play(name, test_crash_points.Point(first, fault, way, second, other))

    return run


def schedules(*names: str, tries: int = 150) -> Detector:
    def run() -> Iterator[object]:
        rng = random.Random(7)  # noqa: S311 - the same each time
        for _ in range(tries):
            for name in names:
                yield test_schedules.play(name, Choices((), rng), rng.choice(["never", "soon"]))

    return run


def scenario(
    prepare: Act,
    callbacks: str = "never",
    provider: type[HttpProvider] = HttpProvider,
    again: tuple[Act, ...] = (submit,),
    named: tuple[str, ...] = (),
) -> Detector:
    """One scenario without faults of ours; `named` are remote ids that it named in a callback answered 200."""

    def run() -> Iterator[object]:
        sim = HttpSimulation(provider=provider)
        prepare(sim)
        answered = time_passes(sim, callbacks, *again)
        check_at_rest(sim, named=answered | set(named))
        yield sim

    return run


def until(seconds: float) -> Act:
    return lambda sim: sim.run(until=sim.clock() + int(seconds * 1000))
