"""One accepted task, at most one create call: whatever is repeated, refused or lost."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.unit.builders import changes
from tests.unit.pictures import data_uri, jpeg, png
from tests.unit.usecases.effects import Fault, ProcessDeathError
from tests.unit.usecases.scripted import NOON, LostReplyError
from tests.unit.usecases.world import KEY, MODEL, PUBLIC_URL, TENANT, World
from vidu_relay.domain.errors import (
    ConfigurationError,
    CreateAmbiguousError,
    CreateRejectedError,
    DailyCapReachedError,
    IdempotencyConflictError,
    InvalidRequestError,
    NotCreatedError,
    ProviderError,
)
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases.submit_task import check_idempotency_key

PICTURE = png(300, 300, comment=2000)
PNG = data_uri(PICTURE)
WRITES = ("dynamodb.put_item", "dynamodb.update_item", "dynamodb.transact_write_items")


def tasks_in(world: World) -> list[str]:
    """The keys of everything in the table but its tenant."""
    return [item["pk"]["S"] for item in world.items() if not item["pk"]["S"].startswith("tenant#")]


def test_accepted_task_is_submitted_once_with_its_own_callback_address(world: World) -> None:
    task = world.submit(duration=8, callback_url="https://client.example.com/hook")

    assert task == world.task(task.task_id)
    assert (task.status, changes(task), task.remote_id) == (Status.SUBMITTED, 2, "gen-1")
    (call,) = world.provider.calls
    assert call.model == MODEL
    # the client's own address stays here: the provider rings us, and the model has its place outside the parameters
    assert call.params == {"images": ["https://images.example.com/cat.jpg"], "prompt": "a cat at sea", "duration": 8}
    url = urlsplit(call.callback_url)
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{PUBLIC_URL}/v1/callbacks/{task.task_id}"
    assert parse_qs(url.query) == {"token": [world.token(task.task_id)]}


def test_task_is_recorded_before_the_provider_is_called(world: World) -> None:
    seen: list[Status] = []
    world.provider.before_reply = lambda: seen.append(world.task(world.task_id()).status)
    world.submit()
    assert seen == [Status.SUBMITTING]


def test_submission_that_could_be_cut_off_in_its_create_call_leaves_it_to_a_check(world: World) -> None:
    task = world.submit(time_left=lambda: 0)

    assert (task.status, task.attempts, world.provider.calls) == (Status.ACCEPTED, 0, [])
    assert world.executions() == [(task.task_id, task.lease)]  # at once, not at the next sweep
    world.run(until=NOON)
    assert world.task(task.task_id).status is Status.SUBMITTED
    assert len(world.provider.calls) == 1


def test_body_over_a_megabyte_is_never_sent_while_a_client_waits(world: World) -> None:
    task = world.submit(payload="p" * 1_000_000)
    assert (task.status, world.provider.calls) == (Status.ACCEPTED, [])
    world.run(until=NOON)
    assert world.task(task.task_id).status is Status.SUBMITTED
    assert len(world.provider.calls[0].params["payload"]) == 1_000_000


def test_no_call_is_begun_once_the_write_of_the_token_took_the_time(world: World) -> None:
    left = iter([60_000, 5_000])
    task = world.submit(time_left=lambda: next(left, 0))
    assert (task.status, task.attempts, world.provider.calls) == (Status.ACCEPTED, 1, [])
    world.run(until=NOON + 200_000)
    assert world.task(task.task_id).status is Status.SUBMITTED
    assert len(world.provider.calls) == 1


@pytest.mark.parametrize("effect", ["dynamodb.put_item", "provider.create"])
def test_death_before_the_call_loses_nothing(world: World, effect: str) -> None:
    world.effects.gate = lambda name: Fault.DIES_BEFORE if name == effect and world.effects.names.count(name) else None
    if effect == "provider.create":
        world.effects.gate = lambda name: Fault.DIES_BEFORE if name == effect else None
    with pytest.raises(ProcessDeathError):
        world.submit()
    world.effects.gate = lambda _: None
    world.effects.revive()
    world.run(until=NOON + 300_000)
    task = world.task(world.task_id())
    if effect == "provider.create":  # nobody can know that it was not sent
        assert (task.status, world.provider.calls) == (Status.SUBMITTING, [])
    else:
        assert task.status is Status.SUBMITTED
        assert len(world.provider.calls) == 1


def test_repetition_begins_the_call_that_its_first_request_died_before(world: World) -> None:
    world.effects.gate = lambda _: Fault.DIES_BEFORE if world.effects.names.count("dynamodb.put_item") else None
    with pytest.raises(ProcessDeathError):
        world.submit()
    world.effects.gate = lambda _: None
    world.effects.revive()
    assert world.submit().status is Status.SUBMITTED
    assert len(world.provider.calls) == 1


def test_remote_id_is_written_until_the_function_ends(world: World) -> None:
    """The reply is here and the table is throttled: the id is the one thing that only this process knows."""
    failures = iter([Fault.REFUSED] * 5)
    world.effects.gate = lambda name: next(failures, None) if name == "dynamodb.transact_write_items" else None
    task = world.submit()
    assert (task.status, task.remote_id) == (Status.SUBMITTED, "gen-1")
    assert world.item("remote#gateway#gen-1") is not None


def test_remote_id_and_its_ownership_are_one_write(world: World) -> None:
    world.time_left = 60_000
    world.effects.gate = lambda name: Fault.DIES_AFTER if name == "dynamodb.transact_write_items" else None
    with pytest.raises(ProcessDeathError):
        world.submit()
    assert world.task(world.task_id()).remote_id == "gen-1"
    assert world.item("remote#gateway#gen-1") is not None


def test_submitted_task_is_due_even_if_nobody_ever_calls_back(world: World) -> None:
    assert world.submit().due_at == NOON + 120_000
    assert world.submit(key="slow", off_peak=True).due_at == NOON + 3_600_000


def test_attempt_is_forgotten_once_the_remote_id_is_known(world: World) -> None:
    assert world.submit().attempt is None


def test_leases_count_up_from_the_second_of_creation(world: World) -> None:
    task = world.submit()
    assert (task.lease, task.attempts) == (NOON // 1000, 1)


def test_off_peak_task_has_48_hours(world: World) -> None:
    assert world.submit(off_peak=True).deadline_at == NOON + 48 * 3_600_000


def test_immediate_end_is_one_change(world: World) -> None:
    world.provider.reply_state = ProgressState.SUCCEEDED
    task = world.submit()
    assert (task.status, changes(task)) == (Status.GENERATED, 2)

    world.provider.reply_state = ProgressState.FAILED
    other = world.submit(key="other")
    assert (other.status, changes(other), other.due_at) == (Status.FAILED, 2, None)
    assert other.error is not None
    assert other.error.code == "008017050"


def test_repeated_key_makes_no_second_call_and_no_second_write(world: World) -> None:
    first = world.submit()
    writes = len(world.stream)
    assert world.submit() == first
    assert len(world.provider.calls) == 1
    assert len(world.stream) == writes


def test_repeated_large_request_writes_nothing_to_s3(world: World) -> None:
    first = world.submit(payload="p" * 3000)
    world.effects.names.clear()
    assert world.submit(payload="p" * 3000) == first
    assert [name for name in world.effects.names if name.startswith(("s3.", "dynamodb.put"))] == []


def test_repeated_key_with_fields_in_another_order_is_the_same_request(world: World) -> None:
    first = world.submit(duration=5, seed=1)
    assert world.submit(seed=1, duration=5) == first


def test_default_that_is_written_out_is_another_request(world: World) -> None:
    """What is compared is what was sent: defaults are the provider's and may change."""
    world.submit()
    with pytest.raises(IdempotencyConflictError):
        world.submit(audio=False)


