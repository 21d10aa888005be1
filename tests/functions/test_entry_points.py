"""The same requests by HTTP, dropped file and event, through the functions as they are deployed.

What one entry point takes the others take, with the same meaning; what one refuses all refuse, with the same document.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.functions.conftest import Relay
from tests.unit.template import sample
from vidu_relay.adapters.task_item import task_from_image
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.representation import represent
from vidu_relay.outbound.address_guard import AddressGuard

Body = dict[str, Any]
IMAGE = "https://images.example.com/fox.png"
GOOD: Body = {
    "model": "viduq2_pro_fast_reference2video",
    "subjects": [{"id": "fox", "images": [IMAGE]}],
    "prompt": "@fox eats hotpot",
}
BARE = {name: value for name, value in GOOD.items() if name != "subjects"}
KEY = "order-1"


@dataclass
class Answer:
    """What an entry point says: a task, or the problem document."""

    task: Body | None = None
    problem: Body | None = None


def by_http(relay: Relay, body: bytes) -> Answer:
    event = sample("submit_task__idempotency_key")
    event["headers"]["idempotency-key"] = KEY
    event["body"] = body.decode("utf-8", "surrogateescape")
    reply = relay.invoke("submit_task", event)
    said = json.loads(reply["body"])
    return Answer(task=said) if reply["statusCode"] == 202 else Answer(problem=said)


def by_file(relay: Relay, body: bytes) -> Answer:
    relay.drop("requests/acme/order-1001.json", body)
    relay.play("accept_request__file")
    answer = published(relay)
    if answer.problem:
        found = relay.account.clients["s3"].get_object(Bucket=relay.account.inbox, Key="rejected/acme/order-1001.json")
        assert json.loads(found["Body"].read()) == answer.problem
    return answer


def by_event(relay: Relay, body: bytes) -> Answer:
    message = sample("accept_request__event")
    event = json.loads(message["Records"][0]["body"])
    event["detail"] = {"request": "%request%", "idempotency_key": KEY}
    message["Records"][0]["body"] = json.dumps(event).replace('"%request%"', body.decode())  # its very text
    relay.invoke("accept_request", message)
    return published(relay)


def published(relay: Relay) -> Answer:
    """The one rejection on the bus, or the one task in the table."""
    rejected = [entry for entry in relay.entries if entry["DetailType"] == "VideoTaskRejected"]
    if rejected:
        (entry,) = rejected
        assert entry["Source"] == "vidu-relay"
        return Answer(problem=json.loads(entry["Detail"])["error"])
    items = relay.account.clients["dynamodb"].scan(TableName=relay.account.table)["Items"]
    (pk,) = (item["pk"]["S"] for item in items if item["pk"]["S"].startswith("task#"))
    task = TaskStore(relay.account.clients["dynamodb"], relay.account.table).get(pk.removeprefix("task#"))
    assert task
    return Answer(task=json.loads(json.dumps(represent(task))))


EntryPoint = Callable[[Relay, bytes], Answer]
ENTRY_POINTS: dict[str, EntryPoint] = {"http": by_http, "file": by_file, "event": by_event}


@pytest.fixture
def relay(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Every host name has one public address: no test resolves names."""
    defaults = AddressGuard.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "resolve", lambda *_: ["93.184.216.34"])
    relay.map_tenants()
    relay.add_key()
    return relay


ACCEPTED: dict[str, Body] = {
    "least": GOOD,
    "everything": {
        **GOOD,
        "duration": 8,
        "seed": -3,
        "aspect_ratio": "9:16",
        "resolution": "1080p",
        "watermark": True,
        "wm_position": 4,
        "meta_data": '{"Label": "x"}',
        "payload": "p" * 2000,
        "audio": True,
        "callback_url": "https://client.example/hook",
    },
    "images without subjects": {**BARE, "images": [IMAGE]},
}

