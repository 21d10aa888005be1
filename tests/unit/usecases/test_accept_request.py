"""Requests by dropped file and by event: the same tasks as over HTTP, made once, or an answer that says why not."""

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.pictures import png
from tests.unit.usecases.account import Account
from tests.unit.usecases.effects import Fault, ProcessDeathError
from tests.unit.usecases.scripted import NOON, LostReplyError
from tests.unit.usecases.world import EVENT_SOURCE, TENANT, World
from vidu_relay.adapters.tenant_directory import Door
from vidu_relay.domain.errors import ConfigurationError, EventRefusedError, NotCreatedError
from vidu_relay.domain.intake import MAX_REJECTION_BYTES, DroppedFile, RequestEvent
from vidu_relay.domain.request import MODEL
from vidu_relay.domain.request_form import read_json
from vidu_relay.domain.states import Status
from vidu_relay.http import MAX_BODY_BYTES


@pytest.fixture
def world(world: World) -> World:
    world.open_doors()
    return world


HOUR = 3_600_000
Doors = pytest.mark.parametrize("door", ("s3", "event"))


def ask(world: World, door: str) -> DroppedFile | RequestEvent:
    """A good request by a door."""
    return world.drop() if door == "s3" else world.event()


def code_of(world: World) -> str:
    """Why the one request was refused."""
    (detail,) = world.rejections()
    code: str = detail["error"]["code"]
    return code


def upload(world: World, key: str) -> None:
    """A picture that lies in the inbox bucket."""
    world.account.clients["s3"].put_object(Bucket=world.account.inbox, Key=key, Body=png())


def tasks(world: World) -> list[str]:
    return [item["pk"]["S"] for item in world.items() if item["pk"]["S"].startswith("task#")]


def die_behind_the_record(world: World, asked: DroppedFile | RequestEvent) -> None:
    """The message is received by one who dies when the task is recorded, and nothing else done."""
    world.effects.arm_name("dynamodb.put_item", Fault.DIES_AFTER)
    with pytest.raises(ProcessDeathError):
        world.accept(asked)
    world.effects.disarm()
    assert world.effects.struck == "dynamodb.put_item"


@Doors
def test_request_is_recorded_as_accepted_before_its_create_call_is_begun(world: World, door: str) -> None:
    task = world.accept(ask(world, door))

    assert task is not None
    assert task.status is Status.SUBMITTED
    images = [record["dynamodb"]["NewImage"] for record in world.stream]
    assert [image["status"]["S"] for image in images] == ["accepted", "submitting", "submitted"]
    first = NOON // 1000
    assert [int(image["version"]["N"]) for image in images] == [first, first, first + 1]
    assert [(entry.status, entry.source) for entry in task.history] == [
        (Status.ACCEPTED, door),
        (Status.SUBMITTED, "create"),
    ]
    assert task.attempts == 1


@Doors
def test_task_of_whoever_dies_before_the_create_call_is_submitted_by_the_sweep(world: World, door: str) -> None:
    asked = ask(world, door)
    die_behind_the_record(world, asked)
    left = world.task(world.task_id())
    assert (left.status, left.attempts, left.due_at) == (Status.ACCEPTED, 0, NOON + 120_000)
    assert world.provider.calls == []

    world.run(until=NOON + 120_000)
    assert world.task(world.task_id()).status is Status.SUBMITTED
    assert len(world.provider.calls) == 1
    world.accept(asked)
    assert len(world.provider.calls) == 1


@Doors
def test_message_that_comes_again_begins_what_nobody_has_begun(world: World, door: str) -> None:
    asked = ask(world, door)
    die_behind_the_record(world, asked)
    assert world.task(world.task_id()).attempts == 0

    task = world.accept(asked)
    assert task is not None
    assert task.status is Status.SUBMITTED
    assert len(world.provider.calls) == 1


@Doors
def test_message_that_comes_again_hurries_no_backoff(world: World, door: str) -> None:
    asked = ask(world, door)
    world.provider.create_faults = [NotCreatedError("HTTP 429", retry_after_seconds=300)]
    refused = world.accept(asked)
    assert refused is not None
    assert (refused.status, refused.attempts, refused.due_at) == (Status.ACCEPTED, 1, NOON + 300_000)

    for _ in range(3):
        world.clock.advance(60)
        world.accept(asked)
    assert len(world.provider.calls) == 1
    world.run(until=NOON + 300_000)
    assert len(world.provider.calls) == 2
    assert world.task(world.task_id()).status is Status.SUBMITTED


