"""Every outside effect of every use case goes wrong in every way; and two do, the second in what follows the first."""

import random
from dataclasses import dataclass

import pytest

from tests.simulation import scenarios as s
from tests.simulation.effects import Fault
from tests.simulation.extent import Extent, Statistics
from tests.simulation.http_provider import CreateBehaviour, HttpProvider, HttpVidu
from tests.simulation.invariants import check_at_rest
from tests.simulation.notifications import BackendBehaviour
from vidu_relay.domain.snapshot import ProgressState

REACH = 25
"""How many effects after the first fault the second one is injected at the latest."""


@dataclass(frozen=True)
class Scenario:
    """`prepare` goes well; faults are injected into `act`; `again` is how the request is repeated afterwards."""

    prepare: s.Act
    act: s.Act
    again: s.Act = s.submit
    provider: type[HttpProvider] = HttpProvider


def _cancel_shown_late(sim: s.HttpSimulation) -> None:
    sim.provider.cancel_shows = False


def _throttled(act: s.Act) -> s.Act:
    return s.then(s.creates(CreateBehaviour.THROTTLED), act)


def _by_queue(ask: s.Act, *, twice: bool = False) -> Scenario:
    """A request through its queue, which hands it over until it is done, or once more than that."""
    return Scenario(s.nothing, s.then(ask, s.receive(-1)), s.receive(-1) if twice else s.nothing)


