"""The bus: in order, in calls that EventBridge takes, and nothing counted as sent that was refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidu_relay.adapters.event_bus import Event, EventBus


class Bus:
    """A client that takes what EventBridge takes, but for the entries (counted over all calls) it is told to refuse."""

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


def test_nothing_to_publish_calls_nobody() -> None:
    bus = Bus()
    assert publish(bus, []) is None
    assert bus.calls == []


def test_more_than_ten_events_go_in_several_calls_in_order() -> None:
    bus = Bus()
    assert publish(bus, events(*[1] * 25)) is None
    assert [len(call) for call in bus.calls] == [10, 10, 5]
    assert numbers(bus) == list(range(25))


def test_large_events_go_in_calls_of_their_own() -> None:
    bus = Bus()
    assert publish(bus, events(150_000, 150_000, 300_000, 10, 10)) is None
    assert numbers(bus) == list(range(5))
    assert [len(call) for call in bus.calls] == [1, 1, 1, 2]


@pytest.mark.parametrize("refused", [0, 3, 9, 10, 24])
def test_the_first_event_that_was_refused_is_told_and_nothing_behind_its_call_is_sent(refused: int) -> None:
    bus = Bus(refused)
    assert publish(bus, events(*[1] * 25)) == refused
    assert refused not in numbers(bus)
    assert set(range(refused)) <= set(numbers(bus)), "what lies before it is on the bus"
    assert len(bus.calls) == refused // 10 + 1


def test_of_several_refused_the_first_counts() -> None:
    assert publish(Bus(7, 2, 5), events(*[1] * 10)) == 2


@given(
    sizes=st.lists(st.sampled_from([1, 20_000, 99_000, 199_990, 250_000]), max_size=14), letter=st.sampled_from("xé")
)
@settings(max_examples=20, deadline=None)
def test_every_event_is_sent_exactly_once_in_calls_that_are_taken(sizes: list[int], letter: str) -> None:
    bus = Bus()
    batch = [Event("t", {"n": n, "fill": letter * (size // len(letter.encode()))}, 0) for n, size in enumerate(sizes)]
    assert publish(bus, batch) is None
    assert numbers(bus) == list(range(len(sizes)))
