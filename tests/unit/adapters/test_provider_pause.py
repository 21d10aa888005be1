"""The pause of a provider that refuses our account: its beginning, its probes, its end."""

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.unit.adapters.conftest import TABLE
from tests.unit.builders import NOW, new_task
from vidu_relay.adapters.provider_pause import KEEP_SECONDS, Pause, ProviderPauses
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.polling import PROBE_MS
from vidu_relay.domain.snapshot import TaskError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY_UNKNOWN = TaskError("invalid_key", "The key is unknown.")
EMPTY = TaskError("balance", "The account is empty.")
PROBE = NOW + PROBE_MS


@pytest.fixture
def pauses(dynamodb: "DynamoDBClient") -> ProviderPauses:
    return ProviderPauses(dynamodb, TABLE)


def paused(pauses: ProviderPauses) -> Pause:
    pauses.pause("gateway", KEY_UNKNOWN, now=NOW, probe_at=PROBE)
    pause = pauses.find("gateway")
    assert pause is not None
    return pause


def test_a_provider_that_refused_nothing_is_not_paused(pauses: ProviderPauses) -> None:
    assert pauses.find("gateway") is None
    pauses.end("gateway", now=NOW)
    assert pauses.find("gateway") is None, "a success writes nothing where there was no refusal"


def test_a_refusal_pauses_its_provider_only_and_says_why(pauses: ProviderPauses) -> None:
    assert paused(pauses) == Pause(NOW, PROBE, None, KEY_UNKNOWN)
    assert pauses.find("vidu") is None


def test_a_pause_under_way_keeps_its_beginning_and_takes_the_latest_reason(pauses: ProviderPauses) -> None:
    paused(pauses)
    pauses.pause("gateway", EMPTY, now=NOW + 9, probe_at=PROBE + 9)
    assert pauses.find("gateway") == Pause(NOW, PROBE + 9, None, EMPTY)


def test_only_one_of_two_callers_takes_a_probe(pauses: ProviderPauses) -> None:
    seen = paused(pauses)
    assert pauses.take_probe("gateway", seen, next_at=PROBE + PROBE_MS)
    assert not pauses.take_probe("gateway", seen, next_at=PROBE + PROBE_MS)
    following = pauses.find("gateway")
    assert following is not None
    assert (following.paused_since, following.probe_at) == (NOW, PROBE + PROBE_MS)
    assert pauses.take_probe("gateway", following, next_at=PROBE + 2 * PROBE_MS)


def test_no_probe_is_taken_of_a_pause_that_is_over_or_forgotten(pauses: ProviderPauses) -> None:
    seen = paused(pauses)
    assert not pauses.take_probe("vidu", seen, next_at=PROBE)
    pauses.end("gateway", now=NOW + 1)
    assert not pauses.take_probe("gateway", seen, next_at=PROBE)


def test_a_success_ends_the_pause_and_is_remembered(pauses: ProviderPauses) -> None:
    paused(pauses)
    pauses.end("gateway", now=NOW + 5)
    assert pauses.find("gateway") == Pause(None, PROBE, NOW + 5, KEY_UNKNOWN)
    pauses.end("gateway", now=NOW + 9)
    assert pauses.find("gateway") == Pause(None, PROBE, NOW + 9, KEY_UNKNOWN)


def test_a_refusal_after_a_success_is_a_new_pause(pauses: ProviderPauses) -> None:
    paused(pauses)
    pauses.end("gateway", now=NOW + 5)
    pauses.pause("gateway", EMPTY, now=NOW + 7, probe_at=NOW + 7 + PROBE_MS)
    assert pauses.find("gateway") == Pause(NOW + 7, NOW + 7 + PROBE_MS, NOW + 5, EMPTY)


def test_a_pause_is_forgotten_an_hour_after_the_last_refusal(
    pauses: ProviderPauses, dynamodb: "DynamoDBClient"
) -> None:
    paused(pauses)
    pauses.pause("gateway", EMPTY, now=NOW + 60_000, probe_at=PROBE)
    (item,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert item["expires_at"] == {"N": str(NOW // 1000 + 60 + KEEP_SECONDS)}


def test_a_pause_is_neither_a_task_nor_due(pauses: ProviderPauses, dynamodb: "DynamoDBClient") -> None:
    paused(pauses)
    store = TaskStore(dynamodb, TABLE)
    store.create(new_task())
    assert len(list(store.find_due(NOW * 2))) == 1
    assert len(store.list_keys("acme", limit=9, after=None)) == 1


def test_trouble_with_the_table_is_not_taken_for_a_lost_probe(dynamodb: "DynamoDBClient") -> None:
    broken = ProviderPauses(dynamodb, "no-such-table")
    with pytest.raises(ClientError):
        broken.take_probe("gateway", Pause(NOW, PROBE, None, EMPTY), next_at=PROBE)
    with pytest.raises(ClientError):
        broken.end("gateway", now=NOW)
