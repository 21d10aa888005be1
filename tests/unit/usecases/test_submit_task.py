"""One accepted task makes at most one create call, and its request reaches the provider whole."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.simulation.effects import Fault
from tests.simulation.provider import NOON, LostReplyError
from tests.simulation.simulation import KEY, MODEL, PUBLIC_URL, TENANT, Simulation
from tests.unit.builders import changes
from tests.unit.pictures import data_uri, jpeg, png
from vidu_relay.adapters.price_book import PriceLists
from vidu_relay.domain.budget import Budget
from vidu_relay.domain.errors import (
    ConfigurationError,
    CreateAmbiguousError,
    ExternalIdTakenError,
    IdempotencyConflictError,
    InvalidRequestError,
    NotCreatedError,
    ProviderError,
)
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.limit_errors import BudgetReachedError, DailyCapReachedError, MaxCostExceededError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases.submit_task import check_idempotency_key

PICTURE = png(300, 300, comment=2000)
PNG = data_uri(PICTURE)
WRITES = ("dynamodb.put_item", "dynamodb.update_item", "dynamodb.transact_write_items")


def tasks_in(sim: Simulation) -> list[str]:
    """The keys of everything in the table but its tenant."""
    return [item["pk"]["S"] for item in sim.items() if not item["pk"]["S"].startswith("tenant#")]


def test_accepted_task_is_submitted_once_with_its_own_callback_address(sim: Simulation) -> None:
    task = sim.submit(duration=8, callback_url="https://client.example.com/hook")

    assert task == sim.task(task.task_id)
    assert (task.status, changes(task), task.remote_id) == (Status.SUBMITTED, 2, "gen-1")
    (call,) = sim.provider.calls
    assert call.model == MODEL
    # the client's own address stays here: the provider calls us back; the model stands outside the parameters
    assert call.params == {"images": ["https://images.example.com/cat.jpg"], "prompt": "a cat at sea", "duration": 8}
    url = urlsplit(call.callback_url)
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{PUBLIC_URL}/v1/callbacks/{task.task_id}"
    assert parse_qs(url.query) == {"token": [sim.token(task.task_id)]}


def test_submission_without_time_for_its_create_call_leaves_it_to_a_check(sim: Simulation) -> None:
    task = sim.submit(time_left=lambda: 0)

    assert (task.status, task.attempts, sim.provider.calls) == (Status.ACCEPTED, 0, [])
    assert sim.executions() == [(task.task_id, task.lease)]  # at once, not at the next sweep
    sim.run(until=NOON)
    assert sim.task(task.task_id).status is Status.SUBMITTED
    assert len(sim.provider.calls) == 1


def test_body_over_a_megabyte_is_never_sent_while_a_client_waits(sim: Simulation) -> None:
    task = sim.submit(payload="p" * 1_000_000)
    assert (task.status, sim.provider.calls) == (Status.ACCEPTED, [])
    sim.run(until=NOON)
    assert sim.task(task.task_id).status is Status.SUBMITTED
    assert len(sim.provider.calls[0].params["payload"]) == 1_000_000


def test_no_create_call_is_begun_once_the_write_of_the_token_took_the_time(sim: Simulation) -> None:
    left = iter([60_000, 5_000])
    task = sim.submit(time_left=lambda: next(left, 0))
    assert (task.status, task.attempts, sim.provider.calls) == (Status.ACCEPTED, 1, [])
    sim.run(until=NOON + 200_000)
    assert sim.task(task.task_id).status is Status.SUBMITTED
    assert len(sim.provider.calls) == 1


def test_remote_id_is_written_until_the_function_ends(sim: Simulation) -> None:
    """The reply is here and the table is throttled: the id is the one thing that only this process knows."""
    failures = iter([None, None, *[Fault.REFUSED] * 5])  # after the task and its attempt token
    sim.effects.gate = lambda name: next(failures, None) if name == "dynamodb.put_item" else None
    task = sim.submit()
    assert (task.status, task.remote_id) == (Status.SUBMITTED, "gen-1")
    assert sim.item("remote#gateway#gen-1") is not None


def test_repeated_key_makes_no_second_call_and_no_second_write(sim: Simulation) -> None:
    first = sim.submit()
    writes = len(sim.stream)
    assert sim.submit() == first
    assert len(sim.provider.calls) == 1
    assert len(sim.stream) == writes


def test_default_that_is_written_out_is_another_request(sim: Simulation) -> None:
    """What is compared is what was sent: defaults are the provider's and may change."""
    sim.submit()
    with pytest.raises(IdempotencyConflictError):
        sim.submit(audio=False)


