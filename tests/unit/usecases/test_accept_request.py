"""Requests by dropped file and by event make the same tasks as over HTTP, once, or a rejection that says why not."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.simulation.provider import NOON
from tests.simulation.simulation import EVENT_SOURCE, TENANT, Simulation
from tests.unit.pictures import png
from vidu_relay.adapters.tenant_directory import TenantMapping
from vidu_relay.domain.budget import Budget
from vidu_relay.domain.errors import ConfigurationError, EventRefusedError, NotCreatedError
from vidu_relay.domain.queued_requests import DroppedFile, RequestEvent
from vidu_relay.domain.states import Status
from vidu_relay.domain.strict_json import read_json
from vidu_relay.http import MAX_BODY_BYTES


@pytest.fixture
def sim(sim: Simulation) -> Simulation:
    sim.map_source()
    return sim


HOUR = 3_600_000
EntryPoints = pytest.mark.parametrize("entry", ("s3", "event"))


def ask(sim: Simulation, entry: str) -> DroppedFile | RequestEvent:
    """A good request by an entry point."""
    return sim.drop() if entry == "s3" else sim.event()


def code_of(sim: Simulation) -> str:
    (detail,) = sim.rejections()
    code: str = detail["error"]["code"]
    return code


def tasks(sim: Simulation) -> list[str]:
    return [item["pk"]["S"] for item in sim.items() if item["pk"]["S"].startswith("task#")]


@EntryPoints
def test_request_is_recorded_as_accepted_before_its_create_call_is_begun(sim: Simulation, entry: str) -> None:
    task = sim.accept(ask(sim, entry))

    assert task is not None
    assert task.status is Status.SUBMITTED
    images = [record["dynamodb"]["NewImage"] for record in sim.stream]
    assert [image["status"]["S"] for image in images] == ["accepted", "submitting", "submitted"]
    first = NOON // 1000
    assert [int(image["version"]["N"]) for image in images] == [first, first, first + 1]
    assert [(entry.status, entry.source) for entry in task.history] == [
        (Status.ACCEPTED, entry),
        (Status.SUBMITTED, "create"),
    ]
    assert task.attempts == 1


@EntryPoints
def test_message_received_again_does_not_shorten_the_backoff(sim: Simulation, entry: str) -> None:
    asked = ask(sim, entry)
    sim.provider.create_faults = [NotCreatedError("HTTP 429", retry_after_seconds=300)]
    refused = sim.accept(asked)
    assert refused is not None
    assert (refused.status, refused.attempts, refused.due_at) == (Status.ACCEPTED, 1, NOON + 300_000)

    for _ in range(3):
        sim.clock.advance(60)
        sim.accept(asked)
    assert len(sim.provider.calls) == 1
    sim.run(until=NOON + 300_000)
    assert len(sim.provider.calls) == 2
    assert sim.task(sim.task_id()).status is Status.SUBMITTED


def test_content_and_key_make_the_task(sim: Simulation) -> None:
    first = sim.accept(sim.drop())
    again = sim.accept(sim.drop())
    other = sim.accept(sim.drop(seed=7))
    elsewhere = sim.accept(sim.drop(name="other.json"))

    assert first is not None
    assert again is not None
    assert first.task_id == again.task_id
    assert other is not None
    assert elsewhere is not None
    assert len({first.task_id, other.task_id, elsewhere.task_id}) == 3
    assert len(sim.provider.calls) == 3


def test_versions_of_a_file_are_read_each_as_it_was(sim: Simulation) -> None:
    account = sim.account
    s3 = account.clients["s3"]
    files = []
    for seed in (1, 2):
        reply = s3.put_object(
            Bucket=account.inbox, Key="requests/acme/v.json", Body=json.dumps(sim.body(seed=seed)).encode()
        )
        files.append(DroppedFile(account.inbox, "requests/acme/v.json", reply["VersionId"]))
    made = [sim.accept(file) for file in files]
    assert [task.request["seed"] for task in made if task] == [1, 2]
    s3.delete_object(Bucket=account.inbox, Key="requests/acme/v.json", VersionId=files[0].version_id)
    assert sim.accept(files[0]) is None
    assert sim.rejections() == []


def test_event_id_is_the_key_of_an_event_without_one(sim: Simulation) -> None:
    made = [sim.accept(sim.event(event_id)) for event_id in ("one", "one", "two")]
    ids = [task.task_id for task in made if task]

    assert ids[0] == ids[1] != ids[2]
    assert len(sim.provider.calls) == 2


def test_events_own_key_is_shared_with_http(sim: Simulation) -> None:
    submitted = sim.submit(key="order-9")
    again = sim.accept(sim.event(idempotency_key="order-9"))
    assert again is not None
    assert again.task_id == submitted.task_id

    event = sim.accept(sim.event("another", idempotency_key="order-10"))
    assert event is not None
    assert sim.submit(key="order-10").task_id == event.task_id
    assert len(sim.provider.calls) == 2


def test_key_that_http_used_for_another_request_is_refused(sim: Simulation) -> None:
    sim.submit(key="order-9", seed=1)
    assert sim.accept(sim.event(idempotency_key="order-9")) is None
    assert code_of(sim) == "idempotency_key_reused"


def test_external_id_and_labels_come_by_file_and_event_and_a_taken_id_is_rejected(sim: Simulation) -> None:
    file = sim.accept(sim.drop(external_id="4711", labels={"team": "blue"}))
    assert file is not None
    assert (file.external_id, file.labels) == ("4711", {"team": "blue"})
    assert sim.accept(sim.event(detail={"request": sim.body(external_id="4711")})) is None
    assert code_of(sim) == "external_id_taken"
    assert sim.rejections()[-1]["error"]["task_id"] == file.task_id


@pytest.mark.parametrize("key", ["", "x" * 256, "café", "a\nb", 5, ["x"]])
def test_events_key_is_held_to_the_rule_of_http(sim: Simulation, key: Any) -> None:
    sim.accept(sim.event(detail={"request": sim.body(), "idempotency_key": key}))
    assert code_of(sim) == "invalid_idempotency_key"


def test_event_acts_for_the_tenant_its_source_is_mapped_to(sim: Simulation) -> None:
    sim.map_source("other", "other.orders")
    task = sim.accept(sim.event(source="other.orders"))
    assert task is not None
    assert task.tenant_id == "other"


@pytest.mark.parametrize("named", ["other", "", 5, {}, False])
def test_event_cannot_choose_its_tenant(sim: Simulation, named: Any) -> None:
    sim.map_source("other", "other.orders")
    assert sim.accept(sim.event(tenant_id=named)) is None
    (detail,) = sim.rejections()
    assert (detail["tenant_id"], detail["error"]["code"]) == (TENANT, "tenant_mismatch")


def test_unmapped_source_acts_for_no_tenant(sim: Simulation) -> None:
    assert sim.accept(sim.event(source="stray", tenant_id=TENANT)) is None
    (detail,) = sim.rejections()
    assert (detail["tenant_id"], detail["source"], detail["error"]["code"]) == (None, "stray", "source_not_mapped")


@pytest.mark.parametrize("key", ["requests/unknown/x.json", "requests/x.json", "requests//x.json"])
def test_file_of_an_unknown_tenant_is_refused_beside_it(sim: Simulation, key: str) -> None:
    file = DroppedFile(sim.account.inbox, key, None)
    sim.account.clients["s3"].put_object(Bucket=file.bucket, Key=file.key, Body=b"{}")
    assert sim.accept(file) is None
    assert (sim.rejections()[0]["tenant_id"], code_of(sim)) == (None, "unknown_tenant")
    assert sim.answer(file)["code"] == "unknown_tenant"


@EntryPoints
def test_disabled_tenant_is_refused(sim: Simulation, entry: str) -> None:
    sim.tenants.set_disabled(TENANT, True)
    assert sim.accept(ask(sim, entry)) is None
    (detail,) = sim.rejections()
    assert (detail["tenant_id"], detail["error"]["code"]) == (TENANT, "tenant_disabled")
    assert tasks(sim) == []


@EntryPoints
def test_budget_holds_at_every_entry_point(sim: Simulation, entry: str) -> None:
    sim.tenants.set_budget(TENANT, Budget(daily=Decimal("1.5")))  # what a task of an unknown price counts as
    sim.submit(key="first")
    assert sim.accept(ask(sim, entry)) is None
    assert (code_of(sim), sim.rejections()[0]["error"]["status"]) == ("budget_reached", 429)


@EntryPoints
@pytest.mark.parametrize("own", [True, False])
def test_daily_cap_holds_at_every_entry_point(sim: Simulation, entry: str, own: bool) -> None:
    if own:
        sim.tenants.set_daily_cap(TENANT, 1)
    else:
        sim.intake = replace(sim.intake, default_daily_cap=1)
    sim.submit(key="first", daily_cap=1)
    assert sim.accept(ask(sim, entry)) is None
    assert code_of(sim) == "daily_cap_reached"
    assert sim.rejections()[0]["error"]["status"] == 429


@EntryPoints
def test_request_before_there_is_a_provider_key_waits_for_it_like_under_a_refused_account(
    sim: Simulation, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(sim, entry)
    with monkeypatch.context() as patch:
        patch.setattr(sim.provider, "ready", _no_key)
        task = sim.accept(asked)
        assert task is not None
        sim.run(until=sim.clock.now + 24 * HOUR)
        waiting = sim.task(task.task_id)
        assert (waiting.status, waiting.deadline_at) == (Status.ACCEPTED, task.deadline_at)
        assert (waiting.paused_since is not None, sim.rejections(), sim.provider.calls) == (True, [], [])
    sim.run(until=sim.clock.now + HOUR)
    assert sim.task(task.task_id).status is Status.SUBMITTED
    assert len(sim.provider.calls) == 1


def _no_key() -> None:
    raise ConfigurationError("the provider secret holds no `api_key`")


def test_notification_that_names_another_bucket_makes_no_second_task(sim: Simulation) -> None:
    file = sim.drop()
    sim.accept(file)
    (task,) = tasks(sim)
    with pytest.raises(ValueError, match="another bucket"):
        sim.accept(replace(file, bucket="another"))
    assert (tasks(sim), sim.rejections()) == ([task], [])


def test_file_that_is_too_large_is_not_read(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    file = sim.drop(b" " * (MAX_BODY_BYTES + 1))
    assert sim.accept(file) is None
    problem = sim.answer(file)
    assert (problem["status"], problem["code"]) == (413, "body_too_large")
    assert str(MAX_BODY_BYTES + 1) in problem["detail"]


@pytest.mark.parametrize("content", [b"", b'\xef\xbb\xbf{"model": "x"}'], ids=["empty", "byte order mark"])
def test_file_that_is_no_json_is_refused(sim: Simulation, content: bytes) -> None:
    file = sim.drop(content)
    assert sim.accept(file) is None
    assert sim.answer(file)["code"] == "malformed_json"
    assert sim.answer(file)["status"] == 400


@EntryPoints
def test_rejection_has_every_fault_and_repeats_itself_unchanged(sim: Simulation, entry: str) -> None:
    bad = {"prompt": "x" * 2001, "duration": 9, "colour": "red"}
    asked = (
        sim.drop(json.dumps(sim.body(**bad)).encode())
        if isinstance(ask(sim, entry), DroppedFile)
        else sim.event(detail={"request": sim.body(**bad)})
    )
    for _ in range(2):
        assert sim.accept(asked) is None
    first, second = sim.rejections()
    assert first == second
    assert first.keys() == {"event_id", "tenant_id", "source", "error"}
    assert {fault["loc"] for fault in first["error"]["errors"]} == {"prompt", "duration", "colour"}
    if isinstance(asked, DroppedFile):
        assert sim.answer(asked) == first["error"]
    assert tasks(sim) == []


@pytest.mark.parametrize("detail", [{}, {"idempotencyKey": "x", "request": {}}, {"Request": {}}])
def test_event_without_a_request_is_rejected_with_what_it_must_hold(sim: Simulation, detail: dict[str, Any]) -> None:
    assert sim.accept(sim.event(detail=detail)) is None
    (rejection,) = sim.rejections()
    assert rejection["error"]["code"] == "validation_error"
    assert all(fault["loc"].startswith("detail.") for fault in rejection["error"]["errors"])


def test_field_of_an_event_given_twice_is_refused(sim: Simulation) -> None:
    detail = read_json('{"request": {}, "request": {"prompt": "which one?"}}')
    assert sim.accept(sim.event(detail=detail)) is None
    (rejection,) = sim.rejections()
    assert [fault["loc"] for fault in rejection["error"]["errors"]] == ["detail.request"]


@EntryPoints
def test_rejection_that_the_bus_refuses_is_published_again(
    sim: Simulation, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.tenants.set_disabled(TENANT, True)
    asked = ask(sim, entry)
    with monkeypatch.context() as broken:
        broken.setattr(sim.bus, "publish", lambda _: 0)
        with pytest.raises(EventRefusedError):
            sim.accept(asked)
    sim.accept(asked)
    assert code_of(sim) == "tenant_disabled"


def test_relative_image_is_below_the_files_folder(sim: Simulation) -> None:
    whole = "requests/acme/2026/11/images/a fox?.png"
    sim.account.clients["s3"].put_object(Bucket=sim.account.inbox, Key=whole, Body=png())
    task = sim.accept(sim.drop(name="2026/11/order.json", images=["images/a fox?.png"]))
    assert task is not None
    assert task.request["images"] == [f"s3://{sim.account.inbox}/{whole}"]


def test_relative_image_is_refused_in_an_event(sim: Simulation) -> None:
    assert sim.accept(sim.event(detail={"request": sim.body(images=["fox.png"])})) is None
    assert code_of(sim) == "validation_error"


def test_event_that_comes_again_after_its_source_moved_to_another_tenant_is_not_billed_twice(sim: Simulation) -> None:
    sim.tenants.create_tenant("beta", 1)
    first = sim.event()
    task = sim.accept(first)
    sim.tenants.remove_mapping(TenantMapping.SOURCE, EVENT_SOURCE, TENANT, NOON)
    sim.tenants.add_mapping(TenantMapping.SOURCE, EVENT_SOURCE, "beta")
    assert sim.accept(first) == task
    later = sim.accept(sim.event("event-2"))
    assert (later and later.tenant_id, len(sim.provider.calls)) == ("beta", 2)


def test_file_of_the_largest_size_is_read(sim: Simulation) -> None:
    body = json.dumps(sim.body()).encode()
    assert sim.accept(sim.drop(body + b" " * (MAX_BODY_BYTES - len(body))))
