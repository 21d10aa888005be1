"""Who is calling: an API key to its tenant, and what that tenant may do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.budget import NO_BUDGET, Budget
from vidu_relay.domain.identifiers import api_key_digest

__all__ = ["Caller", "authorize_request"]

BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9_-]{20,128})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key it is, which of its keys, how many tasks a UTC day the tenant may have accepted, what it may spend."""

    tenant_id: str
    key_id: str
    daily_cap: int
    budget: Budget = NO_BUDGET


def authorize_request(
    authorization: str | None, directory: TenantDirectory, *, default_daily_cap: int
) -> Caller | None:
    """The caller behind an `Authorization: Bearer <key>` header; None unless key and tenant are there and open.

    A key whose tenant is disabled, or has no record, opens nothing. `default_daily_cap` holds for a tenant without
    a cap of its own. The key is looked up by its digest, so no comparison of secrets can leak by
    its timing.
    """
    match = BEARER.fullmatch(authorization or "")
    key = directory.find_key(api_key_digest(match.group(1))) if match else None
    tenant = directory.find_tenant(key.tenant_id) if key else None
    if key is None or tenant is None or tenant.disabled:
        return None
    cap = default_daily_cap if tenant.daily_cap is None else tenant.daily_cap
    return Caller(tenant.tenant_id, key.key_id, cap, tenant.budget)
