"""What flows between the parts: the stream's filter, the rule, the queue's message, and the samples of all of them."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.template import EVENTS, FUNCTIONS, ROUTES, properties, sample
from vidu_relay.adapters import provider_queue, task_item, task_store
from vidu_relay.adapters.notification_queue import read_notification
from vidu_relay.adapters.request_queue import read_request
from vidu_relay.adapters.task_item import TASK_PREFIX, task_from_image, to_item
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.notification import NOTIFIED
from vidu_relay.domain.representation import event_detail, event_type
from vidu_relay.domain.states import EVENT_TYPE_DELIVERY_DELAYED, EVENT_TYPES, Status

SAMPLE_KEYS = CallbackKeys({"active": "k1", "k1": "sample-callback-key-0123456789abcdefghijklmnopqr"})
SAMPLES = sorted(path.stem for path in EVENTS.glob("*.json"))


def samples_of(*folders: str) -> list[str]:
    return [name for name in SAMPLES if name.split("__")[0] in folders]


def matches(pattern: Any, value: Any) -> bool:
    """As much of EventBridge's and Lambda's pattern language as the template uses."""
    if isinstance(pattern, dict):
        return all(
            matches(inner, value.get(name) if isinstance(value, dict) else None) for name, inner in pattern.items()
        )
    return any(_matches_one(choice, value) for choice in pattern)


def _matches_one(choice: Any, value: Any) -> bool:
    if isinstance(choice, dict):
        ((kind, operand),) = choice.items()
        if kind == "exists":
            return bool((value is not None) == operand)
        if kind == "Ref":
            return bool(choice == value)
        if kind == "wildcard":
            return (
                isinstance(value, str)
                and re.fullmatch(operand.replace(".", r"\.").replace("*", ".*"), value) is not None
            )
        if kind == "anything-but":
            return value is not None and value not in operand
        assert kind == "prefix"
        return isinstance(value, str) and value.startswith(operand)
    return bool(choice == value)


def stream_filter() -> Any:
    (one,) = properties("PublishEventsSource")["FilterCriteria"]["Filters"]
    return json.loads(one["Pattern"])


def test_ledger_sees_what_events_see_but_for_a_task_at_work_with_the_provider() -> None:
    (one,) = properties("RecordSpendingSource")["FilterCriteria"]["Filters"]
    pattern = json.loads(one["Pattern"])
    status = pattern["dynamodb"].pop("NewImage")["status"]["S"]
    assert pattern == stream_filter()
    assert set(Status) - set(status) == {Status.SUBMITTED, Status.PROCESSING}


def at(path: str, event: Any) -> Any:
    """The value at a path like `$.detail.tenant_id`."""
    for step in path.split(".")[1:]:
        event = event[step]
    return event


def message(rule: str, event: Any) -> str:
    """What the rule's transformer makes of an event."""
    transformer = properties(rule)["Targets"][0]["InputTransformer"]
    text: str = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        text = text.replace(f"<{name}>", json.dumps(at(path, event)))
    return text


def test_every_function_has_a_good_sample_and_a_bad_one() -> None:
    counts = {folder: len(samples_of(folder)) for folder in FUNCTIONS}
    assert set(FUNCTIONS) == {name.split("__")[0] for name in SAMPLES}
    assert {folder for folder, count in counts.items() if count < 2} == set()


@pytest.mark.parametrize("name", samples_of("submit_task", "read_tasks", "receive_callback"))
def test_a_sample_request_comes_by_a_route_to_its_function(name: str) -> None:
    event = sample(name)
    assert ROUTES[event["routeKey"]] == name.split("__", maxsplit=1)[0]
    assert event["requestContext"]["routeKey"] == event["routeKey"]
    assert event["version"] == "2.0"
    # Callbacks carry no tenant; everything else was let in by the authorizer.
    caller = {"tenant_id": "acme", "key_id": "6f1d0c9b2a34", "daily_cap": "1000"}
    expected = None if name.startswith("receive_callback") else {"lambda": caller}
    assert event["requestContext"].get("authorizer") == expected


