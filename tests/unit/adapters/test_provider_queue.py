"""The index of waiting tasks, the state of a queue, and its flag, as DynamoDB keeps them."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.unit.adapters.conftest import TABLE
from tests.unit.builders import NOW, POLICY, new_task
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.adapters.provider_queue import ProviderQueue
from vidu_relay.adapters.task_item import place_of
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.admission import QueueState, admit, wait_for_turn
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.task import Task

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def queue(dynamodb: "DynamoDBClient") -> ProviderQueue:
    return ProviderQueue(dynamodb, TABLE)


def waiting(dynamodb: "DynamoDBClient", task_id: str, tenant: str, number: int = 0, priority: int = 0) -> Task:
    task = replace(new_task(), task_id=task_id, tenant_id=tenant, created_at=NOW + number, priority=priority)
    return TaskStore(dynamodb, TABLE).create(wait_for_turn(task, now=NOW, policy=POLICY))[0]


def test_the_next_is_the_next_tenants_most_urgent_then_oldest(dynamodb: "DynamoDBClient", queue: ProviderQueue) -> None:
    for tenant in ("a", "a-b", "b"):  # one begins with another's name
        waiting(dynamodb, f"{tenant}-late", tenant, 2)
        waiting(dynamodb, f"{tenant}-early", tenant, 1)
        waiting(dynamodb, f"{tenant}-urgent", tenant, 3, priority=1)
    found: list[str] = []
    turn = ""
    for _ in range(9):
        one = queue.next_of("gateway", turn, found)
        assert one is not None
        turn = one.tenant_id
        found.append(one.task_id)
    order = [f"{tenant}-{which}" for which in ("urgent", "early", "late") for tenant in ("a", "a-b", "b")]
    assert found == order
    assert queue.next_of("gateway", turn, found) is None
    assert queue.next_of("vidu", "") is None
    assert len(list(queue.count("gateway"))) == 9


def test_position_is_among_the_tenants_own(
    dynamodb: "DynamoDBClient", queue: ProviderQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [waiting(dynamodb, f"{tenant}{n}", tenant, n) for tenant in ("a", "b") for n in range(3)]
    positions = [queue.position("gateway", task.tenant_id, place_of(task)) for task in tasks]
    assert positions == [1, 2, 3, 1, 2, 3]
    monkeypatch.setattr("vidu_relay.adapters.provider_queue.MAX_POSITION", 2)
    assert queue.position("gateway", "a", place_of(tasks[2])) is None


def test_task_that_goes_on_or_ends_is_not_in_the_index(dynamodb: "DynamoDBClient", queue: ProviderQueue) -> None:
    store = TaskStore(dynamodb, TABLE)
    task = store.save(admit(waiting(dynamodb, "a", "a"), now=NOW + 5, policy=POLICY))
    assert (task.lease, task.admitted_at, queue.next_of("gateway", "")) == (new_task().lease + 1, NOW + 5, None)


def test_of_two_dispatches_one_writes_the_state(queue: ProviderQueue) -> None:
    first = second = queue.load("gateway")
    state = replace(first, slots={"a": NOW}, confirmed=("a",), limit=3, proven=2, opened_at=NOW, turn="acme")
    assert queue.save("gateway", state)
    assert not queue.save("gateway", replace(second, limit=9))
    assert queue.load("gateway") == replace(state, revision=1)
    assert queue.load("vidu") == QueueState()


def test_flag_leaves_a_refusal_as_it_is_and_has_what_1_0_0_reads(dynamodb: "DynamoDBClient") -> None:
    pauses = ProviderPauses(dynamodb, TABLE)
    pauses.raise_flag("gateway", now=NOW, hold_until=NOW + 9)
    flagged = pauses.find("gateway")
    assert flagged is not None
    assert (flagged.refused, flagged.queues("acme"), flagged.refused_at, flagged.hold_until) == (
        False,
        True,
        NOW,
        NOW + 9,
    )
    item = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "pause#gateway"}})["Item"]
    assert {"probe_at", "code", "message", "expires_at"} <= set(item)
    assert "paused_since" not in item
    pauses.pause("gateway", TaskError("balance", "empty"), now=NOW, probe_at=NOW)
    pauses.raise_flag("gateway", now=NOW + 1)
    paused = pauses.find("gateway")
    assert paused is not None
    assert (paused.error.code, paused.holds_up("acme"), paused.queued_at) == ("balance", True, NOW + 1)
    pauses.lower_flag("gateway", flagged)
    assert pauses.find("gateway") == paused, "it was raised since"
    pauses.lower_flag("gateway", paused)
    after = pauses.find("gateway")
    assert after is not None
    assert not after.queues("acme")