@pytest.mark.parametrize("key", ["x", " ", "~" * 255])
def test_shortest_and_longest_key_are_taken(sim: Simulation, key: str) -> None:
    assert sim.submit(key=key) == sim.submit(key=key)
    assert len(sim.provider.calls) == 1


def test_same_key_with_another_request_is_refused_and_changes_nothing(sim: Simulation) -> None:
    first = sim.submit()
    with pytest.raises(IdempotencyConflictError):
        sim.submit(prompt="a dog at sea")
    assert sim.task(first.task_id) == first
    assert len(sim.provider.calls) == 1


@pytest.mark.parametrize("key", [None, "order-2"])
def test_external_id_of_another_task_is_refused_and_its_slot_returned(sim: Simulation, key: str | None) -> None:
    first = sim.submit(external_id="4711", labels={"team": "blue"}, daily_cap=2)
    assert sim.submit(external_id="4711", labels={"team": "blue"}) == first, "the same request under its key"
    for _ in range(3):
        with pytest.raises(ExternalIdTakenError) as refused:
            sim.submit(key=key, external_id="4711", daily_cap=2)
        assert (refused.value.code, refused.value.task_id) == ("external_id_taken", first.task_id)
    with pytest.raises(IdempotencyConflictError):  # other labels are another request
        sim.submit(external_id="4711", labels={"team": "red"})
    assert sim.submit(key="order-3", external_id="4712", daily_cap=2).external_id == "4712"
    sim.submit(key=key, external_id="4711", tenant="globex")
    assert len(sim.provider.calls) == 3
    assert "4711" not in json.dumps([call.params for call in sim.provider.calls])


def test_request_without_an_external_id_is_recorded_by_one_plain_write(sim: Simulation) -> None:
    """And one with it by one transaction in its place."""
    accepting = []
    for more in ({}, {"labels": {"team": "blue"}}, {"external_id": "4711"}):
        sim.effects.names.clear()
        sim.submit(key=str(more), time_left=lambda: 0, **more)
        accepting.append([name for name in sim.effects.names if name in WRITES[::2]])
    assert accepting[0] == accepting[1] == ["dynamodb.put_item", *accepting[2][1:]]
    assert accepting[2][0] == "dynamodb.transact_write_items"


def test_external_id_outlives_its_task(sim: Simulation) -> None:
    sim.submit(external_id="4711")
    sim.run()
    record, external = sim.item(f"task#{sim.task_id()}"), sim.item(f"external#{TENANT}#4711")
    assert record
    assert external
    assert int(external["expires_at"]["N"]) > int(record["expires_at"]["N"])


def test_large_request_refused_for_its_key_leaves_the_first_ones_object_alone(sim: Simulation) -> None:
    first = sim.submit(payload="a" * 3000)
    with pytest.raises(IdempotencyConflictError):
        sim.submit(payload="b" * 3000)
    assert first.request_key is not None
    assert sim.requests.get(first.request_key)["payload"] == "a" * 3000


def test_same_key_of_two_tenants_is_two_tasks(sim: Simulation) -> None:
    assert sim.submit().task_id != sim.submit(tenant="globex").task_id
    assert len(sim.provider.calls) == 2


def test_requests_without_a_key_are_each_a_task(sim: Simulation) -> None:
    assert sim.submit(key=None).task_id != sim.submit(key=None).task_id


