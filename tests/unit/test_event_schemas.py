"""The schemas of events: valid, true to what is published, and never changed so that a consumer breaks."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV30SpecValidator
from pydantic import BaseModel, ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from cli.schemas import EVENTS, detail_types, registered, whole_schema
from local.description import events
from local.description.asyncapi import describe_bus
from local.description.schemas import EXAMPLES, PARAMETERS
from tests.documents import blocks, table
from tests.event_schemas import faults_of
from tests.schema_changes import incompatibilities
from tests.unit.builders import LINK, NOW, OFFERING, POLICY, copy_failed, done, new_task, submitting, task_in, video
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.domain import delivery, documents, lifecycle
from vidu_relay.domain.batch_representation import EVENT_TYPE_BATCH_ACCEPTED, EVENT_TYPE_BATCH_COMPLETED
from vidu_relay.domain.errors import Fault, InvalidRequestError
from vidu_relay.domain.notification import EVENT_TYPE_NOTIFICATION_FAILED, failure_detail
from vidu_relay.domain.provider_books import (
    EVENT_TYPE_BALANCE_LOW,
    EVENT_TYPE_BILL_DIFFERS,
    Balance,
    balance_detail,
    bill_detail,
)
from vidu_relay.domain.queued_requests import DroppedFile, RequestEvent, rejection_detail
from vidu_relay.domain.representation import EVENT_HIDDEN_FIELDS, event_detail, event_type
from vidu_relay.domain.request_model import parse_request
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import EVENT_TYPE_ACCEPTED, EVENT_TYPE_REJECTED, Status
from vidu_relay.domain.task import Task
from vidu_relay.http import problem_document

TYPES = (*events.SENT, *events.RECEIVED)
DOCUMENT = describe_bus()
Change = Callable[[dict[str, Any]], object]


def load_models() -> Any:
    """The file that consumers copy, as they import it."""
    spec = importlib.util.spec_from_file_location("consumers_events", EVENTS.with_suffix(".py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODELS = load_models()


def delayed() -> Task:
    """A task of two videos after the fifth failed copy of its second one."""
    submitted = task_in(Status.SUBMITTED)
    task = lifecycle.apply_snapshot(
        submitted, done(LINK, "https://cdn.example/2.mp4"), now=NOW, source="check", policy=POLICY
    )
    for number in range(delivery.DELAYED_AFTER):
        task = copy_failed(task, video(), now=NOW + number, whole_copies=1)
    return task


def events_of_tasks() -> list[tuple[str, documents.VideoTaskEvent]]:
    """Detail type and detail of an event in every state, of a delayed delivery, and of the largest tasks."""
    settled = [task_in(status) for status in Status if status not in (Status.ACCEPTED, Status.SUBMITTING)]
    # the event of the acceptance, and the same published again while the create call runs
    named = new_task(external_id="4711", labels={"team": "blue"})
    tasks = [new_task(), named, submitting(), *settled, delayed()]
    found = [(event_type(task), event_detail(task)) for task in tasks]
    whole = {
        "images": ["https://me:secret@images.example/one.png?key=secret", "ni:///sha-256;abc"],
        "prompt": "x" * 2000,
        "payload": "secret",
        "meta_data": "{}",
        "callback_url": "https://client.example/secret",
        "wm_url": "https://client.example/mark.png?key=secret",
        "model": "viduq2_pro_fast_reference2video",
        "seed": -1,
        "audio": False,
        "aspect_ratio": "16:9",
    }
    found.append((EVENT_TYPE_ACCEPTED, event_detail(new_task(request=whole))))
    long = [{"id": f"{number}{'i' * 90}", "images": ["https://h.example/" + "p" * 2000] * 3} for number in range(1, 40)]
    large = event_detail(new_task(request={"subjects": long, "prompt": "x", "duration": 5, "watermark": True}))
    assert large["task"]["request"] == {"duration": 5, "watermark": True}  # the reduced form
    found.append((EVENT_TYPE_ACCEPTED, large))
    many = event_detail(replace(task_in(Status.COMPLETED), videos=task_in(Status.COMPLETED).videos * 256))
    assert many["task"]["videos_total"] == 256
    found.append(("VideoTaskCompleted", many))
    return found


def refused() -> list[documents.Rejection]:
    """Details of rejections of a file and of an event, with a tenant and without."""
    fault = InvalidRequestError("validation_error", "See `errors`.", (Fault("duration", "too long", "008017003"),))
    file = DroppedFile("inbox", "requests/acme/order.json", "v1")
    event = RequestEvent("7a3f9c10-5b0e-4c3a-8a55-1d2f6e7c8b90", "acme.orders", {})
    unknown = InvalidRequestError("source_not_mapped", "Ask the operator.")
    return [
        rejection_detail(file, "acme", problem_document(fault)),
        rejection_detail(event, None, problem_document(unknown)),
    ]


# --- the files


def test_file_has_a_schema_for_each_detail_type_and_names_no_place() -> None:
    assert detail_types() == list(TYPES)
    file = json.loads(EVENTS.read_text("utf-8"))
    Draft202012Validator.check_schema(file)
    assert file["$id"] == f"urn:vidu-relay:events:{events.VERSION}"
    assert re.findall(r"https?://[^\"/\s]+", json.dumps({**file, "$schema": ""})) == []


def test_file_itself_is_the_schema_of_any_detail() -> None:
    validator = Draft202012Validator(json.loads(EVENTS.read_text("utf-8")))
    detail = event_detail(task_in(Status.COMPLETED))
    assert validator.is_valid(detail)
    assert not validator.is_valid({**detail, "event_id": "x"})


@pytest.mark.parametrize("name", events.SENT)
def test_schema_of_our_events_lets_a_field_be_added(name: str) -> None:
    assert "additionalProperties" not in json.dumps(whole_schema(name))


# --- what is published fits


@pytest.mark.parametrize(
    ("name", "detail"), events_of_tasks(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_event_of_a_task_is_as_described(name: str, detail: documents.VideoTaskEvent) -> None:
    assert faults_of(name, detail) == []
    assert "secret" not in json.dumps(detail)


def test_every_type_of_event_is_among_them() -> None:
    others = {EVENT_TYPE_REJECTED, EVENT_TYPE_NOTIFICATION_FAILED, EVENT_TYPE_BILL_DIFFERS, EVENT_TYPE_BALANCE_LOW}
    others |= {EVENT_TYPE_BATCH_ACCEPTED, EVENT_TYPE_BATCH_COMPLETED}  # see test_follow_batch.py
    assert {name for name, _ in events_of_tasks()} | others == set(events.SENT)


FAILED_WEBHOOK: Mapping[str, Any] = failure_detail(
    task_in(Status.COMPLETED), 1, "https://client.example", 21, TaskError("http_500", "HTTP 500")
)


def test_rejection_and_failed_notification_are_as_described() -> None:
    assert [faults_of(EVENT_TYPE_REJECTED, detail) for detail in refused()] == [[], []]
    assert faults_of(EVENT_TYPE_NOTIFICATION_FAILED, FAILED_WEBHOOK) == []
    for name in FAILED_WEBHOOK:
        assert faults_of(
            EVENT_TYPE_NOTIFICATION_FAILED, {key: FAILED_WEBHOOK[key] for key in FAILED_WEBHOOK if key != name}
        )
    assert faults_of(EVENT_TYPE_NOTIFICATION_FAILED, {**FAILED_WEBHOOK, "url": "https://client.example/secret"})
    assert MODELS.VideoTaskNotificationFailed.model_validate(FAILED_WEBHOOK).model_dump() == FAILED_WEBHOOK


BALANCE = Balance(Decimal("0.5"), Decimal(12), 1)
OF_BOOKS: list[tuple[str, Mapping[str, Any]]] = [
    (EVENT_TYPE_BILL_DIFFERS, bill_detail(task_in(Status.COMPLETED), "4", "5.5")),
    (EVENT_TYPE_BALANCE_LOW, balance_detail("vidu", BALANCE, NOW)),
]


@pytest.mark.parametrize(("name", "detail"), OF_BOOKS)
def test_event_of_the_provider_s_books_is_as_described(name: str, detail: Mapping[str, Any]) -> None:
    assert faults_of(name, detail) == []
    for field in detail:
        assert faults_of(name, {key: detail[key] for key in detail if key != field})


def test_event_may_say_whether_the_client_is_called_back() -> None:
    detail = event_detail(task_in(Status.COMPLETED))
    assert faults_of("VideoTaskCompleted", {**detail, "client_callback": True}) == []
    assert faults_of("VideoTaskCompleted", {**detail, "client_callback": "https://client.example"})
    read = MODELS.VideoTaskEvent.model_validate
    assert detail["client_callback"] is False
    older = {name: value for name, value in detail.items() if name != "client_callback"}
    assert (read(detail).client_callback, read(older).client_callback) == (False, None)


def test_events_on_the_page_are_as_described() -> None:
    shown = [event for block in blocks("docs/consuming.md", "json") if "detail-type" in (event := json.loads(block))]
    assert {event["detail-type"]: faults_of(event["detail-type"], event["detail"]) for event in shown} == {
        "VideoTaskCompleted": [],
        "VideoTaskRejected": [],
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda detail: detail["task"].pop("videos"),
        lambda detail: detail["task"].update(history=[]),
        lambda detail: detail["task"]["request"].update(prompt="x" * 501),
        lambda detail: detail["task"].update(status="failed"),
        lambda detail: detail["task"].update(created_at="yesterday"),
        lambda detail: detail["task"]["output"][0]["results"][0].update(url="https://signed.example"),
        lambda detail: detail.update(event_id="x"),
    ],
)
def test_event_that_is_not_as_described_is_noticed(change: Change) -> None:
    detail: Any = event_detail(task_in(Status.COMPLETED))
    assert faults_of("VideoTaskCompleted", detail) == []
    change(detail)
    assert faults_of("VideoTaskCompleted", detail)


def test_parameters_are_shown_or_hidden_on_purpose() -> None:
    shown = whole_schema(EVENT_TYPE_ACCEPTED)["properties"]["task"]["properties"]["request"]["properties"]
    assert set(shown) == set(PARAMETERS) - EVENT_HIDDEN_FIELDS
    assert "default" not in json.dumps(shown)  # what the reduced form leaves out may have been given


@pytest.mark.parametrize(
    "detail",
    [
        {"request": EXAMPLES["VideoRequest"], **more}
        for more in ({}, {"idempotency_key": "order-4711", "tenant_id": "acme"}, {"idempotency_key": None})
    ],
)
def test_request_that_is_taken_is_as_described(detail: dict[str, Any]) -> None:
    parse_request(json.dumps(detail["request"]), OFFERING)
    assert faults_of("VideoTaskRequested", detail) == []
    assert faults_of("VideoTaskRequested", {**detail, "request": {"model": "vidu9", "duration": 60}}) == []
    assert faults_of("VideoTaskRequested", {**detail, "more": 1})
    assert faults_of("VideoTaskRequested", {**detail, "request": {**detail["request"], "duration": "9"}})


# --- the documents that are made of them


TEXT = {"type": "string", "minLength": 1}
REFERENCE = {"type": "object", "required": ["$ref"], "maxProperties": 1}


def exactly(**fields: Any) -> dict[str, Any]:
    """An object with these fields and no other."""
    return {"type": "object", "required": [*fields], "properties": fields, "additionalProperties": False}


def named(field: Any) -> dict[str, Any]:
    """An object whose fields may have any name."""
    return {"type": "object", "minProperties": 1, "additionalProperties": field}


CHOICE = exactly(description=TEXT, default=TEXT)
SERVER = exactly(host=TEXT, protocol=TEXT, description=TEXT, variables=named(CHOICE))
CHANNEL = dict.fromkeys(("address", "title", "description"), TEXT)
OPERATION = {"action": {"enum": ["send", "receive"]}, "channel": REFERENCE, "summary": TEXT}
MESSAGE = exactly(name=TEXT, title=TEXT, payload={"$ref": "http://json-schema.org/draft-07/schema#"})
ASYNCAPI = exactly(
    asyncapi={"const": "3.0.0"},
    info=exactly(title=TEXT, version=TEXT, description=TEXT),
    defaultContentType=TEXT,
    servers=named(SERVER),
    channels=named(exactly(**CHANNEL, parameters=named(CHOICE), messages=named(REFERENCE))),
    operations=named(exactly(**OPERATION, messages={"type": "array", "items": REFERENCE})),
    components=exactly(messages=named(MESSAGE)),
)
"""What the document uses of AsyncAPI 3.0, as in `schemas/3.0.0.json` of https://github.com/asyncapi/spec-json-schemas."""


