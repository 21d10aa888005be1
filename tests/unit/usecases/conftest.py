from collections.abc import Iterator

import pytest

from tests.simulation.memory_account import memory_account
from tests.simulation.simulation import Simulation
from vidu_relay.observability import metrics


@pytest.fixture(autouse=True)
def own_metrics() -> Iterator[None]:
    """What a test counts stays with it."""
    metrics.provider.namespace = "ViduRelay"
    metrics.provider.service = "vidu-relay"
    yield
    metrics.provider.clear_metrics()


@pytest.fixture
def sim() -> Simulation:
    """A relay in an empty account in memory."""
    return Simulation(memory_account())
