"""A tenant sends its webhooks again and tests an address: bounded, signed, and through the same guard and queue."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.simulation.provider import SimulatedWebhook
from tests.simulation.simulation import TENANT, Simulation
from tests.unit.account import WEBHOOK_MASTER
from vidu_relay.adapters.client_webhook import ClientWebhook
from vidu_relay.adapters.notification_queue import NotificationQueue
from vidu_relay.domain.errors import InvalidRequestError, NotificationFailedError
from vidu_relay.domain.limit_errors import HourlyLimitReachedError
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.webhook_signature import tenant_secret
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.usecases import send_webhook
from vidu_relay.usecases.send_webhook import HOURLY_REPLAYS, HOURLY_TESTS, SendingDependencies, send_test

HOOK = "https://client.example.com/hook?key=secret"
ORIGIN = "https://client.example.com"
BODY = json.dumps({"callback_url": HOOK}).encode()


class Sqs:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_message(self, **message: Any) -> None:
        self.sent.append({**json.loads(message["MessageBody"]), "group": message["MessageGroupId"]})


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


@pytest.fixture
def webhook(sim: Simulation) -> SimulatedWebhook:
    made = SimulatedWebhook(sim.effects)
    made.sleep = sim.clock.advance
    return made


@pytest.fixture
def deps(sim: Simulation, sqs: Any, webhook: SimulatedWebhook) -> SendingDependencies:
    return SendingDependencies(
        store=sim.store,
        tenants=sim.notification.tenants,
        quota=sim.quota,
        queue=NotificationQueue(sqs, "notifications"),
        webhook=webhook,
        master=sim.notification.master,
        clock=sim.clock,
        name=lambda: "0123",
    )


Replay = Callable[..., Any]


@pytest.fixture
def replay(sim: Simulation, deps: SendingDependencies) -> Replay:
    """Replays the sample task's `processing`, unless told otherwise."""
    task = sim.submit(callback_url=HOOK)
    sim.provider.show("gen-1", ProgressState.PROCESSING)
    version = str(sim.call_back(task.task_id).version)

    def run(*, task_id: str = task.task_id, version: str = version, tenant: str = TENANT) -> Any:
        return send_webhook.replay_notification(task_id, version, tenant, deps)

    return run


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        call()
    return caught.value.code


def test_replay_is_queued_in_its_tenants_group_under_the_same_id(sim: Simulation, sqs: Sqs, replay: Replay) -> None:
    taken = replay()
    (message,) = sqs.sent
    assert taken == {"webhook_id": f"{message['task_id']}:{message['version']}"}
    assert message == {**message, "task_id": sim.task_id(), "replay": True, "group": TENANT}


def test_only_what_a_tenants_own_client_is_notified_of_is_replayed(sim: Simulation, sqs: Sqs, replay: Replay) -> None:
    first = sim.task(sim.task_id()).first_version
    for version in (f"{first}", f"{first + 9}", "0", "-1", "", "x", f"+{first + 2}", f" {first + 2}", "9" * 5000):
        assert refusal(lambda version=version: replay(version=version)) == "notification_not_found"  # type: ignore[misc]
    assert replay(tenant="other") is replay(task_id="a" * 26) is replay(task_id="../x") is None
    sim.key = "quiet"
    quiet = sim.submit(key="quiet")
    assert refusal(lambda: replay(task_id=quiet.task_id, version=str(quiet.version))) == "no_callback_url"
    assert sqs.sent == []
    assert not [item for item in sim.items() if "replays" in item]


def test_replays_in_parallel_do_not_pass_the_hours_bound_which_is_the_tenants_own(
    sim: Simulation, sqs: Sqs, replay: Replay
) -> None:
    def one(_: int) -> str:
        try:
            return str(replay()["webhook_id"])
        except HourlyLimitReachedError as error:
            return error.code if 0 < error.retry_after_seconds <= 3601 else "waits too long"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(HOURLY_REPLAYS + 10)))
    assert answers.count("hourly_limit_reached") == 10
    assert len(sqs.sent) == HOURLY_REPLAYS
    sim.clock.advance(3600)
    assert replay()


