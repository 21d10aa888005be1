"""The provider's key: from standard input into the secret, and nowhere else."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from cli.connection import Connection
from tests.unit.account import PROVIDER_KEY
from tests.unit.cli.conftest import STACK, Ask, Deployment, Run, Stacks
from vidu_relay.adapters.secret_store import ProviderAccounts, Secret

KEY = "vtx-0123456789_abc.DEF"

SetKey = Callable[..., tuple[int, str, str]]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def secret(deployment: Deployment, stacks: Stacks, monkeypatch: pytest.MonkeyPatch) -> str:
    arn = deployment.account.provider_secret
    stacks[STACK]["ProviderSecret"] = arn
    monkeypatch.setattr(Connection, "submitting", {"PROVIDER_NAME": "gateway", "ALLOW_UNLISTED_MODELS": "false"})
    return arn


@pytest.fixture
def set_key(relay: Run, monkeypatch: pytest.MonkeyPatch) -> SetKey:
    """Runs the command with a text, or a stream, on standard input. Neither key is printed."""

    def run(text: Any, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text) if isinstance(text, str) else text)
        status, out, error = relay("provider", "set-key", *options)
        assert [key for key in (KEY, PROVIDER_KEY, "hidden") if key in out + error] == []
        return status, out, error

    return run


def accounts(deployment: Deployment, arn: str | None = None) -> ProviderAccounts:
    """What functions read of a deployment whose default provider is the gateway."""
    return ProviderAccounts(
        Secret(deployment.client("secretsmanager"), arn or deployment.account.provider_secret), "gateway"
    )


def signing(deployment: Deployment, arn: str | None = None) -> tuple[str, ...]:
    """The keys that callbacks may be signed with, the present one first."""
    return accounts(deployment, arn).signing()


@pytest.mark.parametrize("text", [KEY, f"{KEY}\n", f"  {KEY} \r\n"])
def test_key_is_stored_and_the_previous_one_still_proves_callbacks(
    set_key: SetKey, deployment: Deployment, text: str
) -> None:
    for _ in range(3):
        assert set_key(text)[::2] == (0, "")
        assert signing(deployment) == (KEY, PROVIDER_KEY)
    set_key("third")
    assert signing(deployment) == ("third", KEY)


def test_answer_names_the_secret(ask: Ask, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY))
    answer = ask("provider", "set-key")
    assert answer.pop("version_id")
    assert answer == {"secret_arn": secret, "provider": "gateway", "previous_kept": True}


def test_key_of_another_provider_is_stored_beside_the_others_and_keeps_its_address(
    set_key: SetKey, deployment: Deployment
) -> None:
    """The secret of version 1.0.0 becomes the default provider's entry."""
    assert set_key(KEY, "--provider", "vidu", "--base", "https://v.example.com/")[0] == 0
    assert set_key("next", "--provider=vidu")[0] == 0
    read = accounts(deployment)
    assert (read.names(), read.signing("gateway")) == (("gateway", "vidu"), (PROVIDER_KEY,))
    assert (read.account("vidu"), read.signing("vidu")) == (("https://v.example.com/", "next"), ("next", KEY))
    assert set_key("next", "--provider=vidu", "--base=")[0] == 0
    assert (accounts(deployment).account("vidu")[0], signing(deployment)) == ("", (PROVIDER_KEY,))


@pytest.mark.parametrize(
    ("options", "stored", "said"),
    [
        (("--base", "v.example.com"), None, "--base must be"),
        (("--base", "https://u@v.example.com"), None, "--base must be"),
        ((), {"api_key": "hidden", "vidu": {"key": "hidden"}}, "`api_key` beside `vidu`"),
    ],
)
def test_address_that_is_none_and_a_secret_in_two_forms_are_refused(
    set_key: SetKey, deployment: Deployment, secret: str, options: tuple[str, ...], stored: Any, said: str
) -> None:
    client = deployment.client("secretsmanager")
    if stored:
        client.put_secret_value(SecretId=secret, SecretString=json.dumps(stored))
    before = client.get_secret_value(SecretId=secret)["SecretString"]
    status, out, error = set_key(KEY, *options)
    assert (status, out, said in error, "Nothing was changed" in error) == (1, "", True, True)
    assert client.get_secret_value(SecretId=secret)["SecretString"] == before


def test_deployment_of_version_1_0_0_gets_the_form_that_it_reads(
    set_key: SetKey, deployment: Deployment, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "submitting", {"PROVIDER_NAME": "gateway"})
    assert set_key(KEY)[0] == 0
    content = json.loads(deployment.client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])
    assert content == {"api_key": KEY, "previous_api_key": PROVIDER_KEY}
    status, _, error = set_key("next", "--provider=vidu")
    assert (status, "deploy this one first" in error, signing(deployment)[0]) == (1, True, KEY)


def test_key_that_leaked_is_forgotten(set_key: SetKey, deployment: Deployment) -> None:
    set_key(KEY, "--forget-previous")
    assert signing(deployment) == (KEY,)
    set_key("third")
    set_key("third", "--forget-previous")
    assert signing(deployment) == ("third",)


@pytest.mark.parametrize("stored", [None, " ", "not json", "[]", '{"api_key": 5}', '{"api_key": "two words"}', "{}"])
def test_stored_text_that_is_no_key_is_not_kept(
    set_key: SetKey, deployment: Deployment, stacks: Stacks, stored: str | None
) -> None:
    client = deployment.client("secretsmanager")
    arn = stacks[STACK]["ProviderSecret"] = client.create_secret(Name="another")["ARN"]
    if stored is not None:
        client.put_secret_value(SecretId=arn, SecretString=stored)
    set_key(KEY)
    assert signing(deployment, arn) == (KEY,)


def test_terminal_is_asked_without_an_echo(
    set_key: SetKey, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.provider.getpass", lambda _: KEY)
    assert set_key(_Terminal())[0] == 0
    assert signing(deployment)[0] == KEY


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", "two words", "two\nlines", "schlüssel", "x\x00y", "x" * 4097, json.dumps({"api_key": "hidden"})),
        io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"),
    ],
)
def test_input_that_is_no_key_is_refused_and_changes_nothing(
    set_key: SetKey, deployment: Deployment, text: Any
) -> None:
    status, out, error = set_key(text)
    assert (status, out, "standard input must hold" in error) == (1, "", True)
    assert not isinstance(text, str) or not text.strip() or text.strip() not in error
    assert signing(deployment) == (PROVIDER_KEY,)
