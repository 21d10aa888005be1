"""What functions put together at cold start: which provider, and keys that can be rotated under a warm function."""

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.account import CALLBACK_SECRET, ENVIRONMENT, Account, mock_aws, new_account
from vidu_relay import aws, wiring
from vidu_relay.adapters import secret_store
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.catalogue import DEFAULT_MODEL, Choice, models
from vidu_relay.domain.errors import ConfigurationError, InvalidRequestError
from vidu_relay.domain.request_model import check_request
from vidu_relay.settings import AcceptanceSettings, SubmissionSettings

TASK_ID = "a" * 26
ROTATED = {"active": "k2", "k1": CALLBACK_SECRET["k1"], "k2": "n" * 40}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for cached in (aws.client, aws.upload_client, aws._session):
        cached.cache_clear()
    with mock_aws():
        yield new_account()


def loaded(account: Account, provider_name: str = "gateway") -> SubmissionSettings:
    made = SubmissionSettings()
    made.table_name, made.inbox_bucket = account.table, account.inbox
    made.provider_name, made.provider_base_url = provider_name, "https://provider.example.com/"
    made.provider_secret_arn, made.callback_secret_arn = account.provider_secret, account.callback_secret
    made.public_base_url = "https://relay.example.com"
    made.first_check_seconds = made.check_interval_seconds = made.task_deadline_seconds = 120
    made.late_watch_hours = made.retain_tasks_days = 30
    return made


SEED = DEFAULT_MODEL


def acceptance_settings(account: Account, default: str = "gateway", *, unlisted: bool = False) -> AcceptanceSettings:
    made = AcceptanceSettings()
    vars(made).update(vars(loaded(account, default)))
    made.offered_models, made.off_peak_available, made.allow_unlisted_models = (), False, unlisted
    return made


def store_providers(account: Account, content: object) -> None:
    account.clients["secretsmanager"].put_secret_value(
        SecretId=account.provider_secret, SecretString=json.dumps(content)
    )


