"""From a generated task to proven bytes in our bucket, safe to repeat."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.builders import changes
from tests.unit.usecases.effects import Fault, ProcessDeathError
from tests.unit.usecases.scripted import NOON, mp4
from tests.unit.usecases.world import TENANT, World
from vidu_relay.domain.delivery import reopen
from vidu_relay.domain.errors import BadSourceError, DeliveryInterruptedError
from vidu_relay.domain.representation import represent
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

URL = "https://cdn.example.com/gen-1.mp4?Signature=a"


BROKEN_OFF = mp4(b"x" * 200_000)[:-7]
"""Longer than the first bytes: a copy of it is paid for in traffic."""


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
    assert (after.status, changes(after), after.due_at) == (Status.COMPLETED, 4, None)
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
    assert (failed.status, failed.delivery and failed.delivery.source_faults, changes(failed)) == (
        Status.GENERATED,
        1,
        3,
    )
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
def test_source_that_is_no_video_is_never_visible_and_retried_hourly_after_five_faults(
    world: World, bad: bytes
) -> None:
    task = generated(world)
    world.source.files[URL] = bad
    after = task
    for tries in range(1, 6):
        after = delivered(world, task, again=tries > 1)
        assert (after.status, faults(after)) == (Status.GENERATED, tries)
    assert after.due_at == world.clock() + 3_600_000
    assert after.delivery is not None
    assert after.delivery.last_error is not None
    assert after.delivery.last_error.code in ("not_mp4", "truncated")
    assert "Contents" not in world.account.clients["s3"].list_objects_v2(Bucket=world.account.videos)


def faults(task: Task) -> int:
    return task.delivery.source_faults if task.delivery else 0


@pytest.mark.parametrize("code", ["source_refused", "certificate", "address_refused", "too_large", "not_mp4"])
def test_source_that_is_bad_for_hours_loses_no_video(quick_world: World, code: str) -> None:
    """A CDN that is unwell, a certificate that expired, a host that the operator has yet to allow."""
    generated(quick_world)
    quick_world.source.faults = [BadSourceError(code, "…")] * 30
    quick_world.run()
    done = quick_world.task(quick_world.task_id())
    assert (done.status, done.error) == (Status.COMPLETED, None)


def test_source_that_stays_bad_ends_as_unavailable_after_the_late_watch_and_can_be_reopened(quick_world: World) -> None:
    task = generated(quick_world)
    quick_world.source.files[URL] = b"<html>gone</html>" * 20
    quick_world.run()
    ended = quick_world.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")
    assert ended.updated_at - NOON >= 72 * 3_600_000
    assert len(quick_world.source.opened) - quick_world.source.probed <= 12  # whole copies are paid for in traffic
    kinds = [kind for kind, _ in quick_world.published]
    assert kinds.count("VideoTaskDeliveryDelayed") == 1
    assert kinds[-1] == "VideoTaskExpired"

    quick_world.source.files.clear()
    quick_world.store.save(reopen(ended, now=quick_world.clock()))
    quick_world.queue.ask(task.task_id)
    quick_world.run()
    done = quick_world.task(task.task_id)
    assert (done.status, done.error, len(done.videos)) == (Status.COMPLETED, None, 1)


def test_late_success_completes_a_task_whose_video_was_unavailable(quick_world: World) -> None:
    task = generated(quick_world)
    quick_world.source.files[URL] = b"<html>gone</html>" * 20
    quick_world.run()
    quick_world.source.files.clear()
    quick_world.ring(task.task_id, {"status": "completed"})
    quick_world.run()
    assert quick_world.task(task.task_id).status is Status.COMPLETED


def test_source_whose_first_bytes_are_bad_is_not_read_whole_again(world: World) -> None:
    task = generated(world)
    world.source.files[URL] = b"<html>not a video</html>" * 10
    for _ in range(5):
        delivered(world, task, again=True)
    opened = len(world.source.opened)
    delivered(world, task, again=True)
    assert (len(world.source.opened), world.source.probed) == (opened + 1, 1)
    world.source.files.clear()
    assert delivered(world, task, again=True).status is Status.COMPLETED


def test_copies_that_break_off_are_twelve_in_all_the_time(quick_world: World) -> None:
    task = generated(quick_world)
    quick_world.source.files[URL] = BROKEN_OFF
    quick_world.run()
    ended = quick_world.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")
    assert ended.delivery is not None
    assert ended.delivery.whole_copies == len(quick_world.source.opened) - quick_world.source.probed == 12


@pytest.mark.parametrize("hours", [1, 6, 24, 60])
def test_source_that_recovers_after_many_broken_copies_is_copied_without_the_operator(
    quick_world: World, hours: int
) -> None:
    task = generated(quick_world)
    quick_world.source.files[URL] = BROKEN_OFF
    quick_world.run(until=NOON + hours * 3_600_000)
    assert quick_world.task(task.task_id).status is Status.GENERATED
    quick_world.source.files.clear()
    quick_world.run()
    assert quick_world.task(task.task_id).status is Status.COMPLETED


def test_operator_begins_the_count_of_copies_again(world: World) -> None:
    task = generated(world)
    world.source.files[URL] = BROKEN_OFF
    after = task
    for _ in range(9):
        after = delivered(world, task, again=True)
    assert after.delivery is not None
    assert (after.delivery.attempts, after.delivery.whole_copies) == (9, 5)
    world.source.files.clear()
    assert delivered(world, task, again=True).status is Status.GENERATED
    world.store.save(reopen(world.task(task.task_id), now=world.clock()))
    assert delivered(world, task, again=True).status is Status.COMPLETED


def test_trouble_on_the_way_is_tried_again_and_announced_once(quick_world: World) -> None:
    generated(quick_world)
    quick_world.source.faults = [DeliveryInterruptedError("source_interrupted", "reset")] * 30
    quick_world.run()
    done = quick_world.task(quick_world.task_id())
    assert (done.status, faults(done), done.error) == (Status.COMPLETED, 0, None)
    assert len(quick_world.source.opened) == 31
    delayed = [detail for kind, detail in quick_world.published if kind == "VideoTaskDeliveryDelayed"]
    assert len(delayed) == 1
    assert delayed[0]["task"]["status"] == "generated"
    assert delayed[0]["task"]["delivery"]["attempts"] == 5
    assert delayed[0]["task"]["delivery"]["last_error"] == {"code": "source_interrupted", "message": "reset"}


def test_interruption_without_an_end_has_one(quick_world: World) -> None:
    """Every accepted task settles, also one whose source answers 503 for ever."""
    generated(quick_world)
    quick_world.source.faults = [DeliveryInterruptedError("source_unwell", "HTTP 503")] * 2000
    quick_world.run()
    ended = quick_world.task(quick_world.task_id())
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")


def test_delivery_that_never_reports_ends_as_well(quick_world: World) -> None:
    task = generated(quick_world)
    survive = quick_world.survive
    quick_world.survive = lambda run: "deliver" not in run.__code__.co_names and survive(run)  # type: ignore[method-assign]
    quick_world.run()
    ended = quick_world.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")


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
    assert (done.status, faults(done)) == (Status.COMPLETED, 0)


def test_provider_that_cannot_be_read_is_no_bad_source(world: World) -> None:
    task = generated(world)
    world.provider.unavailable = True
    for _ in range(7):
        assert delivered(world, task).status is Status.GENERATED
    world.provider.unavailable = False
    assert delivered(world, task).status is Status.COMPLETED


def test_provider_that_shows_fewer_videos_than_before_is_asked_again_and_what_came_is_kept(world: World) -> None:
    task = generated(world, "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    world.provider.finish("gen-1", "https://cdn.example.com/a.mp4")
    after = delivered(world, task)
    assert (after.status, [video.number for video in after.videos]) == (Status.GENERATED, [1])
    assert after.delivery is not None
    assert after.delivery.last_error is not None
    assert after.delivery.last_error.code == "link_missing"


def test_good_video_beside_a_bad_one_is_kept_and_shown(quick_world: World) -> None:
    task = generated(quick_world, "https://cdn.example.com/cover.jpg", "https://cdn.example.com/b.mp4")
    quick_world.source.files["https://cdn.example.com/cover.jpg"] = b"\xff\xd8\xff\xe0 a picture"
    quick_world.run()
    ended = quick_world.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")
    (video,) = ended.videos
    assert (video.number, video.key) == (2, key(task, 2))
    shown = represent(ended, sign=lambda video: f"https://signed/{video.number}")
    assert [result.get("url") for result in shown["output"][0]["results"]] == [None, "https://signed/2"]


def test_videos_keep_their_numbers_when_they_are_listed_in_another_order(world: World) -> None:
    a, b = "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4"
    task = generated(world, a, b)
    world.source.expired.add(b)
    delivered(world, task)
    world.source.expired.clear()
    world.provider.finish("gen-1", f"{b}?Signature=2", f"{a}?Signature=2")
    after = delivered(world, task, again=True)
    assert after.status is Status.COMPLETED
    assert [world.stored(key(task, n)) for n in (1, 2)] == [world.source.video(a), world.source.video(b)]


def test_links_with_new_paths_take_the_numbers_in_their_order(world: World) -> None:
    task = generated(world, "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    fresh = ("https://other.example.com/1.mp4", "https://other.example.com/2.mp4")
    world.provider.finish("gen-1", *fresh)
    delivered(world, task)
    assert [world.stored(key(task, n)) for n in (1, 2)] == [world.source.video(url) for url in fresh]


@pytest.mark.parametrize("shown", ["nothing at all", "no video", "one of two", "unwell"])
def test_task_whose_links_have_vanished_settles_once_the_late_watch_is_over(quick_world: World, shown: str) -> None:
    generated(quick_world, "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    if shown == "nothing at all":
        quick_world.provider.remote.clear()
    elif shown == "unwell":
        quick_world.provider.unavailable = True
    elif shown == "one of two":
        quick_world.provider.finish("gen-1", "https://cdn.example.com/a.mp4")
    else:
        quick_world.provider.show("gen-1", ProgressState.SUCCEEDED, outputs=())
    quick_world.run(until=NOON + 3 * 3_600_000)
    assert quick_world.task(quick_world.task_id()).status is Status.GENERATED  # they may come back
    quick_world.clock.advance(80 * 3600)
    quick_world.run()
    ended = quick_world.task(quick_world.task_id())
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")


@pytest.mark.parametrize("named", [("gen-9",), ("GEN-1",)])
def test_videos_of_another_remote_task_are_never_copied(world: World, named: tuple[str, ...]) -> None:
    task = generated(world)
    world.provider.show("gen-1", ProgressState.SUCCEEDED, named_ids=named)
    after = delivered(world, task)
    assert (after.status, world.source.opened) == (Status.GENERATED, [])


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
    assert changes(after) == 4


def test_two_deliveries_side_by_side_that_copied_one_video_each_complete_the_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = "https://cdn.example.com/1.mp4", "https://cdn.example.com/2.mp4"
    task = generated(world, one, two)
    world.source.expired = {two}
    assert delivered(world, task).status is Status.GENERATED
    world.source.expired = {one}
    # it had looked before the first video was there
    monkeypatch.setattr(world.delivery.archive, "find", lambda _: None)
    after = delivered(world, task)
    assert (after.status, [video.number for video in after.videos]) == (Status.COMPLETED, [1, 2])


@pytest.mark.parametrize("reopened", [False, True])
def test_video_is_copied_although_the_relay_stood_still_for_days(quick_world: World, reopened: bool) -> None:
    world = quick_world
    task = generated(world)
    world.clock.advance(74 * 3600)
    if reopened:
        world.store.save(reopen(world.task(task.task_id), now=world.clock()))
        world.clock.advance(421)
    world.check(task.task_id)
    assert world.task(task.task_id).status is Status.GENERATED
    world.run()
    assert world.task(task.task_id).status is Status.COMPLETED


def test_copy_that_never_reports_ends_by_count_and_time(quick_world: World) -> None:
    world = quick_world
    task = generated(world)
    world.clock.advance(74 * 3600)
    for _ in range(5):
        world.check(task.task_id)
    assert world.task(task.task_id).status is Status.GENERATED
    world.check(task.task_id)
    assert world.task(task.task_id).status is Status.EXPIRED
