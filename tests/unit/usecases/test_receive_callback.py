"""Callbacks: who may call, and that a call changes nothing by what it says."""

from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from tests.unit.builders import changes
from tests.unit.usecases.account import CALLBACK_SECRET, PROVIDER_KEY
from tests.unit.usecases.effects import Fault, ProcessDeathError
from tests.unit.usecases.scripted import NOON, LostReplyError, LyingRefusalError
from tests.unit.usecases.world import PUBLIC_URL, World
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.domain.callback_signature import signature_for
from vidu_relay.domain.callback_token import CallbackKeys, callback_url
from vidu_relay.domain.errors import (
    AttemptUnderwayError,
    CallbackRefusedError,
    CreateRejectedError,
    NotCreatedError,
)
from vidu_relay.domain.lifecycle import record_create_failure
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases.reconcile_task import reconcile_task

DONE = {"id": "gen-1", "status": "completed"}


def died_in_its_call(world: World) -> Task:
    """A task whose create call has not been recorded as ended."""
    world.provider.create_faults = [LostReplyError("reset")]
    task = world.submit()
    assert task.attempt is not None
    return world.store.save(replace(task, attempt=replace(task.attempt, ended_at=None)))


def lost(world: World) -> Task:
    """A task whose remote id never reached us, long after its create call; the provider knows it as gen-1."""
    world.provider.create_faults = [LostReplyError("reset")]
    task = world.submit()
    world.clock.advance(100)
    return task


# ------------------------------------------------------------------------------------------------ who rings


def test_every_refusal_is_the_same_error(world: World) -> None:
    task, other = world.submit(), world.submit(key="order-2")
    good = world.token(task.task_id)
    forged = [
        (task.task_id, ""),
        (task.task_id, "k1."),
        (task.task_id, good[:-1]),
        (task.task_id, good + "A"),
        (task.task_id, good.replace("k1.", "k2.")),
        (task.task_id, good.removeprefix("k1.")),
        (task.task_id, world.token(other.task_id)),
        (task.task_id, "k1.\ud800"),
        ("a" * 26, good),
        ("a" * 26, world.token("a" * 26)),  # ours by the token, but there is no such task
        ("../x", world.token("../x")),
        (task.task_id.upper(), world.token(task.task_id.upper())),
    ]
    before = world.items()
    for task_id, token in forged:
        with pytest.raises(CallbackRefusedError):
            world.ring(task_id, DONE, token=token)
    assert world.items() == before
    assert world.provider.reads == []


def test_token_of_a_retired_key_is_good_as_long_as_the_key_is_kept(world: World) -> None:
    task = world.submit()
    old = world.token(task.task_id)
    rotated = {**CALLBACK_SECRET, "active": "k2", "k2": "n" * 40}
    world.callbacks = replace(world.callbacks, callback_keys=lambda _: CallbackKeys(rotated))
    world.provider.finish("gen-1")
    assert world.ring(task.task_id, DONE, token=old).status is Status.GENERATED


def test_token_of_a_dropped_key_is_refused(world: World) -> None:
    task = world.submit()
    old = world.token(task.task_id)
    world.callbacks = replace(world.callbacks, callback_keys=lambda _: CallbackKeys({"active": "k2", "k2": "n" * 40}))
    with pytest.raises(CallbackRefusedError):
        world.ring(task.task_id, DONE, token=old)


# ------------------------------------------------------------------------------------------- what it changes


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
def test_body_cannot_change_the_state(world: World, body: bytes) -> None:
    task = world.submit()
    after = world.ring(task.task_id, body)
    assert (after.status, changes(after), after.outputs, after.error) == (Status.SUBMITTED, 2, (), None)
    assert world.provider.reads == ["gen-1"]


def test_id_in_the_body_of_a_known_task_is_not_read(world: World) -> None:
    task, _ = world.submit(), world.submit(key="order-2")
    world.provider.finish("gen-2")
    after = world.ring(task.task_id, {"id": "gen-2", "status": "completed"})
    assert (after.status, after.remote_id) == (Status.SUBMITTED, "gen-1")
    assert world.provider.reads == ["gen-1"]


def test_state_comes_from_our_own_read_and_not_from_the_body(world: World) -> None:
    task = world.submit()
    world.provider.fail("gen-1", "008017050")
    after = world.ring(task.task_id, DONE)
    assert after.status is Status.FAILED
    assert after.error is not None
    assert after.error.code == "008017050"