def put(account: Account, content: object) -> None:
    """The operator rotates the callback keys."""
    account.clients["secretsmanager"].put_secret_value(
        SecretId=account.callback_secret, SecretString=json.dumps(content)
    )


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of secrets: its last element is now."""
    now = [1000.0]
    made = secret_store.Secret.__init__
    monkeypatch.setattr(
        secret_store.Secret, "__init__", lambda self, client, arn: made(self, client, arn, lambda: now[-1])
    )
    return now


def test_each_provider_is_made_by_its_name_once(account: Account) -> None:
    named = wiring.providers(wiring.provider_accounts(loaded(account)))
    assert isinstance(named("gateway"), GatewayProvider)
    assert isinstance(named("vidu"), ViduProvider)
    assert named("vidu") is named("vidu")
    named("gateway").ready()
    with pytest.raises(ConfigurationError, match="no key of `vidu`"):
        named("vidu").ready()
    with pytest.raises(ConfigurationError, match="'Vidu'"):
        named("Vidu")


@pytest.mark.parametrize("name", ["Vidu", "Gateway", ""])
def test_unknown_default_provider_stops_the_function_at_its_start(account: Account, name: str) -> None:
    with pytest.raises(ConfigurationError, match="PROVIDER_NAME"):
        wiring.submission(loaded(account, name))


def test_provider_key_is_read_when_it_is_first_needed(account: Account) -> None:
    store_providers(account, {})
    made = wiring.providers(wiring.provider_accounts(loaded(account)))("gateway")
    with pytest.raises(ConfigurationError, match="no key of `gateway`"):
        made.ready()


def test_models_of_a_provider_are_offered_once_its_key_is_stored_and_one_read_serves_all(
    account: Account, seconds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Mock(side_effect=aws.client("secretsmanager").get_secret_value)
    monkeypatch.setattr(aws.client("secretsmanager"), "get_secret_value", reads)
    given = acceptance_settings(account)
    offered, submission = wiring.offering(given), wiring.submission(given)
    assert (offered.find(SEED), reads.call_count) == (Choice(models()[SEED], "gateway", "gateway"), 0), (
        "a model of the default one"
    )
    assert offered.find("viduq1_img2video") is None
    store_providers(account, {"gateway": {"key": "g"}, "vidu": {"key": "v"}})
    seconds.append(1301.0)
    found = offered.find("viduq1_img2video")
    assert found is not None
    assert found.provider == "vidu"
    submission.providers("vidu").ready()
    assert reads.call_count == 2


@pytest.mark.parametrize(
    ("default", "unlisted", "secret", "asked"),
    [
        ("vidu", False, {"vidu": {"key": "v"}}, None),
        ("vidu", True, {"vidu": {"key": "v"}}, "vidu"),
        ("vidu", False, {"vidu": {"key": "v"}, "gateway": {"key": "g"}}, "gateway"),
        ("vidu", True, {"vidu": {"key": "v"}, "gateway": {"key": "g"}}, "gateway"),
        ("gateway", False, {}, "gateway"),
    ],
)
def test_seed_model_is_asked_for_where_it_is_listed_or_where_the_operator_allows_it(
    account: Account, default: str, *, unlisted: bool, secret: Any, asked: str | None
) -> None:
    store_providers(account, secret)
    offered = wiring.offering(acceptance_settings(account, default, unlisted=unlisted))
    found = offered.find(SEED)
    assert (found.provider if found else None) == asked
    if asked is None:
        with pytest.raises(InvalidRequestError) as caught:
            check_request({"model": SEED, "prompt": "x"}, offered)
        (fault,) = caught.value.faults
        assert [part in fault.msg for part in ("vidu is not known", "key of gateway", "AllowUnlistedModels")] == [
            True
        ] * 3


def test_new_tokens_are_signed_with_the_active_key(account: Account) -> None:
    token = wiring.submission(loaded(account)).signing_keys().sign(TASK_ID)
    assert token.startswith("k1.")
    assert CallbackKeys(CALLBACK_SECRET).verify(TASK_ID, token)


def test_forged_key_names_make_the_secret_be_read_once_a_minute_at_most(
    account: Account, seconds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = wiring.callback_keys(account.callback_secret)
    reads: list[str] = []
    client = aws.client("secretsmanager")
    plain = client.get_secret_value

    def counted(**given: str) -> Any:
        reads.append("read")
        return plain(**given)

    monkeypatch.setattr(client, "get_secret_value", counted)
    for second in range(0, 180, 7):
        seconds.append(1000.0 + second)
        for forged in ("", "k9.x", f"k{second}.y"):
            keys(forged)
    assert len(reads) == 1 + 3, "once at the start, and then once a minute"


class _OneSecret:
    """Secrets Manager with the callback keys."""

    def __init__(self) -> None:
        self.content: dict[str, str] = dict(CALLBACK_SECRET)

    def get_secret_value(self, SecretId: str) -> dict[str, str]:  # noqa: ARG002, N803 - boto3's name
        return {"SecretString": json.dumps(self.content)}


WAIT = secret_store.KEEP_SECONDS + 60
"""What the runbook asks to wait between adding a key and signing with it."""


MOMENTS = st.one_of(st.just(0.0), st.just(WAIT), st.integers(-400, 900)).flatmap(
    lambda step: st.integers(-70, 70).map(lambda seconds: step + seconds)
)
"""Seconds since the key was added, many of them close to one of the two steps."""


@given(rung=st.lists(st.tuples(MOMENTS, st.integers(0, 5), st.integers(0, 2), st.booleans()), min_size=5, max_size=40))
@settings(max_examples=150, deadline=None)
def test_a_rotation_as_the_runbook_has_it_refuses_no_valid_callback(rung: list[tuple[float, int, int, bool]]) -> None:
    """Whatever functions have in memory, and while forged key names use up the rereads."""
    now = [0.0]
    secret = _OneSecret()

    def function() -> secret_store.Secret:
        return secret_store.Secret(secret, "arn", lambda: now[0])  # type: ignore[arg-type]  # all that it needs

    signers, verifiers = [function() for _ in range(3)], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws, "client", lambda _: None)
        patch.setattr(wiring, "Secret", lambda *_: function())
        verifiers = [wiring.callback_keys("arn") for _ in range(3)]
    for at, signer, verifier, forge in sorted(rung):
        now[0] = 1000 + at
        if at >= 0:
            secret.content["k2"] = "n" * 40
        if at >= WAIT:
            secret.content["active"] = "k2"
        keys = verifiers[verifier]
        if forge:
            assert not keys("k9.x").verify(TASK_ID, "k9.x")
        # half of the tasks are made by a function that has just started
        token = CallbackKeys((signers + [function() for _ in range(3)])[signer].get()).sign(TASK_ID)
        assert keys(token).verify(TASK_ID, token)


def test_known_key_never_makes_the_secret_be_reread(
    account: Account, seconds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = wiring.callback_keys(account.callback_secret)
    keys("k1.x")
    put(account, ROTATED)
    seconds.append(1200.0)
    assert not keys("k1.x").knows("k2.x")
    seconds.append(1301.0)  # after five minutes it is, so that a dropped key ends
    assert keys("k1.x").knows("k2.x")
