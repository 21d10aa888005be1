"""Every outside effect of every use case goes wrong in every way, and then time passes.

Whatever died, was refused or lost its reply: at most one create call created, the task settles, a video that was made
is delivered, a task is canceled if and only if there will be none, and versions and events only ever go up.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.pictures import data_uri, png
from tests.unit.usecases.effects import READS, Fault, ProcessDeathError
from tests.unit.usecases.figures import Figures
from tests.unit.usecases.model import judge_at_rest
from tests.unit.usecases.quick_account import quick_account
from tests.unit.usecases.scripted import LostReplyError, LyingRefusalError
from tests.unit.usecases.world import TENANT, World
from vidu_relay.adapters import task_item, task_store
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.task_item import task_from_image
from vidu_relay.adapters.video_archive import PART_BYTES
from vidu_relay.domain.errors import InvalidRequestError, NotCreatedError, ViduRelayError
from vidu_relay.domain.snapshot import ProgressState, TaskError
from vidu_relay.domain.states import Status, can_transition

DONE = {"id": "gen-1", "status": "completed"}
PROCESSING = {"id": "gen-1", "status": "processing"}


@pytest.fixture(autouse=True)
def one_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """What sharding adds to a sweep is not at stake here, and costs seconds."""
    monkeypatch.setattr(task_item, "DUE_SHARDS", 1)
    monkeypatch.setattr(task_store, "DUE_SHARDS", 1)


@dataclass(frozen=True)
class Scenario:
    """`prepare` goes well; `act` is struck; `effects` is how many there are at least, so that none goes untried.

    `callbacks` says what the provider does afterwards. Without any is the hardest; where a remote id may be lost,
    callbacks make the difference. `again` is how the request is repeated: by the client, or by its queue.
    """

    prepare: Callable[[World], object]
    act: Callable[[World], object]
    effects: int
    callbacks: tuple[str, ...] = ("never",)
    again: Callable[[World], object] = lambda world: world.submit(**request_of(world))


def nothing(world: World) -> None:
    """Where the story begins with `act`."""


def overdue(world: World) -> None:
    world.submit()
    world.clock.advance(125)


def overdue_and_swept(world: World) -> None:
    overdue(world)
    world.sweep()


def finished(world: World) -> None:
    overdue(world)
    world.provider.finish("gen-1")


def accepted(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429")]
    world.submit(payload="p" * 2000)


def submitted(world: World) -> None:
    world.submit()


def submitted_where_cancels_show_late(world: World) -> None:
    world.submit()
    world.provider.cancel_shows = False


def accepted_and_swept(world: World) -> None:
    accepted(world)
    world.clock.advance(125)
    world.sweep()


def images_in_two_forms(world: World) -> dict[str, Any]:
    """One image in the request and one in S3; putting that one there again is no effect of the relay's."""
    key = f"uploads/{TENANT}/fox.png"
    world.account.clients["s3"].put_object(Bucket=world.account.inbox, Key=key, Body=png())
    world.pictures[world.task_id()] = [png(300, 300), png()]
    return {"images": [data_uri(png(300, 300)), f"s3://{world.account.inbox}/{key}"]}


def submit_images(world: World, *, off_peak: bool = False) -> None:
    world.submit(**images_in_two_forms(world), off_peak=off_peak or None)


def submit_images_off_peak(world: World) -> None:
    submit_images(world, off_peak=True)


def off_peak_accepted_and_swept(world: World) -> None:
    world.provider.create_faults = [NotCreatedError("HTTP 429")]
    submit_images_off_peak(world)
    world.clock.advance(125)
    world.sweep()


def accepted_and_hinted(world: World) -> None:
    """The provider said no and created all the same; its callback came while its API could not be read."""
    world.provider.create_faults = [LyingRefusalError("HTTP 429")]
    world.submit()
    world.provider.unavailable = True
    world.ring(world.task_id(), PROCESSING)
    world.provider.unavailable = False
    world.clock.advance(125)
    world.sweep()


def finished_and_swept(world: World) -> None:
    finished(world)
    world.sweep()


