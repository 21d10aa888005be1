"""The callback route without a good token: one answer to every attempt, and no body breaks it."""

import base64
import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from types import MappingProxyType
from typing import Any

import pytest

from tests.functions.conftest import TASK_ID, Context, Relay
from tests.unit.account import CALLBACK_SECRET, PROVIDER_KEY
from tests.unit.template import sample
from vidu_relay.domain.callback_signature import signature_for
from vidu_relay.domain.callback_token import CallbackKeys, callback_url
from vidu_relay.domain.states import Status
from vidu_relay.http import MAX_BODY_BYTES

GOOD = CallbackKeys(CALLBACK_SECRET).sign(TASK_ID)
GONE = "a" * 26
Event = dict[str, Any]


def callback(**changed: Any) -> Event:
    return {**sample("receive_callback__success"), **changed}


def signed(
    task_id: str = TASK_ID, *, body: Event | None = None, changed: Mapping[str, str] = MappingProxyType({})
) -> Event:
    """A callback that the provider signed, with headers changed afterwards."""
    date = changed.get("date", formatdate(usegmt=True))
    token = CallbackKeys(CALLBACK_SECRET).sign(task_id)
    url = callback_url("https://relay.example.com", task_id, token)
    names = (("Date", date), ("x-request-nonce", "n"))
    headers = {
        "date": date,
        "x-request-nonce": "n",
        "x-hmac-signed-headers": "Date;x-request-nonce",
        "x-hmac-signature": signature_for(PROVIDER_KEY, method="POST", url=url, date=date, signed_headers=names),
        "x-hmac-algorithm": "hmac-sha256",
        "x-hmac-access-key": "vidu",
        **changed,
    }
    event = callback(pathParameters={"task_id": task_id}, queryStringParameters={"token": token}, **(body or {}))
    return {**event, "headers": {**event["headers"], **headers}}


REFUSED: dict[str, dict[str, Callable[[], Event]]] = {
    "CallbackRefusedAddress": {
        "no query": lambda: callback(queryStringParameters=None),
        "no token": lambda: callback(queryStringParameters={"other": "x"}),
        "empty": lambda: callback(queryStringParameters={"token": ""}),
        "wrong": lambda: callback(queryStringParameters={"token": "k1.AAAA"}),
        "unknown key": lambda: callback(queryStringParameters={"token": "k9.AAAA"}),
        "twice": lambda: callback(queryStringParameters={"token": f"{GOOD},{GOOD}"}),
        "no task": lambda: callback(pathParameters=None),
        "another task": lambda: callback(pathParameters={"task_id": GONE}),
        "no task's name": lambda: callback(pathParameters={"task_id": "../../x"}),
    },
    "CallbackRefusedUnknownTask": {"a task that is gone": lambda: signed(GONE)},
    "CallbackRefusedSignature": {
        "unsigned": lambda: callback(headers={}),
        "badly signed": lambda: signed(changed={"x-hmac-signature": "AAAA"}),
        "signed for another nonce": lambda: signed(changed={"x-request-nonce": "m"}),
        "signed long ago": lambda: signed(changed={"date": "Tue, 06 May 2025 12:09:42 GMT"}),
    },
}


@pytest.fixture
def strict(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """The samples' task, and a callback function that asks for signatures."""
    import tests.functions.conftest as surroundings

    plain = surroundings.environment
    monkeypatch.setattr(
        surroundings, "environment", lambda account: {**plain(account), "CALLBACK_SIGNATURE": "require"}
    )
    relay.submitted()
    return relay


def test_every_refusal_is_the_same_answer_and_counted_by_its_kind(
    strict: Relay, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: dict[str, dict[str, Any]] = {}
    reads = len(strict.gateway.requests)
    for metric, name, event in ((metric, *case) for metric, several in REFUSED.items() for case in several.items()):
        capsys.readouterr()
        answers[name] = strict.invoke("receive_callback", event())
        counted = {key for line in capsys.readouterr().out.splitlines() if "_aws" in line for key in json.loads(line)}
        assert {key for key in counted if key.startswith("Callback")} == {"CallbackRefused", metric}, name
    first = answers["wrong"]
    assert first["statusCode"] == 403
    assert [name for name, answer in answers.items() if answer != first] == []
    assert len(strict.gateway.requests) == reads, "nothing was asked of the provider"
    assert strict.task().status is Status.SUBMITTED


BODIES: dict[str, Event] = {
    "none": {"body": None},
    "no base 64": {"body": "%%%", "isBase64Encoded": True},
    "deep": {"body": "[" * 300_000},
    "too long": {"body": '{"status":"failed","id":"' + "x" * MAX_BODY_BYTES + '"}'},
    "too long in base 64": {"body": base64.b64encode(bytes(MAX_BODY_BYTES + 1)).decode(), "isBase64Encoded": True},
    "binary": {"body": base64.b64encode(bytes(range(256))).decode(), "isBase64Encoded": True},
    "half a character": {"body": '{"status": "\ud800"}'},
}


@pytest.mark.parametrize("name", BODIES)
def test_a_signed_callback_counts_whatever_its_body_is(strict: Relay, name: str) -> None:
    """Too long, unreadable or senseless: the provider is read all the same, and its answer is what counts."""
    strict.gateway.status = "completed"
    assert strict.invoke("receive_callback", signed(body=BODIES[name]))["statusCode"] == 200
    assert strict.task().status is Status.GENERATED


def test_body_that_is_too_long_is_not_parsed(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    relay.submitted()
    module = relay.load("receive_callback")
    seen: list[bytes] = []
    monkeypatch.setattr(module, "receive_callback", lambda callback, _: seen.append(callback.body))
    for length in (MAX_BODY_BYTES, MAX_BODY_BYTES + 1):
        module.handler(callback(body="x" * length), Context())
    assert [len(body) for body in seen] == [MAX_BODY_BYTES, 0]
