import base64
import hmac
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.builders import TASK_ID
from vidu_relay.domain.callback_token import CallbackKeys, callback_url
from vidu_relay.domain.errors import ConfigurationError

OLD, NEW = "o" * 32, "n" * 32
KEYS = CallbackKeys({"active": "k2", "k1": OLD, "k2": NEW})
TOKEN = KEYS.sign(TASK_ID)
MAC = TOKEN.partition(".")[2]
OTHER_ID = "z" * 26
B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_a_token_is_the_mac_the_design_names() -> None:
    """A provider holds our URL for hours: a release that signs differently would refuse it."""
    expected = base64.urlsafe_b64encode(hmac.digest(NEW.encode(), TASK_ID.encode(), "sha256")).rstrip(b"=").decode()
    assert f"k2.{expected}" == TOKEN


@given(position=st.integers(0, len(MAC) - 1), character=st.sampled_from(B64))
def test_a_token_opens_its_own_task_and_only_unchanged(position: int, character: str) -> None:
    forged = MAC[:position] + character + MAC[position + 1 :]
    assert KEYS.verify(TASK_ID, f"k2.{forged}") is (character == MAC[position])
    assert KEYS.verify(TASK_ID, TOKEN)
    assert not KEYS.verify(OTHER_ID, TOKEN)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "k2",
        "k2.",
        MAC,
        f".{MAC}",
        f"k1.{MAC}",
        f"k3.{MAC}",
        f"K2.{MAC}",
        f" k2.{MAC}",
        f"k2..{MAC}",
        f"k2.{MAC}=",
        f"k2.{MAC} ",
        f"k2.{MAC[:-1]}",
        f"k2.{MAC}A",
        f"active.{MAC}",
        "k2.\ud800",
        "k2." + "é" * 43,
        "k2." + "A" * 100_000,
    ],
    ids=lambda token: ascii(token[:12]),
)
def test_nothing_but_the_whole_token_is_taken(token: str) -> None:
    assert not KEYS.verify(TASK_ID, token)


def test_a_rotation_refuses_no_callback_under_way() -> None:
    before = CallbackKeys({"active": "k1", "k1": OLD})
    during = CallbackKeys({"active": "k2", "k1": OLD, "k2": NEW})
    after = CallbackKeys({"active": "k2", "k2": NEW})
    old, new = before.sign(TASK_ID), during.sign(TASK_ID)
    assert during.verify(TASK_ID, old)
    assert during.verify(TASK_ID, new)
    assert after.verify(TASK_ID, new)
    assert not after.verify(TASK_ID, old), "a key that was withdrawn is withdrawn"


def test_a_token_under_a_key_we_do_not_hold_yet_is_recognised() -> None:
    before = CallbackKeys({"active": "k1", "k1": OLD})
    assert before.knows(before.sign(TASK_ID))
    assert not before.knows(TOKEN)
    assert not before.verify(TASK_ID, TOKEN)


@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"active": "k1"},
        {"k1": OLD},
        {"active": None, "k1": OLD},
        {"active": "k2", "k1": OLD},
        {"active": "active"},
        {"active": "k1", "k1": "short"},
        {"active": "k1", "k1": OLD[:-1]},
        {"active": "k1", "k1": OLD, "k2": ""},
        {"active": "k1", "k1": OLD, "k2": 5},
        {"active": "k.1", "k.1": OLD},
    ],
    ids=str,
)
def test_a_secret_that_would_sign_weakly_is_refused(secret: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CallbackKeys(secret)
    assert OLD not in str(caught.value)


@pytest.mark.parametrize("base", ["https://api.example", "https://api.example/", "http://127.0.0.1:4566/stage/"])
def test_the_url_carries_task_and_token_unharmed(base: str) -> None:
    odd = "k+2/=&.x y"
    parts = urlsplit(callback_url(base, TASK_ID, odd))
    assert parts.path.endswith(f"/v1/callbacks/{TASK_ID}")
    assert "//" not in parts.path
    assert parse_qs(parts.query) == {"token": [odd]}
