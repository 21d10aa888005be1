"""A client is told of each change at its own address: signed, at least once, and no client at another's expense."""

import heapq
import io
import json
import time
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from standardwebhooks import Webhook, WebhookVerificationError
from typing_extensions import override

from tests.unit.builders import changes
from tests.unit.usecases.account import WEBHOOK_MASTER
from tests.unit.usecases.effects import Fault, ProcessDeathError
from tests.unit.usecases.world import TENANT, World
from vidu_relay.adapters.notification_queue import NotificationQueue, Received
from vidu_relay.adapters.webhook_origins import Turn
from vidu_relay.domain.errors import ConfigurationError, EventRefusedError, NotificationFailedError
from vidu_relay.domain.notification import GIVE_UP_MS, latest_notified, notification_body, status_of
from vidu_relay.domain.snapshot import ProgressState, TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.domain.webhook_signature import ROTATION_MS, tenant_secret
from vidu_relay.observability import logger, metrics
from vidu_relay.usecases.notify_client import notify_client

HOOK = "https://client.example.com/hook?key=secret"
ORIGIN = "https://client.example.com"
FAULT = TaskError("timeout", "The host took longer than 10 seconds.")
DEAD = NotificationFailedError("timeout", "The host took longer than 10 seconds.", waited=True)
BUSY = NotificationFailedError("http_503", "The client answered HTTP 503.")
GONE = NotificationFailedError("http_410", "The client answered HTTP 410.", final=True)


class Queue(NotificationQueue):
    """The queue in the story's time: what is put back is there again when its time has come."""

    def __init__(self, world: World) -> None:
        super().__init__(world.account.clients["sqs"], "", world.account.notifications_dead_url)
        self.world = world
        self.dead: list[str] = []
        self.waits: list[int] = []
        self.handled: list[str] = []
        """Task of every message, in the order in which they were done with."""
        self._hidden: list[tuple[int, int, Received]] = []
        self._number = count()

    def send(self, task: Task, version: int | None = None) -> None:
        body = json.dumps({"task_id": task.task_id, "version": version or task.version})
        self._push(self.world.clock.now, Received(body, f"receipt-{next(self._number)}", 0, self.world.clock.now))

    @override
    def put_back(self, message: Received, seconds: int) -> None:
        self.world.effects.perform("sqs.change_message_visibility", lambda: self._put_back(message, seconds))

    def _put_back(self, message: Received, seconds: int) -> None:
        assert 1 <= seconds <= 43_200
        self.waits.append(seconds)
        self._push(self.world.clock.now + 1000 * seconds, message)

    @override
    def give_up(self, message: Received) -> None:
        self.world.effects.perform("sqs.send_message", lambda: self.dead.append(message.body))

    def run(self, *, until: int | None = None) -> None:
        """Hand out message after message, each when it is visible."""
        while self._hidden and (until is None or self._hidden[0][0] <= until):
            at, _, message = heapq.heappop(self._hidden)
            self.world.clock.now = max(self.world.clock.now, at)
            received = replace(message, receives=message.receives + 1)
            if notify_client(received, replace(self.world.notification, queue=self)):
                self.handled.append(json.loads(message.body)["task_id"])

    def _push(self, at: int, message: Received) -> None:
        heapq.heappush(self._hidden, (at, next(self._number), message))


@pytest.fixture
def queue(world: World) -> Queue:
    world.tenants.create_tenant(TENANT, 1)
    return Queue(world)


def under_way(world: World, **fields: Any) -> Task:
    task = world.submit(**{"callback_url": HOOK, **fields})
    world.provider.show("gen-1", ProgressState.PROCESSING)
    return world.ring(task.task_id)


def completed(world: World, **fields: Any) -> Task:
    task = world.submit(**{"callback_url": HOOK, **fields})
    world.provider.finish("gen-1")
    world.ring(task.task_id)
    done = world.deliver(task.task_id)
    assert done is not None
    return done


def told(world: World) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body, _ in world.webhook.told]


def failures(world: World) -> list[dict[str, Any]]:
    return [detail for kind, detail in world.published if kind == "VideoTaskNotificationFailed"]


# --- what is said


def test_client_is_told_in_the_shape_of_the_providers_page_with_a_link_that_opens(world: World, queue: Queue) -> None:
    task = completed(world)
    queue.send(task)
    queue.run()
    ((url, _, headers),) = world.webhook.told
    assert url == HOOK
    (shown,) = told(world)
    assert (shown["task_id"], shown["version"], shown["status"]) == (task.task_id, task.version, "completed")
    (output,) = shown["output"]
    assert output["task_status"] == "done"
    assert output["results"][0]["type"] == "video"
    link = output["results"][0]["url"]
    assert f"/{task.videos[0].key}?" in link
    assert "X-Amz-Expires=900" in link
    assert {"error", "output", "usage", "metadata"} <= set(shown)
    assert headers["webhook-id"] == f"{task.task_id}:{task.version}"


