"""Functions of a deployment with the keys of two providers: each key goes to its own provider's address alone."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.functions import conftest
from tests.functions.conftest import Relay
from tests.unit.template import sample
from vidu_relay.domain.states import Status
from vidu_relay.outbound import provider_calls
from vidu_relay.outbound.exchange import Reply

SECRET = {
    "gateway": {"key": "key-of-gateway", "base": "https://gateway.example.com/v1"},
    "vidu": {"key": "key-of-vidu", "base": "https://vidu.example.com"},
}


@pytest.fixture
def asked(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str]]:
    """Host and authorization of each call of a provider."""
    calls: list[tuple[str | None, str]] = []

    def exchange(method: str, url: str, *, headers: dict[str, str], **more: Any) -> Reply:
        calls.append((urlsplit(url).hostname, headers["Authorization"]))
        return relay.gateway.exchange(method, url, **more)

    monkeypatch.setattr(provider_calls, "exchange", exchange)
    store(relay, SECRET)
    return calls


def store(relay: Relay, content: Any) -> None:
    relay.account.clients["secretsmanager"].put_secret_value(
        SecretId=relay.account.provider_secret, SecretString=json.dumps(content)
    )


def deploy(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """What functions that start from now on read."""
    plain = conftest.environment
    monkeypatch.setattr(conftest, "environment", lambda account: plain(account) | variables)


def submission(model: str, key: str) -> dict[str, Any]:
    event = sample("submit_task__idempotency_key")
    event["headers"]["idempotency-key"] = key
    return event | {"body": json.dumps({"model": model, "prompt": "a fox"}), "isBase64Encoded": False}


GATEWAY, VIDU = ("gateway.example.com", "Bearer key-of-gateway"), ("vidu.example.com", "Token key-of-vidu")
CREATED = Reply(200, {}, json.dumps({"task_id": "v-1", "state": "created"}).encode())


def test_open_task_settles_at_its_provider_after_the_default_has_changed(
    relay: Relay, asked: list[tuple[str | None, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.submitted()
    deploy(monkeypatch, PROVIDER_NAME="vidu")
    relay.gateway.status = "completed"
    assert relay.play("receive_callback__success")["statusCode"] == 200
    assert (relay.task().status, relay.task().provider, asked) == (Status.GENERATED, "gateway", [GATEWAY] * 2)
    relay.gateway.create = CREATED
    answer = relay.invoke("submit_task", submission("viduq3_turbo_text2video", "order-2"))
    assert (answer["statusCode"], asked[2:]) == (202, [VIDU])


@pytest.mark.parametrize(
    ("content", "status", "code", "calls"),
    [
        (SECRET, 202, None, [VIDU]),
        ({"api_key": "key-of-gateway"}, 422, "validation_error", []),
        (SECRET | {"vidu": {"key": "key-of-vidu", "base": "vidu.example.com"}}, 503, "not_configured", []),
        ({"api_key": "key-of-gateway", "vidu": {"key": "key-of-vidu"}}, 503, "not_configured", []),
    ],
    ids=["with its key", "without", "malformed", "in two forms"],
)
def test_model_of_another_provider_is_asked_for_there_or_not_at_all(
    relay: Relay,
    asked: list[tuple[str | None, str]],
    content: Any,
    status: int,
    code: str | None,
    calls: list[tuple[str, str]],
) -> None:
    store(relay, content)
    relay.gateway.create = CREATED
    answer = relay.invoke("submit_task", submission("viduq3_pro_text2video", "order-2"))
    assert (answer["statusCode"], json.loads(answer["body"]).get("code"), asked) == (status, code, calls)


def test_provider_secret_in_two_forms_is_the_operator_s_fault_and_nothing_else_s(
    relay: Relay, asked: list[tuple[str | None, str]]
) -> None:
    relay.gateway.create = CREATED
    made = json.loads(relay.invoke("submit_task", submission("viduq3_pro_text2video", "order-2"))["body"])
    store(relay, {"api_key": "key-of-gateway", "vidu": {"key": "key-of-vidu"}})
    canceled = sample("cancel_task__waiting") | {"pathParameters": {"task_id": made["task_id"]}}
    for name, event in (("list_models", sample("list_models__all")), ("cancel_task", canceled)):
        answer = relay.invoke(name, event)
        assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (503, "not_configured")
    assert (made["status"], asked) == ("submitted", [VIDU])
