from collections.abc import Iterator

import pytest

from tests.simulation.extent import ALL, SAMPLE, Extent, Statistics
from tests.simulation.http_provider import provider_http
from vidu_relay.adapters import task_item, task_store, video_archive
from vidu_relay.observability import logger, metrics


@pytest.fixture(autouse=True)
def quiet_and_small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No log, one shard of the due index and small parts of uploads: scenarios run by the thousand."""
    monkeypatch.setattr(task_item, "DUE_SHARDS", 1)
    monkeypatch.setattr(task_store, "DUE_SHARDS", 1)
    monkeypatch.setattr(video_archive, "PART_BYTES", 64 * 1024)
    monkeypatch.setattr(metrics.provider, "namespace", "ViduRelay")
    level = logger.log_level
    logger.setLevel("CRITICAL")
    with provider_http():
        yield
    logger.setLevel(level)


@pytest.fixture
def extent(request: pytest.FixtureRequest) -> Extent:
    return ALL if request.config.getoption("--simulate") == "all" else SAMPLE


@pytest.fixture
def statistics(request: pytest.FixtureRequest) -> Statistics:
    """Where a test says what it explored."""
    return Statistics(request.node.user_properties)