def test_bus_is_described_in_valid_asyncapi() -> None:
    validator = Draft7Validator(ASYNCAPI)
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    broken = deepcopy(DOCUMENT)
    broken["operations"]["sendEvents"]["action"] = "publish"  # AsyncAPI 2's word
    assert not validator.is_valid(broken)


@pytest.mark.parametrize("reference", sorted(set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)))))
def test_reference_of_the_bus_leads_to_something(reference: str) -> None:
    file, _, pointer = reference.partition("#/")
    found = json.loads((EVENTS.parents[1] / file).read_text("utf-8")) if file else DOCUMENT
    for step in pointer.split("/"):
        found = found[step]
    assert found


def test_messages_are_the_events_with_who_sends_them() -> None:
    operations = {
        name: [message["$ref"].rpartition("/")[2] for message in operation["messages"]]
        for name, operation in DOCUMENT["operations"].items()
    }
    assert operations == {"sendEvents": list(events.SENT), "receiveRequests": list(events.RECEIVED)}
    assert [DOCUMENT["operations"][name]["action"] for name in operations] == ["send", "receive"]
    assert set(DOCUMENT["components"]["messages"]) == set(TYPES)
    tasks, others = (set(table("docs/reference.md", after)) for after in ("## Events", "| `VideoTaskCanceled`"))
    assert set(events.SENT) <= tasks | others