def test_body_and_headers_are_verified_by_the_specifications_own_library(world: World, queue: Queue) -> None:
    world.clock.now = int(time.time() * 1000)
    queue.send(under_way(world, prompt="ein schöner Fuchs \u2028 🦊"))
    queue.run()
    ((_, body, headers),) = world.webhook.told
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
    world: World, queue: Queue
) -> None:
    rotated = world.clock.now = int(time.time() * 1000)
    tenant = world.tenants.find_tenant(TENANT)
    assert tenant is not None
    assert world.tenants.rotate_webhook_secret(tenant, rotated)
    assert not world.tenants.rotate_webhook_secret(tenant, rotated)  # one who saw the same is too late
    task = under_way(world)
    queue.send(task)
    queue.run()
    ((_, body, headers),) = world.webhook.told
    for generation in (1, 2):
        Webhook(tenant_secret(WEBHOOK_MASTER, TENANT, generation)).verify(body, dict(headers))
    world.clock.now += ROTATION_MS
    queue.send(task)
    queue.run()
    assert len(world.webhook.told[1][2]["webhook-signature"].split()) == 1


def test_master_key_that_is_missing_or_short_signs_nothing(world: World, queue: Queue) -> None:
    queue.send(under_way(world))
    ports = replace(world.notification, queue=queue, master=lambda: {"master": "short"})
    with pytest.raises(ConfigurationError):
        notify_client(
            Received(
                json.dumps({"task_id": world.task_id(), "version": world.task(world.task_id()).version}), "r", 1, 0
            ),
            ports,
        )
    assert world.webhook.told == []


