"""The one route without a key that changes tasks: forged callbacks, and two hundred at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from local.client import RelayClient
from tests.e2e.attempts import Answer, calm_task, effects, listed, send, settled_task, token_of
from tests.e2e.conftest import request_of
from tests.e2e.waiting import events_until, wait_until

MISSING = "a" * 26
RESULTS = [{"type": "video", "url": "https://forger.example"}]
LIE = json.dumps({"id": "x", "status": "completed", "output": [{"results": RESULTS}]}).encode()
HONEST = [f"VideoTask{state}" for state in ("Accepted", "Submitted", "Processing", "Generated", "Completed")]

Body = dict[str, Any]

TOKENS = (
    "",
    "?token=",
    "?token={other}",
    "?token={cut}",
    "?token={good}A",
    "?token=k2.{mac}",
    "?token={mac}",
    "?token=%20{good}",
    "?token={good}%00",
    "?token=x&token={good}",
    "?token={good}&token=x",
    "?token%5B%5D={good}",
    "?token={kid}%252E{mac}",
    "?token={good}%FF",
    "?token={api_key}",
)
"""Queries that are not the one the provider was given, made of a task's good token and another task's."""
PATHS = (
    f"/v1/callbacks/{MISSING}",
    "/v1/callbacks/{upper}",
    "/v1/callbacks/{task}a",
    "/v1/callbacks/{task}%00",
    "/v1/callbacks/task%23{task}",
    "/v1/callbacks/%20{task}",
)
"""Paths that reach the function."""
NOT_OUR_PATHS = (
    "/v1/callbacks/{task}/",
    "/v1/callbacks//{task}",
    "/v1/callbacks/x/../{task}",
    "/v1/callbacks/x%2F..%2F{task}",
    "/v1/tasks/../callbacks/{task}",
    "/callbacks/{task}",
)
"""Paths of no route."""
BODIES = (b"\xff\xfe\x00", b"[" * 200_000, b'{"status": "completed", "x": "' + b"y" * 4_400_000 + b'"}', b"")
SPOOFED = (
    ("x-http-method-override", "GET"),
    ("x-original-url", "/v1/callbacks/other"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-hmac-signature", "AAAA"),
    ("content-encoding", "gzip"),
)


@pytest.fixture(scope="module")
def calm(relay: RelayClient, request: pytest.FixtureRequest) -> tuple[str, str, str]:
    """A task's id and good token, and the token of another task."""
    body = request_of(relay, request)
    other = body | {"prompt": "@fox never meets @robot"}
    task_id = calm_task(relay, body | {"prompt": "@fox only meets @robot"})
    calm_task(relay, other)
    tokens = (token_of(relay, {"prompt": one}) for one in ("@fox only meets @robot", other["prompt"]))
    good, foreign = (token.removeprefix("token=") for token in tokens)
    return task_id, good, foreign


def test_every_forged_callback_is_refused_alike_changes_nothing_and_is_counted(
    relay: RelayClient, calm: tuple[str, str, str]
) -> None:
    """Wrong tokens, wrong paths, spoofed headers, and bodies that a reader would fail at."""
    task_id, good, other = calm
    kid, _, mac = good.partition(".")
    path, before = f"/v1/callbacks/{task_id}", effects(relay, task_id)
    names = {"task": task_id, "upper": task_id.upper(), "good": good, "other": other, "kid": kid, "mac": mac}
    names |= {"cut": good[:-1], "api_key": f"{kid}.{relay.stack.api_key}"}

    def post(target: str, body: bytes = LIE, *headers: tuple[str, str]) -> Answer:
        return send(relay.stack, "POST", target.format(**names), headers=headers, body=body)

    refusal = post(f"/v1/callbacks/{MISSING}?token=k1.AAAA", b"{}")
    assert (refusal.status, json.loads(refusal.body)["code"]) == (403, "callback_refused")
    forged = {query: post(path + query) for query in TOKENS}
    forged |= {one: post(f"{one}?token={good}") for one in PATHS}
    forged |= {name: post(f"{path}?token=k1.AAAA", LIE, (name, value)) for name, value in SPOOFED}
    forged |= {str(len(body)): post(f"{path}?token=k1.AAAA", body) for body in BODIES}
    assert {name: answer for name, answer in forged.items() if answer != refusal} == {}
    for one in NOT_OUR_PATHS:
        assert post(f"{one}?token={good}")[::2] == (404, b'{"message":"Not Found"}')
    for method in ("GET", "HEAD", "PUT", "DELETE", "TRACE", "OPTIONS"):
        answer = send(relay.stack, method, f"{path}?token={good}", body=LIE)
        assert answer.status in (403, 404, 405), "API Gateway's own answer"
    assert post(f"{path}?token={good}", b"x" * (10 * 2**20 + 1)).status == 413, "API Gateway's limit"
    assert send(relay.stack, "GET", f"/v1/tasks/{task_id}", key=good).status == 403, "a token is no API key"
    assert effects(relay, task_id) == before

    def counted() -> bool:
        listed = relay.aws("cloudwatch").list_metrics(Namespace="ViduRelay")["Metrics"]
        return {"CallbackRefused", "CallbackRefusedAddress"} <= {metric["MetricName"] for metric in listed}

    wait_until(counted, "the metrics")


