"""A busy provider, through the functions: tasks wait, show their position, and go on when another is over."""

import json
from typing import Any

import pytest

from tests.functions.conftest import Relay
from tests.unit.account import CHECK_FUNCTION, SWEEP_FUNCTION
from tests.unit.template import sample
from tests.unit.test_description import conforms
from vidu_relay import aws
from vidu_relay.outbound.exchange import Reply


def submit(relay: Relay, number: int, **fields: Any) -> dict[str, Any]:
    event = sample("submit_task__two_subjects")
    event["body"] = json.dumps({**json.loads(event["body"]), **fields, "seed": number})
    answer = relay.invoke("submit_task", event)
    shown: dict[str, Any] = json.loads(answer["body"])
    conforms(shown, "Task")
    return shown


def test_tasks_wait_in_a_queue_and_go_on_when_another_is_over(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    invoked: list[str] = []
    monkeypatch.setattr(
        aws.client("lambda"), "invoke", lambda **call: invoked.append(call["FunctionName"]), raising=False
    )
    relay.gateway.create = Reply(429, {}, b"{}")
    shown = [submit(relay, number, priority=number % 3) for number in range(3)]
    assert [task["status"] for task in shown] == ["accepted"] * 3
    # the second has the higher priority, the third the highest
    assert [task["queue_position"] for task in shown] == [1, 1, 1]
    assert all(task["queued_at"] >= task["created_at"] for task in shown)
    event = sample("read_tasks__one")
    read = [
        json.loads(relay.invoke("read_tasks", event | {"pathParameters": {"task_id": task["task_id"]}})["body"])
        for task in shown
    ]
    assert [(task["queue_position"], task.get("priority")) for task in read] == [(3, None), (2, 1), (1, 2)]
    creates = [method for method, _ in relay.gateway.requests if method == "POST"]
    assert len(creates) == 1, "only the first was sent"
    relay.play("publish_events__whole_life")
    assert invoked == [SWEEP_FUNCTION]
    relay.account.clients["dynamodb"].update_item(
        TableName=relay.account.table,
        Key={"pk": {"S": "pause#gateway"}},
        UpdateExpression="REMOVE hold_until",
    )
    relay.invoke("find_overdue_tasks", {})
    assert invoked == [SWEEP_FUNCTION, CHECK_FUNCTION]
    assert relay.store().get(shown[2]["task_id"]).admitted_at  # type: ignore[union-attr]  # it was recorded
