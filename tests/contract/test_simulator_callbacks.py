"""The simulator's callbacks: signature, order, retries, and how a script makes them lie, stay away or come twice."""

import base64
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.emulator.certificate import Certificate
from local.simulator import Simulator
from local.simulator.callback_bodies import NONSENSE
from local.simulator.signature import sign, signature_headers, signing_string
from tests.contract.simulator_client import Callback, Receiver, created, poll, wait_for
from tests.contract.socket_server import server_context

DATE = datetime.datetime(2025, 5, 6, 12, 9, 42, tzinfo=datetime.UTC)
NONCE = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("url", "signature"),
    [
        ("http://127.0.0.1:8080/vidu/callback?name=james&age=36", "j5PqAvWXa6OnegZaBR9I0Gw5K+qmyDCNElqvJoJ0my8="),
        ("http://127.0.0.1:8080/vidu/callback", "E9ZvcyWNWJtwgp2P56zLE4QYOgIax2jtQ/QJIdk+p+U="),
    ],
)
def test_callbacks_are_signed_as_the_published_vectors_are(url: str, signature: str) -> None:
    headers = signature_headers("test-secret", "POST", url, now=DATE, nonce=NONCE)
    assert headers["Date"] == "Tue, 06 May 2025 12:09:42 GMT"
    assert headers["X-HMAC-SIGNATURE"] == signature
    text = signing_string("post", "http://h", "D", ["B", "a"], {"b": "1", "A": "2"})
    assert text == "POST\n/\n\nvidu\nD\nB:1\na:2\n"


def signed_rightly(provider: Simulator, callback: Callback) -> bool:
    names = callback.headers["x-hmac-signed-headers"].split(";")
    target = "http://any" + callback.target
    text = signing_string("POST", target, callback.headers["date"], names, callback.headers)
    return callback.headers["x-hmac-signature"] == sign(provider.api_key, text)


@contextmanager
def one_task(
    provider: Simulator, callbacks: dict[str, Any], *statuses: int, outcome: dict[str, Any] | None = None
) -> Iterator[tuple[Receiver, str]]:
    """A task whose callbacks go to a receiver that answers with `statuses`, then 200."""
    outcome = outcome or {}
    with Receiver(*statuses) as receiver:
        provider.script({"callbacks": callbacks, "outcome": {**outcome, "never_finish": True}})
        task_id = created(provider, callback_url=receiver.url)
        if not outcome.get("never_finish"):
            if not callbacks.get("reorder"):  # else "processing" might arrive second, it has its own sender
                settled(provider, task_id, 1)
            provider.patch(task_id, {"outcome": {"never_finish": False}})
        yield receiver, task_id


def settled(provider: Simulator, task_id: str, count: int) -> list[dict[str, Any]]:
    wait_for(lambda: len(provider.task(task_id)["callbacks"]) >= count)
    callbacks: list[dict[str, Any]] = provider.task(task_id)["callbacks"]
    return callbacks


def test_processing_then_success_signed_with_the_body_of_a_poll(provider: Simulator) -> None:
    with one_task(provider, {}) as (receiver, task_id):
        assert [entry["http_status"] for entry in settled(provider, task_id, 2)] == [200, 200]
        assert receiver.states() == ["processing", "completed"]
        assert all(signed_rightly(provider, callback) for callback in receiver.received)
        assert len({callback.headers["x-request-nonce"] for callback in receiver.received}) == 2
        sent, polled = receiver.received[1].json(), poll(provider, task_id).json()
        assert (sent.keys(), sent["id"]) == (polled.keys(), task_id)
        assert receiver.url.endswith(receiver.received[0].target)


@pytest.mark.parametrize(
    ("outcome", "statuses", "sent"),
    [
        ({"fail": {}}, (200, 500, 302, 404, 500), [("processing", 1), *(("failed", n) for n in (1, 2, 3, 4))]),
        ({}, (500, 500), [("processing", 1), ("success", 1), ("success", 2)]),
    ],
)
def test_an_end_is_sent_four_times_at_most_until_it_is_taken_and_processing_once(
    provider: Simulator, outcome: dict[str, Any], statuses: tuple[int, ...], sent: list[tuple[str, int]]
) -> None:
    with one_task(provider, {}, *statuses, outcome=outcome) as (receiver, task_id):
        callbacks = settled(provider, task_id, len(sent))
        assert [(entry["state"], entry["attempt"]) for entry in callbacks] == sent
        assert len({callback.body for callback in receiver.received[1:]}) == 1