@Doors
def test_queued_submission_that_is_refused_again_waits_longer_each_time(world: World, door: str) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429")] * 4
    world.accept(ask(world, door))
    task_id, waits = world.task_id(), []
    for _ in range(3):
        before = len(world.provider.calls)
        due = world.task(task_id).due_at
        assert due is not None
        waits.append(due - world.clock.now)
        while len(world.provider.calls) == before:
            world.clock.advance(1)
            world.run(until=world.clock.now)
    assert waits[0] >= 8_000
    assert waits[1] > waits[0]
    assert waits[2] > waits[1]


@Doors
def test_lost_create_is_never_repeated_by_its_message(world: World, door: str) -> None:
    world.provider.create_faults = [LostReplyError("reset")]
    asked = ask(world, door)
    for _ in range(3):
        task = world.accept(asked)
        assert task is not None
        assert task.status is Status.SUBMITTING
        world.clock.advance(200)
    assert len(world.provider.calls) == 1


def test_content_and_key_make_the_task(world: World) -> None:
    first = world.accept(world.drop())
    again = world.accept(world.drop())
    other = world.accept(world.drop(seed=7))
    elsewhere = world.accept(world.drop(name="other.json"))

    assert first is not None
    assert again is not None
    assert first.task_id == again.task_id
    assert other is not None
    assert elsewhere is not None
    assert len({first.task_id, other.task_id, elsewhere.task_id}) == 3
    assert len(world.provider.calls) == 3


def test_versions_of_a_file_are_read_each_as_it_was(world: World, account: Account) -> None:
    s3 = account.clients["s3"]
    s3.put_bucket_versioning(Bucket=account.inbox, VersioningConfiguration={"Status": "Enabled"})
    try:
        files = []
        for seed in (1, 2):
            reply = s3.put_object(
                Bucket=account.inbox, Key="requests/acme/v.json", Body=json.dumps(world.body(seed=seed)).encode()
            )
            files.append(DroppedFile(account.inbox, "requests/acme/v.json", reply["VersionId"]))
        made = [world.accept(file) for file in files]
        assert [task.request["seed"] for task in made if task] == [1, 2]
        s3.delete_object(Bucket=account.inbox, Key="requests/acme/v.json", VersionId=files[0].version_id)
        assert world.accept(files[0]) is None
    finally:
        s3.put_bucket_versioning(Bucket=account.inbox, VersioningConfiguration={"Status": "Suspended"})
    assert world.rejections() == []


def test_event_id_is_the_key_of_an_event_without_one(world: World) -> None:
    made = [world.accept(world.event(event_id)) for event_id in ("one", "one", "two")]
    ids = [task.task_id for task in made if task]

    assert ids[0] == ids[1] != ids[2]
    assert len(world.provider.calls) == 2


def test_events_own_key_is_shared_with_http(world: World) -> None:
    submitted = world.submit(key="order-9")
    again = world.accept(world.event(idempotency_key="order-9"))
    assert again is not None
    assert again.task_id == submitted.task_id

    event = world.accept(world.event("another", idempotency_key="order-10"))
    assert event is not None
    assert world.submit(key="order-10").task_id == event.task_id
    assert len(world.provider.calls) == 2


def test_key_that_http_used_for_another_request_is_refused(world: World) -> None:
    world.submit(key="order-9", seed=1)
    assert world.accept(world.event(idempotency_key="order-9")) is None
    assert code_of(world) == "idempotency_key_reused"


def test_no_client_can_type_the_key_of_a_file_or_event(world: World) -> None:
    world.drop()
    of_file = world.key
    world.event()
    for key in (of_file, world.key):
        assert not key.isprintable()
        world.accept(world.event("typed", detail={"request": world.body(), "idempotency_key": key}))
    assert [detail["error"]["code"] for detail in world.rejections()] == ["invalid_idempotency_key"] * 2
    assert tasks(world) == []


@pytest.mark.parametrize("key", ["", "x" * 256, "café", "a\nb", 5, ["x"]])
def test_events_key_is_held_to_the_rule_of_http(world: World, key: Any) -> None:
    world.accept(world.event(detail={"request": world.body(), "idempotency_key": key}))
    assert code_of(world) == "invalid_idempotency_key"


