"""Stream records to events: every published version at least once, in order, and nothing else."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError

from tests.simulation.provider import NOON
from tests.simulation.simulation import Simulation
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.domain.errors import BadSourceError
from vidu_relay.domain.snapshot import ProgressState, Usage
from vidu_relay.observability import Metric
from vidu_relay.usecases.publish_events import publish_events


class Bus:
    """An events client that refuses the entries of some details with a code, and remembers the others."""

    def __init__(self, refuse: str = "\0", code: str = "InternalFailure") -> None:
        self.refuse = refuse
        self.code = code
        self.calls = 0
        self.entries: list[dict[str, Any]] = []
        self.outage: Callable[[], Exception | None] = lambda: None
        """Asked at each call: what it raises."""

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto's name
        self.calls += 1
        assert len(Entries) <= 10
        if error := self.outage():
            raise error
        results: list[dict[str, str]] = []
        for entry in Entries:
            entry["Detail"].encode()  # as boto does
            bad = self.refuse in entry["Detail"]
            results.append({"ErrorCode": self.code} if bad else {"EventId": "1"})
            self.entries.extend([] if bad else [entry])
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def types(self) -> list[str]:
        return [entry["DetailType"] for entry in self.entries]

    def event_ids(self) -> list[str]:
        """Task and number of the change, counted from its acceptance."""
        found = []
        for entry in self.entries:
            detail = json.loads(entry["Detail"])
            task_id, _, version = detail["event_id"].partition(":")
            first = datetime.fromisoformat(detail["task"]["created_at"]).timestamp()
            found.append(f"{task_id}:{int(version) - int(first) + 1}")
        return found


def change_id(task_id: str, number: int, at: int = NOON) -> str:
    """The `event_id` of a task's change, counted from its acceptance at this moment."""
    return f'"{task_id}:{at // 1000 + number - 1}"'


class Failures:
    """An S3 client that keeps objects, unless `broken`."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.broken = False

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:  # noqa: N803 - boto's names
        assert (Bucket, ContentType) == ("relay-failures", "application/json")
        if self.broken:
            raise ClientError({"Error": {"Code": "SlowDown", "Message": "…"}}, "PutObject")
        self.objects[Key] = Body

    def records(self) -> list[dict[str, Any]]:
        """Every record in it, as the operator's tool reads them."""
        found = [json.loads(json.loads(body)["payload"])["Records"] for body in self.objects.values()]
        return [record for records in found for record in records]


def publish(records: Sequence[Mapping[str, Any]], client: Bus, failures: Failures | None = None) -> str | None:
    bucket = FailuresBucket(failures or Failures(), "relay-failures", "publish_events")  # type: ignore[arg-type]
    return publish_events(records, EventBus(client, "relay-events"), bucket)  # type: ignore[arg-type]


