"""Clients who want more than a provider runs at once, second by second; and what must hold of its queue."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from local.chaos.oracle import Invariant, ViolationError
from tests.simulation.http_provider import CreateBehaviour, HttpProvider
from tests.simulation.provider import CreateCall
from tests.simulation.scenarios import HttpSimulation, calls_back
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Origin
from vidu_relay.outbound.exchange import Reply
from vidu_relay.usecases.submit_task import queue_task

SLOTS = 5
TASK_SECONDS = 60
"""How long the provider works on a task, about."""
REFUSED = "what is always refused"


class Crowded(HttpProvider):
    """Answers 429 while it runs as many tasks as it has slots, and to one prompt always; tasks take about a minute."""

    slots = SLOTS

    def running(self) -> list[str]:
        return [name for name, shown in self.remote.items() if shown.state in ("pending", "processing")]

    def over(self) -> list[str]:
        """What is to be finished by now."""
        now = self._clock()
        return [name for name in self.running() if now >= (self.remote[name].created_at or 0) + 50_000 + _spread(name)]

    def _take(self, call: CreateCall) -> Reply:
        if len(self.running()) >= self.slots or call.params["prompt"] == REFUSED:
            self.behaviours.insert(0, CreateBehaviour.THROTTLED)
        return super()._take(call)


def _spread(name: str) -> int:
    return 7_000 * int(name.removeprefix("gen-")) % 20_000


@dataclass
class Crowd:
    """A relay and its clients. The index of what waits shows the table as it was a second ago."""

    sim: HttpSimulation = field(default_factory=lambda: HttpSimulation(Crowded))
    busy: list[int] = field(default_factory=list)
    """How many tasks the provider ran in each second in which others waited."""
    last_waited: dict[str, float] = field(default_factory=dict)
    """Until which second each tenant had a task that waits."""
    seconds: int = 0
    numbers: Any = field(default_factory=count)

    def __post_init__(self) -> None:
        table = self.sim.account.clients["dynamodb"]
        self.shown, query = dict(table.items), table.query

        def lagging(**arguments: Any) -> Any:
            if arguments["IndexName"] != "waiting":
                return query(**arguments)
            now, table.items = table.items, self.shown
            try:
                return query(**arguments)
            finally:
                table.items = now

        table.query = lagging

    @property
    def waiting(self) -> dict[str, str]:
        """The tasks that wait, and their tenants."""
        images = self.sim._images.items()
        return {pk.removeprefix("task#"): image["owner"]["S"] for pk, image in images if "waits_at" in image}

    def submits(self, tenant: str, tasks: int, **fields: Any) -> list[str]:
        submitted = [
            self.sim.submit(key=f"{tenant}-{next(self.numbers)}", tenant=tenant, **fields) for _ in range(tasks)
        ]
        return [task.task_id for task in submitted]

    def queues(self, tenant: str, tasks: int) -> list[str]:
        """A group of tasks is recorded in the queue, each by a message that is received twice."""
        self.sim.tenants.create_tenant(tenant, 1)
        request = self.sim.request()
        origins = [Origin(tenant, 1000, f"{tenant}-{next(self.numbers)}", "s3", "message") for _ in range(tasks)]
        recorded = [queue_task(request, origin, self.sim.acceptance) for origin in origins]
        assert recorded == [queue_task(request, origin, self.sim.acceptance) for origin in origins]
        return [task.task_id for task in recorded]

    def passes(self, seconds: int) -> None:
        """Callbacks come at once, sweeps each minute."""
        provider = self.sim.provider
        assert isinstance(provider, Crowded)
        for _ in range(seconds):
            self.shown = dict(self.sim.account.clients["dynamodb"].items)
            self.sim.clock.advance(1)
            self.seconds += 1
            for name in provider.over():
                provider.finish(name)
                calls_back(self.sim, name)
            if self.sim.clock() % 60_000 == 0:
                self.sim.sweep()
            self.sim.work()
            if waiting := self.waiting:
                self.busy.append(len(provider.running()))
                self.last_waited.update(dict.fromkeys(waiting.values(), self.seconds))

    def until(self, done: Callable[[], bool], limit: int) -> None:
        while not done():
            _hold(self.seconds < limit, Invariant.SLOTS, f"{len(self.waiting)} tasks still wait after {limit} s")
            self.passes(1)

    def check(self) -> None:
        """Raises `ViolationError`."""
        created = Counter(task_id for task_id, outcome in self.sim.provider.outcomes if outcome == "created")
        _hold(max(created.values()) == 1, Invariant.BILLED_ONCE, f"{created.most_common(1)}")
        _check_turns([record["dynamodb"]["NewImage"] for record in self.sim.stream])
        refused = len(self.sim.provider.outcomes) - len(created)
        _hold(refused <= 3 + len(created) / 20, Invariant.SLOTS, f"{refused} refusals of {len(created)} tasks")
        busy = sum(self.busy) / (SLOTS * max(1, len(self.busy)))
        _hold(busy >= 0.9, Invariant.SLOTS, f"slots are used for {busy:.0%} of the time in which others wait")


@dataclass(frozen=True)
class Turns:
    """How a queue served two tenants: shares of 1, and numbers for each task."""

    creates: float
    refusals: float
    dispatches: float
    busy: float
    waited: float
    """How long the small tenant's last task waited, divided by what half of the slots need for all of its tasks."""