def test_generated_task_keeps_what_the_provider_said_and_no_link(world: World) -> None:
    task = world.submit()
    world.provider.finish("gen-1")
    after = world.ring(task.task_id, DONE)
    assert after.status is Status.GENERATED
    assert after.due_at is not None
    assert (after.upstream_id, after.usage is not None and after.usage.cost) == ("up-gen-1", "0.20")
    assert "cdn.example.com" not in repr(world.item(f"task#{task.task_id}"))


def test_duplicates_write_once(world: World) -> None:
    task = world.submit()
    world.provider.finish("gen-1")
    first = world.ring(task.task_id, DONE)
    writes = len(world.stream)
    for _ in range(3):
        assert world.ring(task.task_id, DONE) == first
    assert len(world.stream) == writes


def test_processing_told_again_costs_neither_a_read_nor_a_write(world: World) -> None:
    task = world.submit()
    world.provider.show("gen-1", ProgressState.PROCESSING)
    assert world.ring(task.task_id, {"status": "processing"}).status is Status.PROCESSING
    reads, writes = len(world.provider.reads), len(world.stream)
    world.ring(task.task_id, {"state": "processing"})
    assert (len(world.provider.reads), len(world.stream)) == (reads, writes)


def test_processing_that_arrives_after_the_end_changes_nothing(world: World) -> None:
    task = world.submit()
    world.provider.finish("gen-1")
    ended = world.ring(task.task_id, DONE)
    assert world.ring(task.task_id, {"status": "processing"}) == ended


def test_processing_told_of_a_task_that_is_done_finds_the_end(world: World) -> None:
    task = world.submit()
    world.provider.finish("gen-1")
    assert world.ring(task.task_id, {"status": "processing"}).status is Status.GENERATED


def test_callback_after_completion_changes_nothing(world: World) -> None:
    task = world.submit()
    world.provider.finish("gen-1")
    world.ring(task.task_id, DONE)
    world.run()
    completed = world.task(task.task_id)
    assert completed.status is Status.COMPLETED
    world.provider.fail("gen-1")
    assert world.ring(task.task_id, {"status": "failed"}) == completed


def test_success_without_a_video_is_no_end(world: World) -> None:
    task = world.submit()
    world.provider.show("gen-1", ProgressState.SUCCEEDED)
    assert world.ring(task.task_id, DONE).status is Status.SUBMITTED


@pytest.mark.parametrize("code", ["008017096", "008017097", "008017098"])
def test_gateways_own_trouble_is_no_verdict(world: World, code: str) -> None:
    task = world.submit()
    world.provider.fail("gen-1", code)
    assert world.ring(task.task_id, {"status": "failed"}).status is Status.SUBMITTED
    world.provider.finish("gen-1")
    assert world.ring(task.task_id, DONE).status is Status.GENERATED


def test_late_success_of_an_expired_task_is_taken(world: World) -> None:
    task = world.submit()
    world.clock.advance(7201)
    world.check(task.task_id)
    assert world.task(task.task_id).status is Status.EXPIRED
    world.provider.finish("gen-1")
    late = world.ring(task.task_id, DONE)
    assert (late.status, late.error, late.expires_at) == (Status.GENERATED, None, None)


# --------------------------------------------------------------------------------- an end that is not shown yet


@pytest.mark.parametrize("claim", ["completed", "success", "failed", "SUCCESS"])
def test_claimed_end_that_is_not_shown_starts_one_poller_at_once(world: World, claim: str) -> None:
    task = world.submit()
    after = world.ring(task.task_id, {"status": claim})
    assert (after.status, after.lease, after.due_at) == (Status.SUBMITTED, task.lease + 1, NOON + 120_000)
    assert world.executions() == [(task.task_id, task.lease + 1)]


def test_provider_that_cannot_be_read_starts_the_poller(world: World) -> None:
    task = world.submit()
    world.provider.unavailable = True
    assert world.ring(task.task_id, DONE).status is Status.SUBMITTED
    assert world.executions() == [(task.task_id, task.lease + 1)]


def test_provider_that_cannot_be_read_and_still_works_is_left_to_the_first_check(world: World) -> None:
    task = world.submit()
    world.provider.unavailable = True
    assert world.ring(task.task_id, {"status": "processing"}) == task
    assert world.executions() == []