def test_lie_behind_a_good_token_only_causes_a_read_of_the_provider(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}, "callbacks": {"drop": True}})
    task_id = relay.submit(request_body)["task_id"]
    target = f"/v1/callbacks/{task_id}?{token_of(relay, request_body)}"

    assert send(relay.stack, "POST", target, body=LIE).status == 200
    assert relay.task(task_id)["status"] in ("submitted", "processing")
    machine = {"stateMachineArn": relay.stack.state_machine_arn}
    runs = listed(relay, "stepfunctions", "list_executions", "executions", **machine)
    assert [run for run in runs if run["name"].startswith(f"{task_id}-")]


def test_replayed_callback_of_a_settled_task_does_nothing_and_is_answered_as_for_an_open_one(
    relay: RelayClient, request_body: Body, calm: tuple[str, str, str]
) -> None:
    task = settled_task(relay, request_body)
    target = f"/v1/callbacks/{task['task_id']}?{token_of(relay, request_body)}"
    before = effects(relay, task["task_id"])
    answers = [
        send(relay.stack, "POST", target, body=body)
        for body in (LIE, b'{"status": "failed", "error": {"code": "x"}}', b'{"status": "canceled"}', b"")
    ]
    answers.append(send(relay.stack, "POST", f"/v1/callbacks/{calm[0]}?token={calm[1]}"))

    assert [answer for answer in answers if answer != answers[0]] == []
    assert (answers[0].status, answers[0].body) == (200, b'{"status":"ok"}')
    assert effects(relay, task["task_id"]) == before


def test_burst_of_callbacks_leaves_what_the_honest_sequence_leaves(relay: RelayClient, request_body: Body) -> None:
    """Duplicates, every state, forged ones between: each event at most once, in order."""
    relay.script(request_body["prompt"], {"callbacks": {"drop": True}})
    task_id = relay.submit(request_body)["task_id"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    token = token_of(relay, request_body)
    states = ("created", "queueing", "processing", "success", "completed", "failed", None)

    def call_back(number: int) -> tuple[bool, int]:
        forged = number % 4 == 0
        lie = {"id": (seen["id"], "another", 7)[number % 3], "status": states[number % 7], "error": "no"}
        target = f"/v1/callbacks/{task_id}?{token.swapcase() if forged else token}"
        return forged, relay.call("POST", target, json=lie).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call_back, range(200)))
    assert {status for forged, status in answers if forged} <= {403, 429}
    assert {status for forged, status in answers if not forged} <= {200, 429}
    assert (False, 200) in answers

    task = relay.wait(task_id, "completed", meanwhile=relay.sweep)
    events = events_until(relay, task_id, HONEST[-1])
    kinds = [event["detail-type"] for event in events]
    assert kinds == [kind for kind in HONEST if kind in kinds]
    first = int(datetime.fromisoformat(task["created_at"]).timestamp())
    versions = [event["detail"]["task"]["version"] for event in events]
    assert versions == [*range(first, task["version"] + 1)]
    assert relay.create_calls(task_id) == 1