@pytest.mark.parametrize(
    ("case", "genuine"), [("success", True), ("processing", True), ("unreadable_body", True), ("forged_token", False)]
)
def test_sample_callbacks_are_signed_as_they_say(case: str, genuine: bool) -> None:
    event = sample(f"receive_callback__{case}")
    token = event["queryStringParameters"]["token"]
    assert SAMPLE_KEYS.verify(event["pathParameters"]["task_id"], token) is genuine


@pytest.mark.parametrize("name", samples_of("publish_events", "record_spending"))
def test_sample_stream_records_pass_the_filter(name: str) -> None:
    for record in sample(name)["Records"]:
        assert matches(stream_filter(), record)


def test_publisher_is_not_invoked_for_what_is_no_event() -> None:
    keys = (
        "key#6f1d0c9b2a34",
        "tenant#acme",
        "source#shop.orders",
        f"{task_item.REMOTE_PREFIX}gateway#gen-7c1f5e0b9d",
    )
    for kind, pk in [*(("INSERT", key) for key in keys), ("REMOVE", f"{TASK_PREFIX}myswlg5gzefra7xdps2scd42jm")]:
        assert not matches(stream_filter(), {"eventName": kind, "dynamodb": {"Keys": {"pk": {"S": pk}}}})


def test_a_generated_task_becomes_a_delivery_and_nothing_else_does() -> None:
    pattern = properties("VideoTaskGeneratedRule")["EventPattern"]
    delivered = []
    for record in sample("publish_events__whole_life")["Records"]:
        task = task_from_image(record["dynamodb"]["NewImage"])
        event = {"source": "vidu-relay", "detail-type": event_type(task), "detail": event_detail(task)}
        assert not matches(pattern, {**event, "replay-name": "again"})
        if matches(pattern, event):
            delivered.append((task.status, message("VideoTaskGeneratedRule", event)))
    ((status, body),) = delivered
    assert status is Status.GENERATED
    # What the worker's samples hold is what the rule writes.
    sent = sample("deliver_videos__generated")["Records"][0]["body"]
    assert json.loads(body) == json.loads(sent) == {"task_id": "myswlg5gzefra7xdps2scd42jm"}


def test_messages_of_a_tenant_are_one_group_of_their_fair_queue() -> None:
    (record, *_) = sample("publish_events__whole_life")["Records"]
    task = task_from_image(record["dynamodb"]["NewImage"])
    event = {"source": "acme.orders", "detail": event_detail(task)}
    for rule, group in (
        ("VideoTaskGeneratedRule", task.tenant_id),
        ("NotificationRule", task.tenant_id),
        ("VideoTaskRequestedRule", "acme.orders"),
    ):
        assert at(properties(rule)["Targets"][0]["SqsParameters"]["MessageGroupId"], event) == group
    assert "SqsParameters" not in properties("RequestDroppedRule")["Targets"][0]  # the tenant is a part of the key


def test_changes_of_tasks_with_a_callback_url_become_notifications_and_nothing_else_does() -> None:
    pattern = properties("NotificationRule")["EventPattern"]
    notified_of = []
    for record in sample("publish_events__whole_life")["Records"]:
        task = task_from_image(record["dynamodb"]["NewImage"])
        without = {name: value for name, value in task.request.items() if name != "callback_url"}
        for request in (without, {**without, "callback_url": "https://client.example.com/?key=1"}):
            asked = replace(task, request=request)
            event = {"source": "vidu-relay", "detail-type": event_type(asked), "detail": event_detail(asked)}
            assert not matches(pattern, {**event, "replay-name": "again"})
            assert "client.example.com" not in str(event)
            if matches(pattern, event):
                assert request is not without
                notified_of.append((task.status, read_notification(message("NotificationRule", event))))
    ((status, note),) = notified_of
    assert status is Status.COMPLETED
    assert (note.task_id, note.version) == (
        "myswlg5gzefra7xdps2scd42jm",
        1_795_424_400 + 3,
    )  # from the second of creation
    notified = {EVENT_TYPES[status] for status in NOTIFIED} | {EVENT_TYPE_DELIVERY_DELAYED}
    assert set(pattern["detail-type"]) == notified