def test_parameter_given_as_null_is_the_same_request(world: World) -> None:
    first = world.submit()
    assert world.submit(payload=None) == first


@pytest.mark.parametrize("key", ["x", " ", "~" * 255])
def test_shortest_and_longest_key_are_taken(world: World, key: str) -> None:
    assert world.submit(key=key) == world.submit(key=key)
    assert len(world.provider.calls) == 1


def test_same_key_with_another_request_is_refused_and_changes_nothing(world: World) -> None:
    first = world.submit()
    with pytest.raises(IdempotencyConflictError):
        world.submit(prompt="a dog at sea")
    assert world.task(first.task_id) == first
    assert len(world.provider.calls) == 1


def test_large_request_refused_for_its_key_leaves_the_first_ones_object_alone(world: World) -> None:
    first = world.submit(payload="a" * 3000)
    with pytest.raises(IdempotencyConflictError):
        world.submit(payload="b" * 3000)
    assert first.request_key is not None
    assert world.requests.get(first.request_key)["payload"] == "a" * 3000


def test_same_key_of_two_tenants_is_two_tasks(world: World) -> None:
    assert world.submit().task_id != world.submit(tenant="globex").task_id
    assert len(world.provider.calls) == 2


def test_requests_without_a_key_are_each_a_task(world: World) -> None:
    assert world.submit(key=None).task_id != world.submit(key=None).task_id