def test_test_message_is_signed_has_its_own_type_and_comes_back_with_what_was_answered(
    sim: Simulation, deps: SendingDependencies, webhook: SimulatedWebhook
) -> None:
    sim.clock.now = int(time.time() * 1000)
    webhook.seconds[ORIGIN] = 0.25
    answer = send_test(BODY, TENANT, deps)
    assert answer == {**answer, "status": 204, "fault": None, "latency_ms": 250, "answer": "thanks"}
    ((url, body, headers),) = webhook.received
    assert (url, headers["webhook-id"]) == (HOOK, answer["webhook_id"])
    assert Webhook(tenant_secret(WEBHOOK_MASTER, TENANT, 1)).verify(body, dict(headers))["type"] == "webhook.test"
    assert len(body) < 100


@pytest.mark.parametrize(
    ("error", "status", "fault", "text"),
    [
        (NotificationFailedError("http_500", "HTTP 500.", status=500, answer="oh"), 500, None, "oh"),
        (NotificationFailedError("timeout", "Too long.", waited=True), None, "timeout", ""),
    ],
)
def test_failed_test_is_an_answer_and_not_an_error(
    deps: SendingDependencies, webhook: SimulatedWebhook, error: Any, status: int | None, fault: str | None, text: str
) -> None:
    webhook.faults[ORIGIN] = error
    answer = send_test(BODY, TENANT, deps)
    assert (answer["status"], answer["fault"], answer["answer"]) == (status, fault, text)


def test_test_messages_of_an_hour_are_bounded_before_any_name_is_looked_up(
    sim: Simulation, deps: SendingDependencies, webhook: SimulatedWebhook
) -> None:
    for number in range(HOURLY_TESTS):
        send_test(json.dumps({"callback_url": f"https://host-{number}.example.com/"}).encode(), TENANT, deps)
    assert refusal(lambda: send_test(BODY, TENANT, deps)) == "hourly_limit_reached"
    assert len(webhook.received) == HOURLY_TESTS
    send_test(BODY, "other", deps)
    sim.clock.advance(3600)
    send_test(BODY, TENANT, deps)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "https://example.com:22/", "https://10.0.0.1/", "https://u:p@example.com/"),
        *("https://[::1]/", "https://inward.example.com/", "https://example.com/\r\nX: y", "ftp://example.com/"),
    ],
)
def test_address_that_webhooks_may_not_call_is_refused_and_counted(
    sim: Simulation, deps: SendingDependencies, url: str
) -> None:
    guard = AddressGuard(resolve=lambda host, _: [host.strip("[]") if host[0] in "1:[" else "169.254.169.254"])
    guarded = SendingDependencies(
        **{name: getattr(deps, name) for name in deps.__dataclass_fields__} | {"webhook": ClientWebhook(guard)}
    )
    body = json.dumps({"callback_url": url}).encode()
    assert refusal(lambda: send_test(body, TENANT, guarded)) == "invalid_callback_url"
    (counted,) = (item for item in sim.items() if "test messages" in item)
    assert counted["test messages"] == {"N": "1"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "malformed_json"),
        (b"[]", "validation_error"),
        (b"{}", "validation_error"),
        (b'{"callback_url": 7}', "validation_error"),
        (b'{"callback_url": "https://a.example/", "callback_url": "https://b.example/"}', "validation_error"),
        (b'{"callback_url": "https://example.com/", "body": "x"}', "validation_error"),
        (json.dumps({"callback_url": "https://example.com/" + "x" * 2048}).encode(), "validation_error"),
    ],
)
def test_body_that_names_no_address_is_refused_and_not_counted(
    sim: Simulation, deps: SendingDependencies, content: bytes, code: str
) -> None:
    assert refusal(lambda: send_test(content, TENANT, deps)) == code
    assert not [item for item in sim.items() if "test messages" in item]
