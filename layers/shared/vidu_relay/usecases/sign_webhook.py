"""Sign a webhook with the secrets of its tenant that sign now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.webhook_signature import secrets_of, signed_headers

__all__ = ["Master", "sign_webhook"]

Master = Callable[[], Mapping[str, Any]]
"""Gives the content of the secret that tenants' secrets are derived from."""


def sign_webhook(
    name: str, body: bytes, tenant_id: str, *, tenants: TenantDirectory, master: Master, now: int
) -> dict[str, str]:
    """The headers that sign a body under the `webhook-id` `name`. Raises `ConfigurationError` without a master key."""
    tenant = tenants.find_tenant(tenant_id)
    generation, rotated_at = (tenant.webhook_generation, tenant.webhook_rotated_at) if tenant else (1, None)
    return signed_headers(name, now, body, secrets_of(master(), tenant_id, generation, rotated_at, now))
