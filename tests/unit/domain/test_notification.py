"""Of which versions a client is notified, in what words, and when it is tried again."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.builders import NOW, POLICY, TASK_ID, copied, copy_failed, done, new_task, submitting, task_in, video
from tests.unit.test_description import conforms
from vidu_relay.adapters.notification_queue import LONGEST_SECONDS
from vidu_relay.domain import delivery, lifecycle
from vidu_relay.domain.notification import (
    GIVE_UP_MS,
    MIN_RECEIVES,
    NotificationAttempt,
    NotificationRecord,
    answer_text,
    failure_detail,
    gives_up,
    is_notified,
    latest_notified,
    notification_body,
    represent_notification,
    retry_seconds,
    status_of,
    waiting_seconds,
    webhook_id,
)
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task, Video

FIRST = NOW // 1000


def sign(of: Video) -> str:
    return f"https://signed.example/{of.key}"


def delayed() -> Task:
    task = task_in(Status.GENERATED)
    for _ in range(delivery.DELAYED_AFTER):
        task = copy_failed(task, now=NOW + 5)
    return task


def test_each_version_is_the_state_that_it_published() -> None:
    task = copied(delayed())
    states = [status_of(task, version) for version in range(FIRST - 1, FIRST + 6)]
    assert states == [
        None,
        Status.ACCEPTED,
        Status.SUBMITTED,
        Status.GENERATED,
        Status.GENERATED,  # the delay
        Status.COMPLETED,
        None,
    ]


def test_clients_are_notified_of_processing_of_a_delay_and_of_every_end() -> None:
    assert [is_notified(task_in(status), task_in(status).version) for status in Status] == [
        status in (Status.PROCESSING, Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELED)
        for status in Status
    ]
    task = copied(delayed())
    notified = [version for version in range(FIRST, task.version + 1) if is_notified(task, version)]
    assert notified == [FIRST + 3, FIRST + 4]
    assert latest_notified(task) == FIRST + 4
    assert latest_notified(new_task()) is latest_notified(submitting()) is None


def test_the_present_version_is_shown_whole_and_an_earlier_one_by_state_and_moment() -> None:
    task = copied(delayed(), now=NOW + 9)
    whole = notification_body(task, task.version, sign)
    assert whole["output"][0]["results"][0]["url"] == sign(video())
    before = notification_body(task, task.version - 1, sign)
    assert (before["status"], before["version"], before["updated_at"][-7:]) == ("generated", FIRST + 3, "00.005Z")
    assert (before["output"], before["videos"], before["usage"], before["error"]) == ([], [], None, None)
    assert len(before["history"]) == 4


@pytest.mark.parametrize("version", [0, FIRST - 1, FIRST + 5])
def test_a_version_that_was_never_reached_has_no_body(version: int) -> None:
    with pytest.raises(ValueError, match="has no version"):
        notification_body(copied(delayed()), version, sign)


def test_a_notification_is_named_after_its_task_and_version() -> None:
    assert webhook_id(TASK_ID, 7) == f"{TASK_ID}:7"
    detail = failure_detail(new_task(), FIRST, "https://client.example", 9, TaskError("timeout", "No answer."))
    assert detail["event_id"] == f"{TASK_ID}:{FIRST}:notification"
    assert detail["error"] == {"code": "timeout", "message": "No answer."}


@given(
    age=st.integers(-(10**6), 10**9), jitter=st.floats(0, 1, exclude_max=True), requested=st.none() | st.floats(0, 1e6)
)
def test_no_wait_is_shorter_than_asked_for_or_longer_than_a_queue_hides_a_message(
    age: int, jitter: float, requested: float | None
) -> None:
    wait = retry_seconds(NOW, NOW + age, jitter=jitter, requested=requested)
    assert 5 <= wait <= LONGEST_SECONDS
    assert wait >= min(requested or 0, 6 * 3600) - 1


@given(jitter=st.floats(0, 1, exclude_max=True), requested=st.sampled_from([None, 0.0, 3600.0, 1e6]))
@example(jitter=0.0, requested=None)
def test_client_that_never_answers_is_tried_for_72_hours_in_at_most_15_tries(
    jitter: float, requested: float | None
) -> None:
    now, tries = NOW, 1
    while not gives_up(NOW, now, receives=tries):
        now += 1000 * retry_seconds(NOW, now, jitter=jitter, requested=requested)
        tries += 1
    assert now - NOW >= 72 * 3_600_000
    assert (8 if requested else 12) <= tries <= 15


def test_waits_grow_with_the_time_that_a_client_was_tried() -> None:
    ages = (0, 60, 3600, 10**6)
    waits = [retry_seconds(NOW, NOW + age * 1000, jitter=0, requested=None) for age in ages]
    assert waits == [5, 180, 3 * 3600, 10 * 3600]


@given(wait=st.integers(0, 10**7), age=st.integers(0, 10**9), jitter=st.floats(0, 1, exclude_max=True))
def test_a_message_that_waits_for_its_server_is_never_early(wait: int, age: int, jitter: float) -> None:
    seconds = waiting_seconds(NOW, NOW + age, wait_ms=wait, jitter=jitter)
    assert wait / 1000 <= seconds <= wait / 1000 + max(wait / 4000, 1800) + 2


def test_a_client_is_given_up_after_three_days_and_several_tries() -> None:
    assert gives_up(NOW, NOW + GIVE_UP_MS, receives=MIN_RECEIVES)
    assert not gives_up(NOW, NOW + GIVE_UP_MS - 1, receives=99)
    assert not gives_up(NOW, NOW + 10 * GIVE_UP_MS, receives=MIN_RECEIVES - 1)


def test_a_late_video_is_notified_after_the_expiry_was() -> None:
    late = lifecycle.apply_snapshot(task_in(Status.EXPIRED), done(), now=NOW + 10, source="callback", policy=POLICY)
    assert latest_notified(late) == late.version - 1
    assert latest_notified(copied(late)) == late.version + 1


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (b"", ""),
        ("müde 🦊".encode(), "müde 🦊"),
        (b"two\r\nlines\tand a tab", "two  lines and a tab"),
        (b"\x1b[2J\x1b]0;owned\x07", "\ufffd[2J\ufffd]0;owned\ufffd"),
        ("\u202eabc\u2028\u200b\x85".encode(), "\ufffdabc\ufffd\ufffd\ufffd"),
        (b"\x89PNG\x00\xff\xfe", "\ufffdPNG\ufffd\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # half a surrogate pair
        ("cut ü".encode()[:-1], "cut "),
    ],
    ids=["empty", "text", "lines", "escapes", "directions", "binary", "surrogate", "cut"],
)
def test_foreign_answer_is_one_line_of_valid_and_printable_text(start: bytes, text: str) -> None:
    assert answer_text(start) == text


@given(st.binary(max_size=256))
def test_no_answer_becomes_text_that_cannot_be_stored_or_shown(start: bytes) -> None:
    text = answer_text(start)
    assert len(text.encode()) <= 3 * 256
    assert all(character.isprintable() or character == "\ufffd" for character in text)


@pytest.mark.parametrize(
    ("delivered", "next_at", "state"),
    [(True, None, "delivered"), (False, 5, "retrying"), (True, 5, "retrying"), (False, None, "gave_up")],
)
def test_each_state_of_a_notification_fits_its_schema(delivered: bool, next_at: int | None, state: str) -> None:
    record = NotificationRecord((NotificationAttempt(1, 2, 503),), delivered, next_at)
    one = represent_notification(new_task(), FIRST, record)
    assert (one["state"], one["next_try_at"] is None) == (state, next_at is None)
    conforms(one, "TaskNotification")


def test_a_notification_of_a_version_that_was_never_reached_is_not_shown() -> None:
    with pytest.raises(ValueError, match="has no version"):
        represent_notification(new_task(), FIRST + 9, NotificationRecord((), delivered=False, next_at=None))
