"""Every outside effect of every use case goes wrong in every way; and two do, the second in what follows the first."""

import random
from dataclasses import dataclass

import pytest

from tests.simulation.effects import Fault
from tests.simulation.extent import Extent, Statistics
from tests.simulation.http_provider import CreateBehaviour, HttpProvider, HttpVidu
from tests.simulation.invariants import check_at_rest
from tests.simulation.notifications import BackendBehaviour
from tests.simulation.scenarios import (
    CALLBACKS,
    Act,
    HttpSimulation,
    asks,
    asks_by_event,
    asks_by_file,
    backend,
    call_back,
    cancel,
    check,
    claim_end,
    completed,
    deliver,
    deliver_again,
    deliver_one_of_two,
    denied,
    finish,
    finish_two,
    finished,
    generated,
    in_parts,
    nothing,
    notify,
    overdue,
    past_deadline,
    probe_is_due,
    processing,
    publish,
    receive,
    record_and_die,
    shows,
    submit,
    submit_as,
    submit_images,
    submit_images_off_peak,
    submit_large,
    sweep,
    swept,
    then,
    time_passes,
    unconfirmed,
    unreadable,
    wait,
)
from vidu_relay.domain.snapshot import ProgressState

REACH = 25
"""How many effects after the first fault the second one is injected at the latest."""


@dataclass(frozen=True)
class Scenario:
    """`prepare` goes well; faults are injected into `act`; `again` is how the request is repeated afterwards."""

    prepare: Act
    act: Act
    again: Act = submit
    provider: type[HttpProvider] = HttpProvider


def _cancel_shown_late(sim: HttpSimulation) -> None:
    sim.provider.cancel_shows = False


def _throttled(act: Act) -> Act:
    def prepare(sim: HttpSimulation) -> None:
        sim.provider.behaviours = [CreateBehaviour.THROTTLED]
        act(sim)

    return prepare


def _by_queue(ask: Act, *, twice: bool = False) -> Scenario:
    """A request through its queue, which hands it over until it is done, or once more than that."""
    return Scenario(nothing, then(ask, receive(-1)), receive(-1) if twice else nothing)


