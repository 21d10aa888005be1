"""What the use cases need from outside, as narrow as they need it."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vidu_relay.domain.snapshot import ProviderSnapshot
from vidu_relay.domain.submission import claim_of_task
from vidu_relay.domain.task import Attempt

__all__ = ["Clock", "Provider", "clock", "new_claim", "spread"]


class Provider(Protocol):
    """A video provider. See `adapters.provider_vidu` for what its methods raise.

    `mark` comes back with every `read` where the provider echoes something of ours.
    """

    name: str

    def ready(self) -> None: ...

    def create(self, model: str, params: Mapping[str, Any], callback_url: str, *, mark: str) -> ProviderSnapshot: ...

    def read(self, remote_id: str) -> ProviderSnapshot: ...

    def cancel(self, remote_id: str) -> None: ...


Clock = Callable[[], int]


def clock() -> int:
    """The time, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def new_claim(before: Attempt | None = None) -> str:
    """A random mark for a create attempt. The attempts of one task keep what stands before the dot of the first."""
    fresh = secrets.token_urlsafe(9)
    return f"{claim_of_task(before)}.{fresh}" if before else fresh


def spread() -> float:
    """Jitter for backoffs, in [0, 1)."""
    return random.random()  # noqa: S311 - spreads load, guards nothing