def lost(world: World) -> None:
    """The create call died after it created; its reply was lost with it."""
    world.provider.create_faults = [LostReplyError("reset")]
    task = world.submit()
    assert task.attempt is not None
    world.store.save(replace(task, attempt=replace(task.attempt, ended_at=None)))
    world.clock.advance(100)


def lost_and_hinted(world: World) -> None:
    lost(world)
    world.provider.unavailable = True
    world.ring(world.task_id(), PROCESSING)
    world.provider.unavailable = False
    world.provider.finish("gen-1")
    world.clock.advance(1)
    world.sweep()


def generated(world: World) -> None:
    world.submit()
    world.provider.finish("gen-1")
    world.ring(world.task_id(), DONE)


def generated_of_unknown_length(world: World) -> None:
    """Longer than what is one PUT, so that it goes in parts."""
    world.source.known_length = False
    world.source.padding = bytes(PART_BYTES)
    generated(world)


def two_videos(world: World) -> None:
    world.submit()
    world.provider.finish("gen-1", "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    world.ring(world.task_id(), DONE)


def undelivered_and_swept(world: World) -> None:
    generated(world)
    world.clock.advance(430)
    world.sweep()


def past_its_deadline(world: World) -> None:
    overdue(world)
    world.clock.advance(7200)
    world.sweep()


def lost_past_its_deadline(world: World) -> None:
    lost(world)
    world.clock.advance(7200)
    world.sweep()


def check(world: World) -> None:
    world.check(world.task_id())


def doors_open(world: World) -> None:
    world.open_doors()


def dropped(world: World) -> None:
    world.accept(world.drop(payload="p" * 2000))


def sent_on_the_bus(world: World) -> None:
    world.accept(world.event())


def received_again(act: Callable[[World], object]) -> Callable[[World], object]:
    """The queue delivers a message again: at once, whatever became of it; False if that was in vain."""
    return lambda world: [world.survive(lambda: act(world)) for _ in range(2)][-1]


def received_late(act: Callable[[World], object]) -> Callable[[World], object]:
    """The sweep comes first."""

    def late(world: World) -> bool:
        world.run(until=world.clock.now + 180_000)
        return world.survive(lambda: act(world))

    return late


def recorded_and_left(world: World) -> None:
    """A file's task was recorded, and whoever recorded it died before the create call."""
    doors_open(world)
    world.effects.gate = lambda name: Fault.DIES_AFTER if name == "dynamodb.put_item" else None
    strike(world, dropped)
    world.effects.gate = lambda _: None
    world.effects.disarm()
    assert world.task(world.task_id()).status is Status.ACCEPTED


def left_and_swept(world: World) -> None:
    recorded_and_left(world)
    world.clock.advance(121)
    world.sweep()


def probe_is_due(world: World) -> None:
    """The provider refused our account, and the next create call is to find out whether it still does."""
    error = TaskError("40201", "Insufficient credits")
    world.submission.pauses.pause("gateway", error, now=world.clock(), probe_at=world.clock())


def partly_delivered(world: World) -> None:
    two_videos(world)
    world.source.expired.add("https://cdn.example.com/b.mp4")
    world.deliver(world.task_id())
    world.source.expired.clear()
    world.clock.advance(430)
    world.sweep()


def cancel_too_late(world: World) -> None:
    with suppress(InvalidRequestError):  # the answer it is there for
        world.cancel(world.task_id())


EVERY_WAY = ("never", "soon", "after the end")

SCENARIOS = {
    "submit": Scenario(nothing, lambda w: w.submit(), 6, EVERY_WAY),
    "submit as a probe": Scenario(probe_is_due, lambda w: w.submit(), 8, EVERY_WAY),
    "submit a large request": Scenario(nothing, lambda w: w.submit(payload="p" * 2000), 7),
    "submit images": Scenario(nothing, submit_images, 8, again=submit_images),
    "submit images off-peak": Scenario(nothing, submit_images_off_peak, 10, again=submit_images_off_peak),
    "check submits images off-peak": Scenario(off_peak_accepted_and_swept, check, 7, again=submit_images_off_peak),
    "callback settles": Scenario(finished, lambda w: w.ring(w.task_id(), DONE), 3),
    "callback tells of progress": Scenario(overdue, lambda w: w.ring(w.task_id(), PROCESSING), 2),
    "callback claims an end not shown": Scenario(overdue, lambda w: w.ring(w.task_id(), DONE), 4),
    "callback adopts": Scenario(lost, lambda w: w.ring(w.task_id(), DONE), 4, ("never", "after the end")),
    "cancel what waits": Scenario(accepted, lambda w: w.cancel(w.task_id()), 2, EVERY_WAY),
    "cancel at the provider": Scenario(submitted, lambda w: w.cancel(w.task_id()), 4, EVERY_WAY),
    "cancel done before": Scenario(finished, cancel_too_late, 4, EVERY_WAY),
    "cancel not shown yet": Scenario(submitted_where_cancels_show_late, lambda w: w.cancel(w.task_id()), 5),
    "sweep": Scenario(finished, lambda w: w.sweep(), 3),
    "check submits": Scenario(accepted_and_swept, check, 6, EVERY_WAY),
    "check looks before it submits": Scenario(accepted_and_hinted, check, 3, EVERY_WAY),
    "check finds the end": Scenario(finished_and_swept, check, 3),
    "check waits": Scenario(overdue_and_swept, check, 3),
    "check adopts by a hint": Scenario(lost_and_hinted, check, 3),
    "check asks for a delivery": Scenario(undelivered_and_swept, check, 3),
    "check expires": Scenario(past_its_deadline, check, 3),
    "check expires a lost create": Scenario(lost_past_its_deadline, check, 2, ("never", "after the end")),
    "deliver": Scenario(generated, lambda w: w.deliver(w.task_id()), 5),
    "deliver a video of unknown length": Scenario(generated_of_unknown_length, lambda w: w.deliver(w.task_id()), 7),
    "deliver two videos": Scenario(two_videos, lambda w: w.deliver(w.task_id()), 7),
    "deliver what is missing": Scenario(partly_delivered, lambda w: w.deliver(w.task_id(), again=True), 8),
    "publish": Scenario(generated, lambda w: w.publish(), 1),
    "file": Scenario(doors_open, dropped, 11, EVERY_WAY, received_again(dropped)),
    "file, swept before its message comes again": Scenario(doors_open, dropped, 11, again=received_late(dropped)),
    "event": Scenario(doors_open, sent_on_the_bus, 10, EVERY_WAY, received_again(sent_on_the_bus)),
    "event, swept before its message comes again": Scenario(
        doors_open, sent_on_the_bus, 10, again=received_late(sent_on_the_bus)
    ),
    "file received again": Scenario(recorded_and_left, dropped, 7, EVERY_WAY, received_again(dropped)),
    "check submits what a file left": Scenario(left_and_swept, check, 6, EVERY_WAY, received_again(dropped)),
}


_effects: dict[str, tuple[str, ...]] = {}


def effects_of(name: str) -> tuple[str, ...]:
    """What the scenario does, in order, when nothing goes wrong. Tried once: it is the same each time."""
    if name not in _effects:
        scenario, world = SCENARIOS[name], new_world()
        scenario.prepare(world)
        world.effects.names.clear()
        scenario.act(world)
        _effects[name] = tuple(world.effects.names)
        assert len(_effects[name]) >= scenario.effects, f"only {_effects[name]} were found"
    return _effects[name]


def new_world() -> World:
    return World(quick_account())


def kill_points(name: str, fault: Fault, callbacks: str) -> Iterator[tuple[World, str]]:
    """The world after each of the scenario's effects was struck, and which it was."""
    for point, effect in enumerate(effects_of(name)):
        if makes_no_difference(effect, fault, callbacks):
            continue
        world = new_world()
        SCENARIOS[name].prepare(world)
        world.effects.arm(point, fault)
        strike(world, SCENARIOS[name].act)
        world.effects.disarm()
        assert world.effects.struck == effect
        yield world, f"{effect} (effect {point}): {fault.value}; callbacks {callbacks}"


def makes_no_difference(effect: str, fault: Fault, callbacks: str) -> bool:
    """Whether another case tries the same: what was only read leaves nothing behind that callbacks could meet."""
    if effect in READS:
        return callbacks != "never" or fault not in (Fault.DIES_BEFORE, Fault.REFUSED)
    # a stream cannot be sent twice, and the client for uploads does not try
    never_again = effect in ("provider.create", "s3.upload_part")
    return fault is Fault.SENT_TWICE and (callbacks != "never" or never_again)


def strike(world: World, act: Callable[[World], object]) -> None:
    """Whether the use case comes through is nobody's business here, nor what Lambda would report."""
    with suppress(Exception, ProcessDeathError):
        act(world)


def time_passes(world: World, callbacks: str, again: Callable[[World], object]) -> None:
    """The request is repeated, the provider finishes and rings as told, sweeps and pollers do their work."""
    world.provider.diligent = True
    again(world)
    for remote_id in world.provider.remote:
        there = world.provider.remote[remote_id]
        if not there.video_urls and there.state is not ProgressState.CANCELED:
            world.provider.finish(remote_id)
    if callbacks == "soon":
        ring(world)
        world.clock.advance(120)
        ring(world)
    world.run()
    if callbacks == "after the end":
        ring(world)
        world.run()


def request_of(world: World) -> dict[str, Any]:
    """The client repeats the request it made."""
    task = task_from_image(world.stream[-1]["dynamodb"]["NewImage"]) if world.stream else None
    if task is None:
        return {}
    kept = RequestArchive(world.account.clients["s3"], world.account.inbox)  # looking is not an effect
    return {"payload": str(kept.get(task.request_key)["payload"])} if task.request_key else {}


def ring(world: World) -> None:
    for remote_id in world.provider.remote:
        try:
            world.ring(world.task_id(), {"id": remote_id, "status": "completed"})
        except ViduRelayError:
            world.clock.advance(1)


@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize(
    ("name", "callbacks"), [(name, way) for name, scenario in SCENARIOS.items() for way in scenario.callbacks]
)
def test_whatever_goes_wrong_the_promises_hold(name: str, fault: Fault, callbacks: str, figures: Figures) -> None:
    for world, point in kill_points(name, fault, callbacks):
        time_passes(world, callbacks, SCENARIOS[name].again)
        assert_billed_once(world, point)
        assert_settled(world, point, callbacks)
        assert_only_upwards(world, point)
        judge_at_rest(world, lost_places=1)
        figures.add("kill points, one at a time", 1)


def test_no_outside_call_goes_untried() -> None:
    """Every service that the use cases talk to, and both ends of the provider, are struck somewhere."""
    tried = {effect for name in SCENARIOS for effect in effects_of(name)}
    assert {effect.partition(".")[0] for effect in tried} == {*quick_account().clients, "provider", "source"}
    assert tried >= {
        "dynamodb.put_item",
        "dynamodb.update_item",
        "dynamodb.query",
        "dynamodb.transact_write_items",
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


def assert_billed_once(world: World, point: str) -> None:
    assert len(world.provider.remote) <= 1, point


def assert_settled(world: World, point: str, callbacks: str) -> None:
    task = world.task(world.task_id())
    assert task.due_at is None, point
    assert world.deaths == [], point
    unconfirmed = task.error is not None and task.error.code == "submission_unconfirmed"
    if task.status is Status.EXPIRED and (unconfirmed and (callbacks == "never" or not world.provider.remote)):
        return
    if all(snapshot.state is ProgressState.CANCELED for snapshot in world.provider.remote.values()):
        assert task.status is Status.CANCELED, f"{point}: {task.status}"
        return
    assert task.status is Status.COMPLETED, f"{point}: {task.status} {task.error}"
    (snapshot,) = world.provider.remote.values()
    assert [world.stored(video.key) for video in task.videos] == [
        world.source.video(url) for url in snapshot.video_urls
    ], point


def assert_only_upwards(world: World, point: str) -> None:
    tasks = [task_from_image(record["dynamodb"]["NewImage"]) for record in world.stream]
    for before, after in pairwise(tasks):
        news = after.version - before.version
        assert news in (0, 1), point
        assert before.status is after.status or can_transition(before.status, after.status), point
        assert after.revision == before.revision + 1, point
    told = [detail["task"]["version"] for _, detail in world.published]
    first_told = list(dict.fromkeys(told))
    assert first_told == list(range(tasks[0].version, tasks[-1].version + 1)), f"{point}: {told}"
