from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from tests.unit.builders import LINK, NOW, POLICY, TASK_ID, changes, copied, copy_failed, done, failed, task_in, video
from vidu_relay.domain import delivery, lifecycle
from vidu_relay.domain.delivery import DELAYED_AFTER, MAX_WHOLE_COPIES
from vidu_relay.domain.identifiers import link_digest
from vidu_relay.domain.notification import is_notified, latest_notified
from vidu_relay.domain.polling import DELIVERY_GRACE_MS, SLOW_INTERVAL_MS
from vidu_relay.domain.representation import event_type
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import DELIVERY_DELAYED, Delivery, Task, Video

LATER = NOW + 60_000
HOUR = 3_600_000
TOO_LATE = POLICY.copied_until(NOW)
BAD = TaskError("not_mp4", "The file is a web page.")


def generated(videos: int = 1, now: int = NOW) -> Task:
    links = [f"https://cdn.example/{number}.mp4?signature=old" for number in range(1, videos + 1)]
    return lifecycle.apply_snapshot(task_in(Status.SUBMITTED), done(*links), now=now, source="callback", policy=POLICY)


def numbered(number: int) -> Video:
    return video(key=f"videos/acme/2027/01/15/{TASK_ID}/{number}.mp4", number=number)


def tried(task: Task, *videos: Video, now: int = LATER, **changed: Any) -> Task:
    return copy_failed(task, *videos, now=now, **changed)


def often(task: Task, times: int, **changed: Any) -> Task:
    for _ in range(times):
        task = tried(task, **changed)
    return task


# --- asked again


def test_a_copy_is_asked_for_again_only_when_the_first_should_be_done() -> None:
    asked = delivery.record_delivery_request(generated(), now=LATER, wait_ms=10_000)
    assert (asked.delivery, asked.due_at) == (Delivery(requests=1), LATER + DELIVERY_GRACE_MS)
    again = delivery.record_delivery_request(asked, now=LATER, wait_ms=900_000)
    assert (again.delivery, again.due_at) == (Delivery(requests=2), LATER + 900_000)
    assert changes(again) == changes(generated())


def test_only_a_generated_task_is_delivered_and_none_that_failed_is_reopened() -> None:
    failure = failed("video_unavailable")
    at_provider = lifecycle.apply_snapshot(task_in(Status.SUBMITTED), failure, now=NOW, source="check", policy=POLICY)
    for task in (at_provider, *map(task_in, sorted(set(Status) - {Status.GENERATED}))):
        assert copied(task) is tried(task) is task
        assert delivery.record_delivery_request(task, now=LATER, wait_ms=1) is task
        assert delivery.expire_delivery(task, now=LATER, policy=POLICY) is task
        assert delivery.reopen(task, now=LATER) is task


# --- all came, or some


def test_a_task_whose_videos_all_came_is_completed() -> None:
    task = copied(often(generated(2), 3), numbered(1), numbered(2), now=LATER)
    assert (task.status, task.videos) == (Status.COMPLETED, (numbered(1), numbered(2)))
    assert (task.error, task.due_at, task.expires_at) == (None, None, POLICY.forget_at(LATER))
    assert task.history[-1].source == "delivery"


def test_videos_that_came_are_kept_and_no_task_is_completed_with_fewer_than_were_shown() -> None:
    task = tried(generated(3), numbered(1), numbered(3))
    assert (task.status, task.videos) == (Status.GENERATED, (numbered(1), numbered(3)))
    assert task.delivery == Delivery(attempts=1, source_faults=1, last_error=BAD)
    assert tried(generated(), numbered(2)).status is Status.GENERATED, "another number stands for none"
    assert changes(task) == changes(generated())
    again = tried(task, source_fault=False)
    assert again.videos == task.videos, "an attempt that could not even ask the bucket takes no video away"
    assert tried(again, numbered(2)).status is Status.COMPLETED


# --- the waits


