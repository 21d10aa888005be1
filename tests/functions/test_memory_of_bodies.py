"""No body takes more memory than a few times its own size: a function that runs out of it can answer nobody."""

import sys

import pytest

from tests.functions.memory_of_bodies import BODIES, peak_megabytes

MOST_MEGABYTES = 160
"""A function has 512 MB. Measured: 61 MB for the start alone and 81 MB with the hardest body."""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("name", BODIES)
def test_peak_memory_of_a_body_of_4_mb_is_bounded(name: str) -> None:
    peak, outcome = peak_megabytes(BODIES[name]())
    assert 20 < peak < MOST_MEGABYTES, outcome