def test_event_acts_for_the_tenant_its_source_is_mapped_to(world: World) -> None:
    world.open_doors("other", "other.orders")
    task = world.accept(world.event(source="other.orders"))
    assert task is not None
    assert task.tenant_id == "other"


@pytest.mark.parametrize("claimed", ["other", "", 5, {}, False])
def test_event_cannot_choose_its_tenant(world: World, claimed: Any) -> None:
    world.open_doors("other", "other.orders")
    assert world.accept(world.event(tenant_id=claimed)) is None
    (detail,) = world.rejections()
    assert (detail["tenant_id"], detail["error"]["code"]) == (TENANT, "tenant_mismatch")


@pytest.mark.parametrize("confirmed", [TENANT, None])
def test_event_may_confirm_its_tenant(world: World, confirmed: str | None) -> None:
    assert world.accept(world.event(tenant_id=confirmed))


def test_unmapped_source_acts_for_nobody(world: World) -> None:
    assert world.accept(world.event(source="stray", tenant_id=TENANT)) is None
    (detail,) = world.rejections()
    assert (detail["tenant_id"], detail["source"], detail["error"]["code"]) == (None, "stray", "source_not_mapped")


@pytest.mark.parametrize("key", ["requests/nobody/x.json", "requests/x.json", "requests//x.json"])
def test_file_in_nobodys_folder_is_refused_beside_it(world: World, key: str) -> None:
    file = DroppedFile(world.account.inbox, key, None)
    world.account.clients["s3"].put_object(Bucket=file.bucket, Key=file.key, Body=b"{}")
    assert world.accept(file) is None
    assert (world.rejections()[0]["tenant_id"], code_of(world)) == (None, "unknown_tenant")
    assert world.answer(file)["code"] == "unknown_tenant"


@Doors
def test_disabled_tenant_is_refused(world: World, door: str) -> None:
    world.tenants.set_disabled(TENANT, True)
    assert world.accept(ask(world, door)) is None
    (detail,) = world.rejections()
    assert (detail["tenant_id"], detail["error"]["code"]) == (TENANT, "tenant_disabled")
    assert tasks(world) == []


@Doors
@pytest.mark.parametrize("own", [True, False])
def test_daily_cap_holds_at_every_door(world: World, door: str, own: bool) -> None:
    if own:
        world.tenants.set_daily_cap(TENANT, 1)
    else:
        world.intake = replace(world.intake, default_daily_cap=1)
    world.submit(key="first", daily_cap=1)
    assert world.accept(ask(world, door)) is None
    assert code_of(world) == "daily_cap_reached"
    assert world.rejections()[0]["error"]["status"] == 429


@Doors
def test_repetition_counts_once_towards_the_cap(world: World, door: str) -> None:
    world.tenants.set_daily_cap(TENANT, 1)
    asked = ask(world, door)
    for _ in range(3):
        assert world.accept(asked)
    assert world.rejections() == []


