"""The task table: what is written comes back, nobody overwrites anybody, and an item stays small."""

import base64
import json
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.adapters.conftest import TABLE
from tests.unit.builders import NOW, POLICY, REQUEST, TASK_ID, done, new_task, reading, task_in, video
from vidu_relay.adapters import task_store
from vidu_relay.adapters.task_store import BATCH_GET_LIMIT, DUE_SHARDS, Lease, TaskStore, _to_item, task_from_image
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import RemoteTaskClaimedError, StaleTaskError
from vidu_relay.domain.identifiers import is_remote_id, task_id_from_random
from vidu_relay.domain.snapshot import ProgressState, TaskError, Usage
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.task import Attempt, HistoryEntry, Output, Task, Video

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def store(dynamodb: "DynamoDBClient") -> TaskStore:
    return TaskStore(dynamodb, TABLE)


def task_id(number: int) -> str:
    return task_id_from_random(number.to_bytes(16, "big"))


# --- round trips

ON_ONE_ACCOUNT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
times = st.integers(0, 2**47)
counts = st.integers(0, 2**31)
sources = st.sampled_from(["http", "create", "callback", "check", "delivery", "s3:inbox", "ä"])


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


videos = st.builds(
    Video,
    bucket=words,
    key=words,
    size=st.integers(0, 2**50),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    content_type=words,
    duration_seconds=maybe(st.floats(0, 1e6)),
) | st.builds(
    Video,
    bucket=words,
    key=words,
    size=st.integers(0, 2**50),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    content_type=words,
    width=st.integers(0, 10_000),
    height=st.integers(0, 10_000),
)
requests = st.dictionaries(words, st.recursive(st.none() | st.booleans() | st.integers() | words, st.lists), max_size=4)
tasks = st.builds(
    Task,
    task_id=words,
    tenant_id=words,
    status=st.sampled_from(Status),
    revision=counts,
    version=counts,
    provider=words,
    created_at=times,
    updated_at=times,
    deadline_at=times,
    fingerprint=words,
    request=requests,
    request_key=maybe(words),
    attempt=maybe(st.builds(Attempt, words, times, maybe(times))),
    attempts=counts,
    remote_id=maybe(words),
    hints=st.lists(words, max_size=3).map(tuple),
    due_at=maybe(times),
    lease=counts,
    checks=counts,
    delivery_requests=counts,
    source_faults=counts,
    error=maybe(st.builds(TaskError, st.text(max_size=5), st.text(max_size=5))),
    outputs=st.lists(st.builds(Output, maybe(words), maybe(words), counts), max_size=3).map(tuple),
    usage=maybe(st.builds(Usage, maybe(words), maybe(words))),
    upstream_id=maybe(words),
    remote_model=maybe(words),
    videos=st.lists(videos, max_size=3).map(tuple),
    history=st.lists(st.builds(HistoryEntry, times, st.sampled_from(Status), sources), max_size=4).map(tuple),
    expires_at=maybe(times),
)


def through_json(value: Any) -> Any:
    """A DynamoDB value as a stream event carries it: binary values as base 64 text."""
    value = getattr(value, "value", value)  # of boto3's Binary
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: through_json(part) for name, part in value.items()}
    return [through_json(part) for part in value] if isinstance(value, list) else value


@given(task=tasks)
@settings(max_examples=100, deadline=None, suppress_health_check=ON_ONE_ACCOUNT)
def test_a_task_comes_back_as_it_was_written_also_through_the_stream(task: Task) -> None:
    item = task_store._to_item(task)
    assert task_from_image(item) == task
    assert task_from_image(json.loads(json.dumps(through_json(item)))) == task


@pytest.mark.parametrize("status", Status)
def test_a_task_comes_back_from_the_table(store: TaskStore, status: Status) -> None:
    saved = store.create(task_in(status))
    assert saved == replace(task_in(status), revision=1)
    assert store.get(TASK_ID) == saved


def test_an_attribute_of_a_later_release_is_no_obstacle() -> None:
    item = {**task_store._to_item(new_task()), "stamp": {"S": "s"}, "novelty": {"M": {}}}
    assert task_from_image(item) == new_task()


def test_an_unknown_task_is_none(store: TaskStore) -> None:
    assert store.get(TASK_ID) is None


# --- optimistic locking


def test_creating_twice_gives_the_first_record(store: TaskStore) -> None:
    first = store.create(new_task())
    assert store.create(new_task(fingerprint="other", attempt=Attempt("claim-2", NOW))) == first
    assert store.get(TASK_ID) == first


