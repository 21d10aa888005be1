"""`relay tail` makes a rule and a queue in the account, and removes both whatever happens."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cli.command import INTERRUPTED
from cli.connection import Connection
from cli.tailing import PREFIX, TYPES
from local.description.events import SENT
from tests.unit.account import REGION
from tests.unit.cli.conftest import STACK, Deployment, Run, Stacks
from vidu_relay.domain.notification import EVENT_TYPE_NOTIFICATION_FAILED
from vidu_relay.domain.states import EVENT_TYPE_REJECTED

BUS = "relay-events"
TASK_ID = "a" * 26

Steps = dict[str, Callable[..., Any]]

OVER = threading.Event()
"""Whether the test is over, which ends the calls that are under way."""


class _Watched:
    """A client of AWS with replaced operations."""

    def __init__(self, client: Any, steps: Steps) -> None:
        self._client, self._steps = client, steps

    def __getattr__(self, name: str) -> Any:
        return self._steps.get(name) or getattr(self._client, name)


@pytest.fixture
def steps(deployment: Deployment, stacks: Stacks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """Replacements of AWS operations, by name."""
    planned: Steps = {}
    stacks[STACK]["EventBus"] = BUS

    whole = Connection.client
    monkeypatch.setattr(Connection, "client", lambda self, service: _Watched(whole(self, service), planned))
    monkeypatch.setattr("cli.tailing.FIRST_PAUSE_SECONDS", 0.001)
    OVER.clear()
    yield planned
    OVER.set()


def _events() -> Any:
    return boto3.client("events", region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")


def left_behind(deployment: Deployment) -> list[str]:
    rules = _events().list_rules(EventBusName=BUS, NamePrefix=PREFIX)["Rules"]
    queues = deployment.client("sqs").list_queues(QueueNamePrefix=PREFIX).get("QueueUrls", [])
    return [*(rule["Name"] for rule in rules), *queues]


def interrupt() -> None:
    """Ctrl-C, as the terminal sends it: to the process, whose kernel chooses the thread."""
    os.kill(os.getpid(), signal.SIGINT)


def ends(*_: object, **__: object) -> Any:
    """Ctrl-C comes during the call, and no message."""
    interrupt()
    OVER.wait()
    return {}


def fails(operation: str, code: str = "AccessDenied") -> Callable[..., Any]:
    def step(**_: object) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    return step


def event(**detail: Any) -> dict[str, Any]:
    return {"time": "2026-11-23T02:03:27Z", "detail-type": TYPES[0], "detail": {"tenant_id": "acme", **detail}}


def receives(*replies: Any) -> Callable[..., Any]:
    """Answers of the queue, one after another; then Ctrl-C."""
    waiting = list(replies)

    def step(**_: object) -> Any:
        if not waiting:
            return ends()
        reply = waiting.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return {"Messages": [{"Body": json.dumps(one), "ReceiptHandle": "r"} for one in reply]}

    return step


def test_rule_has_the_given_filter_and_nothing_is_left(relay: Run, steps: Steps, deployment: Deployment) -> None:
    patterns: list[Any] = []

    def look(**_: object) -> Any:
        (rule,) = _events().list_rules(EventBusName=BUS, NamePrefix=PREFIX)["Rules"]
        assert len(left_behind(deployment)) == 2
        patterns.append(json.loads(rule["EventPattern"]))
        return ends()

    steps["receive_message"] = look
    options = ("--tenant", "acme", "--task", TASK_ID, "--type", TYPES[0], "--type", TYPES[1])
    assert relay("tail", *options)[0] == INTERRUPTED
    assert relay("tail")[0] == INTERRUPTED
    asked = {"$or": [{"task": {"task_id": [TASK_ID]}}, {"task_id": [TASK_ID]}], "tenant_id": ["acme"]}
    assert patterns == [
        {"source": ["vidu-relay"], "detail-type": list(TYPES[:2]), "detail": asked},
        {"source": ["vidu-relay"]},
    ]
    assert left_behind(deployment) == []


def test_events_are_shown_also_after_an_outage(relay: Run, steps: Steps) -> None:
    outage = EndpointConnectionError(endpoint_url="https://sqs")
    fault = ClientError({"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "receive_message")  # type: ignore[typeddict-item]  # AWS has more fields
    first = event(task={"task_id": TASK_ID, "version": 1, "error": None})
    failed = event(task={"task_id": TASK_ID, "version": 2, "error": {"code": "008017099", "message": "bad\x1b[2J"}})
    rejected = {**event(source="acme.orders", error={"code": "x", "detail": "why"}), "detail-type": EVENT_TYPE_REJECTED}
    failed_webhook = event(
        task_id=TASK_ID, version=2, url_origin="https://a.example", error={"code": "x", "message": "why"}
    )
    failed_webhook["detail-type"] = EVENT_TYPE_NOTIFICATION_FAILED
    others = [event(task_id=TASK_ID, provider="vidu"), event(batch={"batch_id": "b1"}), event(provider="vidu")]
    every = [failed, rejected, failed_webhook, *others]
    for as_json in (False, True):
        steps["receive_message"] = receives([first], outage, fault, [], every)
        steps["delete_message"] = lambda **_: {}
        status, out, complaint = relay(*(["--json"] if as_json else []), "tail")
        assert (status, complaint.count("no answer from SQS")) == (INTERRUPTED, 1)
        if as_json:
            assert [json.loads(line) for line in out.splitlines()] == [first, *every]
        else:
            assert [line.split()[3:] for line in out.splitlines()] == [
                ["acme", TASK_ID, "v1"],
                ["acme", TASK_ID, "v2", "008017099:", "bad?[2J"],
                ["acme", "acme.orders", "x:", "why"],
                ["acme", TASK_ID, "v2", "https://a.example", "x:", "why"],
                *(["acme", about] for about in (TASK_ID, "b1", "vidu")),
            ]


def test_every_event_can_be_filtered_by_its_type() -> None:
    assert set(TYPES) == set(SENT)


@pytest.mark.parametrize(
    "operation", ["create_queue", "put_rule", "set_queue_attributes", "put_targets", "receive_message"]
)
def test_refused_call_ends_it_and_leaves_nothing(
    relay: Run, steps: Steps, deployment: Deployment, operation: str
) -> None:
    steps[operation] = fails(operation)
    status, _, complaint = relay("tail")
    assert (status, "AccessDenied" in complaint) == (1, True)
    assert left_behind(deployment) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_during_setup_or_removal_waits_for_its_end(
    relay: Run, steps: Steps, deployment: Deployment, number: signal.Signals
) -> None:
    sent: list[str] = []

    def hit(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(**arguments: Any) -> Any:
            sent.append(call.__name__)
            os.kill(os.getpid(), number)
            return call(**arguments)

        return step

    steps["create_queue"] = hit(deployment.client("sqs").create_queue)
    steps["put_rule"] = hit(_events().put_rule)
    steps["delete_rule"] = hit(_events().delete_rule)
    before = signal.getsignal(number)
    status, _, complaint = relay("tail")
    assert (status, sent) == (INTERRUPTED, ["create_queue", "put_rule", "delete_rule"]), complaint
    assert left_behind(deployment) == []
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_interrupts_no_call(relay: Run, steps: Steps, deployment: Deployment, number: signal.Signals) -> None:
    """An interrupted call may leave the lock of its pool of connections, and the removal would wait for ever."""
    whole: list[bool] = []

    def delete(**_: object) -> dict[str, Any]:
        os.kill(os.getpid(), number)
        whole.append(True)
        return {}

    steps["receive_message"] = receives([event(task_id=TASK_ID, version=1)])
    steps["delete_message"] = delete
    assert relay("tail")[0] == INTERRUPTED
    assert whole == [True]
    assert left_behind(deployment) == []


def test_signal_ends_a_write_that_waits_for_its_reader(
    relay: Run, steps: Steps, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[bool] = []

    def line(*_: object) -> None:
        interrupt()
        shown.append(True)

    monkeypatch.setattr("cli.tailing.Screen.line", line)
    steps["receive_message"] = receives([event(task_id=TASK_ID, version=1)])
    assert relay("tail")[0] == INTERRUPTED
    assert shown == []
    assert left_behind(deployment) == []


@pytest.mark.parametrize("operation", ["remove_targets", "delete_rule", "delete_queue"])
def test_what_cannot_be_removed_is_named_and_the_rest_is_removed(
    relay: Run, steps: Steps, deployment: Deployment, operation: str
) -> None:
    steps["receive_message"] = ends
    steps[operation] = fails(operation)
    status, _, complaint = relay("tail")
    left = left_behind(deployment)
    assert status == 1
    assert f"delete the rule {PREFIX}" in complaint
    assert len(left) <= 1 + (operation == "remove_targets")
    assert all(name.rpartition("/")[2] in complaint for name in left)


def test_other_task_id_is_refused_before_anything_is_made(relay: Run, steps: Steps, deployment: Deployment) -> None:
    steps["create_queue"] = fails("create_queue")
    status, _, complaint = relay("tail", "--task", "*")
    assert (status, "a task id has 26" in complaint) == (1, True)