@pytest.mark.parametrize("key", ["", "x" * 256, "café", "a\tb", "a\nb"])
def test_unusable_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_idempotency_key(key)
    assert refused.value.code == "invalid_idempotency_key"


def new_secret(sim: Simulation, **content: str) -> str:
    """The ARN of a secret beside the relay's own."""
    arn: str = sim.account.clients["secretsmanager"].create_secret(Name=f"other-{uuid4()}", **content)["ARN"]
    return arn


def test_missing_provider_key_is_found_before_anything_is_recorded(sim: Simulation) -> None:
    sim = Simulation(replace(sim.account, provider_secret=new_secret(sim)))
    with pytest.raises(ConfigurationError, match="no value yet"):
        sim.submit()
    assert tasks_in(sim) == []
    assert sim.provider.calls == []


@pytest.mark.parametrize(
    "content", ["[]", "not json", '{"active": "k2", "k1": "x"}', '{"active": "k1", "k1": "short"}']
)
def test_unusable_callback_secret_is_found_before_anything_is_recorded(sim: Simulation, content: str) -> None:
    sim = Simulation(replace(sim.account, callback_secret=new_secret(sim, SecretString=content)))
    with pytest.raises(ConfigurationError):
        sim.submit()
    assert tasks_in(sim) == []
    assert sim.provider.calls == []


def test_large_parts_live_in_the_inbox_bucket_and_not_in_the_record(sim: Simulation) -> None:
    payload = "p" * 100_000
    task = sim.submit(images=[PNG], payload=payload, meta_data=json.dumps({"note": "m" * 300}))

    item = json.dumps(sim.item(f"task#{task.task_id}"), default=str)
    assert len(item) < 2048
    assert "payload" not in task.request
    assert "meta_data" not in task.request
    assert task.request["images"][0].startswith("ni:///sha-256;")
    assert task.request_key is not None
    assert task.request_key.startswith(f"tasks/{TENANT}/{task.task_id}/")
    kept = sim.requests.get(task.request_key)
    assert (kept["payload"], kept["images"]) == (payload, task.request["images"])
    # the provider gets the request whole, its image as a link to the very bytes
    (link,) = sim.provider.calls[0].params["images"]
    assert sim.linked(link) == PICTURE
    assert sim.provider.calls[0].params["payload"] == payload


def test_images_keep_their_places_and_everything_else_its_form(sim: Simulation) -> None:
    one, two, three = png(200, 200), png(300, 300), png(400, 400)
    sim.account.clients["s3"].put_object(Bucket=sim.account.inbox, Key=f"uploads/{TENANT}/ä fox+1.png", Body=two)
    subjects = [
        {"id": "1", "images": [data_uri(one), "https://a.example/x.png"], "voice_id": "warm"},
        {"id": "2", "images": [f"s3://{sim.account.inbox}/uploads/{TENANT}/ä fox+1.png", data_uri(three)]},
    ]
    task = sim.submit(images=None, subjects=subjects, seed=3)

    (call,) = sim.provider.calls
    first, second = call.params["subjects"]
    assert [sim.linked(first["images"][0]), first["images"][1]] == [one, "https://a.example/x.png"]
    assert [sim.linked(link) for link in second["images"]] == [two, three]
    assert (first["id"], first["voice_id"], second["id"], call.params["seed"]) == ("1", "warm", "2", 3)
    assert list(call.params) == ["subjects", "prompt", "seed"]
    shown = task.request["subjects"]
    assert shown[1]["images"][0] == subjects[1]["images"][0]
    assert "base64" not in json.dumps(task.request)
    assert "X-Amz" not in json.dumps(sim.items(), default=str)


def test_image_given_twice_is_stored_once(sim: Simulation) -> None:
    other = data_uri(png(300, 300))
    sim.submit(images=[PNG, other, PNG, data_uri(PICTURE, "jpg")])
    links = sim.provider.calls[0].params["images"]
    assert [sim.linked(link) for link in links] == [PICTURE, png(300, 300), PICTURE, PICTURE]
    assert sim.effects.names.count("s3.put_object") == 2


