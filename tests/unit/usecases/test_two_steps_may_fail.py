"""One fault in a story, everywhere; and two, the second in what follows: redelivery, sweep, check or late callback."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.unit.usecases.effects import Fault
from tests.unit.usecases.figures import Figures
from tests.unit.usecases.model import judge_at_rest
from tests.unit.usecases.spoken import SpokenProvider, SpokenVidu
from tests.unit.usecases.stories import StoryWorld, time_passes
from tests.unit.usecases.test_any_step_may_fail import EVERY_WAY, SCENARIOS, Scenario, doors_open, strike
from tests.unit.usecases.world import World
from vidu_relay.domain.intake import DroppedFile, RequestEvent

pytestmark = pytest.mark.usefixtures("explorable")

SAMPLE = 60
"""Pairs of one scenario."""

REACH = 25
"""How many effects after the first fault the second one strikes at the latest."""


ADOPTIONS = ("callback adopts", "check adopts by a hint", "check looks before it submits")


def by_queue(
    ask: Callable[[World], DroppedFile | RequestEvent], *, refused: bool = False, twice: bool = False
) -> Scenario:
    """A request through its queue, which hands it over until it is done with, or once more than that."""

    def receive(world: World) -> None:
        world.receive(world.send(ask(world), refused=refused))

    return Scenario(doors_open, receive, 1, again=lambda world: world.receive(world.sent[-1]) if twice else None)


def asked_before_otherwise(world: World) -> RequestEvent:
    """The key has been used over HTTP, for another request."""
    asked = world.event(idempotency_key="order-1")
    world.submit(prompt="a dog at sea")
    return asked


QUEUED = {
    "file by its queue": by_queue(lambda w: w.drop()),
    "event by its queue": by_queue(lambda w: w.event(), twice=True),
    "event with a key by its queue": by_queue(lambda w: w.event(idempotency_key="order-1")),
    "file that is refused": by_queue(lambda w: w.drop(b"{"), refused=True),
    "event that is refused": by_queue(lambda w: w.event(detail={"request": 1}), refused=True),
    "event of nobody": by_queue(lambda w: w.event(source="nobody"), refused=True, twice=True),
    "event whose key is another request's": by_queue(asked_before_otherwise, refused=True),
}
STORIES: dict[str, tuple[Scenario, type[SpokenProvider]]] = {
    **{name: (story, SpokenVidu if name.startswith("cancel") else SpokenProvider) for name, story in SCENARIOS.items()},
    **{f"{name}, by its mark": (SCENARIOS[name], SpokenVidu) for name in ADOPTIONS},
    **{name: (story, SpokenProvider) for name, story in QUEUED.items()},
}


@dataclass(frozen=True)
class Pair:
    """Where both faults strike: counted from the begin of the scenario's act, and from its end."""

    first: int
    first_fault: Fault
    second: int | None
    second_fault: Fault
    callbacks: str


def begun(name: str) -> tuple[Scenario, StoryWorld]:
    """The story up to its act."""
    scenario, provider = STORIES[name]
    world = StoryWorld(provider=provider)
    scenario.prepare(world)
    return scenario, world


def play(name: str, pair: Pair) -> bool:
    """One story, to its end and judged; whether both faults struck."""
    scenario, world = begun(name)
    world.effects.arm(pair.first, pair.first_fault)
    strike(world, scenario.act)
    both = world.effects.struck is not None
    world.effects.disarm()
    if pair.second is not None:
        world.effects.arm(pair.second, pair.second_fault)
    rang = time_passes(world, pair.callbacks, again=scenario.again)
    both &= world.effects.struck is not None
    world.effects.disarm()
    rang |= time_passes(world, pair.callbacks, again=scenario.again)
    judge_at_rest(world, rang=rang, lost_places=2)
    return both


def effects_of(name: str) -> int:
    """How many effects the scenario has when nothing goes wrong."""
    scenario, world = begun(name)
    world.effects.names.clear()
    scenario.act(world)
    return len(world.effects.names)


@pytest.mark.parametrize("name", list(STORIES))
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


@pytest.mark.parametrize("name", list(STORIES))
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
    assert len(seen) > SAMPLE // 20, "the second fault hardly ever strikes"
    figures.add("pairs of faults", len(seen))
