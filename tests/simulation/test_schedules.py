"""Use cases run at the same time, changing over at every effect: whatever the schedule, the invariants hold."""

import random
from dataclasses import dataclass

import pytest

from tests.simulation import scenarios as s
from tests.simulation.effects import Fault
from tests.simulation.extent import Extent, Statistics
from tests.simulation.http_provider import CancelBehaviour, HttpProvider, HttpVidu
from tests.simulation.invariants import check_at_rest
from tests.simulation.notifications import BackendBehaviour
from tests.simulation.scheduler import Actor, Choices, Scheduler, explore
from tests.simulation.simulation import KEY
from vidu_relay.domain.errors import AttemptUnderwayError, InvalidRequestError, ProviderUnavailableError
from vidu_relay.domain.snapshot import ProgressState

ANSWERS = (AttemptUnderwayError, InvalidRequestError, ProviderUnavailableError)
"""What a caller may be answered when nothing went wrong; any other error is a fault."""


@dataclass(frozen=True)
class Concurrent:
    """`prepare` goes well; then the acts run at the same time, and afterwards time passes."""

    prepare: s.Act
    acts: tuple[s.Act, ...]
    again: tuple[s.Act, ...] = (s.submit,)
    cap: int = 1000
    provider: type[HttpProvider] = HttpProvider
    lost: int = 0
    """How many quota slots are lost before."""
    misled: bool = False
    """Whether the provider names another task's id."""


def cancel(sim: s.HttpSimulation) -> None:
    sim.cancel(sim.task_id())


def cancel_soon(sim: s.HttpSimulation) -> None:
    """As soon as there may be a task."""
    sim.effects.perform("client.waits", lambda: None)
    sim.cancel(sim.task_id())


def name_both(key: str) -> s.Act:
    """A callback for one task that names the remote ids of two."""
    body = {"id": "gen-1", "task_id": "gen-2", "status": "completed"}
    return lambda sim: sim.call_back(sim.task_id(key), body)


def notify_again(sim: s.HttpSimulation) -> None:
    """The queue hands the same message over a second time."""
    if sim.notifications.messages:
        sim.notify(sim.notifications.messages[0])


def vidu(prepare: s.Act, *acts: s.Act, again: tuple[s.Act, ...] = ()) -> Concurrent:
    return Concurrent(prepare, acts, again, provider=HttpVidu)


def unrepeated(prepare: s.Act, *acts: s.Act) -> Concurrent:
    """The client does not ask again."""
    return Concurrent(prepare, acts, ())


finished_and_swept = s.then(s.finished, s.sweep)
running_and_swept = s.then(s.overdue, s.sweep)
accepted_and_swept = s.then(s.throttled, s.swept)
denied_and_swept = s.then(s.denied, s.swept)
candidate_found = s.then(s.unconfirmed, s.unreadable(s.call_back), s.finish, s.wait(1), s.sweep)
last_slot = s.submit_as(daily_cap=1)
both_named = (name_both(KEY), name_both("order-2"))
generate_and_deliver = s.then(s.call_back, s.deliver)
died_and_due = s.then(s.record_and_die, s.wait(121))
silent_before = s.then(s.completed, s.backend(BackendBehaviour.SILENT, BackendBehaviour.BUSY), s.notify, s.wait(125))
two_uploads = s.then(s.asks_by_file, lambda sim: sim.send(sim.drop(prompt="a dog at sea")))

