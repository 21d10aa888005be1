"""What of a request goes to the provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["provider_params"]

KEPT_BACK = frozenset({"model", "callback_url"})
"""`model` has a place of its own in the create body; the provider calls *us* back, never the client."""


def provider_params(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters the provider is sent, exactly as the client gave them."""
    return {name: value for name, value in request.items() if name not in KEPT_BACK}
