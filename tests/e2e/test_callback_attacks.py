"""The one working door without a key, tried from outside: nothing that a stranger sends changes or reveals anything."""

import base64
import json
from typing import Any

import pytest

from local.client import RelayClient
from tests.e2e.attempts import Answer, calm_task, effects, send, settled_task, token_of
from tests.e2e.waiting import wait_until

MISSING = "a" * 26
LIE = json.dumps(
    {"id": "x", "status": "completed", "output": [{"results": [{"url": "https://forger.example"}]}]}
).encode()

Body = dict[str, Any]

TOKENS = {
    "none": "",
    "empty": "?token=",
    "other name": "?Token={good}",
    "of another task": "?token={other}",
    "cut": "?token={cut}",
    "longer": "?token={good}A",
    "other case": "?token={kid}.{swapped}",
    "padded": "?token={good}%3D",
    "other key's name": "?token=k2.{mac}",
    "no key's name": "?token={mac}",
    "empty key's name": "?token=.{mac}",
    "the word active": "?token=active.{mac}",
    "only the key's name": "?token={kid}.",
    "in standard base 64": "?token={cut}%2B",
    "space before": "?token=%20{good}",
    "line end behind": "?token={good}%0A",
    "null byte behind": "?token={good}%00",
    "twice, a wrong one first": "?token=x&token={good}",
    "twice, a wrong one last": "?token={good}&token=x",
    "twice the good one": "?token={good}&token={good}",
    "as a list": "?token%5B%5D={good}",
    "with a comma": "?token={good},{good}",
    "other separator": "?a=b;token={good}",
    "encoded twice": "?token={kid}%252E{mac}",
    "not UTF-8": "?token={good}%FF",
    "long": "?token={long}",
}
"""Queries that are not the one the provider was given, from a task's good token and another task's."""


def queries(good: str, other: str) -> dict[str, str]:
    kid, _, mac = good.partition(".")
    parts = {"kid": kid, "mac": mac, "cut": good[:-1], "swapped": mac.swapcase(), "long": "A" * 4000}
    return {name: form.format(good=good, other=other, **parts) for name, form in TOKENS.items()}


PATHS = {
    "another task": f"/v1/callbacks/{MISSING}",
    "upper case": "/v1/callbacks/{upper}",
    "longer": "/v1/callbacks/{task}a",
    "with a null byte": "/v1/callbacks/{task}%00",
    "with parameters": "/v1/callbacks/{task};x=y",
    "with the table's prefix": "/v1/callbacks/task%23{task}",
    "with a line end": "/v1/callbacks/{task}%0A",
    "with a space": "/v1/callbacks/%20{task}",
    "wide letters": "/v1/callbacks/%EF%BD%81{task}",
}
"""Paths that reach the function, with the good token of `task`."""

NOT_OUR_PATHS = {
    "slash behind": "/v1/callbacks/{task}/",
    "encoded slash behind": "/v1/callbacks/{task}%2F",
    "two slashes": "/v1/callbacks//{task}",
    "dots": "/v1/callbacks/x/../{task}",
    "encoded dots": "/v1/callbacks/%2e%2e/callbacks/{task}",
    "encoded slashes": "/v1/callbacks/x%2F..%2F{task}",
    "from another route": "/v1/tasks/../callbacks/{task}",
    "deeper": "/v1/callbacks/{task}/{task}",
    "without the version": "/callbacks/{task}",
    "another version": "/v2/callbacks/{task}",
    "upper case": "/V1/CALLBACKS/{task}",
    "no task": "/v1/callbacks/",
}
"""Paths that no route takes."""


@pytest.fixture
def task_id(relay: RelayClient, request_body: Body) -> str:
    return calm_task(relay, request_body)


@pytest.fixture
def good(relay: RelayClient, request_body: Body, task_id: str) -> str:
    """The task's good token."""
    return token_of(relay, request_body).removeprefix("token=")


@pytest.fixture(scope="module")
def refusal(relay: RelayClient) -> Answer:
    """What every refusal looks like."""
    answer = send(relay.stack, "POST", f"/v1/callbacks/{MISSING}?token=k1.AAAA", body=b"{}")
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "callback_refused")
    return answer


def test_every_wrong_token_is_refused_alike_and_changes_nothing(
    relay: RelayClient, request_body: Body, task_id: str, good: str, refusal: Answer
) -> None:
    other_request = request_body | {"prompt": f"{request_body['prompt']}, another"}
    other_id = calm_task(relay, other_request)
    other = next(
        seen["request"]["params"]["callback_url"].partition("token=")[2]
        for seen in relay.seen_by_provider(other_request["prompt"])
    )
    before = effects(relay, task_id, other_id)
    answers = {
        name: send(relay.stack, "POST", f"/v1/callbacks/{task_id}{query}", body=LIE)
        for name, query in queries(good, other).items()
    }

    assert {name: answer for name, answer in answers.items() if answer != refusal} == {}
    assert effects(relay, task_id, other_id) == before


def test_every_wrong_path_is_refused_alike_and_changes_nothing(
    relay: RelayClient, task_id: str, good: str, refusal: Answer
) -> None:
    before = effects(relay, task_id)
    names = {"task": task_id, "upper": task_id.upper()}
    answers = {
        name: send(relay.stack, "POST", f"{path.format(**names)}?token={good}", body=LIE)
        for name, path in PATHS.items()
    }
    elsewhere = {
        name: send(relay.stack, "POST", f"{path.format(**names)}?token={good}", body=LIE)
        for name, path in NOT_OUR_PATHS.items()
    }

    assert {name: answer for name, answer in answers.items() if answer != refusal} == {}
    assert {(answer.status, answer.body) for answer in elsewhere.values()} == {(404, b'{"message":"Not Found"}')}
    assert effects(relay, task_id) == before


