"""The account in memory answers as moto does: the same calls go to both, through the adapters that make them."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.simulation.expressions import holds, updated
from tests.simulation.memory_account import memory_account
from tests.simulation.provider import NOON, mp4
from tests.unit.account import Account, mock_aws, new_account
from tests.unit.builders import new_task
from vidu_relay.adapters import video_archive
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory, TenantMapping
from vidu_relay.adapters.video_archive import VideoArchive
from vidu_relay.domain.image_format import ImageHead
from vidu_relay.domain.image_reference import S3Object
from vidu_relay.domain.queued_requests import DroppedFile
from vidu_relay.domain.task import Video

Act = Callable[["Adapters"], object]


class Adapters:
    """The adapters over one account, with stamps that both accounts have in common."""

    def __init__(self, account: Account) -> None:
        stamps = iter(f"stamp-{number}" for number in range(10_000))
        self.account = account
        self.store = TaskStore(account.clients["dynamodb"], account.table, lambda: next(stamps))
        self.quota = DailyQuota(account.clients["dynamodb"], account.table, once=account.clients["dynamodb"])
        self.videos = VideoArchive(account.clients["s3"], account.videos)
        self.requests = RequestArchive(account.clients["s3"], account.inbox)
        self.images = ImageBucket(account.clients["s3"], account.inbox)
        self.inbox = RequestInbox(account.clients["s3"], account.inbox)
        self.tenants = TenantDirectory(account.clients["dynamodb"], account.table)
        self.poller = TaskPoller(account.clients["stepfunctions"], account.state_machine_arn)

    def answer(self, act: Act) -> object:
        """What an act returns, or the kind of its error and what DynamoDB or S3 calls it."""
        try:
            return act(self)
        except ClientError as error:
            return error.response["Error"]["Code"]
        except Exception as error:  # noqa: BLE001 - compared, whatever it is
            return type(error).__name__, str(error)

    def table(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.account.clients["dynamodb"].scan(TableName=self.account.table)["Items"]
        return sorted(items, key=lambda item: str(item["pk"]["S"]))


class _Stream:
    def __init__(self, data: bytes, length: int | None) -> None:
        self.data, self.length = data, length

    def read(self, size: int) -> bytes:
        block, self.data = self.data[:size], self.data[size:]
        return block


def acts(rng: random.Random) -> Act:
    """One call as the use cases make it."""
    task_id, at = rng.choice("abc") * 26, NOON + rng.randrange(5) * 1000
    task = replace(
        new_task(), task_id=task_id, revision=rng.randrange(4), due_at=rng.choice([None, at]), checks=rng.randrange(3)
    )
    video = mp4(rng.choice([b"one", b"two"]) * 50)
    video = rng.choice([video, video, video[:-3]])
    length = rng.choice([len(video), None])
    dropped = DroppedFile("relay-inbox", rng.choice(["requests/acme/a.json", "requests/acme/b.json"]), None)
    image = S3Object(dropped.bucket, dropped.key)
    content, most = rng.choice([b"", b"{}", b"x" * 300]), rng.choice([1, 2, 299, 300, 301])
    key, lease = rng.choice(["videos/a.mp4", "videos/b.mp4"]), rng.randrange(3)
    choices: list[Act] = [
        lambda a: a.store.create(task),
        lambda a: a.store.save(task),
        lambda a: a.store.save(task, (f"gen-{lease}",)),
        lambda a: a.store.save(task, (f"gen-{lease}", "gen-7")),
        lambda a: a.store.get(task_id),
        lambda a: sorted(a.store.find_due(NOON + 2000)),
        lambda a: a.store.take_lease(task_id, at, at + 5000),
        lambda a: a.quota.take("acme", 3, at),
        lambda a: a.quota.give_back("acme", at),
        lambda a: a.quota.take_upload("acme", 1, at),
        lambda a: a.videos.store(key, _Stream(video, length)),
        lambda a: a.videos.find(key),
        lambda a: a.requests.put(key, {"n": lease}),
        lambda a: a.requests.find(key),
        lambda a: a.store.list_keys("acme", limit=lease + 1, after=rng.choice([None, (at, task_id)])),
        lambda a: sorted(a.store.get_many([task_id, "d" * 26])),
        lambda a: a.tenants.create_tenant("acme", at),
        lambda a: a.tenants.set_disabled("acme", lease > 0),
        lambda a: a.tenants.find_tenant("acme"),
        lambda a: a.tenants.add_mapping(TenantMapping.SOURCE, "acme.orders", rng.choice(["acme", "globex"])),
        lambda a: a.tenants.remove_mapping(TenantMapping.SOURCE, "acme.orders", "acme", at),
        lambda a: a.requests.get("nothing"),
        lambda a: a.images.store(image.key, content, "image/png"),
        lambda a: a.images.store(image.key, content, "image/png"),
        lambda a: a.images.read_head(image, most, lambda *_: False),
        lambda a: a.images.read(image),
        lambda a: a.inbox.read(dropped, max_bytes=most),
        lambda a: a.inbox.put_rejection(dropped, {"n": lease}),
        lambda a: a.account.clients["s3"].list_objects_v2(Bucket=image.bucket, Prefix="rejected/")["KeyCount"],
        lambda a: a.poller.start(task_id, lease),
        lambda a: len(
            a.account.clients["stepfunctions"].list_executions(stateMachineArn=a.account.state_machine_arn)[
                "executions"
            ]
        ),
    ]
    return rng.choice(choices)


@pytest.mark.parametrize("seed", range(6))
def test_both_accounts_answer_alike(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_archive, "PART_BYTES", 5 * 1024 * 1024)  # moto holds uploads to S3's least size of a part
    with mock_aws():
        _compare(Adapters(new_account()), Adapters(memory_account()), random.Random(seed))  # noqa: S311 - repeatable


def _compare(moto: "Adapters", memory: "Adapters", rng: random.Random) -> None:
    for number in range(120):
        act = acts(rng)
        state = rng.getstate()
        answer = moto.answer(act)
        rng.setstate(state)
        assert _named(memory.answer(act)) == _named(answer), f"call {number}"
    assert memory.table() == moto.table()


def _named(answer: object) -> object:
    """S3's error for what is not there has two names. Of an object made in parts moto shows the checksum of checksums
    as if it were the checksum of the bytes; S3 says that it is composite, and so does memory."""
    if isinstance(answer, Video):
        return answer.key, answer.size
    if isinstance(answer, ImageHead):  # memory keeps versions, as the template says; moto does not
        return answer.data, answer.size
    return "NoSuchKey" if answer == "404" else answer


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ("attribute_exists(a)", True),
        ("attribute_not_exists(a)", False),
        ("a = :one OR b = :one AND attribute_exists(c)", True),
        ("(a = :one OR b = :one) AND attribute_exists(c)", False),
        ("NOT a = :one", False),
        ("#c <> :one", True),
        ("a <= :one AND a >= :one", True),
        ("c < :one", False),
    ],
)
def test_conditions_mean_what_dynamodb_means(condition: str, result: bool) -> None:
    item = {"a": {"N": "1"}, "b": {"N": "2"}}
    assert holds(condition, item, {"#c": "c"}, {":one": {"N": "1"}}) is result


def test_update_sets_adds_and_removes() -> None:
    item = {"a": {"N": "1"}, "b": {"N": "2"}}
    after = updated(
        "SET b = if_not_exists(b, :one), c = if_not_exists(c, :one) ADD a :one REMOVE d", item, {}, {":one": {"N": "1"}}
    )
    assert after == {"a": {"N": "2"}, "b": {"N": "2"}, "c": {"N": "1"}}


@pytest.mark.parametrize("condition", ["contains(a, :one)", "a IN (:one)", "a = :one extra", "a ~ :one", "a ="])
def test_what_is_not_understood_is_refused(condition: str) -> None:
    with pytest.raises(NotImplementedError):
        holds(condition, {"a": {"N": "1"}}, {}, {":one": {"N": "1"}})


def test_a_version_is_what_was_put_then() -> None:
    account = memory_account()
    bucket = ImageBucket(account.clients["s3"], account.inbox)
    image = S3Object(account.inbox, "uploads/acme/fox.png")
    bucket.store(image.key, b"first", "image/png")
    version = bucket.read_head(image, 10, lambda *_: True).version_id
    bucket.store(image.key, b"second", "image/png")
    assert version is not None
    assert (bucket.read(image, version), bucket.read(image)) == (b"first", b"second")
    with pytest.raises(ClientError, match="NoSuchVersion"):
        bucket.read(image, "nothing")


def test_call_that_is_missing_is_named() -> None:
    with pytest.raises(NotImplementedError, match="copy_object"):
        memory_account().clients["s3"].copy_object(Bucket="b", Key="k")