def test_off_peak_task_carries_its_images_inside_at_every_attempt(sim: Simulation) -> None:
    key = f"uploads/{TENANT}/fox.txt"
    sim.account.clients["s3"].put_object(Bucket=sim.account.inbox, Key=key, Body=jpeg())
    sim.provider.create_faults = [NotCreatedError("HTTP 429")]
    images = [f"s3://{sim.account.inbox}/{key}", PNG, "https://a.example/x.png"]
    task = sim.submit(images=images, off_peak=True)
    sim.clock.advance(3700)
    sim.sweep()
    sim.check(task.task_id)

    inside = [data_uri(jpeg(), "jpeg"), PNG, "https://a.example/x.png"]
    assert [call.params["images"] for call in sim.provider.calls] == [inside, inside]
    assert "base64" not in json.dumps(sim.task(task.task_id).request)


def test_reply_after_the_task_expired_is_still_recorded(sim: Simulation) -> None:
    """The function was frozen during its call and comes back hours later: the video it learnt of is not lost."""

    def time_passes() -> None:
        sim.clock.advance(7300)
        sim.sweep()
        sim.check(sim.task_id())
        assert sim.task(sim.task_id()).status is Status.EXPIRED

    sim.provider.before_reply = time_passes
    task = sim.submit()
    assert (task.status, task.remote_id) == (Status.EXPIRED, "gen-1")
    sim.provider.finish("gen-1")
    sim.run()
    assert sim.task(task.task_id).status is Status.COMPLETED


def test_healthy_task_costs_few_writes(sim: Simulation) -> None:
    """Each one is paid for: the day's place, accepted, submitting, submitted and its remote id, generated and the
    upstream's id, completed; in the ledger the acceptance, and the bill with the day's counter. Only the bill, which
    differs from the reservation, is a transaction, which costs twice as much. The half hour is compared once."""
    task = sim.submit(key=KEY)
    sim.provider.finish("gen-1")
    sim.call_back(task.task_id, {"id": "gen-1", "status": "completed"})
    sim.run()
    assert sim.task(task.task_id).status is Status.COMPLETED
    writes = [name for name in sim.effects.names if name in WRITES]
    assert Counter(writes) == {
        "dynamodb.update_item": 1 + 1,
        "dynamodb.put_item": 7 + 1,
        "dynamodb.transact_write_items": 1,
    }
    assert sim.executions() == []


def test_cap_refuses_before_anything_is_recorded_or_called(sim: Simulation) -> None:
    sim.submit(key="one", daily_cap=1)
    with pytest.raises(DailyCapReachedError):
        sim.submit(key="two", daily_cap=1)
    assert len(sim.provider.calls) == 1
    assert sim.store.get(task_id_for_key(TENANT, "two")) is None


@pytest.mark.parametrize(
    ("error", "status"),
    [(LostReplyError("HTTP 502", candidates=("gen-1",)), Status.SUBMITTING), (NotCreatedError("429"), Status.ACCEPTED)],
)
def test_write_of_how_the_create_call_failed_is_repeated(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, error: ProviderError, status: Status
) -> None:
    save, refused = sim.store.save, [True]

    def throttled(task: Task, owned: Sequence[str] = ()) -> Task:
        if task.attempt is not None and task.attempt.ended_at is not None and refused:
            refused.pop()
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "busy"}}, "PutItem")
        return save(task, owned)

    monkeypatch.setattr(sim.store, "save", throttled)
    sim.provider.create_faults = [error]
    task = sim.submit()
    assert (task.status, task.candidate_ids) == (status, error.candidates if isinstance(error, LostReplyError) else ())