FILES = {
    "requests/acme/order.json": True,
    "requests/acme/2026/11/order.json": True,
    "requests/acme/night.jsonl": True,
    "batches/acme/x/retry.jsonl": False,
    "requests/order.json": True,  # no tenant's: it is refused, and its writer gets the answer
    "requests/acme/fox.png": False,
    "requests/acme/order.JSON": False,
    "rejected/requests/order.json": False,
    "tasks/acme/x/y.json": False,
    "uploads/acme/order.json": False,
}


@pytest.mark.parametrize(("key", "queued"), FILES.items())
def test_files_below_the_prefix_are_queued_and_no_others(key: str, queued: bool) -> None:
    pattern = properties("RequestDroppedRule")["EventPattern"]
    event = json.loads(sample("accept_request__file")["Records"][0]["body"])
    event["detail"]["object"]["key"] = key
    bucket = event["detail"]["bucket"].pop("name")
    ours = {**event, "detail": {**event["detail"], "bucket": {"name": {"Ref": "InboxBucket"}}}}
    assert matches(pattern, ours) is queued
    assert not matches(pattern, {**ours, "replay-name": "again"})
    if queued:
        event["detail"]["bucket"]["name"] = bucket
        read_request(json.dumps(event))  # the worker reads what its rule queues


@pytest.mark.parametrize(
    ("source", "detail_type", "queued"),
    [
        ("acme.orders", "VideoTaskRequested", True),
        ("vidu-relay", "VideoTaskRequested", False),
        ("vidu-relay", "VideoTaskRejected", False),
        ("acme.orders", "OrderCreated", False),
    ],
)
def test_events_that_ask_are_queued_and_no_others(source: str, detail_type: str, queued: bool) -> None:
    pattern = properties("VideoTaskRequestedRule")["EventPattern"]
    event = json.loads(sample("accept_request__event")["Records"][0]["body"])
    event |= {"source": source, "detail-type": detail_type}
    assert matches(pattern, event) is queued
    assert not matches(pattern, {**event, "replay-name": "again"})


def test_messages_of_both_rules_are_whole_events() -> None:
    for rule in ("RequestDroppedRule", "VideoTaskRequestedRule"):
        (target,) = properties(rule)["Targets"]
        assert not {"InputTransformer", "InputPath", "Input"} & set(target)


def test_the_schedule_sends_what_the_sweeps_sample_holds() -> None:
    assert sample("reconcile_spending__half_hour") == json.loads(properties("ReconcileSchedule")["Target"]["Input"])
    assert sample("find_overdue_tasks__minute") == json.loads(properties("SweepSchedule")["Target"]["Input"])


def test_the_indexes_are_those_the_store_asks() -> None:
    table = properties("TaskTable")
    record = sample("publish_events__insert")["Records"][0]["dynamodb"]["NewImage"]
    types = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
    indexes = {
        index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    assert indexes == {
        task_store.DUE_INDEX: ["due_shard", "due_at"],
        task_store.OWNER_INDEX: ["owner", "created_at"],
        provider_queue.INDEX: ["waits_at", "place"],
    }
    record |= to_item(replace(task_from_image(record), queued_at=1))
    assert {index["Projection"]["ProjectionType"] for index in table["GlobalSecondaryIndexes"]} == {"KEYS_ONLY"}
    assert {name: next(iter(record[name])) for name in types} == types


def test_records_and_request_parts_expire_where_the_code_writes_them() -> None:
    settled = sample("publish_events__whole_life")["Records"][-1]["dynamodb"]["NewImage"]
    attribute = properties("TaskTable")["TimeToLiveSpecification"]["AttributeName"]
    assert 10**9 < int(settled[attribute]["N"]) < 10**10  # seconds, not milliseconds
    rules = {rule["Id"]: rule for rule in properties("InboxBucket")["LifecycleConfiguration"]["Rules"]}
    task = task_from_image(sample("publish_events__insert")["Records"][0]["dynamodb"]["NewImage"])
    assert task.request_key is not None
    assert task.request_key.startswith(rules["expire-request-parts"]["Prefix"])
