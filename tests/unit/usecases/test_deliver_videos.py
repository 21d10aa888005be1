"""A generated task's videos are copied into our bucket, checked, and never overwritten."""

import hashlib

import pytest

from tests.simulation.effects import Fault, ProcessDeathError
from tests.simulation.provider import NOON, mp4
from tests.simulation.simulation import TENANT, Simulation
from tests.unit.builders import changes
from vidu_relay.domain.delivery import reopen
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

URL = "https://cdn.example.com/gen-1.mp4?Signature=a"


def generated(sim: Simulation, *urls: str) -> Task:
    task = sim.submit()
    sim.provider.finish("gen-1", *urls)
    return sim.call_back(task.task_id, {"status": "completed"})


def key(task: Task, number: int = 1) -> str:
    return f"videos/{TENANT}/2026/11/23/{task.task_id}/{number}.mp4"


def delivered(sim: Simulation, task: Task, *, again: bool = False) -> Task:
    after = sim.deliver(task.task_id, again=again)
    assert after is not None
    return after


@pytest.mark.parametrize("known_length", [True, False])
def test_video_lands_byte_for_byte_with_its_checksum(sim: Simulation, known_length: bool) -> None:
    sim.source.known_length = known_length
    task = generated(sim)
    after = delivered(sim, task)
    assert (after.status, changes(after), after.due_at) == (Status.COMPLETED, 4, None)
    served = sim.source.video(URL)
    assert sim.stored(key(task)) == served
    (video,) = after.videos
    assert (video.bucket, video.key, video.size) == (sim.account.videos, key(task), len(served))
    assert video.sha256 == hashlib.sha256(served).hexdigest()


def test_object_that_an_earlier_try_stored_is_recorded_and_not_copied_again(sim: Simulation) -> None:
    task = generated(sim)
    sim.effects.arm(3, Fault.DIES_AFTER)
    with pytest.raises(ProcessDeathError):
        sim.deliver(task.task_id)
    assert sim.effects.injected == "s3.put_object"
    sim.effects.disarm()
    sim.source.files[URL] = mp4(b"quite another video")
    after = delivered(sim, task, again=True)
    assert after.status is Status.COMPLETED
    assert len(sim.source.opened) == 1
    assert hashlib.sha256(sim.stored(key(task))).hexdigest() == after.videos[0].sha256


def test_object_that_is_there_unexpectedly_is_described_as_it_is_and_never_overwritten(sim: Simulation) -> None:
    task = generated(sim)
    stored = mp4(b"stored by a worker that died before it could say so")
    sim.account.clients["s3"].put_object(Bucket=sim.account.videos, Key=key(task), Body=stored)
    after = delivered(sim, task)
    assert sim.stored(key(task)) == stored
    assert after.videos[0].size == len(stored)
    assert after.videos[0].sha256 == hashlib.sha256(stored).hexdigest()


def test_expired_link_is_replaced_by_a_fresh_one(sim: Simulation) -> None:
    task = generated(sim)
    sim.source.expired.add(URL)
    failed = delivered(sim, task)
    assert (failed.status, failed.delivery and failed.delivery.source_faults, changes(failed)) == (
        Status.GENERATED,
        1,
        3,
    )
    assert failed.due_at is not None
    assert NOON + 8_000 <= failed.due_at <= NOON + 12_000
    sim.provider.finish("gen-1", "https://cdn.example.com/gen-1.mp4?Signature=b")
    sim.run()
    assert sim.task(task.task_id).status is Status.COMPLETED
    assert sim.source.opened[-1].endswith("Signature=b")


def test_links_are_read_again_and_used_unchanged(sim: Simulation) -> None:
    odd = "https://cdn.example.com/v%2F1.mp4?b=2&a=1&Signature=x%2By%3D&e=+"
    task = generated(sim)
    sim.provider.finish("gen-1", odd)
    delivered(sim, task)
    assert sim.source.opened == [odd]


@pytest.mark.parametrize("bad", [b"<html>not a video</html>" * 10, mp4(b"x" * 100)[:-7], b""])
def test_source_that_is_no_video_is_never_visible_and_retried_hourly_after_five_faults(
    sim: Simulation, bad: bytes
) -> None:
    task = generated(sim)
    sim.source.files[URL] = bad
    after = task
    for tries in range(1, 6):
        after = delivered(sim, task, again=tries > 1)
        assert (after.status, faults(after)) == (Status.GENERATED, tries)
    assert after.due_at == sim.clock() + 3_600_000
    assert after.delivery is not None
    assert after.delivery.last_error is not None
    assert after.delivery.last_error.code in ("not_mp4", "truncated")
    assert "Contents" not in sim.account.clients["s3"].list_objects_v2(Bucket=sim.account.videos)


