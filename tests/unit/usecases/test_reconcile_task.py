from dataclasses import replace

import pytest

from tests.simulation.provider import NOON, LostReplyError
from tests.simulation.simulation import Simulation
from vidu_relay.domain.errors import AttemptUnderwayError, CreateAmbiguousError, NotCreatedError
from vidu_relay.domain.states import Status


def test_video_from_before_the_task_is_not_reconciled(sim: Simulation) -> None:
    sim.submit(key="before")
    sim.forget(sim.task_id("before"))
    sim.account.clients["dynamodb"].delete_item(TableName=sim.account.table, Key={"pk": {"S": "remote#gateway#gen-1"}})
    sim.clock.advance(61)
    sim.provider.create_faults = [CreateAmbiguousError("reset")]
    task = sim.submit()
    left = sim.call_back(task.task_id, {"id": "gen-1", "status": "completed"})
    assert (left.status, left.remote_id) == (Status.SUBMITTING, None)


def test_id_of_our_own_reply_takes_the_place_of_one_from_a_callback(sim: Simulation) -> None:
    def call_back_wrongly() -> None:
        with pytest.raises(AttemptUnderwayError):
            sim.call_back(sim.task_id(), {"data": [{"id": f"wrong-{number}"} for number in range(4)]})

    sim.provider.before_reply = call_back_wrongly
    sim.provider.create_faults = [LostReplyError("HTTP 502", candidates=("gen-1",))]
    task = sim.submit()
    assert task.candidate_ids == ("wrong-0", "wrong-1", "wrong-2", "gen-1")
    sim.provider.finish("gen-1")
    sim.run()
    assert sim.task(task.task_id).status is Status.COMPLETED


def test_id_that_was_shown_between_two_404s_is_not_gone(sim: Simulation) -> None:
    sim.provider.create_faults = [NotCreatedError("HTTP 429", candidates=("gen-7",))]
    task = sim.submit()
    other = sim.submit(key="other")
    for seconds, listed in ((10, False), (20, True), (60, False)):
        sim.clock.advance(seconds)
        shown = replace(sim.provider.remote[other.remote_id or ""], remote_id="gen-7", created_at=NOON - 10_000_000)
        sim.provider.remote.pop("gen-7", None)
        sim.provider.remote.update({"gen-7": shown} if listed else {})
        sim.check(task.task_id)
    after = sim.task(task.task_id)
    assert (after.status, after.candidate_ids) == (Status.SUBMITTING, ("gen-7",))
