"""From a generated task to proven bytes in our bucket, safe to repeat."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.usecases.effects import Fault, ProcessDeathError
from tests.unit.usecases.scripted import NOON, mp4
from tests.unit.usecases.world import TENANT, World
from vidu_relay.domain.errors import BadSourceError, DeliveryInterruptedError
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

URL = "https://cdn.example.com/gen-1.mp4?Signature=a"


def generated(world: World, *urls: str) -> Task:
    task = world.submit()
    world.provider.finish("gen-1", *urls)
    return world.ring(task.task_id, {"status": "completed"})


def key(task: Task, number: int = 1) -> str:
    return f"videos/{TENANT}/2026/11/23/{task.task_id}/{number}.mp4"


def delivered(world: World, task: Task, *, again: bool = False) -> Task:
    after = world.deliver(task.task_id, again=again)
    assert after is not None
    return after


@pytest.mark.parametrize("known_length", [True, False])
def test_video_lands_byte_for_byte_with_its_checksum(world: World, known_length: bool) -> None:
    world.source.known_length = known_length
    task = generated(world)
    after = delivered(world, task)
    assert (after.status, after.version, after.due_at) == (Status.COMPLETED, 4, None)
    served = world.source.video(URL)
    assert world.stored(key(task)) == served
    (video,) = after.videos
    assert (video.bucket, video.key, video.size) == (world.account.videos, key(task), len(served))
    assert video.sha256 == hashlib.sha256(served).hexdigest()


def test_video_of_known_length_costs_one_put_and_no_look_at_the_bucket(world: World) -> None:
    task = generated(world)
    world.effects.names.clear()
    delivered(world, task)
    assert [name for name in world.effects.names if name.startswith("s3.")] == ["s3.put_object"]


def test_several_videos_are_numbered_in_the_providers_order(world: World) -> None:
    urls = [f"https://cdn.example.com/{letter}.mp4" for letter in "abc"]
    task = generated(world, *urls)
    after = delivered(world, task)
    assert [video.key for video in after.videos] == [key(task, number) for number in (1, 2, 3)]
    assert [world.stored(key(task, number)) for number in (1, 2, 3)] == [world.source.video(url) for url in urls]


def test_repeated_message_copies_nothing(world: World) -> None:
    task = generated(world)
    first = delivered(world, task)
    opened, writes = len(world.source.opened), len(world.stream)
    assert delivered(world, task) == first
    assert delivered(world, task, again=True) == first
    assert (len(world.source.opened), len(world.stream)) == (opened, writes)


def test_object_that_an_earlier_try_stored_is_recorded_and_not_copied_again(world: World) -> None:
    task = generated(world)
    world.effects.arm(3, Fault.DIES_AFTER)
    with pytest.raises(ProcessDeathError):
        world.deliver(task.task_id)
    assert world.effects.struck == "s3.put_object"
    world.effects.disarm()
    world.source.files[URL] = mp4(b"quite another video")
    after = delivered(world, task, again=True)
    assert after.status is Status.COMPLETED
    assert len(world.source.opened) == 1
    assert hashlib.sha256(world.stored(key(task))).hexdigest() == after.videos[0].sha256


def test_object_that_is_there_unexpectedly_is_described_as_it_is_and_never_overwritten(world: World) -> None:
    task = generated(world)
    there = mp4(b"stored by a worker that died before it could say so")
    world.account.clients["s3"].put_object(Bucket=world.account.videos, Key=key(task), Body=there)
    after = delivered(world, task)
    assert world.stored(key(task)) == there
    assert after.videos[0].size == len(there)
    assert after.videos[0].sha256 == hashlib.sha256(there).hexdigest()


def test_half_delivered_task_copies_only_what_is_missing(world: World) -> None:
    urls = ("https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    task = generated(world, *urls)
    world.source.expired.add(urls[1])
    assert delivered(world, task).status is Status.GENERATED
    world.source.expired.clear()
    after = delivered(world, task, again=True)
    assert len(after.videos) == 2
    assert world.source.opened == [*urls, urls[1]]


def test_expired_link_is_replaced_by_a_fresh_one(world: World) -> None:
    task = generated(world)
    world.source.expired.add(URL)
    failed = delivered(world, task)
    assert (failed.status, failed.source_faults, failed.version) == (Status.GENERATED, 1, 3)
    assert failed.due_at is not None
    assert NOON + 8_000 <= failed.due_at <= NOON + 12_000
    world.provider.finish("gen-1", "https://cdn.example.com/gen-1.mp4?Signature=b")
    world.run()
    assert world.task(task.task_id).status is Status.COMPLETED
    assert world.source.opened[-1].endswith("Signature=b")


def test_links_are_read_anew_and_used_as_they_are(world: World) -> None:
    odd = "https://cdn.example.com/v%2F1.mp4?b=2&a=1&Signature=x%2By%3D&e=+"
    task = generated(world)
    world.provider.finish("gen-1", odd)
    delivered(world, task)
    assert world.source.opened == [odd]


@pytest.mark.parametrize("bad", [b"<html>not a video</html>" * 10, mp4(b"x" * 100)[:-7], b""])
def test_source_that_is_no_video_is_never_visible_and_given_up_after_five_tries(world: World, bad: bytes) -> None:
    task = generated(world)
    world.source.files[URL] = bad
    for tries in range(1, 5):
        after = delivered(world, task, again=tries > 1)
        assert (after.status, after.source_faults) == (Status.GENERATED, tries)
        assert after.due_at is not None
    last = delivered(world, task, again=True)
    assert (last.status, last.due_at) == (Status.FAILED, None)
    assert last.error is not None
    assert last.error.code in ("not_mp4", "truncated")
    assert "Contents" not in world.account.clients["s3"].list_objects_v2(Bucket=world.account.videos)


def test_bad_source_is_retried_with_growing_waits_and_then_settles(world: World) -> None:
    generated(world)
    world.source.faults = [BadSourceError("too_large", "…")] * 5
    world.run()
    failed = world.task(world.task_id())
    assert (failed.status, failed.error and failed.error.code) == (Status.FAILED, "too_large")
    assert len(world.source.opened) == 5
    assert failed.version == 4


def test_trouble_on_the_way_is_never_given_up(world: World) -> None:
    generated(world)
    world.source.faults = [DeliveryInterruptedError("source_interrupted", "reset")] * 30
    world.run()
    done = world.task(world.task_id())
    assert (done.status, done.source_faults, done.error) == (Status.COMPLETED, 0, None)
    assert len(world.source.opened) == 31


class SlowS3:
    """S3 that answers 503 to the first so many uploads."""

    def __init__(self, client: Any, times: int) -> None:
        self.client = client
        self.left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def put_object(self, **arguments: Any) -> Any:
        if self.left:
            self.left -= 1
            raise ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject")
        return self.client.put_object(**arguments)


def test_trouble_with_our_own_storage_is_never_given_up(world: World) -> None:
    generated(world)
    world.videos._client = SlowS3(world.account.clients["s3"], 12)  # type: ignore[assignment]
    world.run()
    done = world.task(world.task_id())
    assert (done.status, done.source_faults) == (Status.COMPLETED, 0)


def test_provider_that_cannot_be_read_is_no_bad_source(world: World) -> None:
    task = generated(world)
    world.provider.unavailable = True
    for _ in range(7):
        assert delivered(world, task).status is Status.GENERATED
    world.provider.unavailable = False
    assert delivered(world, task).status is Status.COMPLETED


def test_provider_that_shows_fewer_videos_than_before_is_asked_again(world: World) -> None:
    task = generated(world, "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    world.provider.finish("gen-1", "https://cdn.example.com/a.mp4")
    after = delivered(world, task)
    assert (after.status, after.videos, after.source_faults) == (Status.GENERATED, (), 0)


@pytest.mark.parametrize("shown", ["nothing at all", "no video", "one of two", "unwell"])
def test_task_whose_links_have_vanished_settles_once_the_late_watch_is_over(world: World, shown: str) -> None:
    generated(world, "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    if shown == "nothing at all":
        world.provider.remote.clear()
    elif shown == "unwell":
        world.provider.unavailable = True
    elif shown == "one of two":
        world.provider.finish("gen-1", "https://cdn.example.com/a.mp4")
    else:
        world.provider.show("gen-1", ProgressState.SUCCEEDED, outputs=())
    world.run(until=NOON + 3 * 3_600_000)
    waiting = world.task(world.task_id())
    assert (waiting.status, waiting.source_faults) == (Status.GENERATED, 0)  # they may come back
    world.clock.advance(80 * 3600)
    world.run()
    failed = world.task(world.task_id())
    assert (failed.status, failed.error and failed.error.code) == (Status.FAILED, "video_lost")


def test_message_about_an_unknown_task_is_done_with(world: World) -> None:
    assert world.deliver("a" * 26) is None


def test_message_about_a_task_in_another_state_does_nothing(world: World) -> None:
    task = world.submit()
    assert delivered(world, task) == task
    world.provider.show("gen-1", ProgressState.PROCESSING)
    assert delivered(world, task) == task
    assert world.source.opened == []


def test_delivery_does_not_undo_what_happened_meanwhile(world: World) -> None:
    """Two deliveries of one task side by side: the second finds the first one's object and record."""
    task = generated(world)
    other: list[Task] = []

    def overtaken() -> int:
        if not other:
            other.append(task)
            other[0] = delivered(replaced, task)
        return NOON

    replaced = world
    world.delivery = replace(world.delivery, clock=overtaken)
    after = delivered(world, task)
    assert after == other[0] == world.task(task.task_id)
    assert after.version == 4
