"""A client is notified of each change, signed, at least once, and no client waits for another."""

import io
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.simulation.effects import Fault, ProcessDeathError
from tests.simulation.notifications import MessageQueue
from tests.simulation.provider import SimulatedWebhook
from tests.simulation.simulation import TENANT, Simulation
from tests.unit.account import WEBHOOK_MASTER
from vidu_relay.adapters.notification_queue import Received
from vidu_relay.adapters.webhook_origins import QUICK_MS, Turn
from vidu_relay.domain.errors import ConfigurationError, EventRefusedError, NotificationFailedError
from vidu_relay.domain.notification import GIVE_UP_MS
from vidu_relay.domain.snapshot import ProgressState, TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.domain.webhook_signature import ROTATION_MS, tenant_secret
from vidu_relay.observability import logger, metrics
from vidu_relay.usecases.notify_client import notify_client
from vidu_relay.usecases.read_tasks import list_notifications

HOOK = "https://client.example.com/hook?key=secret"
ORIGIN = "https://client.example.com"
FAULT = TaskError("timeout", "The host took longer than 10 seconds.")
DEAD = NotificationFailedError("timeout", "The host took longer than 10 seconds.", waited=True)
BUSY = NotificationFailedError("http_503", "The client answered HTTP 503.", status=503, answer="busy")
FAR = 10 * QUICK_MS
GONE = NotificationFailedError("http_410", "The client answered HTTP 410.", final=True, status=410)


