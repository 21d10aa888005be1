"""The task table: what is written comes back, no writer overwrites another, and a remote id has one owner."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.adapters.conftest import TABLE
from tests.unit.builders import NOW, TASK_ID, new_task, submitting, task_in
from vidu_relay.adapters.task_item import OWNERSHIP_SECONDS, to_item
from vidu_relay.adapters.task_store import BATCH_GET_LIMIT, FIRST_PAUSE_SECONDS, Lease, TaskStore
from vidu_relay.domain.errors import (
    ExternalIdTakenError,
    RemoteTaskOwnedError,
    StaleTaskError,
    TransactionConflictError,
)
from vidu_relay.domain.identifiers import is_remote_id, task_id_from_random
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.task import Attempt, Task

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def store(dynamodb: "DynamoDBClient") -> TaskStore:
    return TaskStore(dynamodb, TABLE)


def task_id(number: int) -> str:
    return task_id_from_random(number.to_bytes(16, "big"))


def recorded(store: TaskStore, task: Task) -> Task:
    current, ours = store.create(task)
    assert ours
    return current


@pytest.mark.parametrize("status", Status)
def test_a_task_comes_back_from_the_table(store: TaskStore, status: Status) -> None:
    assert store.get(TASK_ID) is None
    saved = recorded(store, task_in(status))
    assert saved == replace(task_in(status), revision=1)
    assert store.get(TASK_ID) == saved


# --- optimistic locking


def test_creating_twice_gives_the_first_record_and_says_whose_it_is(store: TaskStore) -> None:
    first = recorded(store, submitting())
    attempt = Attempt("other.1", NOW)
    assert store.create(submitting(request_digest="other", token="other", attempt=attempt)) == (first, False)
    assert store.get(TASK_ID) == first


def test_of_two_writers_who_read_the_same_the_second_must_read_again(store: TaskStore) -> None:
    seen = recorded(store, new_task())
    first = store.save(replace(seen, checks=1))
    with pytest.raises(StaleTaskError):
        store.save(replace(seen, checks=2))
    assert store.get(TASK_ID) == first == replace(seen, checks=1, revision=2)


@pytest.mark.parametrize("owned", [(), ("r-1",)])
def test_saving_a_task_that_was_deleted_does_not_bring_it_back(
    store: TaskStore, dynamodb: "DynamoDBClient", owned: tuple[str, ...]
) -> None:
    with pytest.raises(StaleTaskError):
        store.save(new_task(revision=3), owned)
    assert dynamodb.scan(TableName=TABLE)["Items"] == []


class LosesReplies:
    """A client that executes a write, loses the reply, and has the SDK's retry meet the condition."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.then: Callable[[], object] = lambda: None
        self.tokens: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **arguments: Any) -> Any:
        self._client.put_item(**arguments)
        self.then()
        return self._client.put_item(**arguments)

    def transact_write_items(self, **arguments: Any) -> Any:
        """DynamoDB knows the token for ten minutes; this retry comes after that."""
        self.tokens.append(arguments["ClientRequestToken"])
        self._client.transact_write_items(**arguments)
        self.then()
        return self._client.transact_write_items(**arguments)


@pytest.mark.parametrize("owned", [(), ("r-1", "alias")])
def test_our_own_write_whose_reply_was_lost_is_recognised(dynamodb: "DynamoDBClient", owned: tuple[str, ...]) -> None:
    store = TaskStore(LosesReplies(dynamodb), TABLE)  # type: ignore[arg-type]  # a client as far as it matters
    created, ours = store.create(new_task())
    assert (created, ours) == (replace(new_task(), revision=1), True)
    saved = store.save(replace(created, checks=7), owned)
    assert (saved.checks, saved.revision) == (7, 2)
    assert store.get(TASK_ID) == saved


