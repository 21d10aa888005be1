"""A task's item: every field comes back, it can be read as it stands, and it stays small."""

import json
from dataclasses import fields, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.overhead import item_bytes
from tests.unit.builders import NOW, POLICY, REQUEST, copied, done, new_task, reading, submitting, task_in, video
from vidu_relay.adapters.task_item import DUE_SHARDS, task_from_image, to_item
from vidu_relay.domain import lifecycle, submission
from vidu_relay.domain.identifiers import task_id_from_random
from vidu_relay.domain.snapshot import ProgressState, TaskError, Usage
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Attempt, Candidate, Delivery, HistoryEntry, Output, Refusal, Task, Video

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
times = st.integers(0, 2**47)
counts = st.integers(0, 2**31)
sources = st.sampled_from(["http", "create", "callback", "check", "delivery", "s3:inbox", "delivery_delayed", "ä"])


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def several(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=3).map(tuple)


errors = st.builds(TaskError, st.text(max_size=5), st.text(max_size=5))
videos = st.builds(
    Video,
    bucket=words,
    key=words,
    size=st.integers(0, 2**50),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    content_type=words,
    duration_seconds=maybe(st.floats(0, 1e6)),
    width=maybe(st.integers(0, 10_000)),
    height=maybe(st.integers(0, 10_000)),
    number=st.integers(1, 1000),
    notes=several(words),
)
refusals = st.builds(Refusal, maybe(errors), maybe(st.floats(0, 1e6)))
deliveries = st.builds(Delivery, counts, counts, counts, counts, maybe(errors), maybe(counts)) | st.just(Delivery())
requests = st.dictionaries(
    words, st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), st.lists), max_size=4
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "task_id": words,
    "token": words,
    "tenant_id": words,
    "status": st.sampled_from(Status),
    "revision": counts,
    "version": counts,
    "provider": words,
    "created_at": times,
    "updated_at": times,
    "deadline_at": times,
    "request_digest": words,
    "request": requests,
    "request_key": maybe(words),
    "external_id": maybe(words),
    "priority": st.integers(-10, 10),
    "queued_at": maybe(times),
    "admitted_at": maybe(times),
    "labels": maybe(st.dictionaries(words, st.text(max_size=5), min_size=1, max_size=3)),
    "batch_id": maybe(words),
    "message_id": maybe(words),
    "image_versions": several(st.text(max_size=5)),
    "attempt": maybe(st.builds(Attempt, words, times, maybe(times), maybe(refusals))),
    "attempts": counts,
    "remote_id": maybe(words),
    "aliases": several(words),
    "candidates": several(st.builds(Candidate, words, maybe(times))),
    "account_refused_at": maybe(times),
    "paused_since": maybe(times),
    "due_at": maybe(times),
    "lease": counts,
    "checks": counts,
    "delivery": maybe(deliveries),
    "reserved_usd": maybe(words),
    "price_basis": maybe(words),
    "credit_usd": maybe(words),
    "error": maybe(errors),
    "outputs": several(st.builds(Output, maybe(words), maybe(words), several(words))),
    "usage": maybe(st.builds(Usage, maybe(words), maybe(words), maybe(words))),
    "upstream_id": maybe(words),
    "remote_model": maybe(words),
    "videos": several(videos),
    "history": several(st.builds(HistoryEntry, times, st.sampled_from(Status), sources)),
    "content_deleted_at": maybe(times),
    "expires_at": maybe(times),
}
tasks = st.builds(Task, **FIELDS)


def through_json(item: Any) -> Any:
    """An item as a stream event carries it. Nothing in it is binary."""
    return json.loads(json.dumps(item))


@given(task=tasks)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_task_comes_back_as_it_was_written_also_through_the_stream(task: Task) -> None:
    item = to_item(task)
    for image in (item, through_json(item)):
        assert task_from_image(image) == task
        assert repr(task_from_image(image)) == repr(task), "no `Decimal` reaches the domain"
    assert ("due_shard" in item) == ("due_at" in item) == (task.due_at is not None), "in the index while a check is due"
    assert ("place" in item) == ("waits_at" in item) == task.waits, "in the index while it waits in the queue"


def test_every_field_is_among_those_that_come_back() -> None:
    assert {field.name for field in fields(Task)} == {*FIELDS, "due_since"}


def test_since_when_a_task_is_overdue_is_read_and_never_written() -> None:
    """The sweep alone writes it: every other write means that a check has followed."""
    item = to_item(new_task(due_since=NOW))
    assert "due_since" not in item
    assert task_from_image({**item, "due_since": {"N": str(NOW)}}) == new_task(due_since=NOW)