named_while_unreadable = s.unreadable(s.shows(ProgressState.PROCESSING), s.call_back)
reconcilable = s.then(s.unconfirmed, s.finish)
candidate_found = s.then(s.unconfirmed, named_while_unreadable, s.finish, s.wait(1), s.sweep)
denied_and_named = s.then(s.denied, named_while_unreadable, s.swept)
two_videos = s.then(s.submit, s.finish_two, s.call_back)
SCENARIOS = {
    "submit": Scenario(s.nothing, s.submit),
    "submit as a probe": Scenario(s.probe_is_due, s.submit),
    "submit a large request": Scenario(s.nothing, s.submit_large, s.submit_large),
    "submit with an external id": Scenario(s.nothing, s.submit_named(), s.submit_named()),
    "submit with an external id whose task is gone": Scenario(s.record_goes, s.submit_named(), s.submit_named()),
    "submit with an external id that is taken": Scenario(s.submit_named(), s.submit_named("order-2"), s.submit_named()),
    "submit within a budget": Scenario(s.nothing, s.submit_in_budget(), s.submit_in_budget()),
    "submit beyond a budget": Scenario(s.submit_in_budget(), s.submit_in_budget("order-2"), s.submit_in_budget()),
    "record spending": Scenario(s.generated, s.book),
    "record spending that is recorded": Scenario(s.then(s.generated, s.book), s.book_again()),
    "compare reservations": Scenario(s.unverified, s.compare),
    "submit images": Scenario(s.nothing, s.submit_images, s.submit_images),
    "submit images off-peak": Scenario(s.nothing, s.submit_images_off_peak, s.submit_images_off_peak),
    "check submits images off-peak": Scenario(
        s.then(_throttled(s.submit_images_off_peak), s.swept), s.check, s.submit_images_off_peak
    ),
    "callback settles": Scenario(s.finished, s.call_back),
    "callback shows progress": Scenario(s.then(s.overdue, s.shows(ProgressState.PROCESSING)), s.call_back),
    "callback reports an end not shown": Scenario(s.overdue, s.report_end),
    "callback reconciles": Scenario(reconcilable, s.call_back),
    "callback reconciles, by its tag": Scenario(reconcilable, s.call_back, provider=HttpVidu),
    "cancel what waits": Scenario(_throttled(s.submit_large), s.cancel, s.submit_large, HttpVidu),
    "cancel at the provider": Scenario(s.submit, s.cancel, provider=HttpVidu),
    "cancel what is done": Scenario(s.finished, s.cancel, provider=HttpVidu),
    "cancel not shown yet": Scenario(s.then(s.submit, _cancel_shown_late), s.cancel, provider=HttpVidu),
    "sweep": Scenario(s.finished, s.sweep),
    "sweep what is polled slowly": Scenario(s.then(s.off_peak, s.finish), s.sweep, s.submit_off_peak),
    "sweep after a check that Lambda dropped": Scenario(
        s.then(s.off_peak, s.sweep, lambda sim: sim.running.clear(), s.wait(125)), s.sweep, s.submit_off_peak
    ),
    "queue behind others": Scenario(s.then(_throttled(s.submit_other), s.wait(1)), s.submit),
    "dispatch": Scenario(s.queued, s.sweep),
    "dispatch while a task is at the provider": Scenario(s.crowded, s.sweep),
    "dispatch when it leaves": Scenario(s.then(s.crowded, s.publish, s.sweep, s.finish, s.call_back), s.publish),
    "dispatch when none waits any more": Scenario(s.then(s.queued, s.cancel, s.cancel_other), s.sweep),
    "check submits what was dispatched": Scenario(s.then(s.queued, s.sweep), s.check),
    "check submits what was dispatched, and is refused": Scenario(
        s.then(s.queued, s.sweep, s.creates(CreateBehaviour.THROTTLED)), s.check
    ),
    "cancel in the queue": Scenario(s.queued, s.cancel),
    "check off-peak": Scenario(s.then(s.off_peak, s.sweep), s.check, s.submit_off_peak),
    "check off-peak finds the end": Scenario(s.then(s.off_peak, s.finish, s.sweep), s.check, s.submit_off_peak),
    "check off-peak expires": Scenario(s.then(s.off_peak, s.wait(172_800), s.sweep), s.check, s.submit_off_peak),
    "check late": Scenario(s.then(s.late, s.sweep), s.check),
    "check late finds the end": Scenario(s.then(s.late, s.finish, s.sweep), s.check),
    "check submits": Scenario(s.then(_throttled(s.submit_large), s.swept), s.check, s.submit_large),
    "check reads a candidate before it submits": Scenario(denied_and_named, s.check),
    "check reads a candidate before it submits, by its tag": Scenario(denied_and_named, s.check, provider=HttpVidu),
    "check finds the end": Scenario(s.then(s.finished, s.sweep), s.check),
    "check waits": Scenario(s.then(s.overdue, s.sweep), s.check),
    "check reconciles a candidate": Scenario(candidate_found, s.check),
    "check reconciles a candidate, by its tag": Scenario(candidate_found, s.check, provider=HttpVidu),
    "check asks for a delivery": Scenario(s.then(s.generated, s.wait(430), s.sweep), s.check),
    "check expires": Scenario(s.past_deadline, s.check),
    "check expires an unconfirmed create": Scenario(s.then(s.unconfirmed, s.wait(7200), s.sweep), s.check),
    "deliver": Scenario(s.generated, s.deliver),
    "deliver a video of unknown length": Scenario(s.then(s.in_parts, s.generated), s.deliver),
    "deliver two videos": Scenario(two_videos, s.deliver),
    "deliver what is missing": Scenario(
        s.then(two_videos, s.deliver_one_of_two, s.wait(430), s.sweep), s.deliver_again
    ),
    "publish": Scenario(s.generated, s.publish),
    "notify of the end": Scenario(s.completed, s.notify, s.nothing),
    "notify of progress": Scenario(s.processing, s.notify, s.nothing),
    "notify a backend that is busy": Scenario(
        s.then(s.completed, s.backend(BackendBehaviour.BUSY)), s.notify, s.nothing
    ),
    "notify a backend that is gone": Scenario(
        s.then(s.completed, s.backend(BackendBehaviour.GONE)), s.notify, s.nothing
    ),
    "notify a backend that is silent": Scenario(
        s.then(s.completed, s.backend(BackendBehaviour.SILENT)), s.notify, s.nothing
    ),
    "replay a notification": Scenario(s.then(s.completed, s.notify), s.then(s.replay, s.notify), s.nothing),
    "file": _by_queue(s.asks_by_file),
    "file received again": Scenario(s.record_and_die, s.receive(), s.receive()),
    "check submits what a file left": Scenario(s.then(s.record_and_die, s.swept), s.check, s.receive()),
    "batch": Scenario(s.drops_batch, s.receive_batch(0), s.nothing),
    "batch dropped again": Scenario(s.then(s.batch_recorded, s.drops_batch_again), s.receive_batch(-1), s.nothing),
    "batch accepted": Scenario(s.batch_accepted, s.receive_batch(2), s.nothing),
    "batch ended": Scenario(s.batch_ended, s.receive_batch(-1), s.nothing),
    "lines of a batch": Scenario(s.batch_recorded, s.receive_batch(1), s.nothing),
    "event": _by_queue(s.asks(lambda sim: sim.event()), twice=True),
    "event with a key": _by_queue(s.asks_by_event),
    "file that is rejected": _by_queue(s.asks(lambda sim: sim.drop(b"{"), refused=True)),
    "event that is rejected": _by_queue(s.asks(lambda sim: sim.event(detail={"request": 1}), refused=True)),
    "event of an unmapped source": _by_queue(s.asks(lambda sim: sim.event(source="other"), refused=True), twice=True),
    "event whose key is another request's": _by_queue(
        s.then(
            s.submit_as(prompt="a dog at sea"), s.asks(lambda sim: sim.event(idempotency_key="order-1"), refused=True)
        )
    ),
}