def serve_two_tenants(big: int = 300, small: int = 20) -> Turns:
    """So many tasks of two tenants, sent at once: until all are completed, each by one create call."""
    crowd = Crowd()
    tasks = crowd.submits("big", big) + crowd.submits("small", small)
    crowd.until(lambda: not crowd.waiting, 15 * (big + small))
    dispatches = crowd.sim.effects.names.count("dynamodb.batch_get_item")
    crowd.check()
    crowd.passes(100)
    unfinished = [task_id for task_id in tasks if crowd.sim.task(task_id).status is not Status.COMPLETED]
    _hold(not unfinished, Invariant.SETTLED, f"{unfinished} are not completed")
    outcomes = Counter(outcome for _, outcome in crowd.sim.provider.outcomes)
    return Turns(
        creates=outcomes["created"] / len(tasks),
        refusals=outcomes["nothing"] / len(tasks),
        dispatches=dispatches / len(tasks),
        busy=sum(crowd.busy) / (SLOTS * len(crowd.busy)),
        waited=crowd.last_waited["small"] / (small * TASK_SECONDS / (SLOTS / 2)),
    )


def _hold(holds: bool, invariant: Invariant, what: str) -> None:
    if not holds:
        raise ViolationError(invariant, what)


def _check_turns(images: Iterable[Any]) -> None:
    """Replays the stream: who waited when a task was let go on, or submitted without having waited."""
    waiting: dict[str, tuple[str, int, int]] = {}
    admitted: set[str] = set()
    last = ""
    for image in images:
        task_id, tenant = image["pk"]["S"], image["owner"]["S"]
        waited = waiting.pop(task_id, None)
        if "waits_at" in image:
            order = (-int(image.get("priority", {"N": "0"})["N"]), int(image["created_at"]["N"]))
            waiting[task_id] = (tenant, *order)
        elif waited and image["status"]["S"] == "accepted":
            rivals = [other for other in waiting.values() if other[0] == tenant]
            _hold(min([waited, *rivals]) == waited, Invariant.TURNS, f"{task_id} went before an earlier one")
            alone = all(other[0] == tenant for other in waiting.values())
            _hold(alone or tenant != last, Invariant.TURNS, f"{tenant} was served twice while another tenant waited")
            admitted.add(task_id)
            last = tenant
        elif image["status"]["S"] == "submitting":
            _hold(not waiting or task_id in admitted, Invariant.TURNS, f"{task_id} did not wait for its turn")
