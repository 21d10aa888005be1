"""What a callback causes: a read of the provider, and nothing by what it says itself."""

from dataclasses import replace
from typing import Any

import pytest

from tests.simulation.provider import NOON, LostReplyError
from tests.simulation.simulation import Simulation
from tests.unit.builders import changes
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.domain.errors import (
    AttemptUnderwayError,
    CallbackRefusedError,
    NotCreatedError,
)
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

DONE = {"id": "gen-1", "status": "completed"}


def unconfirmed(sim: Simulation) -> Task:
    """A task whose remote id never reached us, long after its create call; the provider knows it as gen-1."""
    sim.provider.create_faults = [LostReplyError("reset")]
    task = sim.submit()
    sim.clock.advance(100)
    return task


def test_every_refusal_is_the_same_error(sim: Simulation) -> None:
    task, other = sim.submit(), sim.submit(key="order-2")
    good = sim.token(task.task_id)
    forged = [
        (task.task_id, ""),
        (task.task_id, "k1."),
        (task.task_id, good[:-1]),
        (task.task_id, good + "A"),
        (task.task_id, good.replace("k1.", "k2.")),
        (task.task_id, good.removeprefix("k1.")),
        (task.task_id, sim.token(other.task_id)),
        (task.task_id, "k1.\ud800"),
        ("a" * 26, good),
        ("a" * 26, sim.token("a" * 26)),  # ours by the token, but there is no such task
        ("../x", sim.token("../x")),
        (task.task_id.upper(), sim.token(task.task_id.upper())),
    ]
    before = sim.items()
    for task_id, token in forged:
        with pytest.raises(CallbackRefusedError):
            sim.call_back(task_id, DONE, token=token)
    assert sim.items() == before
    assert sim.provider.reads == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'"completed"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"status": {"a": 1}, "id": 7}',
        b'{"status": "completed", "id": "gen-1", "output": [{"results": [{"type": "video", "url": "https://x.example/v"}]}]}',
        b'{"status": "failed", "error": "no"}',
        b'{"state": "success", "creations": [{"url": "https://x.example/v"}]}',
        b'{"status": "canceled"}',
    ],
)
def test_body_cannot_change_the_state(sim: Simulation, body: bytes) -> None:
    task = sim.submit()
    after = sim.call_back(task.task_id, body)
    assert (after.status, changes(after), after.outputs, after.error) == (Status.SUBMITTED, 2, (), None)
    assert sim.provider.reads == ["gen-1"]


def test_id_in_the_body_of_a_known_task_is_not_read(sim: Simulation) -> None:
    task, _ = sim.submit(), sim.submit(key="order-2")
    sim.provider.finish("gen-2")
    after = sim.call_back(task.task_id, {"id": "gen-2", "status": "completed"})
    assert (after.status, after.remote_id) == (Status.SUBMITTED, "gen-1")
    assert sim.provider.reads == ["gen-1"]


def test_state_comes_from_our_own_read_and_not_from_the_body(sim: Simulation) -> None:
    task = sim.submit()
    sim.provider.fail("gen-1", "008017050")
    after = sim.call_back(task.task_id, DONE)
    assert after.status is Status.FAILED
    assert after.error is not None
    assert after.error.code == "008017050"


def test_processing_told_again_costs_neither_a_read_nor_a_write(sim: Simulation) -> None:
    task = sim.submit()
    sim.provider.show("gen-1", ProgressState.PROCESSING)
    assert sim.call_back(task.task_id, {"status": "processing"}).status is Status.PROCESSING
    reads, writes = len(sim.provider.reads), len(sim.stream)
    sim.call_back(task.task_id, {"state": "processing"})
    assert (len(sim.provider.reads), len(sim.stream)) == (reads, writes)


@pytest.mark.parametrize("reported", ["completed", "success", "failed", "SUCCESS"])
def test_reported_end_that_is_not_shown_starts_one_poller_at_once(sim: Simulation, reported: str) -> None:
    task = sim.submit()
    after = sim.call_back(task.task_id, {"status": reported})
    assert (after.status, after.lease, after.due_at) == (Status.SUBMITTED, task.lease + 1, NOON + 120_000)
    assert sim.executions() == [(task.task_id, task.lease + 1)]