@pytest.mark.parametrize(("id_kind", "key"), [("gateway", "id"), ("upstream", "remote_id")])
@pytest.mark.parametrize("form", ["upstream", "gateway"])
def test_a_callback_can_have_the_upstream_s_form_and_id(provider: Simulator, id_kind: str, key: str, form: str) -> None:
    with one_task(provider, {"form": form, "id": id_kind}) as (receiver, task_id):
        settled(provider, task_id, 2)
        first, body = (callback.json() for callback in receiver.received)
        assert body["id"] == provider.task(task_id)[key]
        if form == "upstream":
            assert (body["state"], first["creations"]) == ("success", [])
            assert body["creations"][0]["url"].startswith(provider.origin)


@pytest.mark.parametrize(
    ("script", "arrive"),
    [
        ({"drop": True}, []),
        ({"drop": ["success"]}, ["processing"]),
        ({"drop": ["processing"]}, ["completed"]),
        ({"reorder": True}, ["completed", "processing"]),
        ({"duplicate": 2}, ["completed"] * 3 + ["processing"] * 3),
    ],
    ids=str,
)
def test_callbacks_can_be_lost_reordered_and_repeated(
    provider: Simulator, script: dict[str, Any], arrive: list[str]
) -> None:
    with one_task(provider, script) as (receiver, task_id):
        kinds = [entry["kind"] for entry in settled(provider, task_id, max(2, len(arrive)))]
        assert kinds.count("dropped") == max(0, 2 - len(arrive))
        assert (sorted(receiver.states()) if "duplicate" in script else receiver.states()) == arrive


@pytest.mark.parametrize("script", [{"signature": "bad"}, {"signature": "none"}, {"wrong_token": True}], ids=str)
def test_a_callback_can_be_signed_wrongly_or_go_to_a_wrong_address(provider: Simulator, script: dict[str, Any]) -> None:
    with one_task(provider, script) as (receiver, task_id):
        settled(provider, task_id, 2)
        for callback in receiver.received:
            assert ("token=k1.abc" in callback.target) == ("wrong_token" not in script)
            if script == {"signature": "none"}:
                assert not any("hmac" in name for name in callback.headers)
                continue
            assert signed_rightly(provider, callback) == ("wrong_token" in script)
            assert len(base64.b64decode(callback.headers["x-hmac-signature"])) == 32


def test_a_forged_end_comes_while_the_task_still_runs(provider: Simulator) -> None:
    script = {"forge": [{"kind": "wrong_state", "claim": state} for state in ("success", "failed")]}
    with one_task(provider, script, outcome={"never_finish": True}) as (receiver, task_id):
        settled(provider, task_id, 3)
        assert {"completed", "failed"} < set(receiver.states())
        assert poll(provider, task_id).json()["status"] == "processing"


def test_a_forgery_can_name_another_task(provider: Simulator) -> None:
    other = created(provider, prompt="other")
    forge = {"kind": "other_task", "on": "created", "signed": False}
    with one_task(provider, {"forge": [forge]}) as (receiver, task_id):
        settled(provider, task_id, 3)
        named = [callback.json()["id"] for callback in receiver.received if "x-hmac-signature" not in callback.headers]
        assert named == [other]


def test_forged_nonsense_and_a_huge_body(provider: Simulator) -> None:
    nonsense = {"kind": "nonsense", "n": len(NONSENSE), "on": "created", "wrong_token": True}
    huge = {"kind": "huge", "bytes": 3_000_000, "on": "created"}
    with one_task(provider, {"drop": True, "forge": [nonsense, huge]}) as (receiver, _):
        wait_for(lambda: len(receiver.received) == len(NONSENSE) + 1)
        bodies = {callback.body for callback in receiver.received}
        assert set(NONSENSE) < bodies
        assert max(map(len, bodies)) == pytest.approx(3_000_000, abs=50)


def test_tls_is_checked_against_the_given_bundle_only(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver(tls=server_context(certificate)) as receiver:
        for given, in_environment in ((certificate.ca_bundle, "/nowhere"), (None, str(certificate.ca_bundle))):
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", in_environment)
            with Simulator(generation_seconds=0, ca_bundle=given) as provider:
                sent = settled(provider, created(provider, callback_url=receiver.url), 2)
            assert {"CERTIFICATE_VERIFY_FAILED" in str(entry.get("error")) for entry in sent} == {given is None}
    assert len(receiver.received) == 2
