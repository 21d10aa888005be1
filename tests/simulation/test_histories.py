"""Hypothesis plays clients, provider, AWS and operator against the relay, and the invariants are checked at each step.

Processes are started, held up before any effect, made to fail and killed; messages and records come twice and out of
order; the clock jumps. At the end time passes until nothing is left to do.
"""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.simulation.extent import Extent, Statistics
from tests.simulation.history_processes import NUMBER, Processes, when
from tests.simulation.http_provider import CancelBehaviour, CreateBehaviour, HttpProvider, HttpVidu
from tests.simulation.invariants import check_at_rest, check_invariants
from tests.simulation.notifications import BackendBehaviour
from tests.simulation.scenarios import submit_as, time_passes
from tests.simulation.simulation import EVENT_SOURCE
from vidu_relay.domain.errors import CallbackRefusedError, DeliveryInterruptedError
from vidu_relay.domain.queued_requests import DroppedFile, RequestEvent
from vidu_relay.domain.snapshot import ProgressState, TaskError

STEPS = 50
KEYS = ("order-1", "order-2")
SILENCES = {
    "processing": ProgressState.PROCESSING,
    "an unknown state": ProgressState.UNKNOWN,
    "completed, without a video": ProgressState.SUCCEEDED,
}
SAYINGS = st.sampled_from([*SILENCES, "008017096", "008017097", "008017098", "done", "done", "done", "failed"])
BODIES = st.sampled_from(["true", "true", "reports the end", "processing", "unknown id", "no JSON"])


