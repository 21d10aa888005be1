"""Slow servers cost their own tenant's time: two workers and a queue in simulated time."""

import heapq
import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from statistics import mean
from typing import Any, NamedTuple

import pytest

from tests.simulation.memory_account import memory_account
from tests.simulation.notifications import MessageQueue
from tests.simulation.provider import SimulatedWebhook
from tests.simulation.simulation import Simulation
from tests.unit.template import properties
from vidu_relay.adapters.client_webhook import origin_of
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases.notify_client import notify_client

WORKERS = properties("NotifyClientSource")["ScalingConfig"]["MaximumConcurrency"]
HANDLING_SECONDS = 0.1
"""What a worker needs for one message besides the call of the client."""
SLOW_SECONDS = 9
PERIOD_SECONDS = 20
"""How often the other tenant's task changes."""


class Workers:
    """Threads in simulated time: one runs at a time, until it sleeps; then the one whose sleep ends first."""

    def __init__(self, clock: Callable[[int], None], now: int) -> None:
        self._set_clock = clock
        self.now = now
        self._asleep: list[tuple[int, int, threading.Event]] = []
        self._number = count()
        self._idle = threading.Event()

    def sleep(self, seconds: float) -> None:
        awake = threading.Event()
        heapq.heappush(self._asleep, (self.now + max(1, round(seconds * 1000)), next(self._number), awake))
        self._idle.set()
        awake.wait()

    def run(self, work: Callable[[], object], workers: int) -> None:
        """Until every worker's work has returned."""
        threads = [threading.Thread(target=self._worker, args=(work,), daemon=True) for _ in range(workers)]
        for thread in threads:
            self._wait_for(thread.start)
        while self._asleep:
            self.now, _, awake = heapq.heappop(self._asleep)
            self._set_clock(self.now)
            self._wait_for(awake.set)

    def _worker(self, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            self._idle.set()

    def _wait_for(self, begin: Callable[[], None]) -> None:
        self._idle.clear()
        begin()
        assert self._idle.wait(20), "a worker neither sleeps nor ends"


class Delays(NamedTuple):
    """From a change to its answer in seconds: of another tenant, of a quick server of the same; slow calls made."""

    others: list[float]
    neighbours: list[float]
    slow_calls: int


def simulate(*, messages: int, origins: int, minutes: int) -> Delays:
    """A tenant sends so many messages to slow origins at once; another one, and a quick origin of the first, go on."""
    sim = Simulation(memory_account())
    began = sim.clock.now
    webhook = SimulatedWebhook(sim.effects)
    slow = [f"https://slow-{n}.example.com" for n in range(origins)]
    webhook.seconds = dict.fromkeys(slow, SLOW_SECONDS) | {
        "https://quick.example.com": 0.3,
        "https://other.example.com": 0.3,
    }
    queue = MessageQueue(sim.effects, sim.clock)
    chance = deque(n / 97 for n in range(97))  # the same in every run

    def jitter() -> float:
        chance.rotate(-31)
        return chance[0]

    dependencies = replace(sim.notification, webhook=webhook, queue=queue, jitter=jitter)
    tasks = {
        "slow": [task_of(sim, f"slow-{n}", "acme", slow[n % origins]) for n in range(messages)],
        "other": [task_of(sim, f"o-{n}", "other", "https://other.example.com") for n in range(3 * minutes)],
        "quick": [task_of(sim, f"q-{n}", "acme", "https://quick.example.com") for n in range(3 * minutes)],
    }
    for task in tasks["slow"]:
        queue.put(message_of(task), began)
    for kind in ("other", "quick"):
        for number, task in enumerate(tasks[kind]):
            queue.put(message_of(task), began + 1000 * PERIOD_SECONDS * number + (500 if kind == "quick" else 0))
    sent = {json.loads(message.body)["task_id"]: message.sent_at for message in queue.messages}
    delays: dict[str, float] = {}
    end = began + minutes * 60_000

    def work() -> None:
        while sim.clock.now < end:
            message = queue.first()
            if message is None or message.visible_at > sim.clock.now:
                upcoming = message.visible_at if message else end
                workers.sleep((min(upcoming, end) - sim.clock.now) / 1000)
                continue
            received = queue.receive(message)
            workers.sleep(HANDLING_SECONDS)
            if notify_client(received, dependencies):
                queue.done(message)
                task_id = json.loads(message.body)["task_id"]
                delays[task_id] = (sim.clock.now - sent[task_id]) / 1000

    def set_clock(now: int) -> None:
        sim.clock.now = now

    workers = Workers(set_clock, began)
    webhook.sleep = workers.sleep
    workers.run(work, WORKERS)
    late = float(minutes * 60)
    late_by = [[delays.get(task.task_id, late) for task in tasks[kind]] for kind in ("other", "quick")]
    slow_calls = sum(origin_of(url) in slow for url, _, _ in webhook.received)
    return Delays(late_by[0][:-3], late_by[1][:-3], slow_calls)


def message_of(task: Task) -> str:
    return json.dumps({"task_id": task.task_id, "version": task.version})


def task_of(sim: Simulation, key: str, tenant: str, url: str) -> Task:
    """A task of a client with that address, which has failed."""
    task = sim.submit(key=key, tenant=tenant, callback_url=f"{url}/")
    entry = replace(task.history[0], status=Status.FAILED)
    failed = replace(task, status=Status.FAILED, version=task.version + 1, history=(*task.history, entry))
    return sim.store.save(failed)


CASES: dict[str, Any] = {
    "one origin, 15 messages": {"messages": 15, "origins": 1, "minutes": 15},
    "one origin, 200 messages": {"messages": 200, "origins": 1, "minutes": 60},
    "15 origins, 150 messages": {"messages": 150, "origins": 15, "minutes": 30},
    "a new origin for each of 200 messages": {"messages": 200, "origins": 200, "minutes": 30},
}


@pytest.mark.parametrize("case", CASES)
def test_another_tenants_webhooks_wait_for_no_slow_server(case: str) -> None:
    result = simulate(**CASES[case])
    assert max(result.others) <= 30  # the first calls, before anybody knows, and 200 messages that are put back
    assert mean(result.others) <= 2
    # a ration is no ban: a fifth of one worker's time at least is the slow tenant's, while it has messages
    assert result.slow_calls >= min(CASES[case]["messages"], 0.15 * CASES[case]["minutes"] * 60 / SLOW_SECONDS)


def test_quick_server_of_the_same_tenant_does_not_wait_for_its_one_slow_server() -> None:
    assert max(simulate(**CASES["one origin, 200 messages"]).neighbours) <= 30
