"""The processes of a history: each runs up to any effect, goes on, fails or dies, while the clock jumps."""

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.simulation.effects import Fault
from tests.simulation.http_provider import HttpProvider
from tests.simulation.provider import NOON
from tests.simulation.scenarios import HttpSimulation
from tests.simulation.scheduler import Actor, Scheduler

HORIZON_MS = 48 * 3_600_000
"""Later than that no clock jumps, so that a video made at the end still comes before late polling ends."""
LIMIT_MS = 60_000
"""A function has ended by then, or Lambda ends it; a delivery has five minutes."""
NUMBER = st.integers(0, 7)
WAITS = st.sampled_from([1, 20, 59, 61, 125, 500, 3_700, 7_300, 40_000])

Rule = TypeVar("Rule", bound=Callable[..., Any])


def when(condition: Callable[[Any], Any]) -> Callable[[Rule], Rule]:
    """A rule applies only then."""
    return precondition(lambda history: bool(condition(history)))


class Processes(RuleBasedStateMachine):
    """One history's. `explored` counts what all histories did."""

    explored: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[Actor] = []
        self.publisher: Actor | None = None
        self.asked: dict[str, str | None] = {}
        self.faults = 0
        self.keys = 1
        self.misled = False
        self.use(HttpProvider)

    def use(self, provider: type[HttpProvider]) -> None:
        self.sim = HttpSimulation(provider)
        self.scheduler = Scheduler(self.sim.effects)

    def begin(self, name: str, run: Callable[[], object]) -> Actor:
        actor = self.scheduler.spawn(Actor(name, run, self.sim.clock()))
        self.alive.append(actor)
        self.explored["processes"] += 1
        self.clean_up()
        return actor

    def clean_up(self) -> None:
        for actor in [actor for actor in self.alive if actor.ended]:
            self.alive.remove(actor)
            if isinstance(actor.error, AssertionError | NotImplementedError):
                raise actor.error
        if self.publisher and self.publisher.ended:
            self.publisher = None

    def nth_alive(self, number: int) -> Actor:
        return self.alive[number % len(self.alive)]

    @when(lambda self: self.alive)
    @rule(number=NUMBER, steps=st.integers(1, 5))
    def process_goes_on(self, number: int, steps: int) -> None:
        actor = self.nth_alive(number)
        for _ in range(steps):
            if not actor.ended:
                self.scheduler.step(actor)
                self.explored["effects, one by one"] += 1
        self.clean_up()

    @when(lambda self: len(self.alive) > 1)
    @rule(turns=st.lists(st.tuples(NUMBER, st.integers(1, 3)), min_size=2, max_size=8))
    def processes_take_turns(self, turns: list[tuple[int, int]]) -> None:
        for number, steps in turns:
            if self.alive:
                self.process_goes_on(number, steps)

    @when(lambda self: self.alive)
    @rule(number=NUMBER)
    def process_ends(self, number: int) -> None:
        self.scheduler.finish(self.nth_alive(number))
        self.clean_up()

    # Faults and time

    @when(lambda self: self.alive)
    @rule(number=NUMBER, steps=st.integers(0, 4), fault=st.sampled_from(Fault))
    def effect_goes_wrong(self, number: int, steps: int, fault: Fault) -> None:
        actor = self.nth_alive(number)
        actor.faults[actor.steps + steps] = fault
        self.faults += 1
        self.explored["faults armed"] += 1

    @when(lambda self: self.alive)
    @rule(number=NUMBER)
    def process_dies(self, number: int) -> None:
        self.faults += 1
        self.explored["processes killed"] += 1
        self.scheduler.kill(self.nth_alive(number))
        self.clean_up()

    @when(lambda self: self.sim.clock() < NOON + HORIZON_MS)
    @rule(seconds=WAITS)
    def clock_jumps(self, seconds: int) -> None:
        self.sim.clock.advance(seconds)
        for actor in list(self.alive):
            limit = 5 * LIMIT_MS if actor.name == "delivery" else LIMIT_MS
            if self.sim.clock() - actor.started_at > limit:
                self.faults += 1
                self.scheduler.kill(actor)
        self.clean_up()

    @when(lambda self: self.publisher is None and self.sim.clock() < NOON + HORIZON_MS)
    @rule(seconds=WAITS)
    def all_goes_well_for_a_while(self, seconds: int) -> None:
        self.finish_all()
        self.sim.run(until=self.sim.clock() + seconds * 1000)

    def finish_all(self) -> None:
        for actor in list(self.alive):
            self.scheduler.finish(actor)
        self.clean_up()
