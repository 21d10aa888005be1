import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from local.client import RelayClient

Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found | None], what: str, seconds: float = 120) -> Found:
    """What the condition returns once that is true; fails the test if it is not within the time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come within {seconds:g} s")
        time.sleep(0.1)
    return found


def events_until(relay: RelayClient, task_id: str, last: str) -> list[dict[str, Any]]:
    """The task's events that were not taken yet, up to and with the one of type `last`."""
    found: list[dict[str, Any]] = []

    def ended() -> bool:
        found.extend(relay.new_events(task_id))
        return any(event["detail-type"] == last for event in found)

    wait_until(ended, f"{last} of {task_id}")
    return found


def stay_within_a_day(seconds: float = 120) -> None:
    """Return at once, unless the day (UTC) ends within the time: then when it has. For what is counted by the day."""
    now = datetime.now(UTC)
    later = now + timedelta(seconds=seconds)
    if later.date() != now.date():
        midnight = later.replace(hour=0, minute=0, second=0, microsecond=0)
        time.sleep((midnight - now).total_seconds() + 1)