def test_of_two_writers_who_read_the_same_the_second_must_read_again(store: TaskStore) -> None:
    seen = store.create(new_task())
    first = store.save(replace(seen, checks=1))
    with pytest.raises(StaleTaskError):
        store.save(replace(seen, checks=2))
    assert store.get(TASK_ID) == first == replace(seen, checks=1, revision=2)


def test_saving_a_task_that_was_deleted_does_not_bring_it_back(store: TaskStore) -> None:
    with pytest.raises(StaleTaskError):
        store.save(new_task(revision=3))
    assert store.get(TASK_ID) is None


class LosesReplies:
    """A client that executes a write, loses the reply, and has the SDK's retry meet the condition."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.then: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **arguments: Any) -> Any:
        self._client.put_item(**arguments)
        if self.then:
            self.then()
        return self._client.put_item(**arguments)


def test_our_own_write_whose_reply_was_lost_is_recognised(dynamodb: "DynamoDBClient") -> None:
    store = TaskStore(LosesReplies(dynamodb), TABLE)  # type: ignore[arg-type]  # a client as far as it matters
    created = store.create(new_task())
    assert created == replace(new_task(), revision=1)
    saved = store.save(replace(created, checks=7))
    assert (saved.checks, saved.revision) == (7, 2)
    assert store.get(TASK_ID) == saved


def test_a_lost_reply_behind_which_somebody_wrote_is_stale(dynamodb: "DynamoDBClient") -> None:
    plain, lossy = TaskStore(dynamodb, TABLE), LosesReplies(dynamodb)
    created = plain.create(new_task())

    def somebody() -> None:
        there = plain.get(TASK_ID)
        assert there is not None
        plain.save(replace(there, checks=99))

    lossy.then = somebody
    with pytest.raises(StaleTaskError):
        TaskStore(lossy, TABLE).save(replace(created, checks=1))  # type: ignore[arg-type]  # as above


def test_another_writer_s_task_is_never_taken_for_our_own_lost_write(dynamodb: "DynamoDBClient") -> None:
    first = TaskStore(dynamodb, TABLE).create(new_task())
    again = TaskStore(dynamodb, TABLE).create(new_task(attempt=Attempt("claim-2", NOW)))
    assert again.attempt == first.attempt == Attempt("claim-1", NOW)


def test_trouble_with_the_table_is_not_taken_for_a_conflict(dynamodb: "DynamoDBClient") -> None:
    store = TaskStore(dynamodb, "no-such-table")
    for call in (
        lambda: store.create(new_task()),
        lambda: store.save(new_task()),
        lambda: store.claim_remote("gateway", "r", TASK_ID, 1),
        lambda: store.take_lease(TASK_ID, 1, 2),
    ):
        with pytest.raises(ClientError):
            call()


# --- remote ids


def test_a_remote_id_belongs_to_one_task(store: TaskStore) -> None:
    store.claim_remote("gateway", "r-1", "mine", 99)
    store.claim_remote("gateway", "r-1", "mine", 99)
    with pytest.raises(RemoteTaskClaimedError):
        store.claim_remote("gateway", "r-1", "yours", 99)
    store.claim_remote("gateway", "r-2", "yours", 99)
    store.claim_remote("vidu", "r-1", "yours", 99)


@pytest.mark.parametrize("letter", ["r", "é", "🐈"])
def test_the_longest_remote_id_can_be_claimed(store: TaskStore, letter: str) -> None:
    """512 bytes are taken from the provider; a key may have 2,048."""
    longest = letter * (512 // len(letter.encode()))
    assert is_remote_id(longest)
    assert not is_remote_id(longest + letter)
    store.claim_remote("gateway", longest, TASK_ID, 99)


def test_a_claim_is_forgotten_with_its_task(store: TaskStore, dynamodb: "DynamoDBClient") -> None:
    store.claim_remote("gateway", "r-1", TASK_ID, 1_802_000_000)
    (item,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert item["expires_at"] == {"N": "1802000000"}


# --- leases


def test_only_one_of_two_sweeps_takes_the_lease(store: TaskStore) -> None:
    task = store.create(new_task())
    assert task.due_at is not None
    assert store.take_lease(TASK_ID, task.due_at, NOW + 5) == Lease(task.lease + 1, task.due_at, task.tenant_id)
    assert store.take_lease(TASK_ID, task.due_at, NOW + 6) is None
    there = store.get(TASK_ID)
    assert there is not None
    assert (there.lease, there.due_at, there.revision) == (task.lease + 1, NOW + 5, task.revision + 1)
    # still due since the first time: nobody has written the record
    assert store.take_lease(TASK_ID, NOW + 5, NOW + 9) == Lease(task.lease + 2, task.due_at, task.tenant_id)


def test_whoever_writes_the_record_ends_the_time_it_was_overdue(store: TaskStore) -> None:
    task = store.create(new_task())
    assert task.due_at is not None
    store.take_lease(TASK_ID, task.due_at, NOW + 5)
    there = store.get(TASK_ID)
    assert there is not None
    assert there.due_since == task.due_at
    store.save(there)
    again = store.take_lease(TASK_ID, NOW + 5, NOW + 9)
    assert again is not None
    assert again.due_since == NOW + 5


def test_whoever_read_before_the_lease_was_taken_cannot_write_over_it(store: TaskStore) -> None:
    seen = store.create(new_task())
    assert seen.due_at is not None
    store.take_lease(TASK_ID, seen.due_at, NOW + 5)
    with pytest.raises(StaleTaskError):
        store.save(replace(seen, checks=1))


@pytest.mark.parametrize("there", [None, Status.COMPLETED])
def test_a_task_that_is_gone_or_settled_cannot_be_leased(store: TaskStore, there: Status | None) -> None:
    if there:
        store.create(task_in(there))
    assert store.take_lease(TASK_ID, NOW, NOW + 5) is None
    assert (store.get(TASK_ID) is None) is (there is None), "a lease makes no record"


# --- what is due


def test_every_task_that_is_due_is_found_whichever_shard_it_is_in(store: TaskStore) -> None:
    for number in range(40):
        store.create(new_task(task_id=task_id(number), due_at=NOW + number))
    found = list(store.find_due(NOW + 29))
    assert sorted(found, key=lambda pair: pair[1]) == [(task_id(number), NOW + number) for number in range(30)]


def test_tasks_spread_over_all_shards() -> None:
    shards = {task_store._to_item(new_task(task_id=task_id(n)))["due_shard"]["S"] for n in range(200)}
    assert shards == {str(shard) for shard in range(DUE_SHARDS)}


def test_within_a_shard_the_task_that_waited_longest_comes_first(store: TaskStore) -> None:
    for number in range(20):
        store.create(new_task(task_id=task_id(number), due_at=NOW - number * 7 % 20))
    shard_of = {n: task_store._to_item(new_task(task_id=task_id(n)))["due_shard"]["S"] for n in range(20)}
    found = [(shard_of[next(n for n in range(20) if task_id(n) == i)], due) for i, due in store.find_due(NOW)]
    for shard in set(shard_of.values()):
        dues = [due for where, due in found if where == shard]
        assert dues == sorted(dues)


@pytest.mark.parametrize("status", sorted(SETTLED - {Status.EXPIRED}))
def test_a_settled_task_is_never_due(store: TaskStore, status: Status) -> None:
    store.create(task_in(status))
    assert list(store.find_due(NOW * 2)) == []


def test_claims_of_remote_ids_are_not_taken_for_tasks(store: TaskStore) -> None:
    store.claim_remote("gateway", "r-1", TASK_ID, 1)
    assert list(store.find_due(NOW * 2)) == []
    assert store.list_keys("acme", limit=10, after=None) == []


# --- lists


def test_a_tenant_pages_through_its_own_tasks_newest_first(store: TaskStore) -> None:
    for number in range(7):
        store.create(new_task(task_id=task_id(number), created_at=NOW + number))
    store.create(new_task(task_id=task_id(99), tenant_id="other", created_at=NOW + 3))
    seen: list[tuple[int, str]] = []
    after: tuple[int, str] | None = None
    while page := store.list_keys("acme", limit=3, after=after):
        assert len(page) <= 3
        seen += page
        after = page[-1]
    assert seen == [(NOW + number, task_id(number)) for number in reversed(range(7))]


def test_tasks_of_the_same_millisecond_are_all_listed(store: TaskStore) -> None:
    for number in range(5):
        store.create(new_task(task_id=task_id(number)))
    first = store.list_keys("acme", limit=2, after=None)
    rest = store.list_keys("acme", limit=10, after=first[-1])
    assert {i for _, i in (*first, *rest)} == {task_id(number) for number in range(5)}
    assert len(first) + len(rest) == 5


def test_many_tasks_are_read_at_once_and_missing_ones_left_out(store: TaskStore) -> None:
    ids = [task_id(number) for number in range(BATCH_GET_LIMIT + 5)]
    for known in ids[::2]:
        store.create(new_task(task_id=known))
    found = store.get_many(ids)
    assert set(found) == set(ids[::2])
    assert all(task.task_id == name for name, task in found.items())
    assert store.get_many([]) == {}


def test_keys_that_dynamodb_left_unprocessed_are_asked_for_again(store: TaskStore, dynamodb: "DynamoDBClient") -> None:
    for number in range(3):
        store.create(new_task(task_id=task_id(number)))

    class Throttled:
        """Answers one key a call."""

        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - boto3's name
            keys = RequestItems[TABLE]["Keys"]
            reply: Any = dynamodb.batch_get_item(RequestItems={TABLE: {"Keys": keys[:1]}})
            left = {TABLE: {"Keys": keys[1:]}} if keys[1:] else {}
            return {**reply, "UnprocessedKeys": left}

    throttled = TaskStore(Throttled(), TABLE)  # type: ignore[arg-type]  # a client as far as it matters
    assert set(throttled.get_many(task_id(n) for n in range(3))) == {task_id(n) for n in range(3)}


# --- size


def item_size(item: Any) -> int:
    """The bytes DynamoDB counts for an item: names and values, 3 for a list or map and 1 for each part of it."""

    def size(value: Any) -> int:
        ((kind, content),) = value.items()
        if kind == "S":
            return len(content.encode())
        if kind == "N":
            return (len(content.strip("-").replace(".", "").strip("0")) + 1) // 2 + 1
        if kind == "B":
            return len(bytes(content))
        if kind == "L":
            return 3 + sum(1 + size(part) for part in content)
        if kind == "M":
            return 3 + sum(1 + len(name.encode()) + size(part) for name, part in content.items())
        return 1

    return sum(len(name.encode()) + size(value) for name, value in item.items())


def test_a_typical_task_costs_one_write_unit_at_every_step(store: TaskStore, dynamodb: "DynamoDBClient") -> None:
    """P6: up to 1 KB a write is one unit; the price of a task that goes well is that of its writes."""
    request = {
        **REQUEST,
        "prompt": "@1 and @2 eating hotpot together in a small restaurant while it is raining outside; a voice from "
        "the next table says that everyone loves hotpot, and the camera moves slowly around them.",
        "seed": 123_456_789,
        "audio": True,
    }
    remote_id = "5f0c6f0e-6c9a-4a77-9f5e-0b7f6b1f2a3c"
    now = NOW + 123
    task = new_task(task_id=task_id(2**120 + 7), request=request)
    steps = [task]
    steps.append(
        lifecycle.record_created(
            task,
            reading(remote_id=remote_id, upstream_id="812345678901234567"),
            now=now,
            source="create",
            policy=POLICY,
        )
    )
    steps.append(
        lifecycle.apply_snapshot(
            steps[-1], reading(ProgressState.PROCESSING), now=now + 5_000, source="callback", policy=POLICY
        )
    )
    steps.append(lifecycle.apply_snapshot(steps[-1], done(), now=now + 60_000, source="callback", policy=POLICY))
    key = f"videos/acme/2027/01/15/{task.task_id}/1.mp4"
    steps.append(lifecycle.record_delivery(steps[-1], (video(key=key),), now=now + 65_000, policy=POLICY))
    assert [step.status for step in steps] == [
        Status.SUBMITTING,
        Status.SUBMITTED,
        Status.PROCESSING,
        Status.GENERATED,
        Status.COMPLETED,
    ]
    store.create(steps[0])
    sizes = []
    for step in steps[1:]:
        there = store.get(task.task_id)
        assert there is not None
        store.save(replace(step, revision=there.revision))
        (item,) = dynamodb.scan(TableName=TABLE)["Items"]
        sizes.append(item_size(item))
    assert max(sizes) <= 1024, sizes


def test_a_record_written_before_requests_were_packed_with_words_is_read() -> None:
    task = new_task()
    item = _to_item(task)
    text = json.dumps(dict(task.request)).encode()

    assert task_from_image({**item, "request": {"B": zlib.compress(text, 9)}}).request == task.request


def test_a_request_that_is_cut_off_is_not_half_a_request() -> None:
    item = _to_item(new_task())
    for most in range(len(item["request"]["B"])):
        with pytest.raises((ValueError, zlib.error)):
            task_from_image({**item, "request": {"B": item["request"]["B"][:most]}})
