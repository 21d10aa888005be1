"""A task is canceled if it was certainly not submitted, or at the provider, as a read shows."""

from dataclasses import replace

import pytest

from tests.simulation.provider import LostReplyError
from tests.simulation.simulation import Simulation
from tests.unit.builders import changes
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


def waiting(sim: Simulation) -> str:
    """A task in `accepted`: the provider had no room for it."""
    sim.provider.create_faults = [NotCreatedError("HTTP 429")]
    return sim.submit().task_id


def refusal(sim: Simulation, task_id: str) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        sim.cancel(task_id)
    return caught.value


def published(sim: Simulation) -> list[str]:
    sim.publish()
    return [kind for kind, _ in sim.published]


def test_task_of_another_tenant_is_not_found_and_not_changed(sim: Simulation) -> None:
    task_id = waiting(sim)
    assert sim.cancel(task_id, tenant="globex") is None
    assert sim.cancel("a" * 26) is None
    assert sim.cancel("no/id\ud800") is None
    assert sim.task(task_id).status is Status.ACCEPTED


def test_task_that_was_not_submitted_is_canceled_in_one_write_without_a_call(sim: Simulation) -> None:
    task_id = waiting(sim)
    before, calls = sim.task(task_id), len(sim.provider.calls)
    sim.effects.names.clear()

    task = sim.cancel(task_id)

    assert task is not None
    assert (task.status, changes(task), task.due_at, task.error) == (Status.CANCELED, changes(before) + 1, None, None)
    assert sim.effects.names == ["dynamodb.get_item", "dynamodb.put_item"]
    assert published(sim) == ["VideoTaskAccepted", "VideoTaskCanceled"]
    sim.run()
    assert len(sim.provider.calls) == calls


def test_canceled_task_keeps_its_quota_slot(sim: Simulation) -> None:
    sim.provider.create_faults = [NotCreatedError("HTTP 429")]
    sim.cancel(sim.submit(daily_cap=1).task_id)
    with pytest.raises(InvalidRequestError, match="daily cap"):
        sim.submit(key="order-2", daily_cap=1)


def test_second_cancel_gives_the_same_task_without_a_second_call(sim: Simulation) -> None:
    task_id = sim.submit().task_id
    first = sim.cancel(task_id)
    assert sim.cancel(task_id) == first
    assert sim.provider.cancels == ["gen-1"]


def test_unconfirmed_create_cannot_be_canceled(sim: Simulation) -> None:
    sim.provider.create_faults = [LostReplyError("reset")]
    task_id = sim.submit().task_id
    before = sim.task(task_id)
    assert refusal(sim, task_id).code == "submission_underway"
    sim.clock.advance(100)
    assert refusal(sim, task_id).code == "submission_underway"
    assert (sim.task(task_id), sim.provider.cancels) == (before, [])


@pytest.mark.parametrize("status", [Status.GENERATED, Status.COMPLETED, Status.FAILED, Status.EXPIRED])
def test_cancel_of_an_ended_task_says_how_it_ended(sim: Simulation, status: Status) -> None:
    task_id = sim.submit().task_id
    task = sim.store.save(replace(sim.task(task_id), status=status, due_at=None))
    error = refusal(sim, task_id)
    assert (error.code, status.value in error.detail) == ("task_already_settled", True)
    assert (sim.task(task_id), sim.provider.cancels) == (task, [])


def test_expired_task_that_the_provider_still_works_on_is_canceled_there(sim: Simulation) -> None:
    task_id = sim.submit().task_id
    sim.clock.advance(7200)
    sim.sweep()
    sim.check(task_id)
    assert sim.task(task_id).status is Status.EXPIRED
    after = sim.cancel(task_id)
    assert after is not None
    assert (after.status, after.due_at, sim.provider.cancels) == (Status.EXPIRED, None, ["gen-1"])


@pytest.mark.parametrize("state", [ProgressState.PENDING, ProgressState.PROCESSING])
def test_cancel_that_is_taken_and_shown_settles_the_task(sim: Simulation, state: ProgressState) -> None:
    task_id = sim.submit().task_id
    sim.provider.show("gen-1", state)
    task = sim.cancel(task_id)
    assert task is not None
    assert (task.status, task.due_at, task.history[-1].source) == (Status.CANCELED, None, "cancel")
    assert published(sim)[-1] == "VideoTaskCanceled"


def test_provider_without_cancel_is_named_and_the_task_goes_on(sim: Simulation) -> None:
    task_id = sim.submit().task_id
    before = sim.task(task_id)
    sim.provider.cancel_faults = [CancelNotSupportedError("none")]
    error = refusal(sim, task_id)
    assert (error.code, "'gateway'" in error.detail) == ("cancel_not_supported", True)
    assert sim.task(task_id) == before


def test_refusal_carries_the_providers_reason_and_changes_nothing(sim: Simulation) -> None:
    task_id = sim.submit().task_id
    before = sim.task(task_id)
    sim.provider.cancel_faults = [TOO_LATE]
    error = refusal(sim, task_id)
    assert error.code == "cancel_refused"
    assert "task state is scheduled, can not cancel (BadRequest)" in error.detail
    assert sim.task(task_id) == before


@pytest.mark.parametrize("fault", [TOO_LATE, ProviderUnavailableError("HTTP 500")])
def test_video_done_before_the_cancel_is_delivered_all_the_same(
    sim: Simulation, fault: ProviderUnavailableError
) -> None:
    task_id = sim.submit().task_id
    sim.provider.finish("gen-1")
    sim.provider.cancel_faults = [fault]
    error = refusal(sim, task_id)
    assert (error.code, "generated" in error.detail) == ("task_already_settled", True)
    sim.run()
    assert sim.task(task_id).status is Status.COMPLETED


@pytest.mark.parametrize("readable", [True, False])
def test_cancel_that_is_not_shown_yet_is_polled_until_it_is(sim: Simulation, readable: bool) -> None:
    task_id = sim.submit().task_id
    sim.provider.cancel_shows = False
    sim.provider.unavailable = not readable
    task = sim.cancel(task_id)
    assert task is not None
    assert task.status is Status.SUBMITTED
    assert sim.executions() == [(task_id, task.lease)]
    sim.provider.unavailable = False
    sim.provider.show("gen-1", ProgressState.CANCELED)
    sim.run(until=sim.clock.now + 60_000)
    assert sim.task(task_id).status is Status.CANCELED


def test_cancel_whose_reply_was_lost_is_read_from_the_provider(sim: Simulation) -> None:
    task_id = sim.submit().task_id
    sim.provider.cancel_faults = [ProviderUnavailableError("read time-out")]
    sim.provider.before_cancel = lambda: sim.provider.show("gen-1", ProgressState.CANCELED)
    task = sim.cancel(task_id)
    assert task is not None
    assert task.status is Status.CANCELED


@pytest.mark.parametrize("readable", [True, False])
def test_cancel_without_a_reply_is_not_recorded_as_canceled(sim: Simulation, readable: bool) -> None:
    task_id = sim.submit().task_id
    sim.provider.cancel_faults = [ProviderUnavailableError("HTTP 503")]
    sim.provider.unavailable = not readable
    with pytest.raises(ProviderUnavailableError):
        sim.cancel(task_id)
    assert sim.task(task_id).status is Status.SUBMITTED
    assert len(sim.executions()) == 1  # it may have been heard: it is checked soon