def as_lambda_sends_it(value: Any) -> Any:
    """A stream record as JSON: binary values are base 64 text."""
    if isinstance(value, dict):
        return {name: as_lambda_sends_it(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_lambda_sends_it(part) for part in value]
    if isinstance(value, bytes | Binary):
        return base64.b64encode(bytes(value)).decode()  # type: ignore[arg-type]
    return value


def whole_life(sim: Simulation) -> list[dict[str, Any]]:
    """The stream of a task from submission to its video, with a lease in between."""
    task = sim.submit(prompt="p" * 900, payload="secret-payload", callback_url="https://client.example.com/?key=1")
    sim.provider.show("gen-1", ProgressState.PROCESSING)
    sim.call_back(task.task_id, {"status": "processing"})
    sim.clock.advance(125)
    sim.sweep()
    sim.provider.finish("gen-1")
    sim.check(task.task_id)
    sim.deliver(task.task_id)
    records: list[dict[str, Any]] = json.loads(json.dumps(as_lambda_sends_it(sim.stream)))
    return records


def test_each_published_version_is_one_event_in_order(sim: Simulation) -> None:
    records = whole_life(sim)
    assert len(records) == 7
    client = Bus()
    assert publish(records, client) is None
    assert client.types() == [
        "VideoTaskAccepted",
        "VideoTaskSubmitted",
        "VideoTaskProcessing",
        "VideoTaskGenerated",
        "VideoTaskCompleted",
    ]
    details = [json.loads(entry["Detail"]) for entry in client.entries]
    versions = [NOON // 1000 + number for number in range(5)]
    assert [detail["event_id"] for detail in details] == [f"{sim.task_id()}:{version}" for version in versions]
    assert [detail["task"]["version"] for detail in details] == versions
    assert {(entry["Source"], entry["EventBusName"]) for entry in client.entries} == {("vidu-relay", "relay-events")}


def test_event_carries_nothing_that_opens_anything(sim: Simulation) -> None:
    client = Bus()
    publish(whole_life(sim), client)
    for entry in client.entries:
        detail = json.loads(entry["Detail"])
        assert len(entry["Detail"].encode()) < 20_000
        assert "history" not in detail["task"]
        assert {"payload", "meta_data", "callback_url"}.isdisjoint(detail["task"]["request"])
        assert len(detail["task"]["request"]["prompt"]) == 500
        assert "cdn.example.com" not in entry["Detail"]
        assert sim.token(sim.task_id()) not in entry["Detail"]


def test_refused_entry_in_a_later_call_is_found(sim: Simulation) -> None:
    for number in range(8):
        sim.submit(key=f"order-{number}")
    records = as_lambda_sends_it(sim.stream)
    last = sim.task_id("order-7")
    client = Bus(refuse=change_id(last, 2, at=sim.task(last).created_at))
    assert publish(records, client) == records[-1]["dynamodb"]["SequenceNumber"]
    assert client.calls == 2
    assert len(client.entries) == 15


POISON: dict[str, tuple[str, Any]] = {
    "status that no version knows": ("status", {"S": "sleeping"}),
    "history": ("history", {"S": "x"}),
    "request that is no binary": ("request", {"S": "{}"}),
    "request that is no deflate": ("request", {"B": "AAAA"}),
    "version": ("version", {"N": "two"}),
    "time beyond the calendar": ("updated_at", {"N": "99999999999999999"}),
    "no number at all": ("created_at", {"S": "noon"}),
    "attribute of no type": ("error", {}),
}


@pytest.mark.parametrize("what", POISON)
@pytest.mark.parametrize("position", [0, 2, 4])
def test_record_that_cannot_be_read_is_set_aside_whole_and_the_others_are_published(
    sim: Simulation, what: str, position: int
) -> None:
    records = [record for record in whole_life(sim) if is_event(record)]
    name, value = POISON[what]
    records[position]["dynamodb"]["NewImage"][name] = value
    client, failures = Bus(), Failures()
    assert publish(records, client, failures) is None
    assert client.event_ids() == [f"{sim.task_id()}:{n}" for n in (1, 2, 3, 4, 5) if n != position + 1]
    assert failures.records() == [records[position]]


@pytest.mark.parametrize("code", ["InvalidArgument", "MalformedDetail", "ValidationException"])
def test_entry_that_eventbridge_refuses_as_invalid_is_set_aside(sim: Simulation, code: str) -> None:
    records = whole_life(sim)
    client, failures = Bus(refuse=change_id(sim.task_id(), 3), code=code), Failures()
    assert publish(records, client, failures) is None
    assert failures.records() == [records[3]]
    assert client.event_ids() == [f"{sim.task_id()}:{n}" for n in (1, 2, 4, 5)]


def test_half_an_emoji_in_the_providers_words_is_published_as_a_replacement_character(sim: Simulation) -> None:
    task = sim.submit()
    sim.provider.fail("gen-1")
    sim.call_back(task.task_id)
    records = json.loads(json.dumps(as_lambda_sends_it(sim.stream)))
    records[-1]["dynamodb"]["NewImage"]["error"]["M"]["message"] = {"S": "refused: a fox \ud83d, a wolf \ud83e\udd8a"}
    client, failures = Bus(), Failures()
    assert publish(records, client, failures) is None
    assert failures.objects == {}
    detail = json.loads(client.entries[-1]["Detail"])
    assert detail["task"]["error"]["message"] == "refused: a fox \ufffd, a wolf \U0001f98a"


def test_record_that_cannot_be_set_aside_comes_again_and_nothing_behind_it_is_published(sim: Simulation) -> None:
    records = whole_life(sim)
    del records[3]["dynamodb"]["NewImage"]["request"]
    client, failures = Bus(), Failures()
    failures.broken = True
    assert publish(records, client, failures) == records[3]["dynamodb"]["SequenceNumber"]
    assert client.types() == ["VideoTaskAccepted", "VideoTaskSubmitted"]


def test_record_set_aside_again_overwrites_its_own_object(sim: Simulation) -> None:
    records = whole_life(sim)
    del records[3]["dynamodb"]["NewImage"]["request"]
    failures = Failures()
    for _ in range(2):
        publish(records, Bus(), failures)
    assert failures.records() == [records[3]]


def test_record_refused_before_an_unreadable_one_is_the_one_reported(sim: Simulation) -> None:
    records = whole_life(sim)
    del records[4]["dynamodb"]["NewImage"]["version"]
    client, failures = Bus(refuse=change_id(sim.task_id(), 2)), Failures()
    assert publish(records, client, failures) == records[2]["dynamodb"]["SequenceNumber"]
    assert failures.objects == {}


def is_event(record: Mapping[str, Any]) -> bool:
    change = record["dynamodb"]
    return bool(change["NewImage"]["version"] != change.get("OldImage", {}).get("version"))


def spent(monkeypatch: pytest.MonkeyPatch, records: list[dict[str, Any]]) -> list[float]:
    """What a publisher says was spent, of records that it gets one by one."""
    seen: list[float] = []

    def gauge(name: str, value: float, *_: object) -> None:
        seen.extend([value] if name == Metric.SPEND_USD else [])

    monkeypatch.setattr("vidu_relay.usecases.publish_events.gauge", gauge)
    for record in as_lambda_sends_it(records):
        assert publish([record], Bus()) is None
    return seen


def test_a_videos_price_is_counted_once_of_all_its_changes(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_life(sim)
    assert spent(monkeypatch, sim.stream) == [0.2]


def test_the_price_of_a_video_that_is_never_delivered_is_counted_once(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.source.faults = [BadSourceError("not_mp4", "…")] * 99
    sim.provider.reply_state = ProgressState.SUCCEEDED
    sim.submit()
    sim.run(until=sim.clock.now + 3_600_000)
    assert spent(monkeypatch, sim.stream) == [0.2]


@pytest.mark.parametrize("cost", [None, "free", "NaN", "Infinity"])
def test_a_price_that_is_no_number_is_not_counted(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, cost: str | None
) -> None:
    task = sim.submit()
    sim.provider.finish("gen-1")
    sim.provider.show("gen-1", ProgressState.SUCCEEDED, usage=Usage(cost, "1"))
    sim.call_back(task.task_id)
    assert spent(monkeypatch, sim.stream) == []


def test_an_event_that_the_operator_publishes_again_spends_nothing(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_life(sim)
    for record in sim.stream:
        record["dynamodb"].pop("OldImage", None)
    assert spent(monkeypatch, sim.stream) == []


def test_deleted_task_is_no_event(sim: Simulation) -> None:
    (record, *_) = whole_life(sim)
    gone = {"SequenceNumber": "1", "OldImage": record["dynamodb"]["NewImage"]}
    client = Bus()
    assert publish([{"eventName": "REMOVE", "dynamodb": gone}], client) is None
    assert client.calls == 0


def test_price_of_a_failed_task_is_counted(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    task = sim.submit()
    sim.provider.fail("gen-1")
    sim.provider.show("gen-1", ProgressState.FAILED, usage=Usage("0.35", "1"))
    sim.call_back(task.task_id)
    assert spent(monkeypatch, sim.stream) == [0.35]


def test_record_that_the_operator_publishes_is_reported_and_not_set_aside(sim: Simulation) -> None:
    records = whole_life(sim)
    del records[3]["dynamodb"]["NewImage"]["request"]
    bus = EventBus(Bus(), "relay-events")  # type: ignore[arg-type]
    assert publish_events(records, bus, None) == records[3]["dynamodb"]["SequenceNumber"]