class Queue(MessageQueue):
    """Hands over message after message, each when it is visible, to endpoints that `webhook` stands for."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim.effects, sim.clock)
        self.sim = sim
        self.webhook = SimulatedWebhook(sim.effects)
        self.webhook.sleep = sim.clock.advance
        self.handled: list[str] = []
        """Task of every message, in the order in which they were done."""

    def send(self, task: Task, version: int | None = None, **more: bool) -> None:
        self.put(json.dumps({"task_id": task.task_id, "version": version or task.version, **more}))

    def run(self, *, until: int | None = None) -> None:
        while (message := self.first()) and (until is None or message.visible_at <= until):
            self.sim.clock.now = max(self.sim.clock.now, message.visible_at)
            if notify_client(self.receive(message), self.sim.notification):
                self.done(message)
                self.handled.append(json.loads(message.body)["task_id"])


@pytest.fixture
def queue(sim: Simulation) -> Queue:
    made = Queue(sim)
    sim.notification = replace(sim.notification, webhook=made.webhook, queue=made)
    return made


def under_way(sim: Simulation, **fields: Any) -> Task:
    task = sim.submit(**{"callback_url": HOOK, **fields})
    sim.provider.show("gen-1", ProgressState.PROCESSING)
    return sim.call_back(task.task_id)


def completed(sim: Simulation, **fields: Any) -> Task:
    task = sim.submit(**{"callback_url": HOOK, **fields})
    sim.provider.finish("gen-1")
    sim.call_back(task.task_id)
    done = sim.deliver(task.task_id)
    assert done is not None
    return done


def bodies(queue: Queue) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body, _ in queue.webhook.received]


def failures(sim: Simulation) -> list[dict[str, Any]]:
    return [detail for kind, detail in sim.published if kind == "VideoTaskNotificationFailed"]


def test_notification_has_the_shape_of_the_providers_page_and_a_link(sim: Simulation, queue: Queue) -> None:
    task = completed(sim)
    queue.send(task)
    queue.run()
    ((url, _, headers),) = queue.webhook.received
    assert url == HOOK
    (shown,) = bodies(queue)
    assert (shown["task_id"], shown["version"], shown["status"]) == (task.task_id, task.version, "completed")
    (output,) = shown["output"]
    assert output["task_status"] == "done"
    assert output["results"][0]["type"] == "video"
    link = output["results"][0]["url"]
    assert f"/{task.videos[0].key}?" in link
    assert "X-Amz-Expires=900" in link
    assert {"error", "output", "usage", "metadata"} <= set(shown)
    assert headers["webhook-id"] == f"{task.task_id}:{task.version}"


def test_body_and_headers_are_verified_by_the_specifications_own_library(sim: Simulation, queue: Queue) -> None:
    sim.clock.now = int(time.time() * 1000)
    queue.send(under_way(sim, prompt="ein schöner Fuchs \u2028 🦊"))
    queue.run()
    ((_, body, headers),) = queue.webhook.received
    secret = tenant_secret(WEBHOOK_MASTER, TENANT, 1)
    assert secret.startswith("whsec_")
    assert Webhook(secret).verify(body, dict(headers))["status"] == "processing"
    for forged_body, forged in (
        (body.replace(b"processing", b"completed"), {}),
        (body, {"webhook-id": "another:1"}),
        (body, {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(forged_body, {**headers, **forged})
    with pytest.raises(WebhookVerificationError):
        Webhook(tenant_secret(WEBHOOK_MASTER, "other", 1)).verify(body, dict(headers))


def test_old_and_new_secret_sign_for_a_day_after_a_rotation_and_then_the_new_one_alone(
    sim: Simulation, queue: Queue
) -> None:
    rotated = sim.clock.now = int(time.time() * 1000)
    tenant = sim.tenants.find_tenant(TENANT)
    assert tenant is not None
    assert sim.tenants.rotate_webhook_secret(tenant, rotated)
    assert not sim.tenants.rotate_webhook_secret(tenant, rotated)  # one who saw the same is too late
    task = under_way(sim)
    queue.send(task)
    queue.run()
    ((_, body, headers),) = queue.webhook.received
    for generation in (1, 2):
        Webhook(tenant_secret(WEBHOOK_MASTER, TENANT, generation)).verify(body, dict(headers))
    sim.clock.now += ROTATION_MS
    queue.send(task)
    queue.run()
    assert len(queue.webhook.received[1][2]["webhook-signature"].split()) == 1


def test_master_key_that_is_missing_or_short_signs_nothing(sim: Simulation, queue: Queue) -> None:
    queue.send(under_way(sim))
    ports = replace(sim.notification, master=lambda: {"master": "short"})
    with pytest.raises(ConfigurationError):
        notify_client(
            Received(json.dumps({"task_id": sim.task_id(), "version": sim.task(sim.task_id()).version}), "r", 1, 0),
            ports,
        )
    assert queue.webhook.received == []


def test_nothing_of_the_address_but_its_origin_is_logged_or_published(
    sim: Simulation, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    queue.webhook.faults[ORIGIN] = GONE
    queue.send(under_way(sim))
    queue.run()
    (detail,) = failures(sim)
    assert detail["url_origin"] == ORIGIN
    assert ORIGIN in log.getvalue()
    assert "secret" not in log.getvalue() + json.dumps(sim.published)
    assert "whsec_" not in log.getvalue()


def test_forged_or_early_message_notifies_no_client(sim: Simulation, queue: Queue) -> None:
    task = under_way(sim)
    queue.send(task, version=task.version + 1)  # a version that the task has not reached
    queue.send(task, version=2)  # submitted: not promised
    queue.send(replace(task, task_id="a" * 26))
    queue.run()
    assert queue.webhook.received == []
    assert len(queue.handled) == 3


def test_task_without_a_callback_url_notifies_no_client_and_costs_no_write(sim: Simulation, queue: Queue) -> None:
    queue.send(under_way(sim, callback_url=None))
    sim.effects.names.clear()
    queue.run()
    assert sim.effects.names == ["dynamodb.get_item"]
    assert queue.webhook.received == []
    assert queue.dead == []


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[]",
        "{}",
        '{"task_id": "../x", "version": 1}',
        json.dumps({"task_id": "a" * 26}),
        json.dumps({"task_id": "a" * 26, "version": True}),
        "[" * 9999,
    ],
)
def test_unreadable_message_goes_to_the_dead_letter_queue_at_once(sim: Simulation, queue: Queue, body: str) -> None:
    assert notify_client(Received(body, "r", 1, 0), sim.notification)
    assert queue.dead == [body]


def test_processing_that_did_not_get_through_is_not_tried_again_once_the_task_has_ended(
    sim: Simulation, queue: Queue
) -> None:
    queue.webhook.faults[ORIGIN] = BUSY
    task = under_way(sim)
    queue.send(task)
    queue.run(until=sim.clock.now)
    sim.provider.finish("gen-1")
    sim.call_back(task.task_id)
    sim.deliver(task.task_id)
    queue.webhook.faults.clear()
    queue.run()
    assert [shown["status"] for shown in bodies(queue)] == ["processing"]


def test_client_that_fails_is_tried_for_three_days_at_growing_intervals_under_one_id(
    sim: Simulation, queue: Queue
) -> None:
    queue.webhook.faults[ORIGIN] = BUSY
    began = sim.clock.now
    task = completed(sim)
    queue.send(task)
    queue.run()
    assert sim.clock.now - began >= GIVE_UP_MS
    assert 12 <= len(queue.webhook.received) <= 15
    assert queue.waits[:4] == [5, 16, 68, 289]
    assert queue.waits == sorted(queue.waits)
    assert max(queue.waits) <= 12 * 3600
    assert {headers["webhook-id"] for _, _, headers in queue.webhook.received} == {f"{task.task_id}:{task.version}"}
    stamps = [headers["webhook-timestamp"] for _, _, headers in queue.webhook.received]
    assert len(set(stamps)) == len(stamps)  # signed again at each try: receivers refuse old ones
    (detail,) = failures(sim)
    assert detail == {
        "event_id": f"{task.task_id}:{task.version}:notification",
        "tenant_id": TENANT,
        "task_id": task.task_id,
        "version": task.version,
        "url_origin": ORIGIN,
        "attempts": len(queue.webhook.received),
        "error": {"code": "http_503", "message": "The client answered HTTP 503."},
    }
    assert [json.loads(body) for body in queue.dead] == [{"task_id": task.task_id, "version": task.version}]


def test_event_that_the_bus_refuses_keeps_the_message(sim: Simulation, queue: Queue, monkeypatch: Any) -> None:
    queue.webhook.faults[ORIGIN] = GONE
    task = completed(sim)
    monkeypatch.setattr(sim.bus, "publish", lambda _: 0)
    with pytest.raises(EventRefusedError):
        notify_client(
            Received(json.dumps({"task_id": task.task_id, "version": task.version}), "r", 1, 0),
            sim.notification,
        )
    assert queue.dead == []


def test_one_silent_origin_holds_up_none_of_a_hundred_clients(sim: Simulation, queue: Queue) -> None:
    """Ten of its messages come before all others; the hundred are notified while it is tried once."""
    holes = [completed_at(sim, f"hole-{n}", "https://hole.example.com/") for n in range(10)]
    healthy = [completed_at(sim, f"well-{n}", f"https://well-{n}.example.com/") for n in range(100)]
    queue.webhook.faults["https://hole.example.com"] = DEAD
    queue.webhook.seconds["https://hole.example.com"] = 10
    began = sim.clock.now
    for task in (*holes, *healthy):
        queue.send(task)
    queue.run(until=began + 10_000)
    assert sorted(queue.handled) == sorted(task.task_id for task in healthy)
    assert sum(url == "https://hole.example.com/" for url, _, _ in queue.webhook.received) == 1
    assert sim.clock.now - began == 10_000  # the one try of the silent origin, and not a second more
    queue.webhook.received.clear()
    queue.run(until=began + GIVE_UP_MS)
    tries = len(queue.webhook.received)
    assert 20 <= tries <= 90  # of ten messages over three days: once in each cool-down, by whichever comes first
    queue.webhook.faults.clear()
    queue.run()
    assert {task.task_id for task in holes} <= set(queue.handled)


def failed(sim: Simulation, task: Task) -> Task:
    """The task, after its provider gave it up."""
    entry = replace(task.history[0], status=Status.FAILED)
    changed = replace(task, status=Status.FAILED, version=task.version + 1, history=(*task.history, entry))
    return sim.store.save(changed)


def completed_at(sim: Simulation, key: str, url: str) -> Task:
    sim.key = key
    task = sim.submit(key=key, callback_url=url)
    return failed(sim, task)


def test_after_a_cool_down_one_worker_tries_and_the_others_wait(sim: Simulation, queue: Queue) -> None:
    origins = sim.notification.origins
    free = origins.take_turn(TENANT, ORIGIN, 0)
    assert free == Turn(0)
    origins.failed(TENANT, ORIGIN, free, 0, 1_000, FAULT)
    assert origins.take_turn(TENANT, ORIGIN, 10_000).wait_ms == 20_000
    assert origins.take_turn("other", ORIGIN, 10_000) == free
    assert origins.take_turn(TENANT, ORIGIN, 30_000).wait_ms == 0
    assert origins.take_turn(TENANT, ORIGIN, 30_001).wait_ms > 0
    origins.answered(TENANT, ORIGIN, origins.take_turn(TENANT, ORIGIN, 100_000), 100_000, 100)
    assert origins.take_turn(TENANT, ORIGIN, 100_001) == free


@pytest.mark.parametrize(
    ("took_ms", "rested_at", "quick_at", "writes"),
    [
        (2_000, 0, 0, 0),
        (2_001, 0, 0, 2),
        (100, FAR, 0, 0),
        (100, FAR + 1, 0, 1),
        (100, FAR + 1, FAR - QUICK_MS // 2, 0),
        (100, FAR + 1, FAR - QUICK_MS // 2 - 1, 1),
    ],
)
def test_an_answer_is_recorded_only_if_it_changes_a_rest(
    sim: Simulation, took_ms: int, rested_at: int, quick_at: int, writes: int
) -> None:
    turn = Turn(0, rested_at=rested_at, quick_at=quick_at)
    sim.effects.names.clear()
    sim.notification.origins.answered(TENANT, ORIGIN, turn, FAR, took_ms)
    assert len(sim.effects.names) == writes


@pytest.mark.parametrize("fault", [None, Fault.SENT_TWICE])
def test_faults_of_two_workers_at_once_are_both_counted_and_an_answer_forgets_neither(
    sim: Simulation, queue: Queue, fault: Fault | None
) -> None:
    origins = sim.notification.origins
    first, second, third = (origins.take_turn(TENANT, ORIGIN, 0) for _ in range(3))
    origins.failed(TENANT, ORIGIN, first, 10_000, 1_000, FAULT)
    origins.failed(TENANT, ORIGIN, second, 10_001, 1_000, FAULT)
    sim.effects.gate = lambda _: fault
    origins.answered(TENANT, ORIGIN, third, 10_002, 9_000)  # took its turn before either of them
    sim.effects.gate = lambda _: None
    turn = origins.take_turn(TENANT, ORIGIN, 10_003)
    assert (turn.failures, turn.fault, turn.wait_ms) == (2, FAULT, 29_998)


def test_slow_answer_pauses_its_origin_four_times_as_long_as_it_took(sim: Simulation, queue: Queue) -> None:
    queue.webhook.seconds[ORIGIN] = 9
    for number, fault in enumerate((None, BUSY)):
        queue.webhook.faults = {ORIGIN: fault} if fault else {}
        queue.send(completed_at(sim, f"a-{number}", HOOK))
        queue.send(completed_at(sim, f"b-{number}", HOOK))
        began = sim.clock.now
        calls = len(queue.webhook.received)
        queue.run(until=began + 9_000)
        assert len(queue.webhook.received) == calls + 1
        turn = sim.notification.origins.take_turn(TENANT, ORIGIN, sim.clock.now)
        assert (sim.clock.now - began, turn.wait_ms) == (9_000, 36_000)
        sim.clock.now += 3_600_000
        queue.webhook.faults = {}
        queue.run()
        sim.clock.now += 3_600_000


def test_quick_answer_ends_the_pause(sim: Simulation, queue: Queue) -> None:
    queue.webhook.seconds[ORIGIN] = 9
    queue.send(completed_at(sim, "slow", HOOK))
    queue.run()
    queue.webhook.seconds.clear()
    sim.clock.advance(36)
    began = sim.clock.now
    for number in range(20):
        queue.send(completed_at(sim, f"quick-{number}", HOOK))
    queue.run(until=began)
    assert len(queue.handled) == 21


def test_message_that_only_waits_is_given_up_after_three_days_with_its_origins_fault(
    sim: Simulation, queue: Queue
) -> None:
    """Another worker has the turn each time that this message comes."""
    task = completed(sim)
    body = json.dumps({"task_id": task.task_id, "version": task.version})
    origins, sent_at = sim.notification.origins, sim.clock.now
    ports = sim.notification
    origins.failed(TENANT, ORIGIN, origins.take_turn(TENANT, ORIGIN, sent_at), sent_at, 10_000, FAULT)
    assert not notify_client(Received(body, "r", 1, sent_at), ports)
    sim.clock.now += GIVE_UP_MS
    origins.failed(TENANT, ORIGIN, Turn(0), sim.clock.now, 10_000, FAULT)
    assert not notify_client(Received(body, "r", 5, sent_at), ports)
    assert failures(sim) == []
    assert notify_client(Received(body, "r", 6, sent_at), ports)
    assert queue.webhook.received == []
    (detail,) = failures(sim)
    assert (detail["attempts"], detail["error"]) == (6, {"code": FAULT.code, "message": FAULT.message})
    assert queue.dead == [body]


def test_message_that_only_waits_for_slow_answers_is_given_up_after_three_days(sim: Simulation, queue: Queue) -> None:
    task = completed(sim)
    body = json.dumps({"task_id": task.task_id, "version": task.version})
    sim.notification.origins.answered(TENANT, ORIGIN, Turn(0), sim.clock.now, 9_000)
    received = Received(body, "r", 6, sim.clock.now - GIVE_UP_MS)
    assert notify_client(received, sim.notification)
    (detail,) = failures(sim)
    assert detail["error"]["code"] == "no_turn"
    assert queue.dead == [body]


def test_quick_client_costs_one_write_which_is_the_last_step(sim: Simulation, queue: Queue) -> None:
    queue.send(completed(sim))
    sim.effects.names.clear()
    queue.run()
    assert sim.effects.names == [
        "dynamodb.get_item",
        "dynamodb.get_item",
        "dynamodb.get_item",
        "dynamodb.get_item",
        "secretsmanager.get_secret_value",
        "webhook.post",
        "single_try.update_item",
    ]
    assert "NotificationsSent" in metrics.provider.metric_set


def shown(sim: Simulation, task: Task) -> Any:
    """The notifications of a task, as its tenant reads them."""
    found = list_notifications(task.task_id, TENANT, store=sim.store, log=sim.notification.log)
    assert found is not None
    return found["notifications"]


def test_each_attempt_is_shown_with_its_outcome_and_when_the_next_one_is_due(sim: Simulation, queue: Queue) -> None:
    queue.webhook.faults[ORIGIN] = BUSY
    queue.webhook.seconds[ORIGIN] = 1.5
    task = completed(sim)
    queue.send(task)
    assert shown(sim, task) == []
    queue.run(until=sim.clock.now)
    (one,) = shown(sim, task)
    assert one.pop("attempts") == [
        {"at": "2026-11-23T09:00:00.000Z", "status": 503, "fault": None, "latency_ms": 1500, "answer": "busy"}
    ]
    assert one == {
        "version": task.version,
        "webhook_id": f"{task.task_id}:{task.version}",
        "status": "completed",
        "state": "retrying",
        "next_try_at": "2026-11-23T09:00:06.500Z",
    }
    queue.webhook.faults[ORIGIN] = DEAD
    queue.run(until=sim.clock.now + 10_000)
    queue.webhook.faults.clear()
    queue.run()
    (one,) = shown(sim, task)
    assert [(a["status"], a["fault"], a["answer"]) for a in one["attempts"]] == [
        (503, None, "busy"),
        (None, "timeout", ""),
        (204, None, "thanks"),
    ]
    assert (one["state"], one["next_try_at"]) == ("delivered", None)


@pytest.mark.parametrize(("fault", "attempts"), [(GONE, 1), (BUSY, 14)])
def test_notification_that_is_given_up_says_so(
    sim: Simulation, queue: Queue, fault: NotificationFailedError, attempts: int
) -> None:
    queue.webhook.faults[ORIGIN] = fault
    task = completed(sim)
    queue.send(task)
    queue.run()
    (one,) = shown(sim, task)
    assert (one["state"], one["next_try_at"], len(one["attempts"])) == ("gave_up", None, attempts)


def test_attempts_are_kept_as_long_as_their_task_and_no_other_tenant_sees_them(sim: Simulation, queue: Queue) -> None:
    early = under_way(sim)
    queue.send(early)
    queue.run()
    sim.provider.finish("gen-1")
    sim.call_back(early.task_id)
    task = sim.deliver(early.task_id)
    assert task is not None
    assert task.expires_at is not None
    queue.send(task)
    queue.run()
    processing, end = (sim.item(f"notification#{task.task_id}#{one['version']}") for one in shown(sim, task))
    assert processing is not None
    assert end is not None
    assert int(end["expires_at"]["N"]) == task.expires_at <= int(processing["expires_at"]["N"])
    assert not end.keys() & {"owner", "due_shard"}  # in no index
    for tenant, task_id in (("other", task.task_id), (TENANT, "a" * 26), (TENANT, "../x")):
        assert list_notifications(task_id, tenant, store=sim.store, log=sim.notification.log) is None


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.REPLY_LOST])
@pytest.mark.parametrize(("answer", "done"), [(None, True), (BUSY, False), (GONE, True)], ids=["2xx", "503", "410"])
def test_attempt_that_cannot_be_recorded_neither_repeats_nor_loses_a_webhook(
    sim: Simulation, queue: Queue, fault: Fault, answer: NotificationFailedError | None, done: bool
) -> None:
    queue.webhook.faults = {ORIGIN: answer} if answer else {}
    queue.send(completed(sim))
    (message,) = queue.messages
    sim.effects.arm_name("single_try.update_item", fault)
    assert notify_client(queue.receive(message), sim.notification) is done
    assert sim.effects.fault_injected
    assert len(queue.webhook.received) == 1
    assert queue.waits == ([] if done else [5])


def test_death_between_call_and_record_repeats_the_webhook_under_its_id(sim: Simulation, queue: Queue) -> None:
    task = completed(sim)
    queue.send(task)
    (message,) = queue.messages
    sim.effects.arm_name("single_try.update_item", Fault.DIES_BEFORE)
    with pytest.raises(ProcessDeathError):
        notify_client(queue.receive(message), sim.notification)
    sim.effects.disarm()
    queue.run()
    assert len({headers["webhook-id"] for _, _, headers in queue.webhook.received}) == 1
    assert len(queue.webhook.received) == 2
    (one,) = shown(sim, task)
    assert (one["state"], len(one["attempts"])) == ("delivered", 1)


def test_replay_is_sent_under_its_id_by_the_present_secret_though_a_later_change_has_overtaken_it(
    sim: Simulation, queue: Queue
) -> None:
    sim.clock.now = int(time.time() * 1000)
    early = under_way(sim)
    tenant = sim.tenants.find_tenant(TENANT)
    assert tenant is not None
    sim.tenants.rotate_webhook_secret(tenant, sim.clock.now - ROTATION_MS)
    sim.provider.finish("gen-1")
    sim.call_back(early.task_id)
    queue.webhook.faults[ORIGIN] = BUSY
    queue.send(early, replay=True)
    queue.run(until=sim.clock.now)
    queue.webhook.faults.clear()
    queue.run()
    (_, first, _), (_, body, headers) = queue.webhook.received
    assert first == body
    assert headers["webhook-id"] == f"{early.task_id}:{early.version}"
    secret = tenant_secret(WEBHOOK_MASTER, TENANT, 2)
    assert Webhook(secret).verify(body, dict(headers))["status"] == "processing"


def test_state_is_what_came_of_the_latest_attempt_though_a_replay_was_delivered_meanwhile(
    sim: Simulation, queue: Queue
) -> None:
    queue.webhook.faults[ORIGIN] = BUSY
    task = completed(sim)
    queue.send(task)
    queue.run(until=sim.clock.now)
    queue.webhook.faults.clear()
    queue.send(task, replay=True)
    queue.run(until=sim.clock.now)
    (one,) = shown(sim, task)
    assert (one["state"], one["next_try_at"]) == ("delivered", None)
    queue.webhook.faults[ORIGIN] = BUSY
    queue.run(until=sim.clock.now + 10_000)
    (one,) = shown(sim, task)
    assert (one["state"], bool(one["next_try_at"])) == ("retrying", True)
    assert [attempt["status"] for attempt in one["attempts"]] == [503, 204, 503]
