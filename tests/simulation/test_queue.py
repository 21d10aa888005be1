"""The queue in front of a provider that runs five tasks at once, in simulated time."""

from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.http_provider import CreateBehaviour, HttpProvider
from tests.simulation.provider import CreateCall
from tests.simulation.scenarios import HttpSimulation, calls_back
from vidu_relay.domain.states import Status
from vidu_relay.outbound.exchange import Reply

SLOTS = 5


class Crowded(HttpProvider):
    """Answers 429 while it runs five tasks; each takes a minute, more or less."""

    def running(self) -> list[str]:
        return [name for name, shown in self.remote.items() if shown.state in ("pending", "processing")]

    def over(self) -> list[str]:
        """What is to be finished by now."""
        return [
            name
            for name in self.running()
            if self._clock() >= (self.remote[name].created_at or 0) + 50_000 + 7_000 * int(name[4:]) % 20_000
        ]

    def _take(self, call: CreateCall) -> Reply:
        if len(self.running()) >= SLOTS:
            self.behaviours.insert(0, CreateBehaviour.THROTTLED)
        return super()._take(call)


@dataclass
class Crowd:
    """A relay and its clients, second by second."""

    sim: HttpSimulation = field(default_factory=lambda: HttpSimulation(Crowded))
    busy: list[int] = field(default_factory=list)
    """How many tasks the provider ran in each second in which others waited."""

    @property
    def waiting(self) -> list[str]:
        return [pk.removeprefix("task#") for pk, image in self.sim._images.items() if "waits_at" in image]

    def passes(self, seconds: int) -> None:
        """Callbacks come at once, sweeps each minute."""
        for _ in range(seconds):
            self.sim.clock.advance(1)
            provider = self.sim.provider
            assert isinstance(provider, Crowded)
            for name in provider.over():
                provider.finish(name)
                calls_back(self.sim, name)
            if self.sim.clock() % 60_000 == 0:
                self.sim.sweep()
            self.sim.work()
            if self.waiting:
                self.busy.append(len(provider.running()))


def test_two_tenants_share_a_busy_provider() -> None:
    """300 tasks and 20 tasks, sent at once to a provider of five slots."""
    crowd = Crowd()
    sim, begins = crowd.sim, crowd.sim.clock()
    for tenant, tasks in (("big", 300), ("small", 20)):
        for number in range(tasks):
            sim.submit(key=f"{tenant}-{number}", tenant=tenant)
    last: dict[str, float] = {}
    while crowd.waiting:
        for tenant in {sim.task(task_id).tenant_id for task_id in crowd.waiting}:
            last[tenant] = (sim.clock() - begins) / 1000
        crowd.passes(10)
    outcomes = Counter(outcome for _, outcome in sim.provider.outcomes)
    assert outcomes["created"] == len({task_id for task_id, outcome in sim.provider.outcomes if outcome == "created"})
    assert outcomes["created"] == 320
    assert outcomes["nothing"] / 320 <= 0.1
    assert sum(crowd.busy) / (SLOTS * len(crowd.busy)) >= 0.95
    share = 20 * 60 / (SLOTS / 2)
    assert last["small"] <= 2 * share
    crowd.passes(300)
    sim.run()
    assert Counter(sim.task(sim.task_id(f"small-{n}", "small")).status for n in range(20)) == {Status.COMPLETED: 20}
