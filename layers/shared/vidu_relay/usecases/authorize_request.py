"""Who is calling: an API key to its tenant."""

from __future__ import annotations

import re

from vidu_relay.adapters.tenant_directory import ApiKey, TenantDirectory
from vidu_relay.domain.identifiers import api_key_digest

__all__ = ["authorize_request"]

BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9_-]{20,128})")


def authorize_request(authorization: str | None, directory: TenantDirectory) -> ApiKey | None:
    """The key behind an `Authorization: Bearer <key>` header, or None for anything that is not a valid key.

    The key is looked up by its digest, so no comparison of secrets takes place that could leak by its timing.
    """
    match = BEARER.fullmatch(authorization or "")
    return directory.find_key(api_key_digest(match.group(1))) if match else None
