"""The simulated provider, for tests that ask how it behaves."""

from collections.abc import Iterator

import pytest

from local.simulator import Simulator


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0, callback_retry_seconds=0.02, off_peak_available=True) as simulator:
        yield simulator


@pytest.fixture
def provider(running_simulator: Simulator) -> Simulator:
    """One that has just started, as far as it remembers."""
    running_simulator.reset()
    return running_simulator
