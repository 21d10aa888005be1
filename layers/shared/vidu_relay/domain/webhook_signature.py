"""Signatures of what we send to clients, by the Standard Webhooks specification (https://www.standardwebhooks.com).

A tenant's secret is derived from one master key and the number of the tenant's rotations: nothing secret is kept for a
tenant, and a rotation is a count. `now` and `rotated_at` are in milliseconds since the epoch.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from vidu_relay.domain.errors import ConfigurationError

__all__ = ["ROTATION_MS", "secrets_of", "signed_headers", "tenant_secret"]

ROTATION_MS = 24 * 3_600_000
"""How long the secret before the last rotation goes on signing beside the new one."""

MIN_MASTER_CHARACTERS = 32
PREFIX = "whsec_"


def tenant_secret(master: Mapping[str, Any], tenant_id: str, generation: int) -> str:
    """A tenant's secret, `whsec_<base64 of 32 bytes>`: what its receiver is given.

    `master` is the content of our own secret, `{"master": …}`. Raises `ConfigurationError` if it holds no key of 32
    characters or more.
    """
    key = master.get("master")
    if not isinstance(key, str) or len(key) < MIN_MASTER_CHARACTERS:
        raise ConfigurationError(f"the webhook secret holds no `master` of {MIN_MASTER_CHARACTERS} characters")
    derived = hmac.new(key.encode(), f"webhook/{tenant_id}/{generation}".encode(), hashlib.sha256).digest()
    return PREFIX + base64.b64encode(derived).decode()


def secrets_of(
    master: Mapping[str, Any], tenant_id: str, generation: int, rotated_at: int | None, now: int
) -> tuple[str, ...]:
    """The secrets that sign now: the tenant's own, and for a day after a rotation the one before it."""
    overlapping = rotated_at is not None and generation > 1 and now < rotated_at + ROTATION_MS
    generations = (generation, generation - 1) if overlapping else (generation,)
    return tuple(tenant_secret(master, tenant_id, one) for one in generations)


def signed_headers(webhook_id: str, now: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of the specification, with one signature for each secret."""
    seconds = str(now // 1000)
    content = b".".join((webhook_id.encode(), seconds.encode(), body))
    signatures = (
        hmac.new(base64.b64decode(secret.removeprefix(PREFIX)), content, hashlib.sha256).digest() for secret in secrets
    )
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in signatures),
    }
