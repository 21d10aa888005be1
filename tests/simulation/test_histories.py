"""Hypothesis plays clients, provider, AWS and fate against the relay, and the judge watches.

Processes are started, held up before any effect, injected and killed; messages and records come twice and out of
order; the clock jumps. What must always hold is judged after each step; then time passes, and the rest is judged.
"""

import json
from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.simulation.effects import Fault
from tests.simulation.extent import Extent, Statistics
from tests.simulation.http_provider import CancelBehaviour, CreateBehaviour, HttpVidu
from tests.simulation.invariants import check_at_rest, check_invariants
from tests.simulation.notifications import BackendBehaviour
from tests.simulation.provider import NOON
from tests.simulation.scenarios import HttpSimulation, submit_as, time_passes
from tests.simulation.scheduler import Actor, Scheduler
from tests.simulation.simulation import EVENT_SOURCE
from vidu_relay.domain.errors import CallbackRefusedError, DeliveryInterruptedError
from vidu_relay.domain.intake import DroppedFile, RequestEvent
from vidu_relay.domain.snapshot import ProgressState, TaskError

STEPS = 50

KEYS = ("order-1", "order-2")
DOORS = ("http", "http", "event", "file")
HORIZON_MS = 48 * 3_600_000
"""Later than that no clock jumps, so that a video made at the end still comes before the late watch ends."""

LIMIT_MS = 60_000
"""A function has ended by then, or Lambda ends it; a delivery has five minutes."""

FAULTS = st.sampled_from(Fault)
NUMBER = st.integers(0, 7)
WAITS = st.sampled_from([1, 20, 59, 61, 125, 500, 3_700, 7_300, 40_000])
SILENCES = {
    "processing": ProgressState.PROCESSING,
    "a word nobody knows": ProgressState.UNKNOWN,
    "completed, without a video": ProgressState.SUCCEEDED,
}
SAYINGS = st.sampled_from([*SILENCES, "008017096", "008017097", "008017098", "done", "done", "done", "failed"])
CHATTER = st.sampled_from(["truth", "truth", "claims the end", "nothing", "ghost", "bell"])