@pytest.mark.parametrize("key", ["", "x" * 256, "café", "a\tb", "a\nb"])
def test_key_that_no_header_should_carry_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_idempotency_key(key)
    assert refused.value.code == "invalid_idempotency_key"


def test_not_created_goes_back_to_accepted_with_a_backoff(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("ConnectTimeout")]
    task = world.submit()
    assert (task.status, changes(task), task.remote_id) == (Status.ACCEPTED, 1, None)
    assert task.due_at is not None
    assert NOON + 8_000 <= task.due_at <= NOON + 12_000


def test_retry_after_is_honoured(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429", retry_after_seconds=300)]
    assert world.submit().due_at == NOON + 300_000


def test_retry_after_beyond_the_deadline_does_not_postpone_the_verdict(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429", retry_after_seconds=86_400)]
    task = world.submit()
    assert task.due_at == task.deadline_at


def test_rejected_task_fails_with_the_providers_reason(world: World) -> None:
    world.provider.create_faults = [CreateRejectedError("008017003", "cannot reach the callback")]
    task = world.submit()
    assert (task.status, task.due_at) == (Status.FAILED, None)
    assert task.error is not None
    assert task.error.code == "008017003"
    assert task.error.message == "cannot reach the callback"


@pytest.mark.parametrize("created", [True, False])
def test_ambiguous_create_is_never_repeated(world: World, created: bool) -> None:
    world.provider.create_faults = [LostReplyError("reset") if created else CreateAmbiguousError("reset")]
    task = world.submit()
    assert task.status is Status.SUBMITTING

    assert world.submit().status is Status.SUBMITTING  # the client asks again
    world.clock.advance(100)
    world.check(task.task_id)  # an execution looks
    world.run()  # sweeps, executions and time, to the end of it

    assert len(world.provider.calls) == 1
    expired = world.task(task.task_id)
    assert expired.status is Status.EXPIRED
    assert expired.error is not None
    assert expired.error.code == "submission_unconfirmed"


def new_secret(world: World, **content: str) -> str:
    """The ARN of a secret beside the relay's own."""
    arn: str = world.account.clients["secretsmanager"].create_secret(Name=f"other-{uuid4()}", **content)["ARN"]
    return arn


def test_missing_provider_key_is_found_before_anything_is_recorded(world: World) -> None:
    world = World(replace(world.account, provider_secret=new_secret(world)))
    with pytest.raises(ConfigurationError, match="no value yet"):
        world.submit()
    assert tasks_in(world) == []
    assert world.provider.calls == []


@pytest.mark.parametrize(
    "content", ["[]", "not json", '{"active": "k2", "k1": "x"}', '{"active": "k1", "k1": "short"}']
)
def test_unusable_callback_secret_is_found_before_anything_is_recorded(world: World, content: str) -> None:
    world = World(replace(world.account, callback_secret=new_secret(world, SecretString=content)))
    with pytest.raises(ConfigurationError):
        world.submit()
    assert tasks_in(world) == []
    assert world.provider.calls == []


def test_large_parts_live_in_the_inbox_bucket_and_not_in_the_record(world: World) -> None:
    payload = "p" * 100_000
    task = world.submit(images=[PNG], payload=payload, meta_data=json.dumps({"note": "m" * 300}))

    item = json.dumps(world.item(f"task#{task.task_id}"), default=str)
    assert len(item) < 2048
    assert "payload" not in task.request
    assert "meta_data" not in task.request
    assert task.request["images"][0].startswith("ni:///sha-256;")
    assert task.request_key is not None
    assert task.request_key.startswith(f"tasks/{TENANT}/{task.task_id}/")
    kept = world.requests.get(task.request_key)
    assert (kept["payload"], kept["images"]) == (payload, task.request["images"])
    # the provider gets the request whole, its image as a link to the very bytes
    (link,) = world.provider.calls[0].params["images"]
    assert world.linked(link) == PICTURE
    assert world.provider.calls[0].params["payload"] == payload


def test_images_keep_their_places_and_everything_else_its_form(world: World) -> None:
    one, two, three = png(200, 200), png(300, 300), png(400, 400)
    world.account.clients["s3"].put_object(Bucket=world.account.inbox, Key=f"uploads/{TENANT}/ä fox+1.png", Body=two)
    subjects = [
        {"id": "1", "images": [data_uri(one), "https://a.example/x.png"], "voice_id": "warm"},
        {"id": "2", "images": [f"s3://{world.account.inbox}/uploads/{TENANT}/ä fox+1.png", data_uri(three)]},
    ]
    task = world.submit(images=None, subjects=subjects, seed=3)

    (call,) = world.provider.calls
    first, second = call.params["subjects"]
    assert [world.linked(first["images"][0]), first["images"][1]] == [one, "https://a.example/x.png"]
    assert [world.linked(link) for link in second["images"]] == [two, three]
    assert (first["id"], first["voice_id"], second["id"], call.params["seed"]) == ("1", "warm", "2", 3)
    assert list(call.params) == ["subjects", "prompt", "seed"]
    shown = task.request["subjects"]
    assert shown[1]["images"][0] == subjects[1]["images"][0]
    assert "base64" not in json.dumps(task.request)
    assert "X-Amz" not in json.dumps(world.items(), default=str)


def test_version_that_was_checked_is_the_one_that_is_linked(world: World) -> None:
    s3, key = world.account.clients["s3"], f"uploads/{TENANT}/fox.png"
    versioning = {"Bucket": world.account.inbox, "VersioningConfiguration": {"Status": "Enabled"}}
    s3.put_bucket_versioning(**versioning)
    try:
        s3.put_object(Bucket=world.account.inbox, Key=key, Body=png(200, 200))
        world.provider.create_faults = [NotCreatedError("HTTP 429")]
        task = world.submit(images=[data_uri(PICTURE), f"s3://{world.account.inbox}/{key}"])
        s3.put_object(Bucket=world.account.inbox, Key=key, Body=png(300, 300))
        world.clock.advance(125)
        world.sweep()
        world.check(task.task_id)
    finally:
        versioning["VersioningConfiguration"] = {"Status": "Suspended"}
        s3.put_bucket_versioning(**versioning)

    assert len(world.provider.calls) == 2
    for call in world.provider.calls:
        assert [world.linked(link) for link in call.params["images"]] == [PICTURE, png(200, 200)]


def test_off_peak_task_carries_its_images_inside_at_every_attempt(world: World) -> None:
    key = f"uploads/{TENANT}/fox.txt"
    world.account.clients["s3"].put_object(Bucket=world.account.inbox, Key=key, Body=jpeg())
    world.provider.create_faults = [NotCreatedError("HTTP 429")]
    images = [f"s3://{world.account.inbox}/{key}", PNG, "https://a.example/x.png"]
    task = world.submit(images=images, off_peak=True)
    world.clock.advance(3700)
    world.sweep()
    world.check(task.task_id)

    inside = [data_uri(jpeg(), "jpeg"), PNG, "https://a.example/x.png"]
    assert [call.params["images"] for call in world.provider.calls] == [inside, inside]
    assert "base64" not in json.dumps(world.task(task.task_id).request)


def test_same_bytes_twice_are_stored_once_under_the_task(world: World) -> None:
    task = world.submit(images=[PNG, PNG])
    stored = world.account.clients["s3"].list_objects_v2(Bucket=world.account.inbox)["Contents"]
    assert [one["Key"].rpartition("/")[0] for one in stored] == [f"tasks/{TENANT}/{task.task_id}"]
    assert stored[0]["Key"].endswith(".png")


def test_small_request_makes_no_object(world: World) -> None:
    assert world.submit(payload="short").request_key is None
    assert "s3.put_object" not in world.effects.names


def test_remote_id_that_another_task_owns_is_not_taken_over(world: World) -> None:
    world.provider.reply_id = "gen-7"
    first = world.submit()
    second = world.submit(key="order-2")
    assert (second.status, second.remote_id) == (Status.SUBMITTING, None)
    assert second.due_at == second.deadline_at
    assert world.task(first.task_id).remote_id == "gen-7"
    owner = world.item("remote#gateway#gen-7")
    assert owner is not None
    assert owner["task_id"] == {"S": first.task_id}


def test_reply_after_the_task_expired_is_still_recorded(world: World) -> None:
    """The function was frozen during its call and comes back hours later: the video it learnt of is not lost."""

    def time_passes() -> None:
        world.clock.advance(7300)
        world.sweep()
        world.check(world.task_id())
        assert world.task(world.task_id()).status is Status.EXPIRED

    world.provider.before_reply = time_passes
    task = world.submit()
    assert (task.status, task.remote_id) == (Status.EXPIRED, "gen-1")
    world.provider.finish("gen-1")
    world.run()
    assert world.task(task.task_id).status is Status.COMPLETED


def test_reply_after_a_callback_was_adopted_changes_nothing(world: World) -> None:
    def callback_first() -> None:
        world.clock.advance(91)
        world.ring(world.task_id(), {"id": "gen-1", "status": "processing"})

    world.provider.before_reply = callback_first
    task = world.submit()
    assert (task.status, task.remote_id, changes(task)) == (Status.SUBMITTED, "gen-1", 2)


def test_healthy_task_costs_few_writes(world: World) -> None:
    """Each one is paid for: the day's place, accepted, submitting, submitted with its remote id, generated with the
    upstream's id, completed."""
    task = world.submit(key=KEY)
    world.provider.finish("gen-1")
    world.ring(task.task_id, {"id": "gen-1", "status": "completed"})
    world.run()
    assert world.task(task.task_id).status is Status.COMPLETED
    writes = [name for name in world.effects.names if name in WRITES]
    assert Counter(writes) == {
        "dynamodb.update_item": 1,
        "dynamodb.put_item": 3,
        "dynamodb.transact_write_items": 2,
    }
    assert world.executions() == []


# --- the daily cap


def test_cap_refuses_before_anything_is_recorded_or_called(world: World) -> None:
    world.submit(key="one", daily_cap=1)
    with pytest.raises(DailyCapReachedError):
        world.submit(key="two", daily_cap=1)
    assert len(world.provider.calls) == 1
    assert world.store.get(task_id_for_key(TENANT, "two")) is None


def test_repetition_under_a_key_does_not_count(world: World) -> None:
    first = world.submit(key="one", daily_cap=2)
    for _ in range(5):
        assert world.submit(key="one", daily_cap=2).task_id == first.task_id
    world.submit(key="two", daily_cap=2)


def test_two_submits_of_one_key_at_once_count_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.submit(key="one", daily_cap=2)
    with monkeypatch.context() as blind:  # as if both had looked before either wrote
        blind.setattr(world.store, "get", lambda _: None)
        world.submit(key="one", daily_cap=2)
    world.submit(key="two", daily_cap=2)
    with pytest.raises(DailyCapReachedError):
        world.submit(key="three", daily_cap=2)


def test_repetition_of_the_request_that_took_the_last_place_is_that_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.submit(key="one", daily_cap=1)
    looked: list[str] = []
    get = world.store.get

    def late(task_id: str) -> Task | None:  # the first look comes before the other submit has written
        looked.append(task_id)
        return None if len(looked) == 1 else get(task_id)

    monkeypatch.setattr(world.store, "get", late)
    assert world.submit(key="one", daily_cap=1).task_id == first.task_id


@pytest.mark.parametrize(
    ("error", "status"),
    [(LostReplyError("HTTP 502", candidates=("gen-1",)), Status.SUBMITTING), (NotCreatedError("429"), Status.ACCEPTED)],
)
def test_write_of_how_the_create_call_failed_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, error: ProviderError, status: Status
) -> None:
    save, refused = world.store.save, [True]

    def throttled(task: Task, owned: Sequence[str] = ()) -> Task:
        if task.attempt is not None and task.attempt.ended_at is not None and refused:
            refused.pop()
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "busy"}}, "PutItem")
        return save(task, owned)

    monkeypatch.setattr(world.store, "save", throttled)
    world.provider.create_faults = [error]
    task = world.submit()
    assert (task.status, task.candidate_ids) == (status, error.candidates if isinstance(error, LostReplyError) else ())


def test_key_that_goes_away_before_the_call_means_that_nothing_was_created(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keyless(*_: object, **__: object) -> None:
        raise ConfigurationError("the provider secret holds no `api_key`")

    monkeypatch.setattr(world.provider, "create", keyless)
    assert world.submit().status is Status.ACCEPTED
    monkeypatch.undo()
    world.run(until=NOON + 200_000)
    assert world.task(world.task_id()).status is Status.SUBMITTED