def test_nothing_of_the_address_but_its_origin_is_logged_or_published(
    world: World, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    world.webhook.faults[ORIGIN] = GONE
    queue.send(under_way(world))
    queue.run()
    (detail,) = failures(world)
    assert detail["url_origin"] == ORIGIN
    assert ORIGIN in log.getvalue()
    assert "secret" not in log.getvalue() + json.dumps(world.published)
    assert "whsec_" not in log.getvalue()


# --- to whom, and when at all


def test_forged_or_early_message_tells_nobody_anything(world: World, queue: Queue) -> None:
    task = under_way(world)
    queue.send(task, version=task.version + 1)  # a version that the task has not reached
    queue.send(task, version=2)  # submitted: not promised
    queue.send(replace(task, task_id="a" * 26))
    queue.run()
    assert world.webhook.told == []
    assert len(queue.handled) == 3


def test_task_without_a_callback_url_tells_nobody(world: World, queue: Queue) -> None:
    queue.send(under_way(world, callback_url=None))
    queue.run()
    assert world.webhook.told == []
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
def test_unreadable_message_goes_to_the_dead_letters_at_once(world: World, queue: Queue, body: str) -> None:
    assert notify_client(Received(body, "r", 1, 0), replace(world.notification, queue=queue))
    assert queue.dead == [body]


def test_processing_that_the_task_has_left_behind_is_still_told_as_it_was(world: World, queue: Queue) -> None:
    task = under_way(world)
    world.provider.finish("gen-1")
    world.ring(task.task_id)
    done = world.deliver(task.task_id)
    assert done is not None
    queue.send(done)
    queue.send(done, version=task.version)
    queue.run()
    end, before = told(world)
    assert (end["version"], end["status"]) == (done.version, "completed")
    assert (before["version"], before["status"]) == (task.version, "processing")
    assert (before["output"], before["videos"], before["usage"], before["error"]) == ([], [], None, None)
    assert before["history"][-1]["status"] == "processing"
    assert before["updated_at"] < end["updated_at"] or before["updated_at"] == before["history"][-1]["at"]


def test_processing_that_did_not_get_through_is_not_tried_again_once_the_task_has_ended(
    world: World, queue: Queue
) -> None:
    world.webhook.faults[ORIGIN] = BUSY
    task = under_way(world)
    queue.send(task)
    queue.run(until=world.clock.now)
    world.provider.finish("gen-1")
    world.ring(task.task_id)
    world.deliver(task.task_id)
    world.webhook.faults.clear()
    queue.run()
    assert [shown["status"] for shown in told(world)] == ["processing"]


# --- again, and when it ends


def test_client_that_fails_is_tried_for_a_day_at_growing_intervals_under_one_id(world: World, queue: Queue) -> None:
    world.webhook.faults[ORIGIN] = BUSY
    began = world.clock.now
    task = completed(world)
    queue.send(task)
    queue.run()
    assert world.clock.now - began >= GIVE_UP_MS
    assert 12 <= len(world.webhook.told) <= 30
    assert queue.waits[:4] == [5, 5, 10, 20]
    assert queue.waits == sorted(queue.waits)
    assert max(queue.waits) <= 3 * 3600
    assert {headers["webhook-id"] for _, _, headers in world.webhook.told} == {f"{task.task_id}:{task.version}"}
    stamps = [headers["webhook-timestamp"] for _, _, headers in world.webhook.told]
    assert len(set(stamps)) == len(stamps)  # signed anew at each try: receivers refuse old ones
    (detail,) = failures(world)
    assert detail == {
        "event_id": f"{task.task_id}:{task.version}:notification",
        "tenant_id": TENANT,
        "task_id": task.task_id,
        "version": task.version,
        "url_origin": ORIGIN,
        "attempts": len(world.webhook.told),
        "error": {"code": "http_503", "message": "The client answered HTTP 503."},
    }
    assert [json.loads(body) for body in queue.dead] == [{"task_id": task.task_id, "version": task.version}]


@pytest.mark.parametrize(("wished", "waited"), [(0, 5), (120, 120), (7200, 7200), (86_400, 6 * 3600)])
def test_retry_after_is_waited_for_within_reason(world: World, queue: Queue, wished: int, waited: int) -> None:
    world.webhook.faults[ORIGIN] = NotificationFailedError("http_429", "…", retry_after_seconds=wished)
    queue.send(completed(world))
    queue.run(until=world.clock.now)
    assert queue.waits == [waited]


def test_410_stops_at_once_and_is_nobodys_to_mend(world: World, queue: Queue) -> None:
    world.webhook.faults[ORIGIN] = GONE
    queue.send(completed(world))
    queue.run()
    assert len(world.webhook.told) == 1
    assert [detail["error"]["code"] for detail in failures(world)] == ["http_410"]
    assert queue.dead == []


def test_message_that_waited_a_day_in_the_queue_has_its_tries_before_it(world: World, queue: Queue) -> None:
    world.webhook.faults[ORIGIN] = BUSY
    queue.send(completed(world))
    world.clock.now += 2 * GIVE_UP_MS
    queue.run(until=world.clock.now)
    assert queue.dead == []
    world.webhook.faults.clear()
    queue.run()
    assert len(queue.handled) == 1


def test_event_that_the_bus_refuses_keeps_the_message(world: World, queue: Queue, monkeypatch: Any) -> None:
    world.webhook.faults[ORIGIN] = GONE
    task = completed(world)
    monkeypatch.setattr(world.bus, "publish", lambda _: 0)
    with pytest.raises(EventRefusedError):
        notify_client(
            Received(json.dumps({"task_id": task.task_id, "version": task.version}), "r", 1, 0),
            replace(world.notification, queue=queue),
        )
    assert queue.dead == []


@pytest.mark.parametrize("outcome", ["taken", "slow", "busy", "dead", "gone", "last"])
@pytest.mark.parametrize("fault", list(Fault))
def test_whatever_goes_wrong_at_any_step_the_client_is_told_or_the_failure_is(
    world: World, queue: Queue, outcome: str, fault: Fault
) -> None:
    """Struck at every effect in turn; then the message comes again, as SQS has it, and nothing is in its way."""
    task = completed(world)
    body = json.dumps({"task_id": task.task_id, "version": task.version})
    faults = {"busy": BUSY, "dead": DEAD, "gone": GONE, "last": BUSY}
    sent_at = world.clock.now - (2 * GIVE_UP_MS if outcome == "last" else 0)
    for strike in range(20):
        world.webhook.faults = {ORIGIN: faults[outcome]} if outcome in faults else {}
        world.webhook.seconds = {ORIGIN: 9} if outcome == "slow" else {}
        world.webhook.told.clear()
        world.published.clear()
        queue.dead.clear()
        queue.waits.clear()
        # a new function each time, with nothing kept from the one before
        ports = replace(world.notification, queue=queue)
        world.effects.arm(strike, fault)
        done = None
        with suppress(ProcessDeathError, ClientError, BotoCoreError, EventRefusedError):
            done = notify_client(Received(body, "r", 9, sent_at), ports)
        struck = world.effects.struck
        world.effects.disarm()
        if struck is None:
            assert done is not None
            assert strike >= 4
            break
        if done:  # nobody will see this message again: it was taken, or the failure was told
            assert world.webhook.told
            assert outcome in ("taken", "slow") or failures(world)
        else:
            world.webhook.faults = {}
            world.webhook.seconds = {}
            world.clock.now += 3600 * 1000
            assert notify_client(Received(body, "r", 10, sent_at), ports)
            assert world.webhook.told
        assert world.task(task.task_id) == task
    else:
        pytest.fail("there is no end of effects")


# --- nobody at another's expense


def test_one_black_hole_holds_up_none_of_a_hundred_healthy_clients(world: World, queue: Queue) -> None:
    """Ten of its messages come before all others; the hundred are told while it is tried once."""
    holes = [completed_at(world, f"hole-{n}", "https://hole.example.com/") for n in range(10)]
    healthy = [completed_at(world, f"well-{n}", f"https://well-{n}.example.com/") for n in range(100)]
    world.webhook.faults["https://hole.example.com"] = DEAD
    world.webhook.seconds["https://hole.example.com"] = 10
    began = world.clock.now
    for task in (*holes, *healthy):
        queue.send(task)
    queue.run(until=began + 10_000)
    assert sorted(queue.handled) == sorted(task.task_id for task in healthy)
    assert sum(url == "https://hole.example.com/" for url, _, _ in world.webhook.told) == 1
    assert world.clock.now - began == 10_000  # the one try of the black hole, and not a second more
    world.webhook.told.clear()
    queue.run(until=began + GIVE_UP_MS)
    tries = len(world.webhook.told)
    assert 20 <= tries <= 60  # of ten messages over a day: once in each cool-down, whoever comes first
    world.webhook.faults.clear()
    queue.run()
    assert {task.task_id for task in holes} <= set(queue.handled)


def failed(world: World, task: Task) -> Task:
    """The task, after its provider gave it up."""
    entry = replace(task.history[0], status=Status.FAILED)
    changed = replace(task, status=Status.FAILED, version=task.version + 1, history=(*task.history, entry))
    return world.store.save(changed)


def completed_at(world: World, key: str, url: str) -> Task:
    world.key = key
    task = world.submit(key=key, callback_url=url)
    return failed(world, task)


def test_black_hole_of_one_tenant_is_not_another_tenants(world: World, queue: Queue) -> None:
    world.webhook.faults[ORIGIN] = DEAD
    queue.send(completed_at(world, "mine", HOOK))
    queue.run(until=world.clock.now)
    world.webhook.faults.clear()
    other = world.submit(key="theirs", tenant="other", callback_url=HOOK)
    world.tenants.create_tenant("other", 1)
    queue.send(failed(world, other))
    queue.run(until=world.clock.now)
    assert queue.handled == [other.task_id]


def test_after_a_cool_down_one_worker_tries_and_the_others_wait(world: World, queue: Queue) -> None:
    origins = world.notification.origins
    free = origins.take_turn(TENANT, ORIGIN, 0)
    assert free == Turn(0)
    origins.failed(TENANT, ORIGIN, free, 0, 1_000, FAULT)
    assert origins.take_turn(TENANT, ORIGIN, 10_000).wait_ms == 20_000
    assert origins.take_turn(TENANT, ORIGIN, 30_000).wait_ms == 0
    assert origins.take_turn(TENANT, ORIGIN, 30_001).wait_ms > 0
    origins.answered(TENANT, ORIGIN, origins.take_turn(TENANT, ORIGIN, 100_000), 100_000, 100)
    assert origins.take_turn(TENANT, ORIGIN, 100_001) == free


@pytest.mark.parametrize("fault", [None, Fault.SENT_TWICE])
def test_faults_of_two_workers_at_once_are_both_counted_and_an_answer_forgets_neither(
    world: World, queue: Queue, fault: Fault | None
) -> None:
    origins = world.notification.origins
    first, second, third = (origins.take_turn(TENANT, ORIGIN, 0) for _ in range(3))
    origins.failed(TENANT, ORIGIN, first, 10_000, 1_000, FAULT)
    origins.failed(TENANT, ORIGIN, second, 10_001, 1_000, FAULT)
    world.effects.gate = lambda _: fault
    origins.answered(TENANT, ORIGIN, third, 10_002, 9_000)  # took its turn before either of them
    world.effects.gate = lambda _: None
    turn = origins.take_turn(TENANT, ORIGIN, 10_003)
    assert (turn.failures, turn.fault, turn.wait_ms) == (2, FAULT, 29_998)


def test_slow_answer_rests_four_times_as_long_as_it_took_whatever_it_said(world: World, queue: Queue) -> None:
    world.webhook.seconds[ORIGIN] = 9
    for number, fault in enumerate((None, BUSY)):
        world.webhook.faults = {ORIGIN: fault} if fault else {}
        queue.send(completed_at(world, f"a-{number}", HOOK))
        queue.send(completed_at(world, f"b-{number}", HOOK))
        began = world.clock.now
        calls = len(world.webhook.told)
        queue.run(until=began + 9_000)
        assert len(world.webhook.told) == calls + 1
        turn = world.notification.origins.take_turn(TENANT, ORIGIN, world.clock.now)
        assert (world.clock.now - began, turn.wait_ms) == (9_000, 36_000)
        world.clock.now += 3_600_000
        world.webhook.faults = {}
        queue.run()
        world.clock.now += 3_600_000


def test_quick_answer_ends_the_rest(world: World, queue: Queue) -> None:
    world.webhook.seconds[ORIGIN] = 9
    queue.send(completed_at(world, "slow", HOOK))
    queue.run()
    world.webhook.seconds.clear()
    world.clock.advance(36)
    began = world.clock.now
    for number in range(20):
        queue.send(completed_at(world, f"quick-{number}", HOOK))
    queue.run(until=began)
    assert len(queue.handled) == 21


def test_message_that_only_waits_is_given_up_after_its_day_with_the_fault_of_its_origin(
    world: World, queue: Queue
) -> None:
    """Somebody else has the turn each time that this message comes."""
    task = completed(world)
    body = json.dumps({"task_id": task.task_id, "version": task.version})
    origins, sent_at = world.notification.origins, world.clock.now
    ports = replace(world.notification, queue=queue)
    origins.failed(TENANT, ORIGIN, origins.take_turn(TENANT, ORIGIN, sent_at), sent_at, 10_000, FAULT)
    assert not notify_client(Received(body, "r", 1, sent_at), ports)
    world.clock.now += GIVE_UP_MS
    origins.failed(TENANT, ORIGIN, Turn(0), world.clock.now, 10_000, FAULT)
    assert not notify_client(Received(body, "r", 5, sent_at), ports)
    assert failures(world) == []
    assert notify_client(Received(body, "r", 6, sent_at), ports)
    assert world.webhook.told == []
    (detail,) = failures(world)
    assert (detail["attempts"], detail["error"]) == (6, {"code": FAULT.code, "message": FAULT.message})
    assert queue.dead == [body]


def test_message_that_only_waits_behind_slow_answers_is_given_up_after_its_day(world: World, queue: Queue) -> None:
    task = completed(world)
    body = json.dumps({"task_id": task.task_id, "version": task.version})
    world.notification.origins.answered(TENANT, ORIGIN, Turn(0), world.clock.now, 9_000)
    received = Received(body, "r", 6, world.clock.now - GIVE_UP_MS)
    assert notify_client(received, replace(world.notification, queue=queue))
    (detail,) = failures(world)
    assert detail["error"]["code"] == "no_turn"
    assert queue.dead == [body]


def test_healthy_client_costs_no_write(world: World, queue: Queue) -> None:
    queue.send(completed(world))
    world.effects.names.clear()
    queue.run()
    assert world.effects.names == [
        "dynamodb.get_item",
        "dynamodb.get_item",
        "dynamodb.get_item",
        "dynamodb.get_item",
        "secretsmanager.get_secret_value",
        "webhook.post",
    ]
    assert "NotificationsSent" in metrics.provider.metric_set


# --- which change is the latest


def test_versions_may_begin_at_any_number(world: World) -> None:
    first = 1_764_457_000
    task = completed(world)
    later = replace(task, version=task.version - 1 + first)
    assert [status_of(later, first + n) for n in range(5)] == [status_of(task, 1 + n) for n in range(5)]
    assert status_of(later, first - 1) is None
    assert latest_notified(later) == later.version
    assert notification_body(later, later.version, lambda _: "")["version"] == later.version


def test_latest_change_is_the_end_or_processing_or_none(world: World) -> None:
    task = world.submit(callback_url=HOOK)
    assert latest_notified(task) is None
    world.provider.show("gen-1", ProgressState.PROCESSING)
    there = world.ring(task.task_id)
    assert (latest_notified(there), changes(there)) == (there.version, 3)
    world.provider.finish("gen-1")
    generated = world.ring(task.task_id)
    assert (latest_notified(generated), changes(generated)) == (there.version, 4)
    done = world.deliver(task.task_id)
    assert done is not None
    assert (latest_notified(done), changes(done)) == (done.version, 5)