def test_a_failed_copy_waits_longer_each_time() -> None:
    task, waits = generated(), []
    for _ in range(8):
        task = tried(task, source_fault=False)
        waits.append(((task.due_at or 0) - LATER) // 1000)
    assert waits == [10, 20, 40, 80, 160, 320, 640, 900]
    never_reported = replace(generated(), delivery=Delivery(requests=3))
    assert tried(never_reported).due_at == LATER + 80_000


def test_a_source_that_failed_five_times_is_asked_hourly_and_for_first_bytes_first() -> None:
    task = often(generated(), DELAYED_AFTER - 1)
    assert not delivery.only_first_range(task)
    assert task.due_at == LATER + 80_000
    task = tried(task)
    assert delivery.only_first_range(task)
    assert task.due_at == LATER + SLOW_INTERVAL_MS


def test_a_fault_on_our_side_is_retried_sooner_than_hourly_and_is_none_of_the_source() -> None:
    task = often(generated(), 50, source_fault=False)
    assert task.delivery is not None
    assert (task.status, task.delivery.source_faults, task.delivery.attempts) == (Status.GENERATED, 0, 50)
    assert task.due_at == LATER + 900_000
    assert not delivery.only_first_range(task)


def test_no_more_than_twelve_whole_copies_are_paid_for() -> None:
    end = POLICY.copied_until(NOW)

    def due(copies: int, at: int) -> bool:
        task = often(generated(), copies, whole_copies=1) if copies else generated()
        return delivery.whole_copy_is_due(task, now=at, policy=POLICY)

    assert all(due(copies, NOW) for copies in range(DELAYED_AFTER))
    assert not any(due(copies, NOW) for copies in range(DELAYED_AFTER, MAX_WHOLE_COPIES))
    assert all(due(copies, end - HOUR) for copies in range(MAX_WHOLE_COPIES)), "one more late in the time"
    assert not due(MAX_WHOLE_COPIES, end)


# --- the notice


def test_the_fifth_failure_is_published_once_as_a_delay() -> None:
    quiet = often(generated(), DELAYED_AFTER - 1)
    assert quiet.version == generated().version
    delayed = tried(quiet)
    assert delayed.delivery is not None
    assert delayed.version == delayed.delivery.delayed_version == quiet.version + 1
    entry = delayed.history[-1]
    assert (entry.at, entry.status, entry.source, entry.notice) == (LATER, Status.GENERATED, DELIVERY_DELAYED, True)
    assert event_type(delayed) == "VideoTaskDeliveryDelayed"
    assert is_notified(delayed, delayed.version)
    assert latest_notified(delayed) == delayed.version
    assert delayed.generated_at == NOW, "a notice does not make the video younger"
    completed = copied(delayed)
    assert (event_type(completed), changes(completed)) == ("VideoTaskCompleted", len(completed.history))
    later = often(delayed, 20, now=LATER + HOUR)
    assert (later.version, later.history) == (delayed.version, delayed.history)
    assert changes(later) == len(later.history)


# --- the end of the wait


def test_it_takes_both_the_attempts_and_the_time_to_give_up() -> None:
    assert often(generated(), DELAYED_AFTER - 1, now=TOO_LATE).status is Status.GENERATED
    assert often(generated(), 100, now=TOO_LATE - 1).status is Status.GENERATED
    ended = tried(often(generated(), DELAYED_AFTER - 1), now=TOO_LATE)
    assert ended.status is Status.EXPIRED


def test_a_task_whose_video_could_not_be_copied_says_what_was_billed_and_why() -> None:
    task = tried(often(generated(2), 20), numbered(2), now=TOO_LATE)
    assert task.error is not None
    assert (task.status, task.error.code, task.due_at) == (Status.EXPIRED, "video_unavailable", None)
    assert "billed" in task.error.message
    assert "Last: not_mp4: The file is a web page." in task.error.message
    assert task.videos == (numbered(2),), "what came is kept"
    assert task.expires_at == POLICY.forget_at(TOO_LATE)
    never_reported = delivery.expire_delivery(generated(), now=TOO_LATE, policy=POLICY)
    assert never_reported.error is not None
    assert (never_reported.error.code, "Last:" in never_reported.error.message) == ("video_unavailable", False)


def test_a_late_success_that_the_provider_shows_begins_a_copy_again() -> None:
    ended = tried(often(generated(), 5), now=TOO_LATE)
    again = lifecycle.apply_snapshot(ended, done(), now=TOO_LATE + 1, source="callback", policy=POLICY)
    assert (again.status, again.error, again.delivery) == (Status.GENERATED, None, None)
    assert again.generated_at == TOO_LATE + 1
    assert copied(again, now=TOO_LATE + 2).status is Status.COMPLETED


# --- the operator asks


def test_the_operator_s_copy_is_a_fresh_start() -> None:
    task = often(generated(), 20, whole_copies=1)
    fresh = delivery.reopen(task, now=LATER)
    assert task.delivery is not None
    assert fresh.delivery == Delivery(requests=1, delayed_version=task.delivery.delayed_version)
    assert (fresh.status, fresh.version, fresh.due_at) == (task.status, task.version, LATER + DELIVERY_GRACE_MS)
    assert delivery.whole_copy_is_due(fresh, now=LATER, policy=POLICY)
    assert not delivery.only_first_range(fresh)
    assert often(fresh, 20).version == task.version, "the delay was published before"
    assert delivery.reopen(generated(), now=LATER).delivery == Delivery(requests=1)


def test_the_operator_brings_back_a_task_whose_video_was_unavailable() -> None:
    ended = tried(often(generated(2), 20), numbered(1), now=TOO_LATE)
    back = delivery.reopen(ended, now=TOO_LATE + HOUR)
    assert (back.status, back.error, back.expires_at) == (Status.GENERATED, None, None)
    assert (back.version, event_type(back)) == (ended.version + 1, "VideoTaskGenerated")
    assert back.history[-1].source == "operator"
    assert back.videos == (numbered(1),)
    assert back.due_at == TOO_LATE + HOUR + DELIVERY_GRACE_MS
    assert back.generated_at == TOO_LATE + HOUR, "its time begins again"
    assert often(back, 20, now=TOO_LATE + 2 * HOUR).status is Status.GENERATED


# --- links in the order of the videos


def link(number: int, signature: str = "new") -> tuple[str, str]:
    url = f"https://cdn.example/{number}.mp4?signature={signature}"
    return link_digest(url), url


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        *((order, (1, 2, 3)) for order in permutations((1, 2, 3))),
        # one that is shown no more leaves its place empty, new paths take the numbers that are left in their order
        *(((3, 2), (None, 2, 3)), ((3, 1), (1, None, 3)), ((2, 1), (1, 2, None)), ((), (None, None, None))),
        ((9, 2, 8, 7), (9, 2, 8)),
    ],
)
def test_a_video_keeps_its_number_however_the_provider_lists_and_signs_it(
    shown: tuple[int, ...], found: tuple[int | None, ...]
) -> None:
    links = delivery.links_in_order(generated(3), [link(number) for number in shown])
    assert links == [number and link(number)[1] for number in found]


def test_videos_with_one_path_are_told_apart_by_their_order() -> None:
    task = lifecycle.apply_snapshot(task_in(Status.SUBMITTED), done(LINK, LINK), now=NOW, source="check", policy=POLICY)
    twice = [(link_digest(LINK), f"{LINK}&{number}") for number in (1, 2)]
    assert delivery.links_in_order(task, twice) == [f"{LINK}&1", f"{LINK}&2"]
