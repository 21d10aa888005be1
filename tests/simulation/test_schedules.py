"""Use cases run at the same time, changing over at every effect: whatever the schedule, the invariants hold."""

import random
from dataclasses import dataclass

import pytest

from tests.simulation.effects import Fault
from tests.simulation.extent import Extent, Statistics
from tests.simulation.http_provider import CancelBehaviour, HttpProvider, HttpVidu
from tests.simulation.invariants import check_at_rest
from tests.simulation.notifications import BackendBehaviour
from tests.simulation.scenarios import (
    Act,
    HttpSimulation,
    asks_by_event,
    asks_by_file,
    backend,
    call_back,
    cancels,
    check,
    claim_end,
    completed,
    deliver,
    deliver_again,
    denied,
    finish,
    finish_late,
    finished,
    generated,
    nothing,
    notify,
    overdue,
    past_deadline,
    processing,
    publish,
    receive,
    record_and_die,
    shows,
    submit,
    submit_as,
    submit_other,
    sweep,
    swept,
    then,
    throttled,
    time_passes,
    two_unconfirmed,
    unconfirmed,
    unreadable,
    wait,
)
from tests.simulation.scheduler import Actor, Choices, Scheduler, explore
from tests.simulation.simulation import KEY
from vidu_relay.domain.errors import AttemptUnderwayError, InvalidRequestError, ProviderUnavailableError
from vidu_relay.domain.snapshot import ProgressState

ANSWERS = (AttemptUnderwayError, InvalidRequestError, ProviderUnavailableError)
"""What a caller may be answered when nothing went wrong; any other error is a fault."""


@dataclass(frozen=True)
class Concurrent:
    """`prepare` goes well; then the acts run at the same time, and afterwards time passes."""

    prepare: Act
    acts: tuple[Act, ...]
    again: tuple[Act, ...] = (submit,)
    cap: int = 1000
    provider: type[HttpProvider] = HttpProvider
    misled: bool = False
    """Whether the provider names another task's id."""


def cancel(sim: HttpSimulation) -> None:
    sim.cancel(sim.task_id())


def cancel_soon(sim: HttpSimulation) -> None:
    """As soon as there may be a task."""
    sim.effects.perform("client.waits", lambda: None)
    sim.cancel(sim.task_id())


def name_both(key: str) -> Act:
    """A callback for one task that names the remote ids of two."""
    body = {"id": "gen-1", "task_id": "gen-2", "status": "completed"}
    return lambda sim: sim.call_back(sim.task_id(key), body)


def notify_again(sim: HttpSimulation) -> None:
    """The queue hands the same message over a second time."""
    if sim.notifications.messages:
        sim.notify(sim.notifications.messages[0])


def vidu(prepare: Act, *acts: Act, again: tuple[Act, ...] = ()) -> Concurrent:
    return Concurrent(prepare, acts, again, provider=HttpVidu)


def unrepeated(prepare: Act, *acts: Act) -> Concurrent:
    """The client does not ask again."""
    return Concurrent(prepare, acts, ())


finished_and_swept = then(finished, sweep)
running_and_swept = then(overdue, sweep)
accepted_and_swept = then(throttled, swept)
denied_and_swept = then(denied, swept)
candidate_found = then(unconfirmed, unreadable(call_back), finish, wait(1), sweep)
last_slot = submit_as(daily_cap=1)
both_named = (name_both(KEY), name_both("order-2"))
generate_and_deliver = then(call_back, deliver)
died_and_due = then(record_and_die, wait(121))
silent_before = then(completed, backend(BackendBehaviour.SILENT, BackendBehaviour.BUSY), notify, wait(125))
two_uploads = then(asks_by_file, lambda sim: sim.send(sim.drop(prompt="a dog at sea")))

