"""Calling a task off: canceled on certainty only, honest in every race."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.builders import changes
from tests.unit.usecases.scripted import LostReplyError, LyingRefusalError
from tests.unit.usecases.world import World
from vidu_relay.domain.errors import (
    CancelNotSupportedError,
    CancelRefusedError,
    InvalidRequestError,
    NotCreatedError,
    ProviderUnavailableError,
)
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status

DONE = {"id": "gen-1", "status": "completed"}
PROCESSING = {"id": "gen-1", "status": "processing"}
TOO_LATE = CancelRefusedError("BadRequest", "task state is scheduled, can not cancel")


def waiting(world: World) -> str:
    """A task in `accepted`: the provider had no room for it."""
    world.provider.create_faults = [NotCreatedError("HTTP 429")]
    return world.submit().task_id


def refusal(world: World, task_id: str) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        world.cancel(task_id)
    return caught.value


def published(world: World) -> list[str]:
    world.publish()
    return [kind for kind, _ in world.published]


# ------------------------------------------------------------------------------------ whose, and in which state


def test_task_of_another_tenant_is_not_there_and_stays_as_it_is(world: World) -> None:
    task_id = waiting(world)
    assert world.cancel(task_id, tenant="globex") is None
    assert world.cancel("a" * 26) is None
    assert world.cancel("no/id\ud800") is None
    assert world.task(task_id).status is Status.ACCEPTED


def test_task_that_was_not_submitted_is_canceled_in_one_write_without_a_call(world: World) -> None:
    task_id = waiting(world)
    before, calls = world.task(task_id), len(world.provider.calls)
    world.effects.names.clear()

    task = world.cancel(task_id)

    assert task is not None
    assert (task.status, changes(task), task.due_at, task.error) == (Status.CANCELED, changes(before) + 1, None, None)
    assert world.effects.names == ["dynamodb.get_item", "dynamodb.put_item"]
    assert published(world) == ["VideoTaskAccepted", "VideoTaskCanceled"]
    world.run()
    assert len(world.provider.calls) == calls


def test_canceled_task_keeps_its_place_under_the_cap(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429")]
    world.cancel(world.submit(daily_cap=1).task_id)
    with pytest.raises(InvalidRequestError, match="daily cap"):
        world.submit(key="order-2", daily_cap=1)


def test_second_cancel_gives_the_same_task_without_a_second_call(world: World) -> None:
    task_id = world.submit().task_id
    first = world.cancel(task_id)
    assert world.cancel(task_id) == first
    assert world.provider.cancels == ["gen-1"]


def test_create_call_without_an_answer_cannot_be_called_off(world: World) -> None:
    world.provider.create_faults = [LostReplyError("reset")]
    task_id = world.submit().task_id
    before = world.task(task_id)
    assert refusal(world, task_id).code == "submission_underway"
    world.clock.advance(100)
    assert refusal(world, task_id).code == "submission_underway"
    assert (world.task(task_id), world.provider.cancels) == (before, [])


def test_task_that_a_callback_says_exists_is_not_taken_for_one_that_does_not(world: World) -> None:
    """The provider answered 429 and created all the same: a cancel without a call would hide a bill."""
    world.provider.create_faults = [LyingRefusalError("HTTP 429")]
    task_id = world.submit().task_id
    world.provider.unavailable = True
    world.ring(task_id, PROCESSING)
    assert world.task(task_id).candidate_ids == ("gen-1",)
    assert refusal(world, task_id).code == "submission_underway"
    assert world.task(task_id).status is Status.ACCEPTED


@pytest.mark.parametrize("status", [Status.GENERATED, Status.COMPLETED, Status.FAILED, Status.EXPIRED])
def test_task_that_came_to_an_end_says_which(world: World, status: Status) -> None:
    task_id = world.submit().task_id
    task = world.store.save(replace(world.task(task_id), status=status, due_at=None))
    error = refusal(world, task_id)
    assert (error.code, status.value in error.detail) == ("task_already_settled", True)
    assert (world.task(task_id), world.provider.cancels) == (task, [])


# ------------------------------------------------------------------------------------------- at the provider


def test_expired_task_that_the_provider_still_works_on_is_canceled_there(world: World) -> None:
    task_id = world.submit().task_id
    world.clock.advance(7200)
    world.sweep()
    world.check(task_id)
    assert world.task(task_id).status is Status.EXPIRED
    after = world.cancel(task_id)
    assert after is not None
    assert (after.status, after.due_at, world.provider.cancels) == (Status.EXPIRED, None, ["gen-1"])


@pytest.mark.parametrize("state", [ProgressState.PENDING, ProgressState.PROCESSING])
def test_cancel_that_is_taken_and_shown_settles_the_task(world: World, state: ProgressState) -> None:
    task_id = world.submit().task_id
    world.provider.show("gen-1", state)
    task = world.cancel(task_id)
    assert task is not None
    assert (task.status, task.due_at, task.history[-1].source) == (Status.CANCELED, None, "cancel")
    assert published(world)[-1] == "VideoTaskCanceled"


def test_provider_without_cancel_is_named_and_the_task_goes_on(world: World) -> None:
    task_id = world.submit().task_id
    before = world.task(task_id)
    world.provider.cancel_faults = [CancelNotSupportedError("none")]
    error = refusal(world, task_id)
    assert (error.code, "'gateway'" in error.detail) == ("cancel_not_supported", True)
    assert world.task(task_id) == before


def test_refusal_carries_the_providers_reason_and_changes_nothing(world: World) -> None:
    task_id = world.submit().task_id
    before = world.task(task_id)
    world.provider.cancel_faults = [TOO_LATE]
    error = refusal(world, task_id)
    assert error.code == "cancel_refused"
    assert "task state is scheduled, can not cancel (BadRequest)" in error.detail
    assert world.task(task_id) == before


@pytest.mark.parametrize("fault", [TOO_LATE, ProviderUnavailableError("HTTP 500")])
def test_video_done_before_the_cancel_is_delivered_all_the_same(world: World, fault: ProviderUnavailableError) -> None:
    task_id = world.submit().task_id
    world.provider.finish("gen-1")
    world.provider.cancel_faults = [fault]
    error = refusal(world, task_id)
    assert (error.code, "generated" in error.detail) == ("task_already_settled", True)
    world.run()
    assert world.task(task_id).status is Status.COMPLETED


def test_video_done_while_the_cancel_was_taken_is_delivered(world: World) -> None:
    """The provider says yes to the cancel, and shows a video all the same: what it shows counts."""
    task_id = world.submit().task_id
    world.provider.before_cancel_reply = lambda: world.provider.finish("gen-1")
    task = world.cancel(task_id)
    assert task is not None
    assert task.status is Status.GENERATED
    world.run()
    assert world.task(task_id).status is Status.COMPLETED


@pytest.mark.parametrize("readable", [True, False])
def test_cancel_that_is_taken_and_not_shown_yet_is_watched_until_it_is(world: World, readable: bool) -> None:
    task_id = world.submit().task_id
    world.provider.cancel_shows = False
    world.provider.unavailable = not readable
    task = world.cancel(task_id)
    assert task is not None
    assert task.status is Status.SUBMITTED
    assert world.executions() == [(task_id, task.lease)]
    world.provider.unavailable = False
    world.provider.show("gen-1", ProgressState.CANCELED)
    world.run(until=world.clock.now + 60_000)
    assert world.task(task_id).status is Status.CANCELED


def test_cancel_whose_answer_was_lost_is_read_back(world: World) -> None:
    task_id = world.submit().task_id
    world.provider.cancel_faults = [ProviderUnavailableError("read time-out")]
    world.provider.before_cancel = lambda: world.provider.show("gen-1", ProgressState.CANCELED)
    task = world.cancel(task_id)
    assert task is not None
    assert task.status is Status.CANCELED


@pytest.mark.parametrize("readable", [True, False])
def test_cancel_that_nobody_answered_is_never_called_canceled(world: World, readable: bool) -> None:
    task_id = world.submit().task_id
    world.provider.cancel_faults = [ProviderUnavailableError("HTTP 503")]
    world.provider.unavailable = not readable
    with pytest.raises(ProviderUnavailableError):
        world.cancel(task_id)
    assert world.task(task_id).status is Status.SUBMITTED
    assert len(world.executions()) == 1  # it may have been heard: it is looked at soon


# ------------------------------------------------------------------------------------------------ races


def meanwhile(world: World, act: Callable[[], object]) -> None:
    """Have `act` happen after the cancel has read the record, before it writes."""
    get = world.store.get

    def once(task_id: str) -> object:
        found = get(task_id)
        world.store.get = get  # type: ignore[method-assign]
        act()
        return found

    world.store.get = once  # type: ignore[method-assign,assignment]


def test_submission_that_begins_first_wins_over_a_cancel(world: World) -> None:
    task_id = waiting(world)
    world.clock.advance(125)
    world.sweep()
    meanwhile(world, lambda: world.check(task_id))

    task = world.cancel(task_id)  # it is at the provider by now, and called off there

    assert task is not None
    assert task.status is Status.CANCELED
    assert (len(world.provider.remote), world.provider.cancels) == (1, ["gen-1"])


def test_cancel_that_comes_first_keeps_a_submission_from_beginning(world: World) -> None:
    task_id = waiting(world)
    world.clock.advance(125)
    world.sweep()
    meanwhile(world, lambda: world.cancel(task_id))

    world.check(task_id)

    assert world.task(task_id).status is Status.CANCELED
    assert world.provider.remote == {}


def test_cancel_during_a_create_call_is_refused_and_the_task_goes_on(world: World) -> None:
    codes: list[str] = []
    world.provider.before_reply = lambda: codes.append(refusal(world, world.task_id()).code)
    task = world.submit()
    assert (codes, task.status) == (["submission_underway"], Status.SUBMITTED)


def test_callback_that_tells_of_the_video_first_wins_over_a_cancel(world: World) -> None:
    task_id = world.submit().task_id

    def finished() -> None:
        world.provider.finish("gen-1")
        world.ring(task_id, DONE)

    world.provider.before_cancel = finished
    assert refusal(world, task_id).code == "task_already_settled"
    assert world.task(task_id).status is Status.GENERATED


def test_callback_behind_a_cancel_changes_nothing(world: World) -> None:
    task_id = world.submit().task_id
    canceled = world.cancel(task_id)
    world.provider.finish("gen-1")
    assert world.ring(task_id, DONE) == canceled


def test_poller_that_sees_the_cancel_first_leaves_nothing_to_write(world: World) -> None:
    task_id = world.submit().task_id
    world.clock.advance(125)
    world.sweep()

    def looked() -> None:
        world.provider.show("gen-1", ProgressState.CANCELED)
        world.check(task_id)
        world.provider.show("gen-1", ProgressState.PENDING)

    world.provider.before_cancel = looked
    task = world.cancel(task_id)
    assert task is not None
    assert (task.status, task.history[-1].source) == (Status.CANCELED, "check")


def test_two_cancels_at_once_are_one_event(world: World) -> None:
    task_id = world.submit().task_id

    def other() -> None:
        world.provider.before_cancel = lambda: None
        assert world.cancel(task_id) is not None

    world.provider.before_cancel = other
    task = world.cancel(task_id)  # the provider refuses this one: there is nothing left to cancel
    assert task is not None
    assert task.status is Status.CANCELED
    assert published(world).count("VideoTaskCanceled") == 1


# ------------------------------------------------------------------------------------- lost creates, by their mark


def test_lost_create_is_adopted_by_the_mark_it_shows(world: World) -> None:
    world.provider.echoes_marks = True
    world.provider.create_faults = [LostReplyError("reset")]
    task_id = world.submit().task_id
    world.clock.advance(100)
    world.provider.finish("gen-1")
    assert world.ring(task_id, DONE).status is Status.GENERATED


def test_task_that_shows_another_tasks_mark_is_not_adopted(world: World) -> None:
    world.provider.echoes_marks = True
    other = world.submit(key="order-2")
    world.provider.create_faults = [LostReplyError("reset")]
    task_id = world.submit().task_id
    world.clock.advance(100)
    world.ring(task_id, {"id": other.remote_id, "status": "processing"})
    assert world.task(task_id).remote_id is None


def test_task_that_shows_neither_time_nor_mark_is_not_adopted(world: World) -> None:
    world.provider.echoes_marks = True
    world.provider.create_faults = [LostReplyError("reset")]
    task_id = world.submit().task_id
    world.clock.advance(100)
    world.provider.show("gen-1", ProgressState.PROCESSING, mark=None)
    world.ring(task_id, PROCESSING)
    assert world.task(task_id).remote_id is None
    world.run()
    error = world.task(task_id).error
    assert error is not None
    assert error.code == "submission_unconfirmed"


def test_lost_create_found_canceled_is_canceled(world: World) -> None:
    world.provider.create_faults = [LostReplyError("reset")]
    task_id = world.submit().task_id
    world.clock.advance(100)
    world.provider.show("gen-1", ProgressState.CANCELED)
    assert world.ring(task_id, PROCESSING).status is Status.CANCELED


def test_expired_task_that_the_provider_called_off_is_looked_at_no_more(world: World) -> None:
    task_id = world.submit().task_id
    world.clock.advance(7200)
    world.sweep()
    world.check(task_id)
    world.provider.show("gen-1", ProgressState.CANCELED)
    world.run()
    task = world.task(task_id)
    assert (task.status, task.due_at) == (Status.EXPIRED, None)
    assert world.clock.now < task.deadline_at + 72 * 3_600_000
