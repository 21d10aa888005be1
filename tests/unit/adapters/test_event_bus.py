"""The bus: in order, in calls that EventBridge takes, and nothing counted as sent that was refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from vidu_relay.adapters.event_bus import Event, EventBus, PutResult


class Bus:
    """A client that takes what EventBridge takes, but for the entries (counted over all calls) it is to refuse."""

    def __init__(self, *refused: int) -> None:
        self.refused = refused
        self.calls: list[list[dict[str, Any]]] = []
        self.taken: list[dict[str, Any]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        assert 1 <= len(Entries) <= 10
        size = sum(len((entry["Detail"] + entry["Source"] + entry["DetailType"]).encode()) + 14 for entry in Entries)
        assert size <= 256 * 1024 or len(Entries) == 1
        first = sum(len(call) for call in self.calls)
        self.calls.append(Entries)
        bad = [index for index in range(len(Entries)) if first + index in self.refused]
        self.taken += [entry for index, entry in enumerate(Entries) if index not in bad]
        results = [
            {"ErrorCode": "ThrottlingException"} if index in bad else {"EventId": str(index)}
            for index in range(len(Entries))
        ]
        return {"FailedEntryCount": len(bad), "Entries": results}


def publish(bus: Bus, events: list[Event]) -> int | None:
    return EventBus(bus, "the-bus").publish(events)  # type: ignore[arg-type]  # a client as far as it matters


def events(*sizes: int) -> list[Event]:
    return [Event("VideoTaskSubmitted", {"n": n, "fill": "x" * size}, 0) for n, size in enumerate(sizes)]


def numbers(bus: Bus) -> list[int]:
    return [json.loads(entry["Detail"])["n"] for entry in bus.taken]


def test_an_event_goes_to_the_bus_as_ours_with_its_time() -> None:
    bus = Bus()
    assert publish(bus, [Event("VideoTaskFailed", {"text": "é"}, 1_800_000_000)]) is None
    assert bus.taken == [
        {
            "EventBusName": "the-bus",
            "Source": "vidu-relay",
            "DetailType": "VideoTaskFailed",
            "Detail": '{"text":"é"}',
            "Time": datetime(2027, 1, 15, 8, 0, tzinfo=UTC),
        }
    ]


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [([], []), ([1] * 25, [10, 10, 5]), ([150_000, 150_000, 300_000, 10, 10], [1, 1, 1, 2])],
    ids=["none", "many", "large"],
)
def test_events_go_in_order_in_as_few_calls_as_eventbridge_takes(sizes: list[int], calls: list[int]) -> None:
    bus = Bus()
    assert publish(bus, events(*sizes)) is None
    assert [len(call) for call in bus.calls] == calls
    assert numbers(bus) == list(range(len(sizes)))


@pytest.mark.parametrize("refused", [[0], [9, 5, 7], [10], [24]])
def test_the_first_event_that_was_refused_is_reported_and_nothing_behind_its_call_is_sent(refused: list[int]) -> None:
    bus, first = Bus(*refused), min(refused)
    assert publish(bus, events(*[1] * 25)) == first
    assert first not in numbers(bus)
    assert set(range(first)) <= set(numbers(bus)), "what lies before it is on the bus"
    assert len(bus.calls) == first // 10 + 1


@given(sizes=st.lists(st.sampled_from([1, 20_000, 99_000, 199_990, 250_000]), max_size=14), one=st.sampled_from("xé"))
@settings(max_examples=20, deadline=None)
def test_every_event_is_sent_exactly_once_in_calls_that_are_taken(sizes: list[int], one: str) -> None:
    bus = Bus()
    batch = [Event("t", {"n": n, "fill": one * (size // len(one.encode()))}, 0) for n, size in enumerate(sizes)]
    assert publish(bus, batch) is None
    assert numbers(bus) == list(range(len(sizes)))


# --- what EventBridge will never take, and what it may take later


class Refusing(Bus):
    """Refuses a call as a whole, with a code, if the text stands in one of its details."""

    def __init__(self, text: str, error: Exception) -> None:
        super().__init__()
        self.text = text
        self.error = error

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if any(self.text in entry["Detail"] for entry in Entries):
            self.calls.append(Entries)
            raise self.error
        return super().put_events(Entries=Entries)


def put(bus: Bus, batch: list[Event]) -> PutResult:
    adapter = EventBus(bus, "the-bus")  # type: ignore[arg-type]  # a client as far as it matters
    return adapter.put([adapter.entry(event) for event in batch])


def aws_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "…"}}, "PutEvents")


def test_the_bad_entry_of_a_refused_call_is_found_and_the_others_are_sent() -> None:
    bus = Refusing('"n":3', aws_error("ValidationException"))
    assert put(bus, events(*[1] * 12)) == PutResult({3: "ValidationException"})
    assert numbers(bus) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aws_error("ThrottlingException"), "ThrottlingException"),
        (aws_error("AccessDeniedException"), "AccessDeniedException"),
        (ConnectTimeoutError(endpoint_url="https://events"), "ConnectTimeoutError"),
    ],
)
def test_an_error_of_aws_stops_at_its_call_and_is_named(error: Exception, reason: str) -> None:
    bus = Refusing('"n":12', error)
    assert put(bus, events(*[1] * 25)) == PutResult({}, 10, reason)
    assert numbers(bus) == list(range(10))


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("a fox \ud83d", "a fox \ufffd"),
        ("\udd8a alone", "\ufffd alone"),
        ("\ud83e\udd8a", "\U0001f98a"),
        ("\ud83d\ud83e\udd8aé", "\ufffd\U0001f98aé"),
    ],
)
def test_a_detail_is_valid_unicode_whatever_it_was_given(text: str, published: str) -> None:
    bus = Bus()
    assert publish(bus, [Event("t", {"text": text}, 0)]) is None
    detail = bus.taken[0]["Detail"]
    assert detail.encode().decode() == detail
    assert json.loads(detail) == {"text": published}
