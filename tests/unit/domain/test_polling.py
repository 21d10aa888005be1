from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.builders import NOW, POLICY
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS, HANDOVER_MS, MAX_INTERVAL_MS

HOUR = 3_600_000
jitters = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("tries", "seconds"), [(0, 10), (1, 20), (2, 40), (5, 320), (6, 640), (7, 900), (50, 900), (10**6, 900)]
)
def test_the_wait_doubles_to_a_quarter_of_an_hour(tries: int, seconds: int) -> None:
    assert POLICY.backoff_ms(tries, 0.5) == seconds * 1000


@given(tries=st.integers(0, 10_000), one=jitters, other=jitters, first=st.integers(1, 86_400))
def test_jitter_spreads_a_wait_by_a_fifth_either_way(tries: int, one: float, other: float, first: int) -> None:
    policy = replace(POLICY, check_interval_seconds=first)
    middle = policy.backoff_ms(tries, 0.5)
    low, high = sorted((policy.backoff_ms(tries, one), policy.backoff_ms(tries, other)))
    assert low >= 1000
    assert 0.8 * middle - 1 <= low <= high <= 1.2 * middle
    assert high <= MAX_INTERVAL_MS * 1.2
    assert (POLICY.backoff_ms(3, 0.0), POLICY.backoff_ms(3, 0.75)) == (64_000, 88_000)


def test_the_operator_s_times_are_kept_and_off_peak_has_its_own() -> None:
    assert POLICY.first_check_at(NOW, off_peak=False) == NOW + 120_000
    assert POLICY.deadline_at(NOW, off_peak=False) == NOW + 7_200_000
    assert POLICY.late_until(NOW) == POLICY.copied_until(NOW) == POLICY.paused_until(NOW) == NOW + 72 * HOUR
    assert POLICY.first_check_at(NOW, off_peak=True) == NOW + HOUR
    assert POLICY.deadline_at(NOW, off_peak=True) == NOW + 48 * HOUR
    assert POLICY.forget_at(NOW + 999) == NOW // 1000 + 30 * 86_400, "in seconds, as DynamoDB's TTL wants it"


def test_limits_leave_room_for_each_other() -> None:
    assert HANDOVER_MS > ATTEMPT_LIMIT_MS, "a check begins a call only when the entry point's cannot be running"
    assert POLICY.first_check_at(NOW, off_peak=False) == NOW + HANDOVER_MS, "a healthy call moves nothing in the index"
