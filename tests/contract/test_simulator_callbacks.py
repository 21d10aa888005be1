"""Callbacks: signature, order, retries, and every way a script makes them lie, stay away or come twice."""

import base64
import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.simulator import Simulator
from local.simulator.callback_bodies import NONSENSE
from local.simulator.signature import sign, signature_headers, signing_string
from tests.contract.simulator_client import Doorbell, Receiver, created, poll, wait_for

DATE = datetime.datetime(2025, 5, 6, 12, 9, 42, tzinfo=datetime.UTC)
NONCE = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("url", "signature"),
    [
        ("http://127.0.0.1:8080/vidu/callback?name=james&age=36", "j5PqAvWXa6OnegZaBR9I0Gw5K+qmyDCNElqvJoJ0my8="),
        ("http://127.0.0.1:8080/vidu/callback", "E9ZvcyWNWJtwgp2P56zLE4QYOgIax2jtQ/QJIdk+p+U="),
    ],
)
def test_signature_vectors(url: str, signature: str) -> None:
    headers = signature_headers("test-secret", "POST", url, now=DATE, nonce=NONCE)
    assert headers["Date"] == "Tue, 06 May 2025 12:09:42 GMT"
    assert headers["X-HMAC-SIGNATURE"] == signature


def test_signing_string_keeps_spelling_and_order_of_names_and_has_at_least_a_slash() -> None:
    text = signing_string("post", "http://h", "D", ["B", "a"], {"b": "1", "A": "2"})
    assert text == "POST\n/\n\nvidu\nD\nB:1\na:2\n"


def signed_rightly(provider: Simulator, doorbell: Doorbell) -> bool:
    headers = {name.lower(): value for name, value in doorbell.headers.items()}
    names = headers["x-hmac-signed-headers"].split(";")
    text = signing_string("POST", "http://any" + doorbell.target, headers["date"], names, headers)
    return headers["x-hmac-signature"] == sign(provider.api_key, text)


@contextmanager
def one_task(
    script: dict[str, Any], *statuses: int, generation_seconds: float = 0.1
) -> Iterator[tuple[Simulator, Receiver, str]]:
    """A task under `script` whose callbacks go to a receiver that answers with `statuses`, then 200."""
    with (
        Receiver(*statuses) as receiver,
        Simulator(generation_seconds=generation_seconds, callback_retry_seconds=0.05) as provider,
    ):
        whole = script if "callbacks" in script else {"callbacks": script}
        outcome = whole.get("outcome", {})
        provider.script({**whole, "outcome": {**outcome, "never_finish": True}})
        task_id = created(provider, callback_url=receiver.url)
        if not outcome.get("never_finish"):
            if not whole["callbacks"].get("reorder"):  # else "processing" might arrive second, it has its own sender
                settled(provider, task_id, 1)
            provider.patch(task_id, {"outcome": {"never_finish": False}})
        yield provider, receiver, task_id


def settled(provider: Simulator, task_id: str, count: int) -> list[dict[str, Any]]:
    wait_for(lambda: len(provider.task(task_id)["callbacks"]) >= count)
    callbacks: list[dict[str, Any]] = provider.task(task_id)["callbacks"]
    return callbacks


def test_processing_then_success_signed_with_the_body_of_a_poll() -> None:
    with one_task({}) as (provider, receiver, task_id):
        assert [entry["http_status"] for entry in settled(provider, task_id, 2)] == [200, 200]
        assert receiver.states() == ["processing", "completed"]
        assert all(signed_rightly(provider, doorbell) for doorbell in receiver.rung)
        nonces = {doorbell.headers["x-request-nonce"] for doorbell in receiver.rung}
        assert len(nonces) == 2
        told, polled = receiver.rung[1].json(), poll(provider, task_id).json()
        assert told.keys() == polled.keys()
        assert told["id"] == task_id
        parts = urlsplit(receiver.url)
        assert receiver.rung[0].target == f"{parts.path}?{parts.query}"


def test_failed_is_told_and_tried_again_like_success() -> None:
    script: dict[str, Any] = {"callbacks": {}, "outcome": {"fail": {}}}
    with one_task(script, 200, 500, 302, 404, 500) as (provider, receiver, task_id):
        callbacks = settled(provider, task_id, 5)
        assert [(entry["state"], entry["attempt"]) for entry in callbacks] == [
            ("processing", 1),
            *(("failed", attempt) for attempt in (1, 2, 3, 4)),
        ]
        assert len({doorbell.body for doorbell in receiver.rung[1:]}) == 1


def test_processing_is_sent_once_even_if_refused_and_retries_stop_at_success() -> None:
    with one_task({}, 500, 500) as (provider, receiver, task_id):
        wait_for(lambda: len(receiver.rung) == 3)
        assert [entry["http_status"] for entry in settled(provider, task_id, 3)] == [500, 500, 200]
        assert receiver.states() == ["processing", "completed", "completed"]


def test_an_unreachable_receiver_is_tried_four_times() -> None:
    with Simulator(generation_seconds=0, callback_retry_seconds=0.02) as provider:
        task_id = created(provider, callback_url="http://127.0.0.1:1/nobody")
        callbacks = settled(provider, task_id, 5)
        assert [entry["state"] for entry in callbacks].count("success") == 4
        assert all("Refused" in entry["error"] for entry in callbacks)