@Doors
def test_request_before_there_is_a_provider_key_waits_for_it_like_under_a_refused_account(
    world: World, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(world, door)
    with monkeypatch.context() as patch:
        patch.setattr(world.provider, "ready", _no_key)
        task = world.accept(asked)
        assert task is not None
        world.run(until=world.clock.now + 24 * HOUR)
        waiting = world.task(task.task_id)
        assert (waiting.status, waiting.deadline_at) == (Status.ACCEPTED, task.deadline_at)
        assert (waiting.paused_since is not None, world.rejections(), world.provider.calls) == (True, [], [])
    world.run(until=world.clock.now + HOUR)
    assert world.task(task.task_id).status is Status.SUBMITTED
    assert len(world.provider.calls) == 1


def _no_key() -> None:
    raise ConfigurationError("the provider secret holds no `api_key`")


@pytest.mark.parametrize("effect", ["dynamodb.get_item", "s3.get_object", "dynamodb.update_item", "dynamodb.put_item"])
def test_trouble_with_aws_rejects_nothing(world: World, effect: str) -> None:
    file = world.drop()
    trial = World(world.account)
    number = next(n for n, name in enumerate(_names(trial, file)) if name == effect)
    fresh = world.drop(seed=99)
    world.effects.arm(number, Fault.REFUSED)
    with pytest.raises(ClientError):
        world.accept(fresh)
    assert world.effects.struck == effect
    assert world.rejections() == []
    assert world.answer(fresh) is None


def _names(world: World, file: DroppedFile) -> list[str]:
    world.effects.names.clear()
    world.accept(file)
    return list(world.effects.names)


def test_file_that_is_gone_asks_for_nothing(world: World) -> None:
    assert world.accept(DroppedFile(world.account.inbox, "requests/acme/gone.json", None)) is None
    assert (tasks(world), world.rejections()) == ([], [])


def test_notice_that_names_another_bucket_makes_no_second_task_of_our_file(world: World) -> None:
    file = world.drop()
    world.accept(file)
    (task,) = tasks(world)
    with pytest.raises(ValueError, match="another bucket"):
        world.accept(replace(file, bucket="somebody-elses"))
    assert (tasks(world), world.rejections()) == ([task], [])


def test_file_that_is_too_large_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file = world.drop(b" " * (MAX_BODY_BYTES + 1))
    assert world.accept(file) is None
    problem = world.answer(file)
    assert (problem["status"], problem["code"]) == (413, "body_too_large")
    assert str(MAX_BODY_BYTES + 1) in problem["detail"]


def test_file_of_the_largest_size_is_read(world: World) -> None:
    body = json.dumps(world.body()).encode()
    assert world.accept(world.drop(body + b" " * (MAX_BODY_BYTES - len(body))))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"model": "x"}',
        b'{"prompt": "\xe9"}',
        b"[" * 100_000,
        b"\x1f\x8b\x08\x00",
    ],
    ids=["empty", "cut", "utf-16", "byte order mark", "latin-1", "deep", "gzip"],
)
def test_file_that_is_no_json_is_refused(world: World, content: bytes) -> None:
    file = world.drop(content)
    assert world.accept(file) is None
    assert world.answer(file)["code"] == "malformed_json"
    assert world.answer(file)["status"] == 400


def test_byte_order_mark_is_named(world: World) -> None:
    file = world.drop(b"\xef\xbb\xbf" + json.dumps(world.body()).encode())
    world.accept(file)
    assert "byte order mark" in world.answer(file)["detail"]


@Doors
def test_rejection_has_every_fault_and_repeats_itself_unchanged(world: World, door: str) -> None:
    bad = {"prompt": "x" * 2001, "duration": 9, "colour": "red"}
    asked = (
        world.drop(json.dumps(world.body(**bad)).encode())
        if isinstance(ask(world, door), DroppedFile)
        else world.event(detail={"request": world.body(**bad)})
    )
    for _ in range(2):
        assert world.accept(asked) is None
    first, second = world.rejections()
    assert first == second
    assert first.keys() == {"event_id", "tenant_id", "source", "error"}
    assert {fault["loc"] for fault in first["error"]["errors"]} == {"prompt", "duration", "colour"}
    if isinstance(asked, DroppedFile):
        assert world.answer(asked) == first["error"]
    assert tasks(world) == []


def test_another_upload_is_another_rejection(world: World) -> None:
    ids = {DroppedFile("inbox", "requests/acme/x.json", version).rejection_id for version in ("1", "2", None)}
    assert len(ids) == 3


def test_rejection_of_an_event_begins_with_its_id(world: World) -> None:
    world.accept(world.event("7f0c", source="stray"))
    assert world.rejections()[0]["event_id"] == "7f0c:rejected"


@pytest.mark.parametrize("detail", [{}, {"idempotencyKey": "x", "request": {}}, {"Request": {}}])
def test_event_that_is_none_of_ours_says_what_it_should_be(world: World, detail: dict[str, Any]) -> None:
    assert world.accept(world.event(detail=detail)) is None
    (rejection,) = world.rejections()
    assert rejection["error"]["code"] == "validation_error"
    assert all(fault["loc"].startswith("detail.") for fault in rejection["error"]["errors"])


def test_field_of_an_event_given_twice_is_refused(world: World) -> None:
    detail = read_json('{"request": {}, "request": {"prompt": "which one?"}}')
    assert world.accept(world.event(detail=detail)) is None
    (rejection,) = world.rejections()
    assert [fault["loc"] for fault in rejection["error"]["errors"]] == ["detail.request"]


@pytest.mark.parametrize("request_", [None, 5, "x", [], "{}"])
def test_request_of_an_event_must_be_an_object(world: World, request_: Any) -> None:
    assert world.accept(world.event(detail={"request": request_})) is None
    assert code_of(world) in ("validation_error", "malformed_json")


