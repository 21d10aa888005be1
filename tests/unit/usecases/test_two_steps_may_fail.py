"""One fault in a story, everywhere; and two, the second in what follows: redelivery, sweep, check or late callback."""

import random
from dataclasses import dataclass

import pytest

from tests.unit.usecases.effects import Fault
from tests.unit.usecases.figures import Figures
from tests.unit.usecases.model import judge_at_rest
from tests.unit.usecases.stories import StoryWorld, time_passes
from tests.unit.usecases.test_any_step_may_fail import EVERY_WAY, SCENARIOS, payload_of, strike
from tests.unit.usecases.world import KEY

pytestmark = pytest.mark.usefixtures("explorable")

SAMPLE = 120
"""Pairs of one scenario."""

REACH = 25
"""How many effects after the first fault the second one strikes at the latest."""


@dataclass(frozen=True)
class Pair:
    """Where both faults strike: counted from the begin of the scenario's act, and from its end."""

    first: int
    first_fault: Fault
    second: int | None
    second_fault: Fault
    callbacks: str


def play(name: str, pair: Pair) -> bool:
    """One story, to its end and judged; whether both faults struck."""
    scenario, world = SCENARIOS[name], StoryWorld()
    scenario.prepare(world)
    world.effects.arm(pair.first, pair.first_fault)
    strike(world, scenario.act)
    both = world.effects.struck is not None
    world.effects.disarm()
    payload = payload_of(world)
    if pair.second is not None:
        world.effects.arm(pair.second, pair.second_fault)
    rang = time_passes(world, pair.callbacks, KEY, payload=payload)
    both &= world.effects.struck is not None
    world.effects.disarm()
    rang |= time_passes(world, pair.callbacks, KEY, payload=payload)
    judge_at_rest(world, rang=rang, lost_places=2)
    return both


def effects_of(name: str) -> int:
    """How many effects the scenario has when nothing goes wrong."""
    scenario, world = SCENARIOS[name], StoryWorld()
    scenario.prepare(world)
    world.effects.names.clear()
    scenario.act(world)
    return len(world.effects.names)


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_whatever_one_thing_goes_wrong_the_promises_hold(name: str, figures: Figures) -> None:
    """Every effect in every way, whatever the provider's callbacks do: none is left out as making no difference."""
    points = [
        Pair(point, fault, None, fault, callbacks)
        for point in range(effects_of(name))
        for fault in Fault
        for callbacks in EVERY_WAY
    ]
    for point in points:
        try:
            assert play(name, point)
        except AssertionError as error:
            error.add_note(str(point))
            raise
    figures.add("kill points, one at a time, with every way of calling back", len(points))


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_whatever_two_things_go_wrong_the_promises_hold(name: str, figures: Figures) -> None:
    rng, points, seen = random.Random(name), effects_of(name), set()  # noqa: S311 - the same sample each time
    faults = list(Fault)
    for _ in range(SAMPLE * figures.campaign):
        pair = Pair(
            rng.randrange(points), rng.choice(faults), rng.randrange(REACH), rng.choice(faults), rng.choice(EVERY_WAY)
        )
        try:
            struck = play(name, pair)
        except AssertionError as error:
            error.add_note(str(pair))
            raise
        if struck:
            seen.add(pair)
    assert len(seen) > SAMPLE // 10, "the second fault hardly ever strikes"
    figures.add("pairs of faults", len(seen))