def test_message_is_the_event_that_a_consumer_gets() -> None:
    event = {
        "version": "0",
        "id": "9d3b1c62-0f5e-4f0d-9a86-3b0f6c1c2f11",
        "detail-type": "VideoTaskCompleted",
        "source": SOURCE,
        "account": "123456789012",
        "time": "2026-11-23T02:03:27Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": event_detail(task_in(Status.COMPLETED)),
    }
    payload = DOCUMENT["components"]["messages"]["VideoTaskCompleted"]["payload"]
    file = Resource.from_contents(json.loads(EVENTS.read_text("utf-8")), default_specification=DRAFT202012)
    registry = Registry().with_resource("schemas/events.json", file)
    validator = Draft7Validator(payload, registry=registry)
    assert validator.is_valid(event)
    assert validator.is_valid({**event, "replay-name": "again"})
    changes: tuple[dict[str, Any], ...] = ({"source": "stray"}, {"detail-type": "VideoTaskFailed"}, {"detail": {}})
    for change in changes:
        assert not validator.is_valid({**event, **change})


def test_registry_holds_every_schema() -> None:
    assert set(registered()) == {*(f"{SOURCE}@{name}" for name in events.SENT), *events.RECEIVED}
    for document in registered().values():
        assert len(json.dumps(document)) <= 100_000  # AWS takes no more
        assert [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()] == []


