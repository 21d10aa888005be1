"""The table of states: which changes there are, and what they publish."""

from hypothesis import given
from hypothesis import strategies as st

from vidu_relay.domain.states import EVENT_TYPES, SETTLED, TRANSITIONS, Status, can_transition

statuses = st.sampled_from(Status)


def reachable(start: Status) -> set[Status]:
    found: set[Status] = set()
    open_ends = {start}
    while open_ends:
        status = open_ends.pop()
        new = set(TRANSITIONS[status]) - found
        found |= new
        open_ends |= new
    return found


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_a_settled_state_is_left_by_a_late_video_only() -> None:
    ways_out = {(status, after) for status in SETTLED for after in TRANSITIONS[status]}
    assert ways_out == {(Status.EXPIRED, Status.GENERATED)}


@given(before=statuses, after=statuses)
def test_a_task_that_may_exist_at_the_provider_never_reaches_a_second_create(before: Status, after: Status) -> None:
    """P1: `accepted`, from which a task is submitted, is entered from `submitting` alone, and that from it alone."""
    if can_transition(before, after):
        assert after is not Status.ACCEPTED or before is Status.SUBMITTING
        assert after is not Status.SUBMITTING or before is Status.ACCEPTED


def test_no_state_is_a_dead_end_before_the_task_is_settled() -> None:
    for status in set(Status) - SETTLED:
        assert reachable(status) & SETTLED


def test_a_video_cannot_be_completed_without_having_been_generated() -> None:
    assert {status for status in Status if can_transition(status, Status.COMPLETED)} == {Status.GENERATED}


def test_a_generated_video_ends_in_the_bucket_or_expires() -> None:
    assert TRANSITIONS[Status.GENERATED] == {Status.COMPLETED, Status.EXPIRED}


def test_no_state_leads_to_itself() -> None:
    assert not [status for status in Status if can_transition(status, status)]


def test_every_change_but_a_retry_is_published_under_a_name_of_its_own() -> None:
    assert set(Status) - set(EVENT_TYPES) == {Status.ACCEPTED, Status.SUBMITTING}
    assert {EVENT_TYPES[status] for status in EVENT_TYPES} == {
        "VideoTaskSubmitted",
        "VideoTaskProcessing",
        "VideoTaskGenerated",
        "VideoTaskCompleted",
        "VideoTaskFailed",
        "VideoTaskExpired",
        "VideoTaskCanceled",
    }