def test_provider_that_cannot_be_read_starts_the_poller(sim: Simulation) -> None:
    task = sim.submit()
    sim.provider.unavailable = True
    assert sim.call_back(task.task_id, DONE).status is Status.SUBMITTED
    assert sim.executions() == [(task.task_id, task.lease + 1)]


def test_provider_that_cannot_be_read_and_still_works_is_left_to_the_first_check(sim: Simulation) -> None:
    task = sim.submit()
    sim.provider.unavailable = True
    assert sim.call_back(task.task_id, {"status": "processing"}) == task
    assert sim.executions() == []


def test_execution_that_does_not_start_leaves_a_lease_that_lapses(sim: Simulation) -> None:
    task = sim.submit()
    nowhere = TaskPoller(sim.account.clients["stepfunctions"], sim.account.state_machine_arn + "-gone")
    sim.callbacks = replace(sim.callbacks, poller=nowhere)
    with pytest.raises(Exception, match="StateMachineDoesNotExist"):
        sim.call_back(task.task_id, DONE)
    due_at = sim.task(task.task_id).due_at
    assert due_at is not None
    assert due_at <= NOON + 120_000


def test_callback_during_the_create_call_is_answered_with_retry(sim: Simulation) -> None:
    def too_early() -> None:
        with pytest.raises(AttemptUnderwayError):
            sim.call_back(sim.task_id(), DONE)

    sim.provider.before_reply = too_early
    assert sim.submit().status is Status.SUBMITTED


def test_unconfirmed_create_is_reconciled_once_its_call_is_recorded_as_ended(sim: Simulation) -> None:
    sim.provider.create_faults = [LostReplyError("reset")]
    task = sim.submit()
    reconciled = sim.call_back(task.task_id, {"id": "gen-1", "status": "processing"})
    assert (reconciled.status, reconciled.remote_id) == (Status.SUBMITTED, "gen-1")
    assert reconciled.due_at == NOON + 120_000
    assert sim.item("remote#gateway#gen-1") is not None


@pytest.mark.parametrize(
    "body",
    [
        {"id": 7, "status": "processing"},
        {"task_id": "7"},
        {"data": {"id": "7"}},
        {"data": {"task_id": 7, "state": "processing"}},
        {"id": "upstream-only", "task_id": "7"},
    ],
)
def test_reconciliation_reads_the_id_in_every_form(sim: Simulation, body: dict[str, Any]) -> None:
    """A create reply may give a number, and wrap it: what would have been read there is read here."""
    sim.provider.reply_id = "7"
    task = unconfirmed(sim)
    assert sim.call_back(task.task_id, body).remote_id == "7"


@pytest.mark.parametrize(
    "body", [b"{}", b"<html>", b'{"id": true}', b'{"id": [7]}', b'{"id": ""}', b'{"id": "' + b"x" * 513 + b'"}']
)
def test_callback_without_an_id_leaves_an_unconfirmed_create_unchanged(sim: Simulation, body: bytes) -> None:
    task = unconfirmed(sim)
    assert sim.call_back(task.task_id, body) == task
    assert sim.provider.reads == []


def test_id_that_proves_to_be_another_tasks_does_not_keep_a_task_from_being_created(sim: Simulation) -> None:
    sim.submit(key="order-2")  # gen-1
    sim.provider.create_faults = [NotCreatedError("HTTP 429")]
    task = sim.submit()
    sim.provider.unavailable = True
    assert sim.call_back(task.task_id, {"id": "gen-1"}).candidate_ids == ("gen-1",)
    sim.provider.unavailable = False
    sim.run(until=NOON + 300_000)
    after = sim.task(task.task_id)
    assert (after.status, after.remote_id, after.candidate_ids) == (Status.SUBMITTED, "gen-2", ())
