"""Fifty clients send one request under one key at once: one task, one create call, one slot of the daily cap."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.client import BaseClient

from tests.contract.handlers import Answer, Handlers, running

CLIENTS = 50


@pytest.fixture(scope="module")
def stack() -> Iterator[Handlers]:
    with running() as handlers:
        yield handlers


@pytest.fixture
def relay(stack: Handlers, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    """With each call to AWS by itself, as DynamoDB serves them for one item; in memory two could mix."""
    stack.reset()
    one_by_one, call = threading.Lock(), BaseClient._make_api_call  # type: ignore[attr-defined]  # where all calls pass

    def alone(client: BaseClient, name: str, arguments: Any) -> Any:
        with one_by_one:
            return call(client, name, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", alone)
    return stack


def all_at_once(relay: Handlers, requests: list[dict[str, Any]], key: str | None) -> list[Answer]:
    relay.submit({})  # loads the function, once
    ready = threading.Barrier(len(requests))

    def submit(request: dict[str, Any]) -> Answer:
        ready.wait()
        return relay.submit(request, key=key)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(submit, requests))


def slots_taken(relay: Handlers) -> int:
    items = relay.account.clients["dynamodb"].scan(TableName=relay.account.table)["Items"]
    return sum(int(item["accepted"]["N"]) for item in items if item["pk"]["S"].startswith("cap#"))


@pytest.mark.parametrize("attempt", range(2))
def test_fifty_submits_at_once_are_one_task_one_create_call_and_one_quota_slot(relay: Handlers, attempt: int) -> None:
    before = slots_taken(relay)
    answers = all_at_once(relay, [relay.request()] * CLIENTS, f"one-key-{attempt}")
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body["task_id"] for answer in answers}) == 1
    assert relay.creates() == 1
    assert slots_taken(relay) == before + 1


def test_fifty_submits_of_two_requests_under_one_key_are_one_of_the_two(relay: Handlers) -> None:
    before = slots_taken(relay)
    two = [relay.request(seed=1), relay.request(seed=2)] * (CLIENTS // 2)
    answers = all_at_once(relay, two, "one-key-for-two")
    accepted = [request["seed"] for request, answer in zip(two, answers, strict=True) if answer.status == 202]
    refused = {answer.body["code"] for answer in answers if answer.status != 202}
    assert len(accepted) == CLIENTS // 2
    assert len(set(accepted)) == 1
    assert refused == {"idempotency_key_reused"}
    assert relay.creates() == 1
    assert slots_taken(relay) == before + 1


def test_fifty_submits_without_a_key_are_fifty_tasks(relay: Handlers) -> None:
    answers = all_at_once(relay, [relay.request()] * CLIENTS, None)
    assert len({answer.body["task_id"] for answer in answers}) == CLIENTS
    assert relay.creates() == CLIENTS
