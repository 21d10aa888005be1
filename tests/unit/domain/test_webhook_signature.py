"""The law of what we sign: the specification's own library takes exactly it."""

import base64
import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.webhook_signature import ROTATION_MS, secrets_of, signed_headers, tenant_secret

MASTER = {"master": "m" * 64}
OTHER_MASTER = {"master": "n" * 64}


@given(st.text(), st.integers(1, 50), st.integers(1, 2))
def test_what_is_signed_verifies_and_nothing_else_does(text: str, generation: int, signers: int) -> None:
    body = text.encode("utf-8", "replace")
    secrets = [tenant_secret(MASTER, "acme", generation + n) for n in range(signers)]
    headers = signed_headers("task:1", int(time.time() * 1000), body, secrets)
    for secret in secrets:
        Webhook(secret).verify(body, headers, json_parse=False)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body + b" ", headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(tenant_secret(MASTER, "acme", generation + signers)).verify(body, headers, json_parse=False)


def test_secrets_of_tenants_generations_and_masters_share_nothing() -> None:
    made = [
        base64.b64decode(tenant_secret(master, tenant, generation).removeprefix("whsec_"))
        for master in (MASTER, OTHER_MASTER)
        for tenant in ("a", "a-1", "b")
        for generation in (1, 11)
    ]
    assert all(one != other for one, other in combinations(made, 2))
    assert {len(one) for one in made} == {32}


@pytest.mark.parametrize(
    ("generation", "rotated_at", "now", "signing"),
    [
        (1, None, 0, [1]),
        (1, 0, 1, [1]),
        (2, 0, 0, [2, 1]),
        (2, 0, ROTATION_MS - 1, [2, 1]),
        (2, 0, ROTATION_MS, [2]),
        (3, 5, 6, [3, 2]),
    ],
)
def test_the_secret_before_signs_for_a_day(
    generation: int, rotated_at: int | None, now: int, signing: list[int]
) -> None:
    expected = tuple(tenant_secret(MASTER, "acme", one) for one in signing)
    assert secrets_of(MASTER, "acme", generation, rotated_at, now) == expected


@pytest.mark.parametrize("content", [{}, {"master": None}, {"master": "x" * 31}, {"master": 7}])
def test_without_a_master_key_nothing_is_signed(content: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        tenant_secret(content, "acme", 1)
