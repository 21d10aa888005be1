"""The provider's key: from standard input into the secret, and nowhere else."""

import io
import json
from typing import Any

import pytest

from tests.unit.account import PROVIDER_KEY
from tests.unit.cli.conftest import STACK, Deployment, Run, Stacks
from vidu_relay.adapters.secret_store import ProviderKey, Secret

KEY = "vtx-0123456789_abc.DEF"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def secret(deployment: Deployment, stacks: Stacks) -> str:
    arn = deployment.account.provider_secret
    stacks[STACK]["ProviderSecret"] = arn
    return arn


def stored(deployment: Deployment) -> str:
    """The key, as functions read it."""
    return ProviderKey(Secret(deployment.client("secretsmanager"), deployment.account.provider_secret))()


@pytest.mark.parametrize("text", [KEY, f"{KEY}\n", f"  {KEY} \r\n"])
def test_key_is_stored_as_functions_read_it_and_said_nowhere(
    relay: Run, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        status, out, complaint = relay("provider", "set-key")
        assert (status, complaint) == (0, "")
        assert KEY not in out
    assert stored(deployment) == KEY


def test_answer_names_the_secret_it_went_to(ask: Any, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY))
    answer = ask("provider", "set-key")
    assert answer.pop("version_id")
    assert answer == {"secret_arn": secret, "previous_kept": True}


def signing(deployment: Deployment) -> tuple[str, ...]:
    """The keys that callbacks may be signed with, as the function behind them reads them."""
    return ProviderKey(Secret(deployment.client("secretsmanager"), deployment.account.provider_secret)).signing()


def set_key(relay: Run, monkeypatch: pytest.MonkeyPatch, key: str, *options: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(key))
    status, out, complaint = relay("provider", "set-key", *options)
    assert (status, complaint) == (0, "")
    assert PROVIDER_KEY not in out


def test_key_before_still_proves_callbacks_however_often_the_new_one_is_set(
    relay: Run, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        set_key(relay, monkeypatch, KEY)
        assert signing(deployment) == (KEY, PROVIDER_KEY)
    set_key(relay, monkeypatch, "third")
    assert signing(deployment) == ("third", KEY)


def test_key_that_leaked_is_forgotten(relay: Run, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    set_key(relay, monkeypatch, KEY, "--forget-previous")
    assert signing(deployment) == (KEY,)
    set_key(relay, monkeypatch, "third")
    set_key(relay, monkeypatch, "third", "--forget-previous")
    assert signing(deployment) == ("third",)


@pytest.mark.parametrize("there", [None, "", "not json", "[]", '{"api_key": 5}', '{"api_key": "two words"}', "{}"])
def test_what_was_never_a_key_is_not_kept(
    relay: Run, deployment: Deployment, stacks: Stacks, monkeypatch: pytest.MonkeyPatch, there: str | None
) -> None:
    client = deployment.client("secretsmanager")
    arn = client.create_secret(Name="another")["ARN"]
    if there is not None:
        client.put_secret_value(SecretId=arn, SecretString=there or " ")
    stacks[STACK]["ProviderSecret"] = arn
    set_key(relay, monkeypatch, KEY)
    assert ProviderKey(Secret(client, arn)).signing() == (KEY,)


def test_terminal_is_asked_without_an_echo(relay: Run, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.setattr("cli.provider.getpass", lambda _: KEY)
    assert relay("provider", "set-key")[0] == 0
    assert stored(deployment) == KEY


@pytest.mark.parametrize(
    "text", ["", "\n", "two words", "two\nlines", "schlüssel", "x\x00y", "x" * 4097, json.dumps({"api_key": "hidden"})]
)
def test_text_that_is_no_key_is_refused_unsaid_and_changes_nothing(
    relay: Run, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    status, out, complaint = relay("provider", "set-key")
    assert (status, out) == (1, "")
    assert "standard input" in complaint
    assert not text.strip() or text.strip() not in complaint
    assert stored(deployment) == PROVIDER_KEY


def test_bytes_that_are_no_text_are_refused(
    relay: Run, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    assert relay("provider", "set-key")[0] == 1
    assert stored(deployment) == PROVIDER_KEY