def faults(task: Task) -> int:
    return task.delivery.source_faults if task.delivery else 0


def test_source_that_stays_bad_expires_the_task_which_can_be_reopened(sim: Simulation) -> None:
    task = generated(sim)
    sim.source.files[URL] = b"<html>gone</html>" * 20
    sim.run()
    ended = sim.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")
    assert ended.updated_at - NOON >= 72 * 3_600_000
    assert len(sim.source.opened) - sim.source.probed <= 12  # whole copies are paid for in traffic
    kinds = [kind for kind, _ in sim.published]
    assert kinds.count("VideoTaskDeliveryDelayed") == 1
    assert kinds[-1] == "VideoTaskExpired"

    sim.source.files.clear()
    sim.store.save(reopen(ended, now=sim.clock()))
    sim.queue.ask(task.task_id)
    sim.run()
    done = sim.task(task.task_id)
    assert (done.status, done.error, len(done.videos)) == (Status.COMPLETED, None, 1)


def test_source_whose_first_bytes_are_bad_is_not_read_whole_again(sim: Simulation) -> None:
    task = generated(sim)
    sim.source.files[URL] = b"<html>not a video</html>" * 10
    for _ in range(5):
        delivered(sim, task, again=True)
    opened = len(sim.source.opened)
    delivered(sim, task, again=True)
    assert (len(sim.source.opened), sim.source.probed) == (opened + 1, 1)
    sim.source.files.clear()
    assert delivered(sim, task, again=True).status is Status.COMPLETED


def test_provider_that_cannot_be_read_is_no_bad_source(sim: Simulation) -> None:
    task = generated(sim)
    sim.provider.unavailable = True
    for _ in range(7):
        assert delivered(sim, task).status is Status.GENERATED
    sim.provider.unavailable = False
    assert delivered(sim, task).status is Status.COMPLETED


def test_provider_that_shows_fewer_videos_is_read_again_and_what_was_copied_is_kept(sim: Simulation) -> None:
    task = generated(sim, "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    sim.provider.finish("gen-1", "https://cdn.example.com/a.mp4")
    after = delivered(sim, task)
    assert (after.status, [video.number for video in after.videos]) == (Status.GENERATED, [1])
    assert after.delivery is not None
    assert after.delivery.last_error is not None
    assert after.delivery.last_error.code == "link_missing"


@pytest.mark.parametrize("shown", ["nothing at all", "no video", "one of two", "unwell"])
def test_task_whose_links_have_vanished_settles(sim: Simulation, shown: str) -> None:
    generated(sim, "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    if shown == "nothing at all":
        sim.provider.remote.clear()
    elif shown == "unwell":
        sim.provider.unavailable = True
    elif shown == "one of two":
        sim.provider.finish("gen-1", "https://cdn.example.com/a.mp4")
    else:
        sim.provider.show("gen-1", ProgressState.SUCCEEDED, outputs=())
    sim.run(until=NOON + 3 * 3_600_000)
    assert sim.task(sim.task_id()).status is Status.GENERATED  # they may come back
    sim.clock.advance(80 * 3600)
    sim.run()
    ended = sim.task(sim.task_id())
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")


def test_message_about_an_unknown_task_is_done(sim: Simulation) -> None:
    assert sim.deliver("a" * 26) is None


def test_message_about_a_task_in_another_state_does_nothing(sim: Simulation) -> None:
    task = sim.submit()
    assert delivered(sim, task) == task
    sim.provider.show("gen-1", ProgressState.PROCESSING)
    assert delivered(sim, task) == task
    assert sim.source.opened == []


def test_copies_that_break_off_are_twelve_in_all(sim: Simulation) -> None:
    """Whole copies are paid for in traffic; until late polling ends, only first bytes are asked for."""
    task = generated(sim)
    sim.source.files[URL] = mp4(b"x" * 200_000)[:-7]
    sim.run()
    ended = sim.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "video_unavailable")
    assert ended.delivery is not None
    assert ended.delivery.whole_copies == len(sim.source.opened) - sim.source.probed == 12
