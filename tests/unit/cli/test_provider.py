"""The provider's key: from standard input into the secret, and nowhere else."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.account import PROVIDER_KEY
from tests.unit.cli.conftest import STACK, Ask, Deployment, Run, Stacks
from vidu_relay.adapters.secret_store import ProviderKey, Secret

KEY = "vtx-0123456789_abc.DEF"

SetKey = Callable[..., tuple[int, str, str]]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def secret(deployment: Deployment, stacks: Stacks) -> str:
    arn = deployment.account.provider_secret
    stacks[STACK]["ProviderSecret"] = arn
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


def signing(deployment: Deployment, arn: str | None = None) -> tuple[str, ...]:
    """The keys that callbacks may be signed with, the present one first, as functions read them."""
    return ProviderKey(Secret(deployment.client("secretsmanager"), arn or deployment.account.provider_secret)).signing()


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
    assert answer == {"secret_arn": secret, "previous_kept": True}


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
