"""What the use cases need from outside, as narrow as they need it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vidu_relay.domain.snapshot import CallbackReport, ProviderSnapshot

__all__ = ["Clock", "Provider", "Providers", "clock", "spread"]


class Provider(Protocol):
    """A video provider. See `adapters.provider_vidu` for what its methods raise.

    `tag` comes back with every `read` where the provider echoes something of ours. `describe_create` gives path and
    body of a create call and calls nothing. `read_callback` never raises; `refresh_key` reads the secret again and
    says whether the key has changed.
    """

    name: str

    def ready(self) -> None: ...

    def describe_create(self, model: str, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]: ...

    def create(self, model: str, params: Mapping[str, Any], callback_url: str, *, tag: str) -> ProviderSnapshot: ...

    def read(self, remote_id: str) -> ProviderSnapshot: ...

    def cancel(self, remote_id: str) -> None: ...

    def read_callback(self, body: bytes) -> CallbackReport: ...

    def refresh_key(self) -> bool: ...


Providers = Callable[[str], Provider]
"""The provider with this name. Raises `ConfigurationError` for a name that is not known."""

Clock = Callable[[], int]


def clock() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def spread() -> float:
    """Jitter for backoffs, in [0, 1)."""
    return random.random()  # noqa: S311 - spreads load, guards nothing