@pytest.mark.parametrize("owned", [(), ("r-1",)])
def test_a_lost_reply_behind_which_another_wrote_is_stale(dynamodb: "DynamoDBClient", owned: tuple[str, ...]) -> None:
    plain, lossy = TaskStore(dynamodb, TABLE), LosesReplies(dynamodb)
    created = recorded(plain, new_task())

    def another() -> None:
        current = plain.get(TASK_ID)
        assert current is not None
        plain.save(replace(current, checks=99))

    lossy.then = another
    with pytest.raises(StaleTaskError):
        TaskStore(lossy, TABLE).save(replace(created, checks=1), owned)  # type: ignore[arg-type]  # as above


def test_trouble_with_the_table_is_not_taken_for_a_conflict(dynamodb: "DynamoDBClient") -> None:
    store = TaskStore(dynamodb, "no-such-table")
    for call in (
        lambda: store.create(new_task()),
        lambda: store.save(new_task()),
        lambda: store.save(new_task(), ("r-1",)),
        lambda: store.take_lease(TASK_ID, 1, 2),
    ):
        with pytest.raises(ClientError):
            call()


# --- remote ids


def owners(dynamodb: "DynamoDBClient") -> dict[str, str]:
    """Which task owns which remote id."""
    items = dynamodb.scan(TableName=TABLE)["Items"]
    return {item["pk"]["S"]: item["task_id"]["S"] for item in items if item["pk"]["S"].startswith("remote#")}


def test_a_remote_id_belongs_to_one_task_and_is_recorded_with_it_or_not_at_all(
    store: TaskStore, dynamodb: "DynamoDBClient"
) -> None:
    mine, yours = recorded(store, new_task()), recorded(store, new_task(task_id=task_id(1)))
    mine = store.save(replace(mine, remote_id="r-1"), ("r-1", "alias"))
    again = store.save(replace(mine, checks=1), ("r-1",))
    assert again.revision == 3, "an id of one's own is no conflict"
    for ids in (("r-1",), ("r-2", "alias"), ("alias", "r-3")):
        with pytest.raises(RemoteTaskOwnedError) as refused:
            store.save(replace(yours, remote_id=ids[0]), ids)
        assert refused.value.remote_id in ("r-1", "alias"), "the first that belongs to another task"
    assert store.get(yours.task_id) == yours, "nothing is written"
    store.save(replace(yours, remote_id="r-2"), ("r-2",))
    vidu = recorded(store, new_task(task_id=task_id(2), provider="vidu"))
    store.save(vidu, ("r-1",))  # each provider gives ids of its own
    assert owners(dynamodb) == {
        "remote#vidu#r-1": task_id(2),
        "remote#gateway#r-1": TASK_ID,
        "remote#gateway#alias": TASK_ID,
        "remote#gateway#r-2": task_id(1),
    }


def test_a_record_that_moved_on_is_stale_whichever_task_owns_the_ids(store: TaskStore) -> None:
    """Whether the id is another's is decided again on what the record is now."""
    other = recorded(store, new_task(task_id=task_id(1)))
    store.save(other, ("r-1",))
    seen = recorded(store, new_task())
    store.save(replace(seen, checks=1))
    for ids in (("free",), ("r-1",)):
        with pytest.raises(StaleTaskError):
            store.save(replace(seen, checks=2), ids)


def test_an_id_can_be_owned_before_the_task_is_written_and_again(store: TaskStore, dynamodb: "DynamoDBClient") -> None:
    mine, yours = recorded(store, new_task()), new_task(task_id=task_id(1))
    store.own(mine, ("r-1",))
    store.own(mine, ("r-1", "alias"))
    with pytest.raises(RemoteTaskOwnedError) as refused:
        store.own(yours, ("r-2", "alias"))
    assert refused.value.remote_id == "alias"
    store.save(replace(mine, remote_id="r-1"), ("r-1",))  # as a candidate that is reconciled later
    assert owners(dynamodb) == {
        "remote#gateway#r-1": TASK_ID,
        "remote#gateway#alias": TASK_ID,
        "remote#gateway#r-2": task_id(1),
    }