SCHEDULES = {
    "the same request twice": Concurrent(s.nothing, (s.submit, s.submit)),
    "one external id for two requests": unrepeated(s.nothing, s.submit_named(), s.submit_named("order-2")),
    "one external id for two requests, its task is gone": unrepeated(
        s.record_goes, s.submit_named(), s.submit_named("order-2")
    ),
    "two requests for the last slot": Concurrent(
        s.nothing, (last_slot, s.submit_as("order-2", daily_cap=1)), again=(), cap=1
    ),
    "one request twice for the last slot": Concurrent(s.nothing, (last_slot, last_slot), again=(), cap=1),
    "two requests for the last of the budget": unrepeated(
        s.nothing, s.submit_in_budget(), s.submit_in_budget("order-2")
    ),
    "one request twice for the last of the budget": unrepeated(s.nothing, s.submit_in_budget(), s.submit_in_budget()),
    "spending is recorded twice": Concurrent(s.generated, (s.book, s.book_again(1))),
    "an earlier state is recorded late": Concurrent(s.then(s.generated, s.book), (s.book_again(1), s.book_again(0, 1))),
    "reservations are compared twice": Concurrent(s.unverified, (s.compare, s.compare), lost=1),
    "reservations are compared, a bill is recorded": Concurrent(s.unverified, (s.compare, s.book), lost=1),
    "a callback during the create call": Concurrent(s.nothing, (s.submit, s.finish_late)),
    "callback and repetition": Concurrent(s.finished, (s.call_back, s.submit)),
    "two callbacks": Concurrent(s.finished, (s.call_back, s.call_back)),
    "three callbacks": Concurrent(s.finished, (s.call_back, s.call_back, s.call_back)),
    "callback and check": Concurrent(finished_and_swept, (s.call_back, s.check)),
    "reported end and check": Concurrent(running_and_swept, (s.report_end, s.check)),
    "reported end and sweep": Concurrent(s.overdue, (s.report_end, s.sweep)),
    "two reported ends": Concurrent(s.overdue, (s.report_end, s.report_end)),
    "callback and sweep": Concurrent(s.finished, (s.call_back, s.sweep)),
    "two sweeps": Concurrent(s.overdue, (s.sweep, s.sweep)),
    "a check repeated while it runs": Concurrent(accepted_and_swept, (s.check, s.check)),
    "check submits, the client asks again": Concurrent(accepted_and_swept, (s.check, s.submit)),
    "check submits, a callback comes": Concurrent(accepted_and_swept, (s.check, s.finish_late)),
    "check submits what exists, a callback comes": Concurrent(denied_and_swept, (s.check, s.call_back)),
    "check submits what exists, a callback comes, by tags": vidu(
        denied_and_swept, s.check, s.call_back, again=(s.submit,)
    ),
    "two callbacks reconcile": Concurrent(s.unconfirmed, (s.call_back, s.call_back)),
    "two callbacks reconcile by their tags": vidu(s.unconfirmed, s.call_back, s.call_back, again=(s.submit,)),
    "callback and check reconcile": Concurrent(candidate_found, (s.call_back, s.check)),
    "two tasks attach the same ids": Concurrent(s.two_unconfirmed, both_named, (s.submit, s.submit_other), misled=True),
    "two tasks attach the same ids, by tags": vidu(s.two_unconfirmed, *both_named, again=(s.submit, s.submit_other)),
    "off-peak check made twice": Concurrent(
        s.then(s.off_peak, s.finish, s.sweep), (s.check, s.check), (s.submit_off_peak,)
    ),
    "off-peak check and callback": Concurrent(
        s.then(s.off_peak, s.finish, s.sweep), (s.check, s.call_back), (s.submit_off_peak,)
    ),
    "off-peak check and reported end": Concurrent(
        s.then(s.off_peak, s.sweep), (s.check, s.report_end), (s.submit_off_peak,)
    ),
    "slow check beyond its lease, and sweep": Concurrent(s.then(s.late, s.sweep, s.wait(125)), (s.check, s.sweep)),
    "expiry and a late callback": Concurrent(s.past_deadline, (s.check, s.finish_late)),
    "expiry of an unconfirmed create and its callback": Concurrent(
        s.then(s.unconfirmed, s.wait(7200), s.sweep), (s.check, s.call_back)
    ),
    "two dispatches": unrepeated(s.queued, s.sweep, s.sweep),
    "two dispatches, and a callback": unrepeated(s.then(s.crowded, s.finish), s.sweep, s.sweep, s.call_back),
    "dispatch, check and callback": unrepeated(s.then(s.queued, s.sweep), s.sweep, s.check, s.finish_late),
    "dispatch and repetition": Concurrent(s.queued, (s.sweep, s.submit)),
    "dispatch and cancel": unrepeated(s.queued, s.sweep, cancel),
    "dispatched check and cancel": unrepeated(s.then(s.queued, s.sweep), s.check, cancel),
    "dispatch while the next queues": unrepeated(s.then(s.throttled, s.wait(20)), s.sweep, s.submit_other),
    "delivery twice": Concurrent(s.generated, (s.deliver, s.deliver)),
    "delivery twice, in parts": Concurrent(
        s.then(lambda sim: setattr(sim.source, "known_length", False), s.generated), (s.deliver, s.deliver_again)
    ),
    "delivery and callback": Concurrent(s.generated, (s.deliver, s.call_back)),
    "delivery is asked for while it runs": Concurrent(s.then(s.generated, s.wait(430), s.sweep), (s.deliver, s.check)),
    "publisher and callback": Concurrent(s.finished, (s.publish, s.call_back)),
    "callback, check and delivery": Concurrent(finished_and_swept, (s.call_back, s.check, s.deliver)),
    "submit, sweep and callback": Concurrent(s.nothing, (s.submit, s.finish_late, s.sweep)),
    "a file received twice": unrepeated(s.asks_by_file, s.receive(), s.receive()),
    "an event received twice": unrepeated(s.asks_by_event, s.receive(), s.receive()),
    "two uploads of one file": unrepeated(two_uploads, s.receive(0), s.receive(1)),
    "one batch in two files": unrepeated(s.then(s.drops_batch, s.drops_batch_again), *map(s.receive_batch, (0, 1))),
    "lines of a batch received twice": unrepeated(s.batch_recorded, s.receive_batch(1), s.receive_batch(1)),
    "a batch followed twice": unrepeated(s.batch_ended, s.receive_batch(-1), s.receive_batch(-1)),
    "lines of a batch and a dispatch": unrepeated(s.batch_recorded, s.receive_batch(1), s.sweep, s.publish),
    "event and HTTP under one key": Concurrent(s.asks_by_event, (s.receive(), s.submit)),
    "a file comes again, the sweep finds its task": unrepeated(died_and_due, s.receive(), s.sweep),
    "a file comes again while the check submits": unrepeated(s.then(died_and_due, s.sweep), s.receive(), s.check),
    "a file comes twice again": unrepeated(died_and_due, s.receive(), s.receive()),
    "a file comes again, the client cancels": unrepeated(died_and_due, s.receive(), cancel),
    "an event is received, a callback comes": unrepeated(s.asks_by_event, s.receive(), s.finish_late),
    "a notification received twice": unrepeated(s.completed, s.notify, notify_again),
    "a refused notification received twice": unrepeated(
        s.then(s.completed, s.backend(BackendBehaviour.GONE, BackendBehaviour.GONE)), s.notify, notify_again
    ),
    "a notification received twice after a cool-down": unrepeated(silent_before, s.notify, notify_again),
    "a replay while the first message is retried": unrepeated(
        s.then(s.completed, s.backend(BackendBehaviour.BUSY), s.notify, s.wait(5)),
        notify_again,
        s.then(s.replay, s.notify),
    ),
    "a notification while the task ends": unrepeated(s.processing, s.notify, generate_and_deliver),
    "a notification while another is published": unrepeated(s.processing, s.notify, generate_and_deliver, s.publish),
    "cancel and check submit": unrepeated(accepted_and_swept, cancel, s.check),
    "cancel, check and callback": unrepeated(accepted_and_swept, cancel, s.check, s.finish_late),
    "cancel and repetition": Concurrent(s.throttled, (cancel, s.submit)),
    "cancel where the provider cannot": unrepeated(s.finished, cancel, s.call_back),
    "cancel and callback": vidu(s.finished, cancel, s.call_back),
    "cancel and a late end": vidu(s.submit, cancel, s.finish_late),
    "cancel and check": vidu(s.then(running_and_swept, s.shows(ProgressState.PROCESSING)), cancel, s.check),
    "cancel and expiry": vidu(s.past_deadline, cancel, s.check),
    "cancel and delivery": vidu(s.generated, cancel, s.deliver),
    "cancel during the create call": vidu(s.nothing, s.submit, cancel_soon, again=(s.submit,)),
    "cancel twice, a reply lost": vidu(s.then(s.submit, s.cancels(CancelBehaviour.REPLY_LOST)), cancel, cancel),
    "cancel twice": vidu(s.submit, cancel, cancel),
}


def play(name: str, choices: Choices, callbacks: str, fault: tuple[int, int, Fault] | None = None) -> list[int]:
    """One schedule, to its end, with the invariants checked; how many effects each act had.

    `fault`: which act, at which of its effects, and how.
    """
    scenario = SCHEDULES[name]
    sim = s.HttpSimulation(provider=scenario.provider)
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
    named = s.time_passes(sim, callbacks, *scenario.again)
    check_at_rest(
        sim, named=named, misled=scenario.misled, lost_slots=scenario.lost + int(fault is not None), cap=scenario.cap
    )
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