@pytest.mark.parametrize("method", ("GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "POSTS"))
def test_other_method_reaches_nobody(relay: RelayClient, task_id: str, good: str, method: str) -> None:
    before = effects(relay, task_id)
    answer = send(relay.stack, method, f"/v1/callbacks/{task_id}?token={good}", body=LIE)

    assert answer.status in (403, 404, 405), "API Gateway's own answer"
    assert b"callback" not in answer.body
    assert effects(relay, task_id) == before


@pytest.mark.parametrize(
    "headers",
    (
        [("x-http-method-override", "GET")],
        [("content-type", "application/x-www-form-urlencoded")],
        [("x-amzn-trace-id", "Root=1-0-0;Parent=0;Sampled=1")],
        [("x-original-url", "/v1/callbacks/other")],
        [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-host", "forger.example")],
        [("x-hmac-signature", "AAAA"), ("x-hmac-access-key", "A"), ("x-hmac-algorithm", "hmac-sha256")],
        [("content-encoding", "gzip")],
    ),
    ids=lambda headers: headers[0][0],
)
def test_header_makes_no_wrong_token_right(
    relay: RelayClient, task_id: str, refusal: Answer, headers: list[tuple[str, str]]
) -> None:
    before = effects(relay, task_id)
    assert send(relay.stack, "POST", f"/v1/callbacks/{task_id}?token=k1.AAAA", headers=headers, body=LIE) == refusal
    assert effects(relay, task_id) == before


@pytest.mark.parametrize(
    "body",
    (
        pytest.param(b"\xff\xfe\x00", id="binary"),
        pytest.param(b"[" * 200_000, id="deep"),
        pytest.param(b'{"id": "' + b"x" * 2_000_000 + b'"}', id="2 MB"),
        pytest.param(b'{"status": "completed", "x": "' + b"y" * 4_400_000 + b'"}', id="4.4 MB"),
        pytest.param(b'{"status": ' + b"9" * 5000 + b"}", id="long number"),
        pytest.param(b'{"status": "completed", "status": {"$gt": ""}}', id="operator"),
        pytest.param(b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>", id="XML"),
        pytest.param(b"", id="empty"),
    ),
)
def test_body_of_a_stranger_is_never_looked_at(relay: RelayClient, task_id: str, refusal: Answer, body: bytes) -> None:
    before = effects(relay, task_id)
    assert send(relay.stack, "POST", f"/v1/callbacks/{task_id}?token=k1.AAAA", body=body) == refusal
    assert effects(relay, task_id) == before


def test_body_over_ten_megabytes_never_reaches_us(relay: RelayClient, task_id: str, good: str) -> None:
    before = effects(relay, task_id)
    answer = send(relay.stack, "POST", f"/v1/callbacks/{task_id}?token={good}", body=b"x" * (10 * 2**20 + 1))
    assert answer.status == 413
    assert effects(relay, task_id) == before


def test_replayed_callback_of_a_settled_task_does_nothing(relay: RelayClient, request_body: Body) -> None:
    task = settled_task(relay, request_body)
    query = token_of(relay, request_body)
    before = effects(relay, task["task_id"])
    for body in (LIE, b'{"status": "failed", "error": {"code": "x"}}', b'{"status": "canceled"}', b""):
        answer = send(relay.stack, "POST", f"/v1/callbacks/{task['task_id']}?{query}", body=body)
        assert (answer.status, answer.body) == (200, b'{"status":"ok"}')

    assert effects(relay, task["task_id"]) == before


def test_callback_of_a_settled_task_and_of_an_open_one_are_answered_alike(
    relay: RelayClient, request_body: Body, task_id: str, good: str
) -> None:
    """Even the holder of an address learns nothing of the task by ringing."""
    settled_request = request_body | {"prompt": "@fox waits for @robot"}
    settled = relay.wait(relay.submit(settled_request)["task_id"], "completed")["task_id"]
    seen = relay.seen_by_provider(settled_request["prompt"])[-1]
    query = seen["request"]["params"]["callback_url"].partition("?")[2]

    assert send(relay.stack, "POST", f"/v1/callbacks/{settled}?{query}") == send(
        relay.stack, "POST", f"/v1/callbacks/{task_id}?token={good}"
    )


def test_callback_token_is_no_api_key_and_an_api_key_no_token(
    relay: RelayClient, task_id: str, good: str, refusal: Answer
) -> None:
    assert send(relay.stack, "GET", f"/v1/tasks/{task_id}", key=good).status == 403
    assert send(relay.stack, "GET", f"/v1/tasks/{task_id}?token={good}").status == 401
    key = relay.stack.api_key
    assert send(relay.stack, "POST", f"/v1/callbacks/{task_id}?token=k1.{key}", key=key) == refusal
    basic = base64.b64encode(f"x:{good}".encode()).decode()
    assert send(relay.stack, "GET", f"/v1/tasks/{task_id}", headers=[("authorization", f"Basic {basic}")]).status == 403


def test_burst_of_guesses_is_counted_and_alarmed_by_reason(relay: RelayClient, task_id: str, refusal: Answer) -> None:
    """What looks alike from outside is told apart by our own metrics."""
    for number in range(20):
        assert send(relay.stack, "POST", f"/v1/callbacks/{task_id}?token=k1.guess{number}") == refusal

    def counted() -> bool:
        names = {m["MetricName"] for m in relay.aws("cloudwatch").list_metrics(Namespace="ViduRelay")["Metrics"]}
        return {"CallbackRefused", "CallbackRefusedAddress"} <= names

    wait_until(counted, "the metrics")
    assert "AlarmTopic" in relay.resources()
