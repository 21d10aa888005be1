"""A video that the provider denied having begun is found all the same."""

from dataclasses import replace

import pytest

from tests.unit.usecases.scripted import NOON, LostReplyError, LyingRefusalError
from tests.unit.usecases.world import World
from vidu_relay.domain.errors import AttemptUnderwayError, CreateAmbiguousError, NotCreatedError
from vidu_relay.domain.lifecycle import take_lease
from vidu_relay.domain.states import Status


@pytest.mark.parametrize("wait", [125, 3_700])
def test_video_denied_to_the_attempt_before_is_adopted_once_the_next_is_lost(world: World, wait: int) -> None:
    """Found by a schedule: HTTP 429 and created all the same, then an attempt that died. The one video there is must
    not be lost because it is older than the latest attempt."""
    world.provider.create_faults = [LyingRefusalError("HTTP 429"), CreateAmbiguousError("reset")]
    task = world.submit()
    world.clock.advance(wait)
    leased = world.store.save(take_lease(world.task(task.task_id), now=world.clock()))
    world.check(task.task_id, leased.lease)
    assert world.task(task.task_id).status is Status.SUBMITTING
    world.provider.finish("gen-1")
    world.clock.advance(100)
    found = world.ring(task.task_id, {"id": "gen-1", "status": "completed"})
    assert (found.status, found.remote_id) == (Status.GENERATED, "gen-1")


def test_video_from_before_the_task_is_not_adopted_whatever_attempt_is_lost(world: World) -> None:
    world.submit(key="before")
    world.forget(world.task_id("before"))
    world.account.clients["dynamodb"].delete_item(
        TableName=world.account.table, Key={"pk": {"S": "remote#gateway#gen-1"}}
    )
    world.clock.advance(61)
    world.provider.create_faults = [CreateAmbiguousError("reset")]
    task = world.submit()
    left = world.ring(task.task_id, {"id": "gen-1", "status": "completed"})
    assert (left.status, left.remote_id) == (Status.SUBMITTING, None)


def test_remote_task_of_another_is_not_taken_under_a_further_spelling_of_its_id(world: World) -> None:
    world.submit(key="owner")
    world.provider.create_faults = [CreateAmbiguousError("reset")]
    task = world.submit(key="lost")
    shown = world.provider.remote["gen-1"]
    world.provider.remote["other"] = replace(shown, remote_id="other", named_ids=("other", "gen-1"))
    world.clock.advance(100)
    left = world.ring(task.task_id, {"id": "other"})
    assert (left.status, left.remote_id, left.candidates) == (Status.SUBMITTING, None, ())
    assert world.item("remote#gateway#other") is None


def test_id_of_our_own_reply_takes_the_place_of_one_from_a_callback(world: World) -> None:
    def call_back_wrongly() -> None:
        with pytest.raises(AttemptUnderwayError):
            world.ring(world.task_id(), {"data": [{"id": f"wrong-{number}"} for number in range(4)]})

    world.provider.before_reply = call_back_wrongly
    world.provider.create_faults = [LostReplyError("HTTP 502", candidates=("gen-1",))]
    task = world.submit()
    assert task.candidate_ids == ("wrong-0", "wrong-1", "wrong-2", "gen-1")
    world.provider.finish("gen-1")
    world.run()
    assert world.task(task.task_id).status is Status.COMPLETED


def test_id_that_was_shown_between_two_404s_is_not_gone(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429", candidates=("gen-7",))]
    task = world.submit()
    other = world.submit(key="other")
    for seconds, there in ((10, False), (20, True), (60, False)):
        world.clock.advance(seconds)
        shown = replace(world.provider.remote[other.remote_id or ""], remote_id="gen-7", created_at=NOON - 10_000_000)
        world.provider.remote.pop("gen-7", None)
        world.provider.remote.update({"gen-7": shown} if there else {})
        world.check(task.task_id)
    after = world.task(task.task_id)
    assert (after.status, after.candidate_ids) == (Status.SUBMITTING, ("gen-7",))
