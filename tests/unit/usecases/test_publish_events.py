"""Stream records to events: every published version once at least, in order, and nothing besides."""

import base64
import json
from typing import Any

import pytest
from boto3.dynamodb.types import Binary

from tests.unit.usecases.scripted import LostReplyError
from tests.unit.usecases.world import World
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.domain.errors import BadSourceError, CreateRejectedError, NotCreatedError
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.usecases.publish_events import publish_events


class Bus:
    """An events client that refuses the entries of some details, and remembers the others."""

    def __init__(self, refuse: str = "\0") -> None:
        self.refuse = refuse
        self.calls = 0
        self.entries: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto's name
        self.calls += 1
        assert len(Entries) <= 10
        results: list[dict[str, str]] = []
        for entry in Entries:
            bad = self.refuse in entry["Detail"]
            results.append({"ErrorCode": "InternalFailure"} if bad else {"EventId": "1"})
            self.entries.extend([] if bad else [entry])
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def types(self) -> list[str]:
        return [entry["DetailType"] for entry in self.entries]


def bus(client: Bus) -> EventBus:
    return EventBus(client, "relay-events")  # type: ignore[arg-type]


def as_lambda_sends_it(value: Any) -> Any:
    """A stream record as JSON: binary values are base 64 text."""
    if isinstance(value, dict):
        return {name: as_lambda_sends_it(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_lambda_sends_it(part) for part in value]
    if isinstance(value, bytes | Binary):
        return base64.b64encode(bytes(value)).decode()  # type: ignore[arg-type]
    return value


def whole_life(world: World) -> list[dict[str, Any]]:
    """The stream of a task from submission to its video, with a lease in between."""
    task = world.submit(prompt="p" * 900, payload="secret-payload", callback_url="https://client.example.com/?key=1")
    world.provider.show("gen-1", ProgressState.PROCESSING)
    world.ring(task.task_id, {"status": "processing"})
    world.clock.advance(125)
    world.sweep()
    world.provider.finish("gen-1")
    world.check(task.task_id)
    world.deliver(task.task_id)
    records: list[dict[str, Any]] = json.loads(json.dumps(as_lambda_sends_it(world.stream)))
    return records


def test_each_published_version_is_one_event_in_order(world: World) -> None:
    records = whole_life(world)
    assert len(records) == 6
    client = Bus()
    assert publish_events(records, bus(client)) is None
    assert client.types() == [
        "VideoTaskAccepted",
        "VideoTaskSubmitted",
        "VideoTaskProcessing",
        "VideoTaskGenerated",
        "VideoTaskCompleted",
    ]
    details = [json.loads(entry["Detail"]) for entry in client.entries]
    assert [detail["event_id"] for detail in details] == [f"{world.task_id()}:{n}" for n in (1, 2, 3, 4, 5)]
    assert [detail["task"]["version"] for detail in details] == [1, 2, 3, 4, 5]
    assert {(entry["Source"], entry["EventBusName"]) for entry in client.entries} == {("vidu-relay", "relay-events")}


def test_event_carries_nothing_that_opens_anything(world: World) -> None:
    client = Bus()
    publish_events(whole_life(world), bus(client))
    for entry in client.entries:
        detail = json.loads(entry["Detail"])
        assert len(entry["Detail"].encode()) < 20_000
        assert "history" not in detail["task"]
        assert {"payload", "meta_data", "callback_url"}.isdisjoint(detail["task"]["request"])
        assert len(detail["task"]["request"]["prompt"]) == 500
        assert "cdn.example.com" not in entry["Detail"]
        assert world.token(world.task_id()) not in entry["Detail"]


def test_retries_leases_and_checks_are_no_news(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429")] * 3
    world.submit()
    world.run(until=world.clock.now + 600_000)
    assert [name for name, _ in world.published][:2] == ["VideoTaskAccepted", "VideoTaskSubmitted"]
    assert len(world.stream) > 6


@pytest.mark.parametrize(
    ("ending", "expected"),
    [("rejected", "VideoTaskFailed"), ("failed", "VideoTaskFailed"), ("expired", "VideoTaskExpired"),
     ("lost", "VideoTaskExpired"), ("bad source", "VideoTaskFailed")],
)  # fmt: skip
def test_each_way_to_settle_has_its_event(world: World, ending: str, expected: str) -> None:
    if ending == "rejected":
        world.provider.create_faults = [CreateRejectedError("1", "no")]
    elif ending == "lost":
        world.provider.create_faults = [LostReplyError("reset")]
    elif ending == "failed":
        world.provider.reply_state = ProgressState.FAILED
    elif ending == "bad source":
        world.provider.reply_state = ProgressState.SUCCEEDED
        world.source.faults = [BadSourceError("not_mp4", "…")] * 5
    task = world.submit()
    world.run(until=task.deadline_at + 600_000)
    name, detail = world.published[-1]
    assert name == expected
    assert detail["task"]["status"] == expected.removeprefix("VideoTask").lower()
    assert detail["task"]["error"]["code"]


def test_refused_entry_stops_the_batch_at_its_own_record(world: World) -> None:
    records = whole_life(world)
    refused = f'"{world.task_id()}:3"'
    client = Bus(refuse=refused)
    failed = publish_events(records, bus(client))
    assert failed == records[2]["dynamodb"]["SequenceNumber"]
    assert client.types()[:2] == ["VideoTaskAccepted", "VideoTaskSubmitted"]

    # the stream comes back from there
    again = Bus()
    assert publish_events(records[2:], bus(again)) is None
    assert again.types()[0] == "VideoTaskProcessing"
    assert len(again.types()) == 3


def test_refused_entry_in_a_later_call_is_found(world: World) -> None:
    for number in range(8):
        world.submit(key=f"order-{number}")
    records = as_lambda_sends_it(world.stream)
    last = world.task_id("order-7")
    client = Bus(refuse=f"{last}:2")
    assert publish_events(records, bus(client)) == records[-1]["dynamodb"]["SequenceNumber"]
    assert client.calls == 2
    assert len(client.entries) == 15


def test_unreadable_record_is_reported_and_what_stands_before_it_is_published(world: World) -> None:
    records = whole_life(world)
    del records[1]["dynamodb"]["NewImage"]["request"]
    client = Bus()
    assert publish_events(records, bus(client)) == records[1]["dynamodb"]["SequenceNumber"]
    assert client.types() == ["VideoTaskAccepted"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", {"S": "sleeping"}),
        ("history", {"S": "x"}),
        ("request", {"S": "{}"}),
        ("version", {"N": "two"}),
        ("request", {"B": "AAAA"}),
    ],
)
def test_damaged_record_never_escapes_as_an_unforeseen_error(world: World, name: str, value: dict[str, str]) -> None:
    records = whole_life(world)
    records[0]["dynamodb"]["NewImage"][name] = value
    assert publish_events(records, bus(Bus())) == records[0]["dynamodb"]["SequenceNumber"]


def test_record_refused_before_an_unreadable_one_is_the_one_reported(world: World) -> None:
    records = whole_life(world)
    del records[3]["dynamodb"]["NewImage"]["version"]
    client = Bus(refuse=f'"{world.task_id()}:2"')
    assert publish_events(records, bus(client)) == records[1]["dynamodb"]["SequenceNumber"]


def test_deleted_task_is_no_event(world: World) -> None:
    (record, *_) = whole_life(world)
    gone = {"SequenceNumber": "1", "OldImage": record["dynamodb"]["NewImage"]}
    client = Bus()
    assert publish_events([{"eventName": "REMOVE", "dynamodb": gone}], bus(client)) is None
    assert client.calls == 0