REFUSED: dict[str, tuple[Body | list[Any] | bytes, str]] = {
    "no images": (BARE, "008017002"),
    "audio alone": ({**BARE, "images": [IMAGE], "audio": True}, "008017001"),
    "duration 9": ({**GOOD, "duration": 9}, "validation_error"),
    "off-peak": ({**GOOD, "off_peak": True}, "validation_error"),
    "many faults": ({**GOOD, "duration": 0, "audio": 1, "resolution": "4k", "colour": "red"}, "validation_error"),
    "no object": ([], "validation_error"),
    "data URI in capitals": ({**BARE, "images": ["DATA:image/png;base64,AAAA"]}, "validation_error"),
    "a crowd of images": ({**BARE, "images": ["fox.png", *[1] * 1000]}, "008017003"),
    "a crowd of names": ({**GOOD, **{str(number): 1 for number in range(500)}}, "validation_error"),
    "a crowd of mentions": ({**GOOD, "prompt": "@a " * 600}, "validation_error"),
    "duration twice": ((json.dumps(GOOD)[:-1] + ', "duration": 1, "duration": 4}').encode(), "validation_error"),
    "lists": (b'{"model": [' + b"[]," * 100_000 + b"0]}", "validation_error"),
    "levels": (b"[" * 100_000 + b"]" * 100_000, "malformed_json"),
    "digits": (b'{"seed": ' + b"9" * 5_000 + b"}", "malformed_json"),
    "half a character": (rb'{"prompt": "a fox \ud83d"}', "malformed_json"),
    "half a character in a name": (rb'{"\ud83d": 1}', "malformed_json"),
    "empty": (b"", "malformed_json"),
    "byte order mark": (b"\xef\xbb\xbf{}", "malformed_json"),
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("name", ACCEPTED)
def test_good_request_means_the_same_at_every_entry_point(relay: Relay, entry_point: str, name: str) -> None:
    answer = ENTRY_POINTS[entry_point](relay, json.dumps(ACCEPTED[name]).encode())

    assert answer.task, answer.problem
    assert answer.task["status"] == "submitted"
    expected = {key: value for key, value in ACCEPTED[name].items() if key != "payload"}
    assert {**answer.task["request"], "payload": None} == {**expected, "payload": None}
    assert [method for method, _ in relay.gateway.requests] == ["POST"]
    source = {"http": "http", "file": "s3", "event": "event"}[entry_point]
    assert [(entry["status"], entry["source"]) for entry in answer.task["history"]] == [
        ("accepted", source),
        ("submitted", "create"),
    ]


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_null_empty_and_a_point_change_nothing_at_any_entry_point(relay: Relay, entry_point: str) -> None:
    more = ', "duration": 5.0, "seed": 1e3, "audio": null, "images": null, "wm_url": "", "payload": ""}'
    answer = ENTRY_POINTS[entry_point](relay, (json.dumps(GOOD)[:-1] + more).encode())

    assert answer.task, answer.problem
    assert answer.task["request"] == {**GOOD, "duration": 5, "seed": 1000}
    if entry_point != "file":  # whose key is its own
        again = by_http(relay, json.dumps({**GOOD, "duration": 5, "seed": 1000}).encode())
        assert again.task
        assert again.task["task_id"] == answer.task["task_id"]


@pytest.mark.parametrize("name", REFUSED)
def test_bad_request_gets_the_same_document_at_every_entry_point(relay: Relay, name: str) -> None:
    content, code = REFUSED[name]
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    over_http = by_http(relay, body)

    assert over_http.problem
    assert (over_http.problem["status"], over_http.problem["code"]) == (400 if code == "malformed_json" else 422, code)
    assert by_file(relay, body) == over_http
    relay.entries.clear()
    if name not in ("empty", "byte order mark"):  # which are no part of an event
        in_event = by_event(relay, body).problem
        assert in_event
        assert in_event == over_http.problem or (code, in_event["code"]) == ("malformed_json", "malformed_json")
    assert relay.gateway.requests == []


def test_http_and_event_share_a_tenants_keys(relay: Relay) -> None:
    first, second = (ENTRY_POINTS[entry_point](relay, json.dumps(GOOD).encode()) for entry_point in ("event", "http"))
    assert first.task
    assert second.task
    assert first.task["task_id"] == second.task["task_id"] == task_id_for_key("acme", KEY)
    assert len(relay.gateway.requests) == 1


def test_lines_of_a_dropped_file_wait_in_the_queue(relay: Relay) -> None:
    """A message may come before its file was read, or again."""
    for name in ("accept_request__batch_lines", "accept_request__batch", *["accept_request__batch_lines"] * 2):
        relay.drop_batch()
        relay.play(name)
    items = relay.account.clients["dynamodb"].scan(TableName=relay.account.table)["Items"]
    tasks = [task_from_image(item) for item in items if item["pk"]["S"].startswith("task#")]
    assert [(task.waits, task.history[0].source) for task in tasks] == [(True, "batch")] * 2
    assert {item["tasks"]["N"] for item in items if item["pk"]["S"].startswith("batch#")} == {"2"}
    assert relay.gateway.requests == []


def test_refused_file_of_an_upload_form_is_shown_with_its_answer(relay: Relay) -> None:
    """Over HTTP the client knows the batch's id only, not that the file was refused."""
    batch_id = json.loads(relay.play("create_upload__batch")["body"])["batch_id"]
    relay.drop(f"requests/acme/batches/{batch_id}.jsonl", b"\x1f\x8bzipped")
    dropped = json.dumps(sample("accept_request__batch")).replace("night.jsonl", f"batches/{batch_id}.jsonl")
    relay.invoke("accept_request", json.loads(dropped))
    asked = sample("read_tasks__unknown_batch")
    asked["pathParameters"] = {"batch_id": batch_id}
    shown = json.loads(relay.invoke("read_tasks", asked)["body"])
    assert (shown["batch_id"], shown["state"], shown["error"]["code"]) == (batch_id, "rejected", "file_compressed")
    assert datetime.fromisoformat(shown["rejected_at"]) <= datetime.now(UTC)