def test_missing_key_at_the_create_call_means_that_nothing_was_created(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keyless(*_: object, **__: object) -> None:
        raise ConfigurationError("the provider secret holds no `api_key`")

    monkeypatch.setattr(sim.provider, "create", keyless)
    assert sim.submit().status is Status.ACCEPTED
    monkeypatch.undo()
    sim.run(until=NOON + 200_000)
    assert sim.task(sim.task_id()).status is Status.SUBMITTED


def test_remote_id_that_another_task_owns_is_not_taken_over(sim: Simulation) -> None:
    sim.provider.reply_id = "gen-7"
    first = sim.submit()
    second = sim.submit(key="order-2")
    assert (second.status, second.remote_id, second.due_at) == (Status.SUBMITTING, None, second.deadline_at)
    owner = sim.item("remote#gateway#gen-7")
    assert owner is not None
    assert owner["task_id"] == {"S": first.task_id}


PRICES = {
    "prices": [{"model": MODEL, "usd": "0.04", "per": "second", "since": "2026-01-01"}],
    "credit_usd": {"vidu": "0.005"},
}


def listed(sim: Simulation) -> None:
    PriceLists(sim.account.clients["dynamodb"], sim.account.table).write(PRICES, seen=0, now=1)


def counters(sim: Simulation) -> dict[str, Decimal]:
    """The day's money, without the zeros."""
    items = sim.account.clients["dynamodb"].scan(TableName=sim.account.table)["Items"]
    (day,) = (item for item in items if item["pk"]["S"].startswith("cap#"))
    found = {name: Decimal(value["N"]) for name, value in day.items() if name[:5] in ("commi", "taken")}
    return {name: amount for name, amount in found.items() if amount}


def test_price_is_reserved_before_the_create_call_and_recorded(sim: Simulation) -> None:
    listed(sim)
    sim.provider.create_faults = [CreateAmbiguousError("no reply")]
    task = sim.submit(duration=6, budget=Budget(daily=Decimal("0.24")))
    assert (task.reserved_usd, task.price_basis, task.credit_usd) == ("0.24", "list", None)
    assert counters(sim) == {"committed": Decimal("0.24"), "taken_18": Decimal("0.24")}
    with pytest.raises(BudgetReachedError):
        sim.submit(key="other", duration=1, budget=Budget(daily=Decimal("0.24")))
    assert len(sim.provider.calls) == 1


def test_unknown_price_is_never_nothing(sim: Simulation) -> None:
    task = sim.submit()
    assert (task.reserved_usd, task.price_basis) == ("1.5", "unknown")
    with pytest.raises(BudgetReachedError):
        sim.submit(key="other", budget=Budget(monthly=Decimal("2.9")))


def test_repetition_reserves_nothing_more_even_where_nothing_is_left(sim: Simulation) -> None:
    budget = Budget(daily=Decimal("1.5"))
    task = sim.submit(budget=budget)
    assert sim.submit(budget=budget, max_cost=Decimal(0)).task_id == task.task_id
    assert counters(sim) == {"committed": Decimal("1.5"), "taken_18": Decimal("1.5")}


def test_what_is_not_recorded_gives_its_price_back(sim: Simulation) -> None:
    sim.submit(external_id="order-1")
    with pytest.raises(ExternalIdTakenError):
        sim.submit(key="other", external_id="order-1")
    assert counters(sim) == {"committed": Decimal("1.5"), "taken_18": Decimal("1.5")}


@pytest.mark.parametrize(("most", "allowed"), [("0.2", True), ("0.199999999", False), ("0", False)])
def test_task_may_not_cost_more_than_its_client_says(sim: Simulation, most: str, allowed: bool) -> None:
    listed(sim)
    if allowed:
        assert sim.submit(max_cost=Decimal(most)).status is Status.SUBMITTED
        return
    with pytest.raises(MaxCostExceededError, match=r"costs 0\.2 US dollars"):
        sim.submit(max_cost=Decimal(most))
    assert sim.provider.calls == []


def test_unknown_price_counts_with_what_is_assumed(sim: Simulation) -> None:
    with pytest.raises(MaxCostExceededError, match="no known price"):
        sim.submit(max_cost=Decimal("1.4"))