named_while_unreadable = unreadable(shows(ProgressState.PROCESSING), call_back)
reconcilable = then(unconfirmed, finish)
candidate_found = then(unconfirmed, named_while_unreadable, finish, wait(1), sweep)
denied_and_named = then(denied, named_while_unreadable, swept)
two_videos = then(submit, finish_two, call_back)
SCENARIOS = {
    "submit": Scenario(nothing, submit),
    "submit as a probe": Scenario(probe_is_due, submit),
    "submit a large request": Scenario(nothing, submit_large, submit_large),
    "submit images": Scenario(nothing, submit_images, submit_images),
    "submit images off-peak": Scenario(nothing, submit_images_off_peak, submit_images_off_peak),
    "check submits images off-peak": Scenario(
        then(_throttled(submit_images_off_peak), swept), check, submit_images_off_peak
    ),
    "callback settles": Scenario(finished, call_back),
    "callback shows progress": Scenario(then(overdue, shows(ProgressState.PROCESSING)), call_back),
    "callback claims an end not shown": Scenario(overdue, claim_end),
    "callback reconciles": Scenario(reconcilable, call_back),
    "callback reconciles, by its tag": Scenario(reconcilable, call_back, provider=HttpVidu),
    "cancel what waits": Scenario(_throttled(submit_large), cancel, submit_large, HttpVidu),
    "cancel at the provider": Scenario(submit, cancel, provider=HttpVidu),
    "cancel what is done": Scenario(finished, cancel, provider=HttpVidu),
    "cancel not shown yet": Scenario(then(submit, _cancel_shown_late), cancel, provider=HttpVidu),
    "sweep": Scenario(finished, sweep),
    "check submits": Scenario(then(_throttled(submit_large), swept), check, submit_large),
    "check reads a candidate before it submits": Scenario(denied_and_named, check),
    "check reads a candidate before it submits, by its tag": Scenario(denied_and_named, check, provider=HttpVidu),
    "check finds the end": Scenario(then(finished, sweep), check),
    "check waits": Scenario(then(overdue, sweep), check),
    "check reconciles a candidate": Scenario(candidate_found, check),
    "check reconciles a candidate, by its tag": Scenario(candidate_found, check, provider=HttpVidu),
    "check asks for a delivery": Scenario(then(generated, wait(430), sweep), check),
    "check expires": Scenario(past_deadline, check),
    "check expires an unconfirmed create": Scenario(then(unconfirmed, wait(7200), sweep), check),
    "deliver": Scenario(generated, deliver),
    "deliver a video of unknown length": Scenario(then(in_parts, generated), deliver),
    "deliver two videos": Scenario(two_videos, deliver),
    "deliver what is missing": Scenario(then(two_videos, deliver_one_of_two, wait(430), sweep), deliver_again),
    "publish": Scenario(generated, publish),
    "notify of the end": Scenario(completed, notify, nothing),
    "notify of progress": Scenario(processing, notify, nothing),
    "notify a backend that is busy": Scenario(then(completed, backend(BackendBehaviour.BUSY)), notify, nothing),
    "notify a backend that is gone": Scenario(then(completed, backend(BackendBehaviour.GONE)), notify, nothing),
    "notify a backend that is silent": Scenario(then(completed, backend(BackendBehaviour.SILENT)), notify, nothing),
    "file": _by_queue(asks_by_file),
    "file received again": Scenario(record_and_die, receive(), receive()),
    "check submits what a file left": Scenario(then(record_and_die, swept), check, receive()),
    "event": _by_queue(asks(lambda sim: sim.event()), twice=True),
    "event with a key": _by_queue(asks_by_event),
    "file that is rejected": _by_queue(asks(lambda sim: sim.drop(b"{"), refused=True)),
    "event that is rejected": _by_queue(asks(lambda sim: sim.event(detail={"request": 1}), refused=True)),
    "event of an unmapped source": _by_queue(asks(lambda sim: sim.event(source="nobody"), refused=True), twice=True),
    "event whose key is another request's": _by_queue(
        then(submit_as(prompt="a dog at sea"), asks(lambda sim: sim.event(idempotency_key="order-1"), refused=True))
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


def begin(name: str) -> HttpSimulation:
    """The scenario up to its act."""
    sim = HttpSimulation(provider=SCENARIOS[name].provider)
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
    named = time_passes(sim, point.callbacks, scenario.again)
    injected &= sim.effects.injected is not None
    sim.effects.disarm()
    named |= time_passes(sim, point.callbacks, scenario.again)
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
    points = [Point(at, fault, way) for at in range(len(effects)) for fault in Fault for way in CALLBACKS]
    points = points[:: 1 if extent.all else 4]
    assert explore(name, points) == len(points)
    statistics.add("crash points, one fault", len(points))


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_whatever_two_things_fail_the_invariants_hold(name: str, extent: Extent, statistics: Statistics) -> None:
    rng, effects, faults = random.Random(name), len(effects_of(name)), list(Fault)  # noqa: S311 - repeatable
    points = [
        Point(
            rng.randrange(effects), rng.choice(faults), rng.choice(CALLBACKS), rng.randrange(REACH), rng.choice(faults)
        )
        for _ in range(extent.pairs)
    ]
    assert explore(name, points) > len(points) // 20, "the second fault is hardly ever injected"
    statistics.add("crash points, two faults", len(points))


def test_every_outside_call_is_made_to_fail() -> None:
    """Every service that the use cases talk to, provider, video host and backend."""
    effects = {effect for name in SCENARIOS for effect in effects_of(name)}
    services = {effect.partition(".")[0] for effect in effects}
    assert services >= {*HttpSimulation().account.clients, "provider", "source", "client"}
    assert effects >= {
        "dynamodb.put_item",
        "dynamodb.query",
        "dynamodb.transact_write_items",
        "dynamodb.update_item",
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
