from collections.abc import Iterator

import pytest

from tests.unit.usecases.account import Account, empty, mock_aws, new_account
from tests.unit.usecases.figures import Figures
from tests.unit.usecases.quick_account import quick_account
from tests.unit.usecases.spoken import spoken_to
from tests.unit.usecases.world import World
from vidu_relay.adapters import task_item, task_store
from vidu_relay.observability import logger, metrics


@pytest.fixture(autouse=True)
def own_metrics() -> Iterator[None]:
    """What a test counts stays with it."""
    metrics.provider.namespace = "ViduRelay"
    metrics.provider.service = "vidu-relay"
    yield
    metrics.provider.clear_metrics()


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """AWS in memory, one for all tests of a module: making it anew costs more than most of them."""
    with mock_aws():
        yield new_account()


@pytest.fixture
def world(account: Account) -> World:
    """A relay in an empty account. What a test does to the account itself, beyond its contents, would outlive it."""
    empty(account)
    return World(account)


@pytest.fixture
def quick_world() -> World:
    """A relay in an account of dictionaries: for stories of many days."""
    return World(quick_account())


@pytest.fixture
def explorable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For stories by the thousand: no log, and one shard, because what sharding adds to a sweep is not at stake."""
    monkeypatch.setattr(task_item, "DUE_SHARDS", 1)
    monkeypatch.setattr(task_store, "DUE_SHARDS", 1)
    level = logger.log_level
    logger.setLevel("CRITICAL")
    with spoken_to():
        yield
    logger.setLevel(level)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a test says what it explored."""
    return Figures(request.config.getoption("--campaign"), request.node.user_properties)