@dataclass(frozen=True)
class Point:
    """Where faults are injected: counted from the begin of the scenario's act, and from its end."""

    first: int
    fault: Fault
    callbacks: str
    second: int | None = None
    second_fault: Fault = Fault.DIES_BEFORE


def begin(name: str) -> s.HttpSimulation:
    """The scenario up to its act."""
    sim = s.HttpSimulation(provider=SCENARIOS[name].provider)
    SCENARIOS[name].prepare(sim)
    return sim


def play(name: str, point: Point) -> bool:
    """One run, to its end, with the invariants checked; whether every fault was injected."""
    sim, scenario = begin(name), SCENARIOS[name]
    sim.effects.arm(point.first, point.fault)
    sim.attempt(lambda: scenario.act(sim))
    injected = sim.effects.injected is not None
    sim.effects.disarm()
    if point.second is not None:
        sim.effects.arm(point.second, point.second_fault)
    named = s.time_passes(sim, point.callbacks, scenario.again)
    injected &= sim.effects.injected is not None
    sim.effects.disarm()
    named |= s.time_passes(sim, point.callbacks, scenario.again)
    check_at_rest(sim, named=named, lost_slots=2)
    return injected


def effects_of(name: str) -> list[str]:
    """What the scenario does, in order, when nothing goes wrong."""
    sim = begin(name)
    sim.effects.names.clear()
    SCENARIOS[name].act(sim)
    return list(sim.effects.names)


def explore(name: str, points: list[Point]) -> int:
    """Play them; in how many every fault was injected."""
    injected = 0
    for point in points:
        try:
            injected += play(name, point)
        except AssertionError as error:
            error.add_note(f"reproduce: play({name!r}, {point})")
            raise
    return injected


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_whatever_fails_the_invariants_hold(name: str, extent: Extent, statistics: Statistics) -> None:
    """Every effect in every way; in the sample each with one way of calling back, in turn."""
    effects = effects_of(name)
    points = [Point(at, fault, way) for at in range(len(effects)) for fault in Fault for way in s.CALLBACKS]
    points = points[:: 1 if extent.all else 4]
    assert explore(name, points) == len(points)
    statistics.add("crash points, one fault", len(points))


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_whatever_two_things_fail_the_invariants_hold(name: str, extent: Extent, statistics: Statistics) -> None:
    rng, effects, faults = random.Random(name), len(effects_of(name)), list(Fault)  # noqa: S311 - repeatable
    points = [
        Point(
            rng.randrange(effects),
            rng.choice(faults),
            rng.choice(s.CALLBACKS),
            rng.randrange(REACH),
            rng.choice(faults),
        )
        for _ in range(extent.pairs)
    ]
    assert explore(name, points) > len(points) // 20, "the second fault is hardly ever injected"
    statistics.add("crash points, two faults", len(points))


def test_every_outside_call_is_made_to_fail() -> None:
    """Every service that the use cases talk to, provider, video host and backend."""
    effects = {effect for name in SCENARIOS for effect in effects_of(name)}
    services = {effect.partition(".")[0] for effect in effects}
    assert services >= {*s.HttpSimulation().account.clients, "provider", "source", "client"}
    assert effects >= {
        "dynamodb.put_item",
        "dynamodb.query",
        "dynamodb.transact_write_items",
        "dynamodb.update_item",
        "lambda.invoke",
        "events.put_events",
        "provider.cancel",
        "provider.create",
        "provider.read",
        "s3.complete_multipart_upload",
        "s3.create_multipart_upload",
        "s3.put_object",
        "s3.upload_part",
        "sqs.send_message",
        "stepfunctions.start_execution",
    }