@pytest.mark.parametrize(("id_kind", "key"), [("gateway", "id"), ("upstream", "remote_id")])
@pytest.mark.parametrize("state_key", ["state", "status"])
def test_upstream_form(id_kind: str, key: str, state_key: str) -> None:
    with one_task({"form": "upstream", "id": id_kind, "state_key": state_key}) as (provider, receiver, task_id):
        settled(provider, task_id, 2)
        body = receiver.rung[1].json()
        assert body[state_key] == "success"
        assert body["id"] == provider.task(task_id)[key]
        assert body["creations"][0]["url"].startswith(provider.origin)
        assert body["err_code"] == ""
        assert receiver.rung[0].json()["creations"] == []


def test_gateway_form_with_the_upstream_id() -> None:
    with one_task({"id": "upstream"}) as (provider, receiver, task_id):
        settled(provider, task_id, 2)
        assert receiver.rung[1].json()["id"] == provider.task(task_id)["remote_id"]


@pytest.mark.parametrize(
    ("drop", "arrive"), [(True, []), (["success"], ["processing"]), (["processing"], ["completed"])]
)
def test_dropped_callbacks_never_arrive(drop: object, arrive: list[str]) -> None:
    with one_task({"drop": drop}) as (provider, receiver, task_id):
        kinds = [entry["kind"] for entry in settled(provider, task_id, 2)]
        assert kinds.count("dropped") == 2 - len(arrive)
        assert receiver.states() == arrive


def test_duplicates() -> None:
    with one_task({"duplicate": 2}) as (provider, receiver, task_id):
        settled(provider, task_id, 6)
        assert sorted(receiver.states()) == ["completed"] * 3 + ["processing"] * 3


def test_delay() -> None:
    with one_task({"delay": 0.5}) as (provider, receiver, task_id):
        callbacks = settled(provider, task_id, 2)
        entered = {entry["state"]: entry["at"] for entry in provider.task(task_id)["history"]}
        assert callbacks[0]["at"] - entered["processing"] > 0.49
        assert callbacks[1]["at"] - entered["succeeded"] > 0.49
        assert receiver.states() == ["processing", "completed"]


def test_reorder() -> None:
    with one_task({"reorder": True}) as (provider, receiver, task_id):
        settled(provider, task_id, 2)
        assert receiver.states() == ["completed", "processing"]


def test_bad_signature() -> None:
    with one_task({"signature": "bad"}) as (provider, receiver, task_id):
        settled(provider, task_id, 2)
        assert not any(signed_rightly(provider, doorbell) for doorbell in receiver.rung)
        assert len(base64.b64decode(receiver.rung[0].headers["X-HMAC-SIGNATURE"])) == 32


def test_no_signature() -> None:
    with one_task({"signature": "none"}) as (provider, receiver, task_id):
        settled(provider, task_id, 2)
        assert not any("hmac" in name.lower() for doorbell in receiver.rung for name in doorbell.headers)


def test_wrong_token_is_signed_for_the_url_it_goes_to() -> None:
    with one_task({"wrong_token": True}) as (provider, receiver, task_id):
        settled(provider, task_id, 2)
        assert all("token=k1.abc" not in doorbell.target for doorbell in receiver.rung)
        assert all(signed_rightly(provider, doorbell) for doorbell in receiver.rung)


@pytest.mark.parametrize("claim", ["success", "failed"])
def test_a_forged_end_comes_while_the_task_still_runs(claim: str) -> None:
    script = {"callbacks": {"forge": [{"kind": "wrong_state", "claim": claim}]}, "outcome": {"never_finish": True}}
    with one_task(script) as (provider, receiver, task_id):
        settled(provider, task_id, 2)
        assert {"completed" if claim == "success" else "failed"} < set(receiver.states())
        assert poll(provider, task_id).json()["status"] == "processing"


def test_a_forgery_can_name_another_task() -> None:
    with Receiver() as receiver, Simulator() as provider:
        other = created(provider, prompt="other")
        provider.script({"callbacks": {"forge": [{"kind": "other_task", "on": "created", "signed": False}]}})
        created(provider, callback_url=receiver.url)
        wait_for(lambda: bool(receiver.rung))
        named = [doorbell.json()["id"] for doorbell in receiver.rung if "X-HMAC-SIGNATURE" not in doorbell.headers]
        assert named == [other]


def test_forged_nonsense_and_a_huge_body() -> None:
    forge = [
        {"kind": "nonsense", "n": len(NONSENSE), "on": "created", "wrong_token": True},
        {"kind": "huge", "bytes": 3_000_000, "on": "created"},
    ]
    with one_task({"drop": True, "forge": forge}) as (_, receiver, _task_id):
        wait_for(lambda: len(receiver.rung) == len(NONSENSE) + 1)
        bodies = {doorbell.body for doorbell in receiver.rung}
        assert set(NONSENSE) < bodies
        assert max(map(len, bodies)) == pytest.approx(3_000_000, abs=50)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def test_tls_is_checked_against_the_given_bundle_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate_file, key_file = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate_file, key_file)
    with Receiver(tls=tls) as receiver:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        with Simulator(generation_seconds=0, ca_bundle=certificate_file) as provider:
            task_id = created(provider, callback_url=receiver.url)
            assert [entry["http_status"] for entry in settled(provider, task_id, 2)] == [200, 200]
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate_file))
        with Simulator(generation_seconds=0) as provider:
            task_id = created(provider, callback_url=receiver.url)
            assert all("CERTIFICATE_VERIFY_FAILED" in entry["error"] for entry in settled(provider, task_id, 2))
    assert len(receiver.rung) == 2
