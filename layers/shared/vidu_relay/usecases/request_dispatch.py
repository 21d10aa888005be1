"""Have the sweep dispatch the queues ahead of its minute: a task made room for the next, or a group was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.check_function import SweepFunction
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.domain.states import Status
from vidu_relay.observability import logger
from vidu_relay.usecases.ports import Clock, clock

__all__ = ["request_dispatch", "start_dispatch"]

AT_PROVIDER = frozenset({Status.SUBMITTING, Status.SUBMITTED, Status.PROCESSING})
GROWTH_MS = 120_000
"""After a 429 the number of slots grows back within about this time."""


def request_dispatch(
    records: Iterable[Mapping[str, Any]], pauses: ProviderPauses, sweep: SweepFunction, clock: Clock = clock
) -> bool:
    """Have the sweep run now if one of these stream records makes room where tasks wait; whether it was asked to.

    A task that left a provider frees its slot. One that a provider took makes room for another while the relay finds
    out how many it takes: before its first 429, and for `GROWTH_MS` after each. One read of each provider, none for
    other records. If AWS refuses, the sweep's own minute follows.
    """
    seen = {found for record in records if (found := _room(record.get("dynamodb", {}))) is not None}
    try:
        for provider in sorted({provider for provider, _ in seen}):
            pause = pauses.find(provider)
            if pause is None or pause.queued_at is None:
                continue
            grows = pause.refused_at is None or clock() < pause.refused_at + GROWTH_MS
            if grows or (provider, True) in seen:
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


def _room(change: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The provider at which this change may let another task go on, and whether a task left it."""
    after, before = change.get("NewImage", {}), change.get("OldImage", {})
    now, was = (image.get("status", {}).get("S") for image in (after, before))
    left = was in AT_PROVIDER and now not in AT_PROVIDER
    # a task that the queue let go on, and that ended without a create call: canceled, or failed
    left |= was == Status.ACCEPTED != now and now not in AT_PROVIDER and "admitted_at" in before
    taken = now == Status.SUBMITTED != was and "admitted_at" in after
    return (after.get("provider", {}).get("S"), left) if (left or taken) and "provider" in after else None