def test_poller_that_does_not_start_leaves_a_lease_that_lapses(world: World) -> None:
    task = world.submit()
    nowhere = TaskPoller(world.account.clients["stepfunctions"], world.account.state_machine_arn + "-gone")
    world.callbacks = replace(world.callbacks, poller=nowhere)
    with pytest.raises(Exception, match="StateMachineDoesNotExist"):
        world.ring(task.task_id, DONE)
    due_at = world.task(task.task_id).due_at
    assert due_at is not None
    assert due_at <= NOON + 120_000


# ------------------------------------------------------------------------------------------------ a lost create


def test_callback_during_the_create_call_is_asked_to_come_again(world: World) -> None:
    def too_early() -> None:
        with pytest.raises(AttemptUnderwayError):
            world.ring(world.task_id(), DONE)

    world.provider.before_reply = too_early
    assert world.submit().status is Status.SUBMITTED


def test_lost_create_is_adopted_once_its_call_is_recorded_as_ended(world: World) -> None:
    world.provider.create_faults = [LostReplyError("reset")]
    task = world.submit()
    adopted = world.ring(task.task_id, {"id": "gen-1", "status": "processing"})
    assert (adopted.status, adopted.remote_id) == (Status.SUBMITTED, "gen-1")
    assert adopted.due_at == NOON + 120_000
    assert world.item("remote#gateway#gen-1") is not None


def test_lost_create_of_a_dead_function_is_adopted_once_it_must_have_ended(world: World) -> None:
    task = died_in_its_call(world)
    world.clock.advance(89)
    with pytest.raises(AttemptUnderwayError):
        world.ring(task.task_id, DONE)
    world.clock.advance(1)
    assert world.ring(task.task_id, DONE).remote_id == "gen-1"


def test_adoption_takes_the_end_with_it(world: World) -> None:
    task = lost(world)
    world.provider.finish("gen-1")
    adopted = world.ring(task.task_id, DONE)
    assert (adopted.status, changes(adopted)) == (Status.GENERATED, 2)


@pytest.mark.parametrize("name", ["id", "task_id"])
def test_adoption_reads_either_name_of_the_id(world: World, name: str) -> None:
    task = lost(world)
    assert world.ring(task.task_id, {name: "gen-1"}).remote_id == "gen-1"


@pytest.mark.parametrize(
    "body", [{"id": 7, "status": "processing"}, {"data": {"id": "7"}}, {"data": {"task_id": 7, "state": "processing"}}]
)
def test_adoption_reads_the_id_in_every_form_that_other_replies_may_have(world: World, body: dict[str, Any]) -> None:
    """A create reply may give a number, and wrap it: what would have been read there is read here."""
    world.provider.reply_id = "7"
    task = lost(world)
    assert world.ring(task.task_id, body).remote_id == "7"


def test_end_that_is_claimed_inside_a_wrapper_is_heard(world: World) -> None:
    task = world.submit()
    world.ring(task.task_id, {"code": 200, "data": DONE})
    assert world.executions() == [(task.task_id, task.lease + 1)]


def test_adoption_tries_every_id_of_the_body(world: World) -> None:
    task = lost(world)
    assert world.ring(task.task_id, {"id": "upstream-only", "task_id": "gen-1"}).remote_id == "gen-1"


@pytest.mark.parametrize(
    ("created_at", "fits"),
    [
        (NOON - 61_000, False),
        (NOON - 59_000, True),
        (NOON + 59_000, True),
        (NOON + 61_000, False),
        (NOON - 86_400_000, False),
        (None, False),
    ],
)
def test_only_a_task_created_during_the_attempt_is_adopted(world: World, created_at: int | None, fits: bool) -> None:
    task = lost(world)
    world.provider.show("gen-1", ProgressState.PENDING, created_at=created_at)
    if fits:
        assert world.ring(task.task_id, DONE).remote_id == "gen-1"
    else:
        after = world.ring(task.task_id, DONE)
        assert (after.status, after.remote_id, changes(after)) == (Status.SUBMITTING, None, 1)
        assert world.item("remote#gateway#gen-1") is None


