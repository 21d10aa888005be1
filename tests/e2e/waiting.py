"""Waiting for what comes by itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Return once the condition holds; fail the test if it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come within {seconds:g} s")
        time.sleep(0.1)


def stay_within_a_day(seconds: float = 120) -> None:
    """Return at once, unless the day (UTC) ends within the time: then when it has. For what is counted by the day."""
    now = datetime.now(UTC)
    later = now + timedelta(seconds=seconds)
    if later.date() != now.date():
        midnight = later.replace(hour=0, minute=0, second=0, microsecond=0)
        time.sleep((midnight - now).total_seconds() + 1)
