"""Callbacks with forged tokens, signatures and headers are refused, and keys may be rotated meanwhile."""

import json
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.simulation import PUBLIC_URL, Simulation
from tests.unit.account import PROVIDER_KEY
from vidu_relay.adapters.secret_store import ProviderAccounts, Secret
from vidu_relay.domain.callback_signature import signature_for
from vidu_relay.domain.callback_token import callback_url
from vidu_relay.domain.errors import CallbackRefusedError
from vidu_relay.usecases.receive_callback import Callback, receive_callback

ON_ONE_WORLD = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
"""Nothing that is refused leaves a trace, so examples may share a sim."""


def signed(
    sim: Simulation, task_id: str, *, key: str = PROVIDER_KEY, base: str = PUBLIC_URL, at: int | None = None
) -> dict[str, str]:
    """The headers of a well-signed callback, as API Gateway gives them."""
    date = formatdate((sim.clock() if at is None else at) / 1000, usegmt=True)
    names = (("Date", date), ("x-request-nonce", "n-1"))
    url = callback_url(base, task_id, sim.token(task_id))
    return {
        "date": date,
        "x-request-nonce": "n-1",
        "x-hmac-signed-headers": "Date;x-request-nonce",
        "x-hmac-signature": signature_for(key, method="POST", url=url, date=date, signed_headers=names),
        "x-hmac-algorithm": "hmac-sha256",
        "x-hmac-access-key": "vidu",
    }


def mode(sim: Simulation, signature_mode: str, **ports: Any) -> Simulation:
    sim.callbacks = replace(sim.callbacks, signature_mode=signature_mode, **ports)
    return sim


def refused(sim: Simulation, task_id: str, **given: Any) -> str:
    with pytest.raises(CallbackRefusedError) as caught:
        sim.call_back(task_id, **given)
    return caught.value.reason


@pytest.mark.parametrize(
    "base",
    [
        "https://relay.example.com/",
        "https://relay.example.com/video%20relay",
        "https://relay.example.com/a/b//c",
        "https://Relay.Example.com:8443/Stage",
        "http://127.0.0.1:4566/_aws/execute-api/abc/$default",
    ],
)
def test_signed_path_is_the_one_that_the_provider_was_sent(sim: Simulation, base: str) -> None:
    task = mode(sim, "require", public_base_url=base).submit()
    assert sim.call_back(task.task_id, headers=signed(sim, task.task_id, base=base)).task_id == task.task_id
    if base.count("/") > 3:
        assert refused(sim, task.task_id, headers=signed(sim, task.task_id)) == "signature_wrong"


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_case_of_header_names_does_not_matter(sim: Simulation, spelling: Callable[[str], str]) -> None:
    task = mode(sim, "require").submit()
    headers = {spelling(name): value for name, value in signed(sim, task.task_id).items()}
    assert sim.call_back(task.task_id, headers=headers).task_id == task.task_id


@pytest.mark.parametrize("name", ["date", "x-request-nonce", "x-hmac-signed-headers", "x-hmac-signature"])
@pytest.mark.parametrize("first", [True, False])
def test_header_that_is_sent_twice_is_not_taken_once(sim: Simulation, name: str, *, first: bool) -> None:
    """API Gateway joins the two with a comma; somewhere else they may come under two spellings."""
    task = mode(sim, "require").submit()
    headers = signed(sim, task.task_id)
    pair = (headers[name], "x") if first else ("x", headers[name])
    refused(sim, task.task_id, headers={**headers, name: ",".join(pair)})
    refused(sim, task.task_id, headers={**headers, name: pair[0], name.upper(): pair[1]})


@pytest.mark.parametrize("left", ["x-hmac-signature", "x-hmac-signed-headers", "x-hmac-algorithm", "x-hmac-access-key"])
@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_part_of_a_signature_is_verified_where_present_and_never_passed(
    sim: Simulation, left: str, spelling: Callable[[str], str]
) -> None:
    """Leaving out the one header that is checked must not switch the check off."""
    task = mode(sim, "verify-if-present").submit()
    value = signed(sim, task.task_id)[left]
    assert refused(sim, task.task_id, headers={spelling(left): value}) == "signature_missing"
    whole = {name: value for name, value in signed(sim, task.task_id).items() if name != left}
    assert refused(sim, task.task_id, headers=whole) == "signature_missing"


def test_signature_does_not_stand_in_for_our_token(sim: Simulation) -> None:
    task = mode(sim, "require").submit()
    assert refused(sim, task.task_id, headers=signed(sim, task.task_id), token="forged") == "token"


def test_unknown_signature_mode_never_fails_open(sim: Simulation) -> None:
    task = mode(sim, "Require").submit()
    assert refused(sim, task.task_id)


def test_headers_that_any_call_may_carry_are_no_signature(sim: Simulation) -> None:
    task = mode(sim, "verify-if-present").submit()
    assert sim.call_back(task.task_id, headers={"date": "yesterday", "x-request-nonce": "n"}).task_id == task.task_id