SCHEDULES = {
    "the same request twice": Concurrent(nothing, (submit, submit)),
    "two requests for the last slot": Concurrent(
        nothing, (last_slot, submit_as("order-2", daily_cap=1)), again=(), cap=1
    ),
    "one request twice for the last slot": Concurrent(nothing, (last_slot, last_slot), again=(), cap=1),
    "a callback during the create call": Concurrent(nothing, (submit, finish_late)),
    "callback and repetition": Concurrent(finished, (call_back, submit)),
    "two callbacks": Concurrent(finished, (call_back, call_back)),
    "three callbacks": Concurrent(finished, (call_back, call_back, call_back)),
    "callback and check": Concurrent(finished_and_swept, (call_back, check)),
    "claimed end and check": Concurrent(running_and_swept, (claim_end, check)),
    "claimed end and sweep": Concurrent(overdue, (claim_end, sweep)),
    "two claimed ends": Concurrent(overdue, (claim_end, claim_end)),
    "callback and sweep": Concurrent(finished, (call_back, sweep)),
    "two sweeps": Concurrent(overdue, (sweep, sweep)),
    "a check repeated while it runs": Concurrent(accepted_and_swept, (check, check)),
    "check submits, the client asks again": Concurrent(accepted_and_swept, (check, submit)),
    "check submits, a callback comes": Concurrent(accepted_and_swept, (check, finish_late)),
    "check submits what exists, a callback comes": Concurrent(denied_and_swept, (check, call_back)),
    "check submits what exists, a callback comes, by tags": vidu(denied_and_swept, check, call_back, again=(submit,)),
    "two callbacks reconcile": Concurrent(unconfirmed, (call_back, call_back)),
    "two callbacks reconcile by their tags": vidu(unconfirmed, call_back, call_back, again=(submit,)),
    "callback and check reconcile": Concurrent(candidate_found, (call_back, check)),
    "two tasks claim the same ids": Concurrent(two_unconfirmed, both_named, (submit, submit_other), misled=True),
    "two tasks claim the same ids, by tags": vidu(two_unconfirmed, *both_named, again=(submit, submit_other)),
    "expiry and a late callback": Concurrent(past_deadline, (check, finish_late)),
    "expiry of an unconfirmed create and its callback": Concurrent(
        then(unconfirmed, wait(7200), sweep), (check, call_back)
    ),
    "delivery twice": Concurrent(generated, (deliver, deliver)),
    "delivery twice, in parts": Concurrent(
        then(lambda sim: setattr(sim.source, "known_length", False), generated), (deliver, deliver_again)
    ),
    "delivery and callback": Concurrent(generated, (deliver, call_back)),
    "delivery is asked for while it runs": Concurrent(then(generated, wait(430), sweep), (deliver, check)),
    "publisher and callback": Concurrent(finished, (publish, call_back)),
    "callback, check and delivery": Concurrent(finished_and_swept, (call_back, check, deliver)),
    "submit, sweep and callback": Concurrent(nothing, (submit, finish_late, sweep)),
    "a file received twice": unrepeated(asks_by_file, receive(), receive()),
    "an event received twice": unrepeated(asks_by_event, receive(), receive()),
    "two uploads of one file": unrepeated(two_uploads, receive(0), receive(1)),
    "event and HTTP under one key": Concurrent(asks_by_event, (receive(), submit)),
    "a file comes again, the sweep finds its task": unrepeated(died_and_due, receive(), sweep),
    "a file comes again while the check submits": unrepeated(then(died_and_due, sweep), receive(), check),
    "a file comes twice again": unrepeated(died_and_due, receive(), receive()),
    "a file comes again, the client cancels": unrepeated(died_and_due, receive(), cancel),
    "an event is received, a callback comes": unrepeated(asks_by_event, receive(), finish_late),
    "a notification received twice": unrepeated(completed, notify, notify_again),
    "a refused notification received twice": unrepeated(
        then(completed, backend(BackendBehaviour.GONE, BackendBehaviour.GONE)), notify, notify_again
    ),
    "a notification received twice after a cool-down": unrepeated(silent_before, notify, notify_again),
    "a notification while the task ends": unrepeated(processing, notify, generate_and_deliver),
    "a notification while another is published": unrepeated(processing, notify, generate_and_deliver, publish),
    "cancel and check submit": unrepeated(accepted_and_swept, cancel, check),
    "cancel, check and callback": unrepeated(accepted_and_swept, cancel, check, finish_late),
    "cancel and repetition": Concurrent(throttled, (cancel, submit)),
    "cancel where the provider cannot": unrepeated(finished, cancel, call_back),
    "cancel and callback": vidu(finished, cancel, call_back),
    "cancel and a late end": vidu(submit, cancel, finish_late),
    "cancel and check": vidu(then(running_and_swept, shows(ProgressState.PROCESSING)), cancel, check),
    "cancel and expiry": vidu(past_deadline, cancel, check),
    "cancel and delivery": vidu(generated, cancel, deliver),
    "cancel during the create call": vidu(nothing, submit, cancel_soon, again=(submit,)),
    "cancel twice, a reply lost": vidu(then(submit, cancels(CancelBehaviour.REPLY_LOST)), cancel, cancel),
    "cancel twice": vidu(submit, cancel, cancel),
}


def play(name: str, choices: Choices, callbacks: str, fault: tuple[int, int, Fault] | None = None) -> list[int]:
    """One schedule, to its end, with the invariants checked; how many effects each act had.

    `fault`: which act, at which of its effects, and how.
    """
    scenario = SCHEDULES[name]
    sim = HttpSimulation(provider=scenario.provider)
    scenario.prepare(sim)
    scheduler = Scheduler(sim.effects)
    actors = [Actor(f"act {n}", lambda a=act: a(sim)) for n, act in enumerate(scenario.acts)]  # type: ignore[misc]
    if fault:
        actors[fault[0]].faults[fault[1]] = fault[2]
    for actor in actors:
        scheduler.spawn(actor)
    while waiting := [actor for actor in actors if not actor.ended]:
        scheduler.step(waiting[choices(len(waiting))])
    for actor in actors:
        answered = isinstance(actor.error, ANSWERS) or fault is not None
        if actor.error and (not answered or isinstance(actor.error, AssertionError | NotImplementedError)):
            raise actor.error
    named = time_passes(sim, callbacks, *scenario.again)
    check_at_rest(sim, named=named, misled=scenario.misled, lost_slots=int(fault is not None), cap=scenario.cap)
    return [actor.steps for actor in actors]


@pytest.mark.parametrize("callbacks", ["never", "soon"])
@pytest.mark.parametrize("name", list(SCHEDULES))
def test_whatever_the_schedule_the_invariants_hold(
    name: str, callbacks: str, extent: Extent, statistics: Statistics
) -> None:
    ran, every = explore(
        lambda choices: play(name, choices, callbacks), limit=extent.limit, sample=extent.schedules, seed=1
    )
    statistics.add("schedules", ran)
    statistics.add("scenarios of which every schedule ran" if every else "scenarios of which a sample ran", 1)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_whatever_the_schedule_and_the_fault_the_invariants_hold(
    name: str, extent: Extent, statistics: Statistics
) -> None:
    rng, faults = random.Random(name), list(Fault)  # noqa: S311 - the same each time
    for _ in range(extent.with_fault):
        fault = (rng.randrange(len(SCHEDULES[name].acts)), rng.randrange(8), rng.choice(faults))
        play(name, Choices((), rng), rng.choice(["never", "soon"]), fault)
    statistics.add("schedules with a fault", extent.with_fault)