def test_another_tasks_video_is_not_adopted(world: World) -> None:
    world.submit(key="order-2")  # gen-1, created at the same time
    task = lost(world)
    world.provider.finish("gen-1")
    after = world.ring(task.task_id, {"id": "gen-1", "status": "completed"})
    assert (after.status, after.remote_id) == (Status.SUBMITTING, None)
    world.run(until=task.deadline_at + 60_000)
    assert world.task(task.task_id).status is Status.EXPIRED
    assert world.task(task.task_id).videos == ()


@pytest.mark.parametrize(
    "body", [b"{}", b"<html>", b'{"id": true}', b'{"id": [7]}', b'{"id": ""}', b'{"id": "' + b"x" * 513 + b'"}']
)
def test_callback_that_names_no_id_leaves_a_lost_create_as_it_is(world: World, body: bytes) -> None:
    task = lost(world)
    assert world.ring(task.task_id, body) == task
    assert world.provider.reads == []


def test_unreadable_id_stays_a_hint_that_the_checks_look_up(world: World) -> None:
    task = lost(world)
    world.provider.unavailable = True
    hinted = world.ring(task.task_id, {"id": "gen-1", "status": "processing"})
    assert (hinted.status, hinted.candidate_ids) == (Status.SUBMITTING, ("gen-1",))
    world.run(until=world.clock.now + 300_000)
    world.provider.unavailable = False
    world.provider.finish("gen-1")
    world.run()  # nobody rings again
    assert world.task(task.task_id).status is Status.COMPLETED


def test_hints_are_bounded(world: World) -> None:
    task = lost(world)
    for number in range(20):
        world.ring(task.task_id, {"id": f"upstream-{number}", "task_id": "x" * 512})
    assert len(world.task(task.task_id).candidate_ids) == 4
    world.run(until=task.deadline_at + 60_000)
    assert world.task(task.task_id).status is Status.EXPIRED


def test_callback_that_came_too_early_and_never_again_is_not_lost(world: World) -> None:
    """The create call dies after the provider rang once: the next check finds the task by the id it named."""

    def ring_and_die() -> None:
        with pytest.raises(AttemptUnderwayError):
            world.ring(world.task_id(), {"id": "gen-1", "status": "processing"})
        world.provider.finish("gen-1")
        raise ProcessDeathError

    world.provider.before_reply = ring_and_die
    with pytest.raises(ProcessDeathError):
        world.submit()
    world.run(until=NOON + 300_000)
    assert world.task(world.task_id()).status is Status.COMPLETED


def test_early_callback_of_a_lost_create_is_looked_up_soon_and_not_at_the_deadline(world: World) -> None:
    def ring() -> None:
        with pytest.raises(AttemptUnderwayError):
            world.ring(world.task_id(), {"id": "gen-1", "status": "processing"})
        world.provider.finish("gen-1")

    world.provider.before_reply = ring
    world.provider.create_faults = [LostReplyError("reset")]
    world.submit()
    world.run(until=NOON + 600_000)
    assert world.task(world.task_id()).status is Status.COMPLETED