class History(RuleBasedStateMachine):
    """One history. `explored` counts what all of them did."""

    explored: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.sim = HttpSimulation()
        self.scheduler = Scheduler(self.sim.effects)
        self.alive: list[Actor] = []
        self.publisher: Actor | None = None
        self.asked: dict[str, str | None] = {}
        self.faults = 0
        self.keys = 1
        self.misled = False

    # ------------------------------------------------------------------------------------------ processes

    def begin(self, name: str, run: Any) -> Actor:
        actor = self.scheduler.spawn(Actor(name, run, self.sim.clock()))
        self.alive.append(actor)
        self.explored["processes"] += 1
        self.bury()
        return actor

    def bury(self) -> None:
        for actor in [actor for actor in self.alive if actor.ended]:
            self.alive.remove(actor)
            if isinstance(actor.error, AssertionError | NotImplementedError):
                raise actor.error
        if self.publisher and self.publisher.ended:
            self.publisher = None

    @initialize(
        large=st.booleans(),
        steps=st.integers(0, 12),
        behaviour=st.one_of(st.none(), st.sampled_from(CreateBehaviour)),
        vidu=st.booleans(),
        door=st.sampled_from(DOORS),
        hooked=st.booleans(),
    )
    def history_begins(
        self, large: bool, steps: int, behaviour: CreateBehaviour | None, vidu: bool, door: str, hooked: bool
    ) -> None:
        """With a request, in the middle of its work or done with it."""
        if vidu:
            self.sim = HttpSimulation(provider=HttpVidu)
            self.scheduler = Scheduler(self.sim.effects)
        self.sim.hooked = hooked
        self.sim.map_source()
        self.sim.provider.behaviours = [behaviour] if behaviour else []
        if door == "http":
            self.client_submits(KEYS[0], large)
        elif door == "event":
            self.sender_puts_an_event(KEYS[0], large)
        else:
            self.sender_drops_a_file(0)
        if door != "http":
            self.queue_hands_a_request_over(0)
        self.go_on(0, steps)
        self.bury()

    @rule(key=st.sampled_from(KEYS), large=st.booleans())
    def client_submits(self, key: str, large: bool) -> None:
        payload = self.asked.setdefault(key, "p" * 2000 if large else None)
        self.begin(f"submit {key}", lambda: self.sim.submit(key=key, payload=payload))

    @rule(key=st.sampled_from([*KEYS, None]), large=st.booleans())
    def sender_puts_an_event(self, key: str | None, large: bool) -> None:
        """Under a key that HTTP may have used for the same, or under its own id."""
        payload = self.asked.setdefault(key, "p" * 2000 if large else None) if key else None
        more = {"idempotency_key": key} if key else {}
        detail = {"request": self.sim.body(payload=payload, **self.sim.hook()), **more}
        self.sim.send(self.sim.event(f"event-{len(self.sim.sent)}", detail=detail))

    @rule(number=st.integers(0, 2))
    def sender_drops_a_file(self, number: int) -> None:
        """Of three contents under one name: what was dropped before gives the same task."""
        self.sim.send(self.sim.drop(prompt=f"cat {number}"))

    @rule(bad=st.sampled_from(["no request", "nobody", "nonsense", "another's key"]))
    def sender_asks_in_vain(self, bad: str) -> None:
        if bad == "nonsense":
            asked: DroppedFile | RequestEvent = self.sim.drop(b"{")
        elif bad == "another's key" and KEYS[0] in self.known():
            asked = self.sim.event(f"event-{len(self.sim.sent)}", idempotency_key=KEYS[0])
            asked.detail["request"]["prompt"] = "something else"
        else:
            source = "nobody" if bad == "nobody" else EVENT_SOURCE
            asked = self.sim.event(f"event-{len(self.sim.sent)}", source, detail={})
        self.sim.send(asked, refused=True)

    def known(self) -> list[str]:
        """The keys whose tasks are recorded."""
        return [key for key in KEYS if self.sim.item(f"task#{self.sim.task_id(key)}")]

    @precondition(lambda self: bool(self.sim.sent))
    @rule(number=NUMBER)
    def queue_hands_a_request_over(self, number: int) -> None:
        """Any message, one that was worked off, and the same one twice at a time as well."""
        message = self.sim.sent[-1 - number % len(self.sim.sent)]
        self.begin("request", lambda: self.sim.receive(message))

    @precondition(lambda self: bool(self.sim.stream))
    @rule(number=NUMBER)
    def client_cancels(self, number: int) -> None:
        task_ids = list(dict.fromkeys(record["dynamodb"]["NewImage"]["pk"]["S"] for record in self.sim.stream))
        task_id = task_ids[number % len(task_ids)].removeprefix("task#")
        self.begin(f"cancel {task_id}", lambda: self.sim.cancel(task_id))

    @precondition(lambda self: bool(self.sim.provider.remote))
    @rule(number=NUMBER, chatter=CHATTER)
    def provider_calls_back(self, number: int, chatter: str) -> None:
        remote_id = sorted(self.sim.provider.remote)[number % len(self.sim.provider.remote)]
        task_id, token, body = self.sim.provider.callback(remote_id)
        if chatter == "claims the end":
            body = {"id": remote_id, "state": "success"}
        elif chatter == "ghost":
            body = {"id": f"ghost-{number % 2}", "status": "completed"}
        elif chatter == "nothing":
            body = {"id": remote_id, "status": "processing"}
        raw = b"\xff{" if chatter == "bell" else json.dumps(body).encode()
        self.begin(f"callback of {remote_id}", lambda: self.sim.call_back(task_id, raw, token=token))

    @precondition(lambda self: len(set(self.sim.provider.made_for.values())) > 1)
    @rule()
    def provider_mixes_up_its_tasks(self) -> None:
        """A good token, and the id of a task that was made for another."""
        made = self.sim.provider.made_for
        first, *_, last = sorted(made)
        task_id, token, _ = self.sim.provider.callback(first)
        self.misled |= made[last] != task_id and not isinstance(self.sim.provider, HttpVidu)
        body = json.dumps({"id": last, "status": "completed"}).encode()
        self.begin("callback that names another's id", lambda: self.sim.call_back(task_id, body, token=token))

    @rule(key=st.sampled_from(KEYS), other=st.sampled_from(KEYS))
    def somebody_forges_a_callback(self, key: str, other: str) -> None:
        sim = self.sim
        token = sim.token(sim.task_id(other))
        token = token if other != key else token[:-1] + ("A" if token[-1] != "A" else "B")
        writes = len(sim.stream)
        with pytest.raises(CallbackRefusedError):
            sim.call_back(sim.task_id(key), {"id": "gen-1", "status": "completed"}, token=token)
        assert len(sim.stream) == writes

    @rule()
    def schedule_sweeps(self) -> None:
        self.begin("sweep", self.sim.sweep)

    @precondition(lambda self: any(e.wake_at <= self.sim.clock() for e in self.sim.running))
    @rule()
    def execution_checks(self) -> None:
        execution = next(e for e in self.sim.running if e.wake_at <= self.sim.clock())
        self.sim.running.remove(execution)
        self.begin(f"check of lease {execution.lease}", lambda: self.sim.step(execution))

    @precondition(lambda self: bool(self.sim.deliveries))
    @rule(number=NUMBER)
    def queue_delivers(self, number: int) -> None:
        """Any message, the same one twice at a time as well."""
        message = self.sim.deliveries[number % len(self.sim.deliveries)]
        self.begin("delivery", lambda: self.sim.receive_delivery(message))

    @precondition(lambda self: self.publisher is None and self.sim.position < len(self.sim.stream))
    @rule(at_most=st.integers(1, 4))
    def stream_hands_over(self, at_most: int) -> None:
        self.publisher = self.begin("publisher", lambda: self.sim.publish(at_most))
        self.bury()

    @precondition(lambda self: self.publisher is None and self.sim.position > 0)
    @rule(back=st.integers(1, 4))
    def stream_hands_over_again(self, back: int) -> None:
        self.sim.position = max(0, self.sim.position - back)

    @precondition(lambda self: bool(self.alive))
    @rule(number=NUMBER, steps=st.integers(1, 5))
    def process_goes_on(self, number: int, steps: int) -> None:
        self.go_on(number, steps)

    @precondition(lambda self: len(self.alive) > 1)
    @rule(turns=st.lists(st.tuples(NUMBER, st.integers(1, 3)), min_size=2, max_size=8))
    def processes_take_turns(self, turns: list[tuple[int, int]]) -> None:
        for number, steps in turns:
            if self.alive:
                self.go_on(number, steps)

    def go_on(self, number: int, steps: int) -> None:
        actor = self.alive[number % len(self.alive)] if self.alive else None
        for _ in range(steps):
            if actor and not actor.ended:
                self.scheduler.step(actor)
                self.explored["effects, one by one"] += 1
        self.bury()

    @precondition(lambda self: bool(self.alive))
    @rule(number=NUMBER)
    def process_ends(self, number: int) -> None:
        self.scheduler.finish(self.alive[number % len(self.alive)])
        self.bury()

    @precondition(lambda self: self.sim.hooked and self.publisher is None and len(self.sim.stream) > 2)
    @rule(number=NUMBER, behaviour=st.sampled_from(BackendBehaviour))
    def queue_hands_a_notification_over(self, number: int, behaviour: BackendBehaviour) -> None:
        """Any of them, at any moment, once what there is to tell is on the bus: it may be being worked on."""
        self.sim.survive(self.sim.publish)
        notices = self.sim.notifications.messages
        if not notices:
            return
        self.sim.backend.behaviours.append(behaviour)
        notice = notices[number % len(notices)]
        self.explored["notifications handed over"] += 1
        self.begin("notification", lambda: self.sim.notify(notice))

    # ------------------------------------------------------------------------------------------------ fate

    @precondition(lambda self: bool(self.alive))
    @rule(number=NUMBER, steps=st.integers(0, 4), fault=FAULTS)
    def effect_goes_wrong(self, number: int, steps: int, fault: Fault) -> None:
        actor = self.alive[number % len(self.alive)]
        actor.faults[actor.steps + steps] = fault
        self.faults += 1
        self.explored["faults armed"] += 1

    @precondition(lambda self: bool(self.alive))
    @rule(number=NUMBER)
    def process_dies(self, number: int) -> None:
        self.faults += 1
        self.explored["processes killed"] += 1
        self.scheduler.kill(self.alive[number % len(self.alive)])
        self.bury()

    @precondition(lambda self: self.sim.clock() < NOON + HORIZON_MS)
    @rule(seconds=WAITS)
    def clock_jumps(self, seconds: int) -> None:
        self.sim.clock.advance(seconds)
        for actor in list(self.alive):
            limit = 5 * LIMIT_MS if actor.name == "delivery" else LIMIT_MS
            if self.sim.clock() - actor.started_at > limit:
                self.faults += 1
                self.scheduler.kill(actor)
        self.bury()

    @precondition(lambda self: self.publisher is None and self.sim.clock() < NOON + HORIZON_MS)
    @rule(seconds=WAITS)
    def all_goes_well_for_a_while(self, seconds: int) -> None:
        for actor in list(self.alive):
            self.scheduler.finish(actor)
        self.bury()
        self.sim.run(until=self.sim.clock() + seconds * 1000)

    @precondition(lambda self: self.keys < 4 and len(self.sim.stream) > 3)
    @rule()
    def operator_rotates_the_callback_key(self) -> None:
        secrets = self.sim.account.clients["secretsmanager"]
        there = json.loads(secrets.get_secret_value(SecretId=self.sim.account.callback_secret)["SecretString"])
        self.keys += 1
        there |= {"active": f"k{self.keys}", f"k{self.keys}": f"another-callback-key-{self.keys:022d}"}
        secrets.put_secret_value(SecretId=self.sim.account.callback_secret, SecretString=json.dumps(there))
        # as the runbook has it: sign with the new key once every warm function has had time to learn it
        self.clock_jumps(61)

    # -------------------------------------------------------------------------------------------- provider

    def undecided(self) -> list[str]:
        return [
            remote_id
            for remote_id, snapshot in sorted(self.sim.provider.remote.items())
            if snapshot.state is not ProgressState.CANCELED
            and not (snapshot.video_urls if snapshot.state is ProgressState.SUCCEEDED else self.verdict(remote_id))
        ]

    def verdict(self, remote_id: str) -> bool:
        error = self.sim.provider.remote[remote_id].error
        return error is not None and not error.code.startswith("00801709")

    @precondition(lambda self: bool(self.undecided()))
    @rule(number=NUMBER, says=SAYINGS)
    def provider_says(self, number: int, says: str) -> None:
        """What it says is no end, contradicts itself, or is an end."""
        remote_id = self.undecided()[number % len(self.undecided())]
        self.sim.provider.show(remote_id, ProgressState.PROCESSING, error=None)
        if says in SILENCES:
            self.sim.provider.show(remote_id, SILENCES[says])
        elif says.startswith("0080") and isinstance(self.sim.provider, HttpVidu):
            pass  # the gateway's own codes: Vidu has none of them
        elif says.startswith("0080"):
            self.sim.provider.show(remote_id, ProgressState.FAILED, error=TaskError(says, "The gateway is unwell."))
        elif says == "failed":
            self.sim.provider.fail(remote_id)
        else:
            urls = [f"https://cdn.example.com/{remote_id}/{n}.mp4?Signature=a" for n in range(1 + number % 2)]
            self.sim.provider.finish(remote_id, *urls)

    @rule(
        behaviour=st.sampled_from(CreateBehaviour),
        cancel=st.one_of(st.none(), st.sampled_from(CancelBehaviour)),
        away=st.booleans(),
        known=st.booleans(),
        trouble=st.booleans(),
        backend=st.lists(st.sampled_from(BackendBehaviour), max_size=8),
    )
    def circumstances_change(
        self,
        behaviour: CreateBehaviour,
        cancel: CancelBehaviour | None,
        away: bool,
        known: bool,
        trouble: bool,
        backend: list[BackendBehaviour],
    ) -> None:
        """How the next create and cancel calls end, whether the provider can be read, what its video host is like, and
        how the client's backend answers."""
        self.sim.backend.behaviours = backend
        self.sim.provider.behaviours = [behaviour]
        self.sim.provider.cancel_behaviours = [cancel] if cancel else []
        self.sim.provider.unavailable = away
        self.sim.source.known_length = known
        self.sim.source.faults = [DeliveryInterruptedError("source_stalled", "No byte came.")] if trouble else []

    # ----------------------------------------------------------------------------------------------- judge

    @invariant()
    def the_promises_hold(self) -> None:
        underway = sum(actor.name.startswith(("submit", "request")) for actor in self.alive)
        check_invariants(self.sim, misled=self.misled, lost_slots=self.faults + underway)
        self.explored["steps"] += 1

    def teardown(self) -> None:
        for actor in list(self.alive):
            self.scheduler.finish(actor)
        self.bury()
        sim = self.sim
        sim.provider.unavailable, sim.provider.behaviours, sim.provider.cancel_behaviours = False, [], []
        for remote_id, snapshot in sim.provider.remote.items():
            if snapshot.error and not self.verdict(remote_id):
                sim.provider.show(remote_id, ProgressState.PROCESSING, error=None)
            if snapshot.state is ProgressState.SUCCEEDED and not snapshot.video_urls:
                sim.provider.show(remote_id, ProgressState.PROCESSING)
        for callbacks in ("never", "soon"):
            repeated = [submit_as(key, payload=payload) for key, payload in self.asked.items()]
            named = time_passes(sim, callbacks) | time_passes(sim, callbacks, *repeated)
            check_at_rest(sim, named=named, misled=self.misled, lost_slots=self.faults, dead_letters=self.faults >= 5)
        self.explored["calls of a client's backend"] += len(sim.backend.calls)
        self.explored["in all"] += 1


def test_whatever_the_history_the_invariants_hold(extent: Extent, statistics: Statistics) -> None:
    History.explored.clear()
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=extent.histories,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=not extent.all,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    for what, number in History.explored.items():
        statistics.add(f"histories: {what}", number)
