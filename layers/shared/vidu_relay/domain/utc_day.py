"""UTC days and their half hours, by which money and tasks are counted. Moments are in milliseconds since the epoch."""

from __future__ import annotations

import calendar
import time

__all__ = [
    "BUCKET_MS",
    "DAY_MS",
    "bucket_of",
    "earlier_days",
    "next_day",
    "seconds_left_of_day",
    "seconds_left_of_month",
]

DAY_MS = 86_400_000
BUCKET_MS = 1_800_000
"""Reservations are also counted by the half hour, so that those without a task can be found."""


def bucket_of(now: int) -> int:
    """Which half hour of its day a moment is in: 0 to 47."""
    return now % DAY_MS // BUCKET_MS


def next_day(now: int) -> int:
    """When the next day begins."""
    return (now // DAY_MS + 1) * DAY_MS


def earlier_days(now: int) -> list[int]:
    """When each day of the month began before the one that a moment is in."""
    today = now // DAY_MS
    return [day * DAY_MS for day in range(today - time.gmtime(now / 1000).tm_mday + 1, today)]


def seconds_left_of_day(now: int) -> int:
    """Until the next day has begun."""
    return (DAY_MS - now % DAY_MS) // 1000 + 1


def seconds_left_of_month(now: int) -> int:
    """Until the next month has begun."""
    today = time.gmtime(now / 1000)
    following = (today.tm_year + today.tm_mon // 12, today.tm_mon % 12 + 1)
    return calendar.timegm((*following, 1, 0, 0, 0)) - now // 1000 + 1
