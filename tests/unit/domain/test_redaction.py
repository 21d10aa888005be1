"""What a provider says may be passed on; what it quotes may not open anything."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_relay.domain.callback_token import CallbackKeys, callback_url
from vidu_relay.domain.redaction import without_secrets

KEYS = CallbackKeys({"active": "k1", "k1": "x" * 48})
TASK_ID = "a" * 26
TOKEN = KEYS.sign(TASK_ID)
MAC = TOKEN.partition(".")[2]
ADDRESS = callback_url("https://relay.example", TASK_ID, TOKEN)
LINK = "https://cdn.example/v/1.mp4?Expires=1795407408&Signature=v1%2F%2BqwertyuiopASDFGH%3D%7E&x=1"


@pytest.mark.parametrize(
    ("text", "left"),
    (
        ("no images given", "no images given"),
        ("see https://docs.example/errors?code=17&lang=en", "see https://docs.example/errors?code=17&lang=en"),
        (f"cannot call <{ADDRESS}>", f"cannot call <https://relay.example/v1/callbacks/{TASK_ID}?token=…>"),
        (f"token {TOKEN} refused", "token … refused"),
        (f"({TOKEN})", "(…)"),
        (f"cannot fetch {LINK}", "cannot fetch https://cdn.example/v/1.mp4?Expires=…&Signature=…&x=1"),
        ("at https://user:secret@client.example/hook", "at https://…@client.example/hook"),
        (
            "GET https://b.s3.amazonaws.com/x?X-Amz-Expires=900&X-Amz-Security-Token=abcdefgh%2Fi",
            "GET https://b.s3.amazonaws.com/x?X-Amz-Expires=900&X-Amz-Security-Token=…",
        ),
        ("version 1.2.3 of model-x.y", "version 1.2.3 of model-x.y"),
        ("is it so? yes=no", "is it so? yes=no"),
    ),
)
def test_words_stay_and_what_opens_something_goes(text: str, left: str) -> None:
    assert without_secrets(text) == left


@pytest.mark.parametrize(
    "quoted",
    (
        ADDRESS,
        quote(ADDRESS, safe=""),
        json.dumps({"url": ADDRESS}),
        json.dumps(json.dumps({"callback_url": ADDRESS, "token": TOKEN})),
        f"'{TOKEN}'",
        f"token: {TOKEN}.",
        f"TOKEN%3D{TOKEN}%26a",
        LINK,
        quote(LINK, safe=""),
        json.dumps({"video": LINK}).replace("&", "\\u0026"),
    ),
)
@pytest.mark.parametrize("before", ("", "x=", "https://a.example/?", "<a href="))
def test_nothing_secret_is_left_of_a_quotation(quoted: str, before: str) -> None:
    left = without_secrets(f"{before}{quoted} and more")
    for secret in (MAC, MAC[:16], MAC[-16:], "qwertyuiop", "ASDFGH"):
        assert secret not in left
    assert left.endswith("and more")


@given(
    st.text(max_size=40), st.text(max_size=40), st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=26, max_size=26)
)
def test_callback_token_is_gone_whatever_stands_around_it(before: str, after: str, task_id: str) -> None:
    """Unless other characters are joined to it: then it is no token."""
    token = KEYS.sign(task_id)
    assert token.partition(".")[2] not in without_secrets(f"{before} {token} {after}")


@given(st.text())
def test_redacted_text_stays_as_it_is(text: str) -> None:
    redacted = without_secrets(text)
    assert without_secrets(redacted) == redacted


@pytest.mark.parametrize("unit", ("a", "?", "&a=", "https://", "k1.", "%3F", "%26a%3D", "token=", "a.", "@", "-"))
def test_words_of_megabytes_are_redacted_too(unit: str) -> None:
    """Of what the patterns begin with: one that looks back and forth would not come to an end."""
    words = unit * (2**21 // len(unit))
    assert len(without_secrets(words)) <= len(words)