def rotate_provider_key(sim: Simulation, content: dict[str, str]) -> None:
    sim.account.clients["secretsmanager"].put_secret_value(
        SecretId=sim.account.provider_secret, SecretString=json.dumps(content)
    )


@pytest.fixture
def clock_of_secrets() -> list[float]:
    return [1000.0]


@pytest.fixture
def warm(sim: Simulation, clock_of_secrets: list[float]) -> Simulation:
    """A sim whose callback function has read the provider's key, and requires a signature."""
    client = sim.account.clients["secretsmanager"]
    rotate_provider_key(sim, {"api_key": PROVIDER_KEY})
    key = ProviderAccounts(Secret(client, sim.account.provider_secret, lambda: clock_of_secrets[-1]), sim.provider.name)
    assert key.signing() == (PROVIDER_KEY,)
    return mode(sim, "require", signature_keys=key.signing, fresh_signature_keys=key.fresh_signing)


def test_callback_of_a_task_made_under_the_key_before_is_taken(warm: Simulation, clock_of_secrets: list[float]) -> None:
    task = warm.submit()
    try:
        rotate_provider_key(warm, {"api_key": "new-key", "previous_api_key": PROVIDER_KEY})
        clock_of_secrets.append(1301.0)
        for key in ("new-key", PROVIDER_KEY):
            assert warm.call_back(task.task_id, headers=signed(warm, task.task_id, key=key)).task_id == task.task_id
        assert refused(warm, task.task_id, headers=signed(warm, task.task_id, key="third")) == "signature_wrong"
    finally:
        rotate_provider_key(warm, {"api_key": PROVIDER_KEY})


def test_callback_signed_with_a_key_that_came_since_is_taken_at_once(warm: Simulation) -> None:
    """Another instance made the task with the new key; this one read the secret a moment before."""
    task = warm.submit()
    try:
        rotate_provider_key(warm, {"api_key": "new-key", "previous_api_key": PROVIDER_KEY})
        headers = signed(warm, task.task_id, key="new-key")
        assert refused(warm, task.task_id, headers=headers, token="k1.forged") == "token"
        assert warm.call_back(task.task_id, headers=headers).task_id == task.task_id
    finally:
        rotate_provider_key(warm, {"api_key": PROVIDER_KEY})


def test_only_the_holder_of_a_token_makes_us_reread_the_provider_s_key(warm: Simulation) -> None:
    task = warm.submit()
    rereads: list[str] = []

    def reread(_: str) -> tuple[str, ...]:
        rereads.append("reread")
        return ()

    mode(warm, "require", fresh_signature_keys=reread)
    for token in ("", "k1.x", "k9.x", warm.token("a" * 26)):
        refused(warm, task.task_id, headers=signed(warm, task.task_id, key="other"), token=token)
    assert rereads == []
    assert refused(warm, task.task_id, headers=signed(warm, task.task_id, key="other")) == "signature_wrong"
    assert rereads == ["reread"]


def test_every_refusal_does_the_same_work(sim: Simulation) -> None:
    """A wrong token and a wrong signature cost the same: neither check waits for the other."""
    task = sim.submit()
    done: list[str] = []
    keys = sim.callbacks.callback_keys

    def callback_keys(token: str) -> Any:
        done.append("token")
        return keys(token)

    def signature_keys(_: str | None) -> tuple[str, ...]:
        done.append("signature")
        return (PROVIDER_KEY,)

    mode(sim, "require", callback_keys=callback_keys, signature_keys=signature_keys)
    good = signed(sim, task.task_id)
    for headers, token in (({}, None), (good, "k1.x"), ({}, "\ud800"), ({**good, "date": "?"}, None), (good, "")):
        done.clear()
        refused(sim, task.task_id, headers=headers, token=token)
        assert done == ["token", "signature"]


@given(
    task_id=st.text(st.characters(exclude_categories=()), max_size=40),
    token=st.text(st.characters(exclude_categories=()), max_size=60),
    headers=st.dictionaries(
        st.sampled_from(
            ["date", "x-request-nonce", "X-HMAC-Signature", "x-hmac-signed-headers", "x-hmac-algorithm", "x-hmac-"]
        ),
        st.text(st.characters(exclude_categories=()), max_size=40),
    ),
    signature_mode=st.sampled_from(["off", "verify-if-present", "require"]),
)
@settings(max_examples=300, suppress_health_check=ON_ONE_WORLD, deadline=None)
def test_whatever_a_stranger_sends_is_refused_and_never_raises(
    sim: Simulation, task_id: str, token: str, headers: dict[str, str], signature_mode: str
) -> None:
    mode(sim, signature_mode)
    with pytest.raises(CallbackRefusedError):
        receive_callback(Callback(task_id, token, headers, b"{}"), sim.callbacks)