def test_rejection_fits_on_the_bus_however_many_faults_there_are(world: World) -> None:
    subjects = [{"id": str(number) * 100, "images": ["https://a.example/x.png"]} for number in range(1, 8)]
    request = {"model": MODEL, "prompt": "@a " * 90, "subjects": subjects}
    file = world.drop(json.dumps(request).encode())
    world.accept(file)
    (detail,) = world.rejections()
    assert len(json.dumps(detail)) <= MAX_REJECTION_BYTES
    listed = len(detail["error"]["errors"])
    assert 0 < listed < 90
    assert detail["error"]["detail"].endswith(f" {90 - listed} more had no room in this event.")
    assert len(world.answer(file)["errors"]) == 90


@Doors
def test_rejection_that_the_bus_does_not_take_is_made_again(
    world: World, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tenants.set_disabled(TENANT, True)
    asked = ask(world, door)
    with monkeypatch.context() as broken:
        broken.setattr(world.bus, "publish", lambda _: 0)
        with pytest.raises(EventRefusedError):
            world.accept(asked)
    world.accept(asked)
    assert code_of(world) == "tenant_disabled"


@Doors
@pytest.mark.parametrize("fault", list(Fault))
def test_rejection_comes_whatever_dies_on_the_way(world: World, door: str, fault: Fault) -> None:
    world.tenants.set_daily_cap(TENANT, 0)
    asked = ask(world, door)
    world.effects.names.clear()
    world.accept(asked)
    expected, effects = world.rejections()[0], len(world.effects.names)
    for point in range(effects):
        world.published.clear()
        world.effects.arm(point, fault)
        done = world.survive(lambda: world.accept(asked))
        world.effects.disarm()
        if not done:
            world.accept(asked)
        assert expected in world.rejections()
        assert {json.dumps(detail) for detail in world.rejections()} == {json.dumps(expected)}
    assert tasks(world) == []


@pytest.mark.parametrize(
    ("name", "image", "whole"),
    [
        ("order.json", "fox.png", "requests/acme/fox.png"),
        ("order.json", "images/fox.png", "requests/acme/images/fox.png"),
        ("2026/11/order.json", "fox.png", "requests/acme/2026/11/fox.png"),
        ("order.json", "a fox?.png", "requests/acme/a fox?.png"),
    ],
)
def test_relative_image_is_below_the_files_folder(world: World, name: str, image: str, whole: str) -> None:
    upload(world, whole)
    task = world.accept(world.drop(name=name, images=[image]))
    assert task is not None
    assert task.request["images"] == [f"s3://{world.account.inbox}/{whole}"]


def test_relative_images_of_subjects_are_found(world: World) -> None:
    subjects = [{"id": "1", "images": ["fox.png", "https://images.example.com/x.png"]}]
    upload(world, "requests/acme/fox.png")
    task = world.accept(world.drop(images=None, subjects=subjects, prompt="@1 runs"))
    assert task is not None
    assert task.request["subjects"][0]["images"] == [
        f"s3://{world.account.inbox}/requests/acme/fox.png",
        "https://images.example.com/x.png",
    ]


@pytest.mark.parametrize("image", ["/fox.png", "../other/fox.png", "a/../../fox.png", "./fox.png", "a//fox.png", "a/"])
def test_image_outside_the_files_folder_is_refused(world: World, image: str) -> None:
    file = world.drop(images=["https://images.example.com/x.png", image])
    assert world.accept(file) is None
    (fault,) = world.answer(file)["errors"]
    assert fault["loc"] == "images.1"
    assert "relative to the folder" in fault["msg"]


def test_relative_image_is_a_thing_of_files(world: World) -> None:
    assert world.accept(world.event(detail={"request": world.body(images=["fox.png"])})) is None
    assert code_of(world) == "validation_error"


def test_event_source_is_shown_as_it_came(world: World) -> None:
    world.accept(world.event(detail={}))
    assert world.rejections()[0]["source"] == EVENT_SOURCE


def test_event_that_comes_again_after_its_source_moved_to_another_tenant_is_not_billed_twice(world: World) -> None:
    world.tenants.create_tenant("beta", 1)
    first = world.event()
    task = world.accept(first)
    world.tenants.close_door(Door.SOURCE, EVENT_SOURCE, TENANT, NOON)
    world.tenants.open_door(Door.SOURCE, EVENT_SOURCE, "beta")
    assert world.accept(first) == task
    later = world.accept(world.event("event-2"))
    assert (later and later.tenant_id, len(world.provider.calls)) == ("beta", 2)