class Canceled:
    """A client whose transaction is canceled for these reasons."""

    def __init__(self, *codes: str) -> None:
        self._codes = codes
        self.asked: list[dict[str, Any]] = []

    def transact_write_items(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        response: Any = {
            "Error": {"Code": "TransactionCanceledException", "Message": ""},
            "CancellationReasons": [{"Code": code} for code in self._codes],
        }
        raise ClientError(response, "TransactWriteItems")


@pytest.mark.parametrize(
    ("codes", "error"),
    [
        (("TransactionConflict", "None"), TransactionConflictError),
        (("None", "TransactionConflict"), TransactionConflictError),
        (("ConditionalCheckFailed", "TransactionConflict"), StaleTaskError),
        (("TransactionConflict", "ConditionalCheckFailed"), RemoteTaskOwnedError),
        (("ConditionalCheckFailed", "ConditionalCheckFailed"), StaleTaskError),
        (("None", "ThrottlingError"), ClientError),
        ((), ClientError),
    ],
)
def test_each_reason_of_a_canceled_transaction_has_an_error(codes: tuple[str, ...], error: type[Exception]) -> None:
    store = TaskStore(Canceled(*codes), TABLE)  # type: ignore[arg-type]  # a client as far as it matters
    with pytest.raises(error):
        store.save(new_task(), ("r-1",))


def test_each_write_has_one_token_that_the_sdk_s_retries_repeat() -> None:
    """A retry of a transaction that was executed gets its success; another write never does."""
    client, stamps = Canceled("TransactionConflict"), iter(["one", "two", "one"])
    store = TaskStore(client, TABLE, stamp=lambda: next(stamps))  # type: ignore[arg-type]  # as above
    for task in (new_task(), new_task(), new_task(task_id=task_id(1))):
        with pytest.raises(TransactionConflictError):
            store.save(task, ("r-1",))
    tokens = [asked["ClientRequestToken"] for asked in client.asked]
    assert len(set(tokens)) == 3
    assert all(1 <= len(token) <= 36 for token in tokens)


@pytest.mark.parametrize("character", ["r", "é", "🐈"])
def test_the_longest_remote_id_can_be_owned(store: TaskStore, character: str) -> None:
    """512 bytes are taken from the provider; a key may have 2,048."""
    longest = character * (512 // len(character.encode()))
    assert is_remote_id(longest)
    assert not is_remote_id(longest + character)
    store.save(recorded(store, new_task()), (longest,))


def test_an_id_stays_its_task_s_longer_than_any_late_video_is_waited_for(
    store: TaskStore, dynamodb: "DynamoDBClient"
) -> None:
    task = recorded(store, new_task())
    store.save(task, ("r-1",))
    (item,) = (item for item in dynamodb.scan(TableName=TABLE)["Items"] if item["pk"]["S"].startswith("remote#"))
    assert item["expires_at"] == {"N": str(task.deadline_at // 1000 + OWNERSHIP_SECONDS)}
    assert OWNERSHIP_SECONDS > 30 * 86_400


# --- leases


def lease_of(task: Task, number: int) -> Lease:
    """After so many were taken, and no check followed."""
    assert task.due_at is not None
    return Lease(task.lease + number, task.due_at, task.tenant_id, task.polled_slowly)


def test_only_one_of_two_sweeps_takes_the_lease(store: TaskStore) -> None:
    task = recorded(store, new_task())
    assert task.due_at is not None
    assert store.take_lease(TASK_ID, task.due_at, NOW + 5) == lease_of(task, 1)
    assert store.take_lease(TASK_ID, task.due_at, NOW + 6) is None
    current = store.get(TASK_ID)
    assert current is not None
    assert (current.lease, current.due_at, current.revision) == (task.lease + 1, NOW + 5, task.revision + 1)
    with pytest.raises(StaleTaskError):  # who read before the lease was taken
        store.save(replace(task, checks=1))
    # still due since the first time: no check has written the record
    assert store.take_lease(TASK_ID, NOW + 5, NOW + 9) == lease_of(task, 2)


def test_a_write_of_the_record_ends_the_time_it_was_overdue(store: TaskStore) -> None:
    task = recorded(store, new_task())
    assert task.due_at is not None
    store.take_lease(TASK_ID, task.due_at, NOW + 5)
    current = store.get(TASK_ID)
    assert current is not None
    assert current.due_since == task.due_at
    store.save(current)
    again = store.take_lease(TASK_ID, NOW + 5, NOW + 9)
    assert again is not None
    assert again.due_since == NOW + 5


@pytest.mark.parametrize("current", [None, Status.COMPLETED])
def test_a_task_that_is_gone_or_settled_cannot_be_leased(store: TaskStore, current: Status | None) -> None:
    if current:
        store.create(task_in(current))
    assert store.take_lease(TASK_ID, NOW, NOW + 5) is None
    assert (store.get(TASK_ID) is None) is (current is None), "a lease makes no record"


# --- what is due


def test_every_task_that_is_due_is_found_in_its_shard_the_one_that_waited_longest_first(store: TaskStore) -> None:
    tasks = [new_task(task_id=task_id(number), due_at=NOW + number * 7 % 40) for number in range(40)]
    for task in (*tasks, *map(task_in, sorted(SETTLED - {Status.EXPIRED}))):
        store.create(task)
    found = list(store.find_due(NOW + 29))
    assert sorted(due for _, due in found) == list(range(NOW, NOW + 30)), "and none that is settled"
    shard_of = {task.task_id: to_item(task)["due_shard"]["S"] for task in tasks}
    for shard in set(shard_of.values()):
        dues = [due for name, due in found if shard_of[name] == shard]
        assert dues == sorted(dues)


def test_owned_remote_ids_are_not_taken_for_tasks(store: TaskStore) -> None:
    store.save(replace(recorded(store, new_task()), due_at=None), ("r-1", "r-2"))
    assert list(store.find_due(NOW * 2)) == []
    assert store.list_keys("acme", limit=10, after=None) == [(NOW, TASK_ID)]


# --- lists


def test_a_tenant_pages_through_its_own_tasks_newest_first(store: TaskStore) -> None:
    for number in range(7):
        store.create(new_task(task_id=task_id(number), created_at=NOW + number))
    store.create(new_task(task_id=task_id(98), created_at=NOW + 3))  # in the same millisecond as another
    store.create(new_task(task_id=task_id(99), tenant_id="other", created_at=NOW + 3))
    seen: list[tuple[int, str]] = []
    after: tuple[int, str] | None = None
    while page := store.list_keys("acme", limit=3, after=after):
        assert len(page) <= 3
        seen += page
        after = page[-1]
    assert sorted(seen) == sorted((NOW + number % 95, task_id(number)) for number in (*range(7), 98))
    assert [at for at, _ in seen] == sorted((at for at, _ in seen), reverse=True)


def test_many_tasks_are_read_at_once_and_missing_ones_left_out(store: TaskStore) -> None:
    ids = [task_id(number) for number in range(BATCH_GET_LIMIT + 5)]
    for known in ids[::2]:
        store.create(new_task(task_id=known))
    found = store.get_many([*ids, ids[0]])  # DynamoDB refuses a batch that names a key twice
    assert set(found) == set(ids[::2])
    assert all(task.task_id == name for name, task in found.items())
    assert store.get_many([]) == {}


def test_keys_that_dynamodb_left_unprocessed_are_asked_for_again_after_a_pause(
    store: TaskStore, dynamodb: "DynamoDBClient"
) -> None:
    for number in range(9):
        store.create(new_task(task_id=task_id(number)))

    class Throttled:
        """Answers one key a call."""

        def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - boto3's name
            keys = RequestItems[TABLE]["Keys"]
            reply: Any = dynamodb.batch_get_item(RequestItems={TABLE: {"Keys": keys[:1]}})
            left = {TABLE: {"Keys": keys[1:]}} if keys[1:] else {}
            return {**reply, "UnprocessedKeys": left}

    pauses: list[float] = []
    throttled = TaskStore(Throttled(), TABLE, sleep=pauses.append)  # type: ignore[arg-type]  # a client as far as it matters
    ids = [task_id(n) for n in range(9)]
    assert set(throttled.get_many(ids)) == set(ids)
    assert pauses == [FIRST_PAUSE_SECONDS * 2**n for n in range(5)] + [1.0] * 3, "a pause that doubles to a second"


# --- external ids


def named(number: int = 0, external_id: str = "order-1", **changes: Any) -> Task:
    return new_task(task_id=task_id(number), token=f"t{number}", external_id=external_id, **changes)


def test_external_id_is_one_task_s_in_its_tenant_and_is_found_at_once(
    store: TaskStore, dynamodb: "DynamoDBClient"
) -> None:
    mine, ours = store.create(named(), external_id_until=NOW)
    assert ours
    assert store.find_external("acme", "order-1") == store.get(mine.task_id) == mine
    assert store.create(replace(named(), token="other")) == (mine, False), "the same task again"
    with pytest.raises(ExternalIdTakenError) as refused:
        store.create(named(1))
    assert refused.value.task_id == mine.task_id
    assert store.get(task_id(1)) is None, "nothing is written"
    theirs = recorded(store, named(2, tenant_id="globex"))
    assert store.find_external("globex", "order-1") == theirs
    assert store.find_external("acme", "order-2") is None
    item = next(i for i in dynamodb.scan(TableName=TABLE)["Items"] if i["pk"]["S"] == "external#acme#order-1")
    assert item["expires_at"]["N"] == str(NOW)


@pytest.mark.parametrize("left", ["gone", "of another tenant", "with another external id"])
def test_external_id_whose_task_lacks_it_is_free(store: TaskStore, dynamodb: "DynamoDBClient", left: str) -> None:
    """A record that was deleted; one under a reused idempotency key; one that an older release wrote without it."""
    former = recorded(store, named())
    if left == "gone":
        dynamodb.delete_item(TableName=TABLE, Key={"pk": {"S": f"task#{former.task_id}"}})
    else:
        changed = {"tenant_id": "globex"} if left == "of another tenant" else {"external_id": None}
        store.save(replace(former, **changed))
    assert store.find_external("acme", "order-1") is None
    later = recorded(store, named(1))
    assert store.find_external("acme", "order-1") == later


def test_lost_reply_of_a_task_with_an_external_id_is_our_own_write(dynamodb: "DynamoDBClient") -> None:
    created, ours = TaskStore(LosesReplies(dynamodb), TABLE).create(named())  # type: ignore[arg-type]  # as above
    assert (created, ours) == (replace(named(), revision=1), True)


def test_creation_waits_for_other_writes_and_gives_up_in_time() -> None:
    client, pauses = Canceled("None", "TransactionConflict"), list[float]()
    store = TaskStore(client, TABLE, sleep=pauses.append)  # type: ignore[arg-type]  # as above
    with pytest.raises(TransactionConflictError):
        store.create(named())
    assert 1 < len(client.asked) == len(pauses) < 10
    assert 1 < sum(pauses) < 5


def test_keys_of_a_range_of_creation_include_both_ends(store: TaskStore) -> None:
    for number in range(5):
        recorded(store, new_task(task_id=task_id(number), created_at=NOW + number))
    found = store.list_keys("acme", limit=2, created=(NOW + 1, NOW + 3))
    assert found == [(NOW + 3, task_id(3)), (NOW + 2, task_id(2))]
    assert store.list_keys("acme", limit=9, after=found[1], created=(NOW + 1, NOW + 3)) == [(NOW + 1, task_id(1))]