def test_what_a_later_release_wrote_is_no_obstacle() -> None:
    task = replace(
        copied(task_in(Status.GENERATED)),
        usage=Usage("1", "1"),
        attempt=Attempt("t", NOW, NOW, Refusal(TaskError("a", "b"))),
        candidates=(Candidate("c"),),
        delivery=Delivery(1, 1, last_error=TaskError("a", "b")),
        error=TaskError("a", "b"),
    )
    item = to_item(task)
    novelty = {"novelty": {"S": "n"}}

    def extended(value: Any) -> Any:
        ((kind, content),) = value.items()
        if kind == "M":
            return {kind: {**{name: extended(part) for name, part in content.items()}, **novelty}}
        return {kind: [extended(part) for part in content]} if kind == "L" else value

    later = {name: value if name == "request" else extended(value) for name, value in item.items()}
    assert later != item
    assert task_from_image({**later, "stamp": {"S": "s"}, **novelty}) == task


def test_an_item_can_be_read_as_it_stands() -> None:
    """Names and shapes are those of the task: no abbreviation, nothing packed."""
    task = replace(task_in(Status.COMPLETED), candidates=(Candidate("gen-2", NOW),))
    item = to_item(replace(task, attempt=Attempt("token.1", NOW, NOW + 1, Refusal(retry_after_seconds=2.5))))
    assert item["pk"] == {"S": f"task#{task.task_id}"}
    assert item["owner"] == {"S": "acme"}
    assert item["status"] == {"S": "completed"}
    assert item["request"]["M"]["prompt"] == {"S": REQUEST["prompt"]}
    assert item["attempt"] == {
        "M": {
            "token": {"S": "token.1"},
            "started_at": {"N": str(NOW)},
            "ended_at": {"N": str(NOW + 1)},
            "refusal": {"M": {"retry_after_seconds": {"S": "2.5"}}},
        }
    }
    assert item["candidates"] == {"L": [{"M": {"remote_id": {"S": "gen-2"}, "missing_since": {"N": str(NOW)}}}]}
    assert item["videos"]["L"][0]["M"]["size"] == {"N": "3500000"}
    assert item["history"]["L"][0] == {
        "M": {"at": {"N": str(NOW)}, "status": {"S": "accepted"}, "source": {"S": "http"}}
    }
    own = {"pk", "owner"} | ({"due_shard"} if "due_at" in item else set())
    assert set(item) - own <= {field.name for field in fields(Task)}


def test_a_field_that_has_its_default_is_left_out() -> None:
    assert set(to_item(new_task())) == {
        "pk",
        "token",
        "owner",
        "status",
        "revision",
        "version",
        "provider",
        "created_at",
        "updated_at",
        "deadline_at",
        "request_digest",
        "request",
        "due_at",
        "due_shard",
        "lease",
        "history",
    }


def test_tasks_spread_over_all_shards() -> None:
    ids = (task_id_from_random(number.to_bytes(16, "big")) for number in range(200))
    shards = {to_item(new_task(task_id=task_id))["due_shard"]["S"] for task_id in ids}
    assert shards == {str(shard) for shard in range(DUE_SHARDS)}


# --- size


def typical_life() -> list[Task]:
    """A task that goes well, after each write."""
    request = {
        **REQUEST,
        "prompt": "@1 and @2 eating hotpot together in a small restaurant while it is raining outside; a voice from "
        "the next table says that everyone loves hotpot, and the camera moves slowly around them.",
        "seed": 123_456_789,
        "audio": True,
    }
    task_id, now = task_id_from_random((2**120 + 7).to_bytes(16, "big")), NOW + 123
    life = [new_task(task_id=task_id, request=request)]
    life.append(submitting(task_id=task_id, request=request))
    remote = reading(remote_id="5f0c6f0e-6c9a-4a77-9f5e-0b7f6b1f2a3c", upstream_id="812345678901234567")
    life.append(submission.record_created(life[-1], remote, now=now, source="create", policy=POLICY))
    running = reading(ProgressState.PROCESSING)
    life.append(lifecycle.apply_snapshot(life[-1], running, now=now + 5_000, source="callback", policy=POLICY))
    life.append(lifecycle.apply_snapshot(life[-1], done(), now=now + 60_000, source="callback", policy=POLICY))
    key = f"videos/acme/2027/01/15/{task_id}/1.mp4"
    life.append(copied(life[-1], video(key=key), now=now + 65_000))
    return life


def test_a_typical_task_costs_one_write_unit_at_every_step_and_two_at_its_end() -> None:
    """P6: each KB begun of a write is one unit; the price of a task that goes well is that of its writes."""
    life = typical_life()
    assert [task.status for task in life] == [
        Status.ACCEPTED,
        Status.SUBMITTING,
        Status.SUBMITTED,
        Status.PROCESSING,
        Status.GENERATED,
        Status.COMPLETED,
    ]
    sizes = [item_bytes({**to_item(task), "stamp": {"S": "s" * 8}}) for task in life]
    assert max(sizes[:-1]) <= 1024, sizes
    assert sizes[-1] <= 2048, sizes
