"""Have the sweep dispatch the queues ahead of its minute: a task made room for the next, or a group was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.check_function import SweepFunction
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.domain.states import Status
from vidu_relay.observability import logger

__all__ = ["request_dispatch", "start_dispatch"]

AT_PROVIDER = frozenset({Status.SUBMITTING, Status.SUBMITTED, Status.PROCESSING})


def request_dispatch(records: Iterable[Mapping[str, Any]], pauses: ProviderPauses, sweep: SweepFunction) -> bool:
    """Have the sweep run now if one of these stream records frees a slot where tasks wait; whether it was asked to.

    One read of each provider that a task left; none for other records. If AWS refuses, the sweep's own minute follows.
    """
    providers = {name for record in records if (name := _freed(record.get("dynamodb", {}))) is not None}
    try:
        for provider in sorted(providers):
            pause = pauses.find(provider)
            if pause is not None and pause.queued_at is not None:
                sweep.start()
                return True
    except (ClientError, BotoCoreError):
        logger.exception("dispatch_not_requested")
    return False


def start_dispatch(providers: Iterable[str], pauses: ProviderPauses, sweep: SweepFunction, *, now: int) -> None:
    """After a group of tasks was recorded in these providers' queues (`queue_task`): later tasks wait behind them, and
    the first go on now. If AWS refuses, the sweep's own minute follows: it finds them without the flag.
    """
    try:
        for provider in sorted(set(providers)):
            pauses.raise_flag(provider, now=now)
        sweep.start()
    except (ClientError, BotoCoreError):
        logger.exception("dispatch_not_requested")


def _freed(change: Mapping[str, Any]) -> str | None:
    """The provider at which this change may let another task go on."""
    after, before = change.get("NewImage", {}), change.get("OldImage", {})
    now, was = (image.get("status", {}).get("S") for image in (after, before))
    left = was in AT_PROVIDER and now not in AT_PROVIDER
    taken = now == Status.SUBMITTED != was and "admitted_at" in after
    provider: str | None = after.get("provider", {}).get("S")
    return provider if left or taken else None