# --- the models for consumers


def moments(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: moments(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [moments(inner) for inner in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value):
        return datetime.fromisoformat(value)
    return value


@pytest.mark.parametrize(
    ("model", "detail"),
    [
        *((MODELS.VideoTaskEvent, detail) for _, detail in events_of_tasks()),
        *((MODELS.VideoTaskRejected, d) for d in refused()),
    ],
)
def test_model_reads_the_whole_event(model: type[BaseModel], detail: dict[str, Any]) -> None:
    assert model.model_validate(detail).model_dump(exclude_unset=True) == moments(detail)


def test_model_reads_an_event_that_says_more_than_today_and_none_that_lacks_what_is_promised() -> None:
    detail = event_detail(task_in(Status.COMPLETED))
    read = MODELS.VideoTaskEvent.model_validate({**detail, "task": {**detail["task"], "status": "archived", "more": 1}})
    assert (read.task.status, hasattr(read.task, "more")) == ("archived", False)
    for field in ("event_id", "tenant_id", "task"):
        with pytest.raises(ValidationError, match=field):
            MODELS.VideoTaskEvent.model_validate({name: value for name, value in detail.items() if name != field})


# --- changes


RELEASED, DIGEST = "1.0.0", "9f38a67b046389a19484eb9d5741f702d8c98d12aa81dec15111277038e17c3f"
"""The last released version, and the SHA-256 of its file."""


def released() -> Path:
    """The file of the last released version: `EVENTS`, until another version follows."""
    kept = EVENTS.parent / "released" / f"{RELEASED}.json"
    return EVENTS if events.VERSION == RELEASED else kept


def test_released_file_is_kept() -> None:
    kept = f"docs/schemas/released/{RELEASED}.json"
    digest = hashlib.sha256(released().read_bytes()).hexdigest()
    assert digest == DIGEST, f"keep the released file as {kept}, and raise VERSION in local/description/events.py"


@pytest.mark.parametrize("name", detail_types(released()))
def test_published_schema_is_not_changed_so_that_a_consumer_breaks(name: str) -> None:
    before, today = whole_schema(name, released()), whole_schema(name)
    assert incompatibilities(before, today, received=name in events.RECEIVED) == []


SENT, RECEIVED = "VideoTaskCompleted", "VideoTaskRequested"
NULLABLE_TEXT = {"anyOf": [{"type": "string"}, {"type": "null"}]}
NOTHING_BREAKS = None
VERSION = "task.properties.version"
VIDEO = "task.properties.videos.items.properties"
DURATION = "request.properties.duration.anyOf.0"


def at(schema: Any, path: str) -> Any:
    """A part of a schema: `task.properties.version` is below its `properties`."""
    for step in f"properties.{path}".split(".") if path else ():
        schema = schema[int(step) if isinstance(schema, list) else step]
    return schema


@pytest.mark.parametrize(
    ("name", "path", "change", "breaks"),
    [
        # who reads our events
        (SENT, "task.properties", lambda s: s.pop("usage"), ".task.usage"),
        (SENT, "task.properties.request.properties", lambda s: s.pop("seed"), ".task.request.seed"),
        (SENT, "task", lambda s: s["required"].remove("videos"), ".task.videos"),
        (SENT, VERSION, lambda s: s.update(type="string"), ".task.version"),
        (SENT, "task.properties", lambda s: s.update(version={}), ".task.version"),
        (SENT, VERSION, lambda s: s.update(minimum=0), ".task.version"),
        (SENT, "task.properties.status", lambda s: s["enum"].append("done"), ".task.status"),
        (SENT, "task.properties.created_at", lambda s: s.pop("format"), ".task.created_at"),
        (SENT, "task.properties.request.properties.prompt", lambda s: s.pop("maxLength"), ".task.request.prompt"),
        (SENT, "event_id", lambda s: s.update(pattern=".*"), ".event_id"),
        (SENT, VIDEO, lambda s: s.update(key=NULLABLE_TEXT), ".task.videos[].key"),
        (SENT, f"{VIDEO}.width", lambda s: s["anyOf"].append({"type": "string"}), ".task.videos[].width"),
        (SENT, VIDEO, lambda s: s.update(bucket={"const": 1}), ".task.videos[].bucket"),
        (SENT, "task.properties.videos", lambda s: s.pop("items"), ".task.videos[]"),
        (SENT, "task.properties", lambda s: s.update(has_callback={"type": "boolean"}), NOTHING_BREAKS),
        (SENT, "task.properties.request", lambda s: s.update(required=["prompt"]), NOTHING_BREAKS),
        (SENT, VERSION, lambda s: s.update(minimum=2, maximum=99), NOTHING_BREAKS),
        (SENT, VIDEO, lambda s: s.update(width={"type": "integer"}), NOTHING_BREAKS),
        (SENT, "", lambda s: s.update(title="x", description="y", examples=[]), NOTHING_BREAKS),
        # who sends us requests
        (RECEIVED, "", lambda s: s["required"].append("idempotency_key"), ".idempotency_key"),
        (RECEIVED, "", lambda s: s["properties"].pop("tenant_id"), ".tenant_id"),
        (RECEIVED, DURATION, lambda s: s.update(maximum=5), ".request.duration"),
        (RECEIVED, "request.properties.prompt.anyOf.0", lambda s: s.update(pattern="^a"), ".request.prompt"),
        (RECEIVED, "request.properties", lambda s: s.update(wm_url={"type": "string"}), ".request.wm_url"),
        (RECEIVED, "", lambda s: s["properties"].update(priority={"type": "integer"}), NOTHING_BREAKS),
        (RECEIVED, DURATION, lambda s: s.update(description="x"), NOTHING_BREAKS),
        (RECEIVED, "request", lambda s: s["required"].remove("model"), NOTHING_BREAKS),
        (RECEIVED, "", lambda s: s.pop("additionalProperties"), NOTHING_BREAKS),
    ],
)
def test_change_of_a_published_schema_is_caught_exactly_if_it_breaks_a_consumer(
    name: str, path: str, change: Change, breaks: str | None
) -> None:
    today = whole_schema(name)
    change(at(today, path))
    assert today != whole_schema(name)
    faults = incompatibilities(whole_schema(name), today, received=name == RECEIVED)
    assert any(fault.startswith(breaks) for fault in faults) if breaks else faults == []


def test_change_that_cannot_be_judged_is_an_error() -> None:
    today = whole_schema("VideoTaskCompleted")
    at(today, VERSION)["multipleOf"] = 2
    with pytest.raises(ValueError, match="multipleOf"):
        incompatibilities(whole_schema("VideoTaskCompleted"), today, received=False)


SCALARS = st.one_of(
    st.builds(lambda low: {"type": "integer", "minimum": low}, st.integers(-3, 3)),
    st.builds(lambda values: {"enum": values}, st.lists(st.sampled_from(["a", "b", 1, None]), min_size=1, unique=True)),
    st.sampled_from([{"type": "string"}, {"type": "null"}, {"type": "number"}, {"type": ["string", "null"]}, {}]),
)
CHOICES = st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=2).map(lambda some: {"anyOf": some}))
OBJECTS = st.builds(
    lambda properties, required, is_open: {
        "type": "object",
        "properties": properties,
        "required": [name for name in required if name in properties],
        **({} if is_open else {"additionalProperties": False}),
    },
    st.dictionaries(st.sampled_from("xyz"), CHOICES),
    st.lists(st.sampled_from("xyz"), unique=True),
    st.booleans(),
)
VALUES = st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["a", "b", "c", 0, 1, -2, 1.5, None]))


@given(OBJECTS, OBJECTS, st.lists(VALUES, min_size=20, max_size=20))
def test_what_fits_the_narrower_schema_fits_the_wider_one(
    released: dict[str, Any], today: dict[str, Any], values: list[dict[str, Any]]
) -> None:
    """The law behind every rule: a change that is let through never makes an event of today unreadable."""
    if incompatibilities(released, today, received=False) == []:
        for value in values:
            if Draft202012Validator(today).is_valid(value):
                assert Draft202012Validator(released).is_valid(value), (released, today, value)