def test_callback_with_an_unreadable_id_does_not_hurry_a_retry_the_provider_asked_to_wait_for(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429", retry_after_seconds=600)]
    task = world.submit()
    world.ring(task.task_id, {"id": "upstream-only", "status": "processing"})
    assert world.task(task.task_id).due_at == task.due_at
    world.run(until=NOON + 500_000)
    assert len(world.provider.calls) == 1


def test_callback_that_races_with_a_rejection_does_not_wake_the_failed_task(world: World) -> None:
    task = died_in_its_call(world)

    def rejected_meanwhile() -> int:
        if world.task(task.task_id).status is Status.SUBMITTING:
            error = CreateRejectedError("008017003", "no")
            world.store.save(
                record_create_failure(
                    world.task(task.task_id), error, now=NOON, jitter=0.5, policy=world.submission.policy
                )
            )
        return NOON

    world.callbacks = replace(world.callbacks, clock=rejected_meanwhile)
    with pytest.raises(AttemptUnderwayError):
        world.ring(task.task_id, {"id": "gen-9", "status": "processing"})
    after = world.task(task.task_id)
    assert (after.status, after.due_at) == (Status.FAILED, None)


def test_task_adopted_late_with_no_verdict_is_watched_on(world: World) -> None:
    task = lost(world)
    world.run()
    world.provider.fail("gen-1", "008017097")
    world.ring(task.task_id, {"id": "gen-1", "status": "failed"})
    world.provider.finish("gen-1")
    world.run()
    assert world.task(task.task_id).status is Status.COMPLETED


def test_lost_create_is_adopted_even_after_it_expired(world: World) -> None:
    task = lost(world)
    world.run()
    assert world.task(task.task_id).status is Status.EXPIRED
    world.provider.finish("gen-1")
    world.ring(task.task_id, DONE)
    world.run()
    assert world.task(task.task_id).status is Status.COMPLETED


def test_task_adopted_after_it_expired_is_watched_until_its_video_comes(world: World) -> None:
    task = lost(world)
    world.run()
    adopted = world.ring(task.task_id, {"id": "gen-1", "status": "processing"})
    assert (adopted.status, adopted.remote_id) == (Status.EXPIRED, "gen-1")
    world.provider.finish("gen-1")
    world.run()  # without any further callback
    assert world.task(task.task_id).status is Status.COMPLETED


def test_attempt_thought_void_that_did_create_is_adopted_and_not_sent_again(world: World) -> None:
    world.provider.create_faults = [LyingRefusalError("HTTP 429")]
    task = world.submit()
    adopted = world.ring(task.task_id, DONE)
    assert (adopted.status, adopted.remote_id) == (Status.SUBMITTED, "gen-1")
    world.run(until=world.clock.now + 600_000)
    assert len(world.provider.calls) == 1


def rung_during_its_call(world: World) -> Task:
    """A task whose callback came during a create call that created, and then answered 429."""

    def ring() -> None:
        with pytest.raises(AttemptUnderwayError):
            world.ring(world.task_id(), {"id": "gen-1", "status": "processing"})

    world.provider.before_reply = ring
    world.provider.create_faults = [LyingRefusalError("HTTP 429")]
    task = world.submit()
    assert (task.status, task.candidate_ids) == (Status.ACCEPTED, ("gen-1",))
    return task


def test_task_whose_callback_came_before_a_refusal_is_not_created_again(world: World) -> None:
    task = rung_during_its_call(world)
    world.run(until=NOON + 300_000)
    assert world.task(task.task_id).remote_id == "gen-1"
    world.provider.finish("gen-1")
    world.run()
    assert world.task(task.task_id).status is Status.COMPLETED
    assert len(world.provider.calls) == 1


def test_task_is_not_created_again_while_nobody_can_say_whether_it_was(world: World) -> None:
    task = rung_during_its_call(world)
    world.provider.unavailable = True
    world.run(until=task.deadline_at + 60_000)
    expired = world.task(task.task_id)
    assert (expired.status, expired.candidate_ids) == (Status.EXPIRED, ("gen-1",))
    assert expired.error is not None
    assert expired.error.code == "submission_unconfirmed"
    world.provider.unavailable = False
    world.provider.finish("gen-1")
    world.run()  # the hint is watched on
    assert world.task(task.task_id).status is Status.COMPLETED
    assert len(world.provider.calls) == 1


def test_id_that_proves_to_be_another_tasks_does_not_keep_a_task_from_being_created(world: World) -> None:
    world.submit(key="order-2")  # gen-1
    world.provider.create_faults = [NotCreatedError("HTTP 429")]
    task = world.submit()
    world.provider.unavailable = True
    assert world.ring(task.task_id, {"id": "gen-1"}).candidate_ids == ("gen-1",)
    world.provider.unavailable = False
    world.run(until=NOON + 300_000)
    after = world.task(task.task_id)
    assert (after.status, after.remote_id, after.candidate_ids) == (Status.SUBMITTED, "gen-2", ())


def test_hint_is_kept_before_it_is_looked_up(world: World) -> None:
    """The function dies in the read: the id it was told is not lost with it."""
    task = lost(world)
    world.effects.arm_name("provider.read", Fault.DIES_BEFORE)
    with pytest.raises(ProcessDeathError):
        world.ring(task.task_id, DONE)
    assert world.effects.struck == "provider.read"
    world.effects.disarm()
    assert world.task(task.task_id).candidate_ids == ("gen-1",)
    world.provider.finish("gen-1")
    world.run(until=NOON + 600_000)
    assert world.task(task.task_id).status is Status.COMPLETED


def test_remote_task_of_an_earlier_attempt_is_not_adopted_once_another_has_begun(world: World) -> None:
    """It might be adopted in place of the one that the new attempt is about to make."""
    world.provider.create_faults = [LyingRefusalError("HTTP 429"), LostReplyError("reset")]
    before = world.submit()
    world.clock.advance(30)
    world.sweep()
    world.check(before.task_id)
    begun = world.task(before.task_id)
    assert (begun.status, begun.attempts) == (Status.SUBMITTING, 2)
    after = reconcile_task(  # by a caller that read the record before that
        before,
        ("gen-1",),
        store=world.store,
        provider=world.provider,
        policy=world.callbacks.policy,
        clock=world.clock,
        source="callback",
    )
    assert after == begun == world.task(before.task_id)


def test_callback_that_comes_when_the_task_is_known_leaves_no_hint(world: World) -> None:
    task = world.submit()
    assert task.attempt is None
    after = world.ring(task.task_id, {"id": "upstream-only", "status": "processing"})
    assert (after.candidate_ids, after.due_at) == ((), task.due_at)


# ------------------------------------------------------------------------------------------------ the signature


def signed(task_id: str, token: str, at: int, **changed: str) -> dict[str, str]:
    date = formatdate(at / 1000, usegmt=True)
    names = (("Date", date), ("x-request-nonce", "n-1"))
    url = callback_url(PUBLIC_URL, task_id, token)
    signature = signature_for(PROVIDER_KEY, method="POST", url=url, date=date, signed_headers=names)
    return {
        "date": date,
        "x-request-nonce": "n-1",
        "x-hmac-signed-headers": "Date;x-request-nonce",
        "x-hmac-signature": signature,
        "x-hmac-algorithm": "hmac-sha256",
        "x-hmac-access-key": "vidu",
        **changed,
    }


def mode(world: World, signature_mode: str) -> World:
    world.callbacks = replace(world.callbacks, signature_mode=signature_mode)
    return world


@pytest.mark.parametrize("signature_mode", ["verify-if-present", "require"])
def test_good_signature_is_taken(world: World, signature_mode: str) -> None:
    task = mode(world, signature_mode).submit()
    world.provider.finish("gen-1")
    headers = signed(task.task_id, world.token(task.task_id), world.clock())
    assert world.ring(task.task_id, DONE, headers=headers).status is Status.GENERATED


@pytest.mark.parametrize("signature_mode", ["verify-if-present", "require"])
@pytest.mark.parametrize(
    "changed",
    [{"x-hmac-signature": "AAAA"}, {"x-hmac-signed-headers": ""}, {"x-request-nonce": "n-2"}, {"date": "yesterday"}],
)
def test_bad_signature_is_refused(world: World, signature_mode: str, changed: dict[str, str]) -> None:
    task = mode(world, signature_mode).submit()
    headers = signed(task.task_id, world.token(task.task_id), world.clock(), **changed)
    with pytest.raises(CallbackRefusedError):
        world.ring(task.task_id, DONE, headers=headers)
    assert world.provider.reads == []


def test_old_signature_is_refused(world: World) -> None:
    task = mode(world, "require").submit()
    headers = signed(task.task_id, world.token(task.task_id), world.clock())
    world.clock.advance(301)
    with pytest.raises(CallbackRefusedError):
        world.ring(task.task_id, DONE, headers=headers)


def test_callback_without_signature_is_refused_where_one_is_required(world: World) -> None:
    task = mode(world, "require").submit()
    headers: dict[str, Any] = signed(task.task_id, world.token(task.task_id), world.clock())
    for given in ({}, {name: value for name, value in headers.items() if name != "x-hmac-signature"}):
        with pytest.raises(CallbackRefusedError):
            world.ring(task.task_id, DONE, headers=given)


def test_callback_without_signature_is_taken_where_it_is_verified_if_present(world: World) -> None:
    task = mode(world, "verify-if-present").submit()
    world.provider.finish("gen-1")
    assert world.ring(task.task_id, DONE).status is Status.GENERATED


def test_signature_does_not_stand_in_for_our_token(world: World) -> None:
    task = mode(world, "require").submit()
    headers = signed(task.task_id, "forged", world.clock())
    with pytest.raises(CallbackRefusedError):
        world.ring(task.task_id, DONE, token="forged", headers=headers)


def test_unknown_signature_mode_never_fails_open(world: World) -> None:
    task = mode(world, "Require").submit()
    with pytest.raises(CallbackRefusedError):
        world.ring(task.task_id, DONE)