class History(Processes):
    """One history. `explored` counts what all of them did."""

    @initialize(
        large=st.booleans(),
        steps=st.integers(0, 12),
        behaviour=st.one_of(st.none(), st.sampled_from(CreateBehaviour)),
        vidu=st.booleans(),
        entry=st.sampled_from(("http", "http", "event", "file")),
        hooked=st.booleans(),
    )
    def history_begins(
        self, large: bool, steps: int, behaviour: CreateBehaviour | None, vidu: bool, entry: str, hooked: bool
    ) -> None:
        """With a request, in the middle of its work or done with it."""
        self.use(HttpVidu if vidu else HttpProvider)
        self.sim.hooked = hooked
        self.sim.map_source()
        self.sim.provider.behaviours = [behaviour] if behaviour else []
        if entry == "http":
            self.client_submits(KEYS[0], large)
        else:
            if entry == "event":
                self.sender_puts_an_event(KEYS[0], large)
            else:
                self.sender_drops_a_file(0)
            self.queue_hands_a_request_over(0)
        if self.alive:
            self.process_goes_on(0, steps)
        self.clean_up()

    @rule(key=st.sampled_from(KEYS), large=st.booleans())
    def client_submits(self, key: str, large: bool) -> None:
        payload = self.asked.setdefault(key, "p" * 2000 if large else None)
        self.begin("submit", lambda: self.sim.submit(key=key, payload=payload))

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

    @rule(bad=st.sampled_from(["no request", "unmapped", "no JSON", "another's key"]))
    def sender_asks_for_what_is_rejected(self, bad: str) -> None:
        event_id = f"event-{len(self.sim.sent)}"
        known = self.sim.item(f"task#{self.sim.task_id(KEYS[0])}")
        if bad == "no JSON":
            asked: DroppedFile | RequestEvent = self.sim.drop(b"{")
        elif bad == "another's key" and known:
            asked = self.sim.event(event_id, idempotency_key=KEYS[0])
            asked.detail["request"]["prompt"] = "something else"
        else:
            asked = self.sim.event(event_id, "unmapped" if bad == "unmapped" else EVENT_SOURCE, detail={})
        self.sim.send(asked, refused=True)

    @when(lambda self: self.sim.sent)
    @rule(number=NUMBER)
    def queue_hands_a_request_over(self, number: int) -> None:
        """Any message, one that is done, and the same one twice at a time as well."""
        message = self.sim.sent[-1 - number % len(self.sim.sent)]
        self.begin("request", lambda: self.sim.receive(message))

    @when(lambda self: self.sim.stream)
    @rule(number=NUMBER)
    def client_cancels(self, number: int) -> None:
        task_ids = list(dict.fromkeys(record["dynamodb"]["NewImage"]["pk"]["S"] for record in self.sim.stream))
        task_id = task_ids[number % len(task_ids)].removeprefix("task#")
        self.begin("cancel", lambda: self.sim.cancel(task_id))

    @when(lambda self: self.sim.provider.remote)
    @rule(number=NUMBER, kind=BODIES)
    def provider_calls_back(self, number: int, kind: str) -> None:
        remote_id = sorted(self.sim.provider.remote)[number % len(self.sim.provider.remote)]
        task_id, token, body = self.sim.provider.callback(remote_id)
        others: dict[str, dict[str, Any]] = {
            "reports the end": {"id": remote_id, "state": "success"},
            "unknown id": {"id": f"unknown-{number % 2}", "status": "completed"},
            "processing": {"id": remote_id, "status": "processing"},
        }
        raw = b"\xff{" if kind == "no JSON" else json.dumps(others.get(kind, body)).encode()
        self.begin("callback", lambda: self.sim.call_back(task_id, raw, token=token))

    @when(lambda self: len(set(self.sim.provider.made_for.values())) > 1)
    @rule()
    def provider_mixes_up_its_tasks(self) -> None:
        """A good token, and the id of a task that was made for another."""
        made = self.sim.provider.made_for
        first, *_, last = sorted(made)
        task_id, token, _ = self.sim.provider.callback(first)
        self.misled |= made[last] != task_id and not isinstance(self.sim.provider, HttpVidu)
        body = {"id": last, "status": "completed"}
        self.begin("callback", lambda: self.sim.call_back(task_id, body, token=token))

    @rule(key=st.sampled_from(KEYS), other=st.sampled_from(KEYS))
    def outsider_forges_a_callback(self, key: str, other: str) -> None:
        token = self.sim.token(self.sim.task_id(other))
        token = token if other != key else token[:-1] + ("A" if token[-1] != "A" else "B")
        writes = len(self.sim.stream)
        with pytest.raises(CallbackRefusedError):
            self.sim.call_back(self.sim.task_id(key), {"id": "gen-1", "status": "completed"}, token=token)
        assert len(self.sim.stream) == writes

    @rule()
    def schedule_sweeps(self) -> None:
        self.begin("sweep", self.sim.sweep)

    @when(lambda self: any(one.wake_at <= self.sim.clock() for one in self.sim.running))
    @rule()
    def execution_checks(self) -> None:
        execution = next(one for one in self.sim.running if one.wake_at <= self.sim.clock())
        self.sim.running.remove(execution)
        self.begin("check", lambda: self.sim.step(execution))

    @when(lambda self: self.sim.deliveries)
    @rule(number=NUMBER)
    def queue_delivers(self, number: int) -> None:
        """Any message, the same one twice at a time as well."""
        message = self.sim.deliveries[number % len(self.sim.deliveries)]
        self.begin("delivery", lambda: self.sim.receive_delivery(message))

    @when(lambda self: self.publisher is None and self.sim.position < len(self.sim.stream))
    @rule(at_most=st.integers(1, 4))
    def stream_hands_over(self, at_most: int) -> None:
        self.publisher = self.begin("publisher", lambda: self.sim.publish(at_most))
        self.clean_up()

    @when(lambda self: self.publisher is None and self.sim.position > 0)
    @rule(back=st.integers(1, 4))
    def stream_hands_over_again(self, back: int) -> None:
        self.sim.position = max(0, self.sim.position - back)

    @when(lambda self: self.sim.stream)
    @rule(number=NUMBER, count=st.integers(1, 4))
    def stream_hands_over_to_the_ledger(self, number: int, count: int) -> None:
        """Any records, however often and in whatever order."""
        first = number % len(self.sim.stream)
        self.begin("ledger", lambda: self.sim.book_again(slice(first, first + count)))

    @when(lambda self: self.sim.hooked and self.publisher is None and len(self.sim.stream) > 2)
    @rule(number=NUMBER, behaviour=st.sampled_from(BackendBehaviour))
    def queue_hands_a_notification_over(self, number: int, behaviour: BackendBehaviour) -> None:
        """Any of them, at any moment, once what it is about is on the bus; another process may have it already."""
        self.sim.survive(self.sim.publish)
        messages = self.sim.notifications.messages
        if messages:
            self.sim.backend.behaviours.append(behaviour)
            message = messages[number % len(messages)]
            self.explored["notifications received"] += 1
            self.begin("notification", lambda: self.sim.notify(message))

    @when(lambda self: self.keys < 4 and len(self.sim.stream) > 3)
    @rule()
    def operator_rotates_the_callback_key(self) -> None:
        secrets, secret_id = self.sim.account.clients["secretsmanager"], self.sim.account.callback_secret
        content = json.loads(secrets.get_secret_value(SecretId=secret_id)["SecretString"])
        self.keys += 1
        content |= {"active": f"k{self.keys}", f"k{self.keys}": f"another-callback-key-{self.keys:022d}"}
        secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps(content))
        # as the runbook has it: sign with the new key once every warm function has had time to read it
        self.clock_jumps(61)

    # The provider

    def undecided(self) -> list[str]:
        def decided(remote_id: str) -> bool:
            snapshot = self.sim.provider.remote[remote_id]
            if snapshot.state is ProgressState.SUCCEEDED:
                return bool(snapshot.video_urls)
            return snapshot.state is ProgressState.CANCELED or self.failed(remote_id)

        return [remote_id for remote_id in sorted(self.sim.provider.remote) if not decided(remote_id)]

    def failed(self, remote_id: str) -> bool:
        error = self.sim.provider.remote[remote_id].error
        return error is not None and not error.code.startswith("00801709")

    @when(lambda self: self.undecided())
    @rule(number=NUMBER, says=SAYINGS)
    def provider_says(self, number: int, says: str) -> None:
        """What it says is no end, contradicts itself, or is an end."""
        provider, remote_id = self.sim.provider, self.undecided()[number % len(self.undecided())]
        provider.show(remote_id, ProgressState.PROCESSING, error=None)
        if says in SILENCES:
            provider.show(remote_id, SILENCES[says])
        elif says.startswith("0080"):
            if not isinstance(provider, HttpVidu):  # the gateway's own codes: Vidu has none of them
                provider.show(remote_id, ProgressState.FAILED, error=TaskError(says, "The gateway is unwell."))
        elif says == "failed":
            provider.fail(remote_id)
        else:
            urls = [f"https://cdn.example.com/{remote_id}/{n}.mp4?Signature=a" for n in range(1 + number % 2)]
            provider.finish(remote_id, *urls)

    @rule(
        create=st.sampled_from(CreateBehaviour),
        cancel=st.one_of(st.none(), st.sampled_from(CancelBehaviour)),
        away=st.booleans(),
        known=st.booleans(),
        trouble=st.booleans(),
        backend=st.lists(st.sampled_from(BackendBehaviour), max_size=8),
    )
    def behaviours_change(
        self,
        create: CreateBehaviour,
        cancel: CancelBehaviour | None,
        away: bool,
        known: bool,
        trouble: bool,
        backend: list[BackendBehaviour],
    ) -> None:
        """Of the next create and cancel calls, of reads, of the video host and of the client's backend."""
        self.sim.backend.behaviours = backend
        self.sim.provider.behaviours = [create]
        self.sim.provider.cancel_behaviours = [cancel] if cancel else []
        self.sim.provider.unavailable = away
        self.sim.source.known_length = known
        self.sim.source.faults = [DeliveryInterruptedError("source_stalled", "No byte came.")] if trouble else []

    # Checks

    @invariant()
    def the_invariants_hold(self) -> None:
        under_way = sum(actor.name in ("submit", "request") for actor in self.alive)
        check_invariants(self.sim, misled=self.misled, lost_slots=self.faults + under_way)
        self.explored["steps"] += 1

    def teardown(self) -> None:
        self.finish_all()
        sim = self.sim
        sim.provider.unavailable, sim.provider.behaviours, sim.provider.cancel_behaviours = False, [], []
        for remote_id in self.undecided():
            sim.provider.show(remote_id, ProgressState.PROCESSING, error=None)
        for callbacks in ("never", "soon"):
            repeated = [submit_as(key, payload=payload) for key, payload in self.asked.items()]
            named = time_passes(sim, callbacks) | time_passes(sim, callbacks, *repeated)
            dead = self.faults >= 5
            check_at_rest(sim, named=named, misled=self.misled, lost_slots=self.faults, dead_letters=dead)
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
