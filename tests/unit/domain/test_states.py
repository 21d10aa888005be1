from vidu_relay.domain.states import EVENT_TYPES, SETTLED, TRANSITIONS, Status


def ways_into(status: Status) -> set[Status]:
    return {before for before in Status if status in TRANSITIONS[before]}


def test_every_state_has_a_row_and_none_is_a_dead_end_before_the_task_is_settled() -> None:
    assert set(TRANSITIONS) == set(Status)
    for status in set(Status) - SETTLED:
        assert TRANSITIONS[status] & SETTLED
        assert status not in TRANSITIONS[status]


def test_a_settled_state_is_left_by_a_late_video_only() -> None:
    ways_out = {(status, after) for status in SETTLED for after in TRANSITIONS[status]}
    assert ways_out == {(Status.EXPIRED, Status.GENERATED)}


def test_a_task_that_may_exist_at_the_provider_never_reaches_a_second_create() -> None:
    """P1: `accepted`, from which a task is submitted, is entered from `submitting` alone, and that from it alone."""
    assert ways_into(Status.ACCEPTED) == {Status.SUBMITTING}
    assert ways_into(Status.SUBMITTING) == {Status.ACCEPTED}


def test_a_video_is_completed_only_after_it_was_generated_and_a_generated_one_is_no_failure() -> None:
    assert ways_into(Status.COMPLETED) == {Status.GENERATED}
    assert TRANSITIONS[Status.GENERATED] == {Status.COMPLETED, Status.EXPIRED}


def test_every_change_but_a_retry_is_published_under_a_name_of_its_own() -> None:
    published = sorted(set(Status) - {Status.ACCEPTED, Status.SUBMITTING})
    assert {status: EVENT_TYPES[status] for status in EVENT_TYPES} == {
        status: f"VideoTask{status.value.capitalize()}" for status in published
    }
