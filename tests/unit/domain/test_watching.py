"""When a task is looked at."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.builders import NOW, POLICY
from vidu_relay.domain.watching import ATTEMPT_LIMIT_MS, HANDOVER_MS, MAX_INTERVAL_MS

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("tries", "seconds"), [(0, 10), (1, 20), (2, 40), (5, 320), (6, 640), (7, 900), (50, 900), (10**6, 900)]
)
def test_the_wait_doubles_to_a_quarter_of_an_hour(tries: int, seconds: int) -> None:
    assert POLICY.backoff_ms(tries, 0.5) == seconds * 1000


@given(tries=st.integers(0, 10_000), jitter=st.floats(0, 1, exclude_max=True), first=st.integers(1, 86_400))
def test_no_wait_is_shorter_than_a_second_or_much_longer_than_the_longest(
    tries: int, jitter: float, first: int
) -> None:
    wait = replace(POLICY, check_interval_seconds=first).backoff_ms(tries, jitter)
    assert 1000 <= wait <= MAX_INTERVAL_MS * 1.2


@given(tries=st.integers(0, 30), one=st.floats(0, 1, exclude_max=True), other=st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_a_wait_by_a_fifth_either_way(tries: int, one: float, other: float) -> None:
    middle = POLICY.backoff_ms(tries, 0.5)
    low, high = sorted((POLICY.backoff_ms(tries, one), POLICY.backoff_ms(tries, other)))
    assert 0.8 * middle - 1 <= low <= high <= 1.2 * middle


def test_jitter_does_spread() -> None:
    assert POLICY.backoff_ms(3, 0.0) == 64_000
    assert POLICY.backoff_ms(3, 0.75) == 88_000


def test_off_peak_is_looked_at_hourly_however_often_it_was() -> None:
    assert {POLICY.backoff_ms(tries, 0.9, off_peak=True) for tries in range(5)} == {HOUR}
    assert POLICY.first_check_at(NOW, off_peak=True) == NOW + HOUR


def test_the_operator_s_times_are_kept() -> None:
    assert POLICY.first_check_at(NOW, off_peak=False) == NOW + 120_000
    assert POLICY.deadline_at(NOW, off_peak=False) == NOW + 7_200_000
    assert POLICY.late_until(NOW) == POLICY.copied_until(NOW) == POLICY.paused_until(NOW) == NOW + 72 * HOUR


def test_off_peak_has_the_provider_s_two_days() -> None:
    assert POLICY.deadline_at(NOW, off_peak=True) == NOW + 48 * HOUR


def test_a_record_is_forgotten_after_its_days_in_the_seconds_that_ttl_wants() -> None:
    assert POLICY.forget_at(NOW + 999) == NOW // 1000 + 30 * 86_400


def test_a_check_begins_a_call_only_when_the_entry_point_s_cannot_be_running() -> None:
    assert HANDOVER_MS > ATTEMPT_LIMIT_MS


def test_a_healthy_call_that_is_begun_at_once_moves_nothing_in_the_index() -> None:
    """The first check by default is due when the hand-over is."""
    assert POLICY.first_check_at(NOW, off_peak=False) == NOW + HANDOVER_MS
