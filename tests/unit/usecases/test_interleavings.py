"""Use cases run at the same time, changing over at every effect: whatever the schedule, the promises hold."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest

from tests.unit.usecases.effects import Fault
from tests.unit.usecases.figures import Figures
from tests.unit.usecases.model import judge_at_rest
from tests.unit.usecases.schedule import Actor, Choices, Scheduler, explore
from tests.unit.usecases.spoken import CancelMood, Mood, SpokenProvider, SpokenVidu
from tests.unit.usecases.stories import StoryWorld, provider_finishes, time_passes
from tests.unit.usecases.telling import BackendMood
from tests.unit.usecases.world import KEY
from vidu_relay.domain.errors import AttemptUnderwayError, InvalidRequestError, ProviderUnavailableError
from vidu_relay.domain.snapshot import ProgressState

pytestmark = pytest.mark.usefixtures("explorable")

LIMIT, SAMPLE = 150, 40
"""Schedules of one story: all of them up to the first number, else as many as the second says."""

STRUCK = 12
"""Schedules of one story in which something goes wrong besides."""


@dataclass(frozen=True)
class Together:
    """`prepare` goes well; then the actors run at the same time, and afterwards time passes."""

    prepare: Callable[[StoryWorld], object]
    actors: tuple[tuple[str, Callable[[StoryWorld], object]], ...]
    keys: tuple[str, ...] = (KEY,)
    cap: int = 1000
    provider: type[SpokenProvider] = SpokenProvider


def nothing(world: StoryWorld) -> None:
    """Where the story begins with the actors."""


def submitted(world: StoryWorld) -> None:
    world.submit()


def finished(world: StoryWorld) -> None:
    world.submit()
    world.provider.finish("gen-1")


def overdue(world: StoryWorld) -> None:
    world.submit()
    world.clock.advance(125)


def finished_and_swept(world: StoryWorld) -> None:
    overdue(world)
    world.provider.finish("gen-1")
    world.sweep()


def running_and_swept(world: StoryWorld) -> None:
    overdue(world)
    world.sweep()


def accepted_and_swept(world: StoryWorld) -> None:
    world.provider.moods = [Mood.THROTTLED]
    world.submit()
    world.clock.advance(125)
    world.sweep()


def lied_to_and_swept(world: StoryWorld) -> None:
    world.provider.moods = [Mood.LIED]
    world.submit()
    world.clock.advance(125)
    world.sweep()


def lost(world: StoryWorld) -> None:
    world.provider.moods = [Mood.TIMED_OUT]
    world.submit()


def two_lost(world: StoryWorld) -> None:
    world.provider.moods = [Mood.TIMED_OUT, Mood.BUSY]
    world.submit()
    world.submit(key="order-2")


def lost_and_swept(world: StoryWorld) -> None:
    """Hinted at while the provider could not be read: the check is the one to look it up."""
    lost(world)
    world.provider.unavailable = True
    ring(world)
    world.provider.unavailable = False
    world.provider.finish("gen-1")
    world.clock.advance(1)
    world.sweep()


def generated(world: StoryWorld) -> None:
    finished(world)
    ring(world)


def generated_in_parts(world: StoryWorld) -> None:
    world.source.known_length = False
    generated(world)


def undelivered_and_swept(world: StoryWorld) -> None:
    generated(world)
    world.clock.advance(430)
    world.sweep()


def past_its_deadline(world: StoryWorld) -> None:
    overdue(world)
    world.clock.advance(7200)
    world.sweep()


def overdue_and_finished(world: StoryWorld) -> None:
    overdue(world)
    world.provider.finish("gen-1")


def lost_past_its_deadline(world: StoryWorld) -> None:
    lost(world)
    world.clock.advance(7300)
    world.sweep()


def hooked(world: StoryWorld) -> None:
    """Its client gives a `callback_url`."""
    world.hooked = True
    world.submit()


def processing_and_published(world: StoryWorld) -> None:
    """Its client is to be told that it is being worked on."""
    hooked(world)
    world.provider.show("gen-1", ProgressState.PROCESSING)
    ring(world)
    world.publish()
    world.provider.finish("gen-1")


def completed_and_published(world: StoryWorld) -> None:
    hooked(world)
    world.provider.finish("gen-1")
    ring(world)
    world.deliver(world.task_id())
    world.publish()


def completed_and_refused(world: StoryWorld) -> None:
    """The backend wants to hear no more of it."""
    completed_and_published(world)
    world.backend.moods = [BackendMood.GONE, BackendMood.GONE]


def completed_and_silent(world: StoryWorld) -> None:
    """The backend took the call and never answered; its cool-down is over."""
    completed_and_published(world)
    world.backend.moods = [BackendMood.SILENT, BackendMood.BUSY]
    world.tell()
    world.clock.advance(125)


def submit(world: StoryWorld) -> None:
    world.submit()


def submit_another(world: StoryWorld) -> None:
    world.submit(key="order-2")


def submit_for_the_last_place(world: StoryWorld) -> None:
    world.submit(daily_cap=1)


def submit_another_for_the_last_place(world: StoryWorld) -> None:
    world.submit(key="order-2", daily_cap=1)


def ring(world: StoryWorld) -> None:
    """A callback that tells the truth, if there is anything to tell yet."""
    for remote_id in list(world.provider.remote)[:1]:
        task_id, token, body = world.provider.call_back(remote_id)
        world.ring(task_id, json.dumps(body).encode(), token=token)


def ring_for_both(world: StoryWorld, number: int) -> None:
    """A callback for one task that names the remote ids of two, the first task's first."""
    task_id = world.task_id(KEY if number == 1 else "order-2")
    world.ring(task_id, {"id": "gen-1", "task_id": "gen-2", "status": "completed"})


def claim_the_end(world: StoryWorld) -> None:
    """A callback that says it is over, which the provider does not show."""
    world.ring(world.task_id(), {"id": "gen-1", "status": "completed"})


def check(world: StoryWorld) -> None:
    """The execution that the sweep started."""
    (execution,) = world._running[:1]
    world.check(execution.task_id, execution.lease)


def sweep(world: StoryWorld) -> None:
    world.sweep()


def deliver(world: StoryWorld) -> None:
    world.deliver(world.task_id())


def deliver_again(world: StoryWorld) -> None:
    world.deliver(world.task_id(), again=True)


def publish(world: StoryWorld) -> None:
    world.publish()


def tell(world: StoryWorld) -> None:
    world.tell()


def tell_again(world: StoryWorld) -> None:
    """The queue hands the same message over a second time."""
    world.tell(world.notices.notices[0] if world.notices.notices else None)


def generate_and_deliver(world: StoryWorld) -> None:
    ring(world)
    world.deliver(world.task_id())


def finish_late(world: StoryWorld) -> None:
    """The provider finishes what it has by then, and rings."""
    world.effects.perform("provider.finishes", lambda: provider_finishes(world))
    ring(world)


def asked_by_file(world: StoryWorld) -> None:
    world.open_doors()
    world.send(world.drop())


def asked_by_event(world: StoryWorld) -> None:
    """Under the key that a client over HTTP uses too."""
    world.open_doors()
    world.send(world.event(idempotency_key=KEY))


def asked_twice_by_file(world: StoryWorld) -> None:
    """Two uploads of one file, of different requests."""
    world.open_doors()
    world.send(world.drop())
    world.send(world.drop(prompt="a dog at sea"))


def recorded_by_file_and_left(world: StoryWorld) -> None:
    """Whoever received the message died when the task was recorded."""
    asked_by_file(world)
    world.effects.gate = lambda name: Fault.DIES_AFTER if name == "dynamodb.put_item" else None
    world.receive(world.sent[0])
    world.effects.gate = lambda _: None
    world.clock.advance(121)


def recorded_by_file_and_swept(world: StoryWorld) -> None:
    recorded_by_file_and_left(world)
    world.sweep()


def receive(world: StoryWorld) -> None:
    world.receive(world.sent[0])


def receive_other(world: StoryWorld) -> None:
    world.receive(world.sent[1])


def throttled(world: StoryWorld) -> None:
    world.provider.moods = [Mood.THROTTLED]
    world.submit()


def unheard(world: StoryWorld) -> None:
    """The next cancel is taken, and its answer is lost."""
    world.submit()
    world.provider.cancel_moods = [CancelMood.UNANSWERED]


def processing_and_swept(world: StoryWorld) -> None:
    running_and_swept(world)
    world.provider.show("gen-1", ProgressState.PROCESSING)


def cancel(world: StoryWorld) -> None:
    world.cancel(world.task_id())


def cancel_soon(world: StoryWorld) -> None:
    """As soon as there is a task."""
    world.effects.perform("client.waits", lambda: None)
    world.cancel(world.task_id())


def A(*acts: Callable[[StoryWorld], object]) -> tuple[tuple[str, Callable[[StoryWorld], object]], ...]:  # noqa: N802
    """Actors, named after what they do."""
    number = count(1)
    return tuple((f"{next(number)} {act.__name__}", act) for act in acts)


def ring_first(world: StoryWorld) -> None:
    ring_for_both(world, 1)


def ring_second(world: StoryWorld) -> None:
    ring_for_both(world, 2)


TOGETHER = {
    "the same request twice": Together(nothing, A(submit, submit)),
    "two requests for the last place": Together(
        nothing, A(submit_for_the_last_place, submit_another_for_the_last_place), cap=1
    ),
    "one request twice for the last place": Together(
        nothing, A(submit_for_the_last_place, submit_for_the_last_place), cap=1
    ),
    "a callback during the create call": Together(nothing, A(submit, finish_late)),
    "callback and repetition": Together(finished, A(ring, submit)),
    "two callbacks": Together(finished, A(ring, ring)),
    "three callbacks": Together(finished, A(ring, ring, ring)),
    "callback and check": Together(finished_and_swept, A(ring, check)),
    "claimed end and check": Together(running_and_swept, A(claim_the_end, check)),
    "claimed end and sweep": Together(overdue, A(claim_the_end, sweep)),
    "two claimed ends": Together(overdue, A(claim_the_end, claim_the_end)),
    "callback and sweep": Together(overdue_and_finished, A(ring, sweep)),
    "two sweeps": Together(overdue, A(sweep, sweep)),
    "a check repeated while it runs": Together(accepted_and_swept, A(check, check)),
    "check submits, the client asks again": Together(accepted_and_swept, A(check, submit)),
    "check submits, a callback comes": Together(accepted_and_swept, A(check, finish_late)),
    "check submits what exists, a callback comes": Together(lied_to_and_swept, A(check, ring)),
    "two callbacks adopt": Together(lost, A(ring, ring)),
    "callback and check adopt": Together(lost_and_swept, A(ring, check)),
    "two tasks claim the same ids": Together(two_lost, A(ring_first, ring_second), keys=(KEY, "order-2")),
    "expiry and a late callback": Together(past_its_deadline, A(check, finish_late)),
    "expiry of a lost create and its callback": Together(lost_past_its_deadline, A(check, ring)),
    "delivery twice": Together(generated, A(deliver, deliver)),
    "delivery twice, in parts": Together(generated_in_parts, A(deliver, deliver_again)),
    "delivery and callback": Together(generated, A(deliver, ring)),
    "delivery is asked for while it runs": Together(undelivered_and_swept, A(deliver, check)),
    "publisher and callback": Together(finished, A(publish, ring)),
    "callback, check and delivery": Together(finished_and_swept, A(ring, check, deliver)),
    "submit, sweep and callback": Together(nothing, A(submit, finish_late, sweep)),
    "a message received twice": Together(asked_by_file, A(receive, receive), keys=()),
    "an event received twice": Together(asked_by_event, A(receive, receive), keys=()),
    "two uploads of one file": Together(asked_twice_by_file, A(receive, receive_other), keys=()),
    "event and HTTP under one key": Together(asked_by_event, A(receive, submit)),
    "a message comes again, the sweep finds its task": Together(recorded_by_file_and_left, A(receive, sweep), keys=()),
    "a message comes again while the check submits": Together(recorded_by_file_and_swept, A(receive, check), keys=()),
    "a message comes twice again": Together(recorded_by_file_and_left, A(receive, receive), keys=()),
    "a message comes again, the client cancels": Together(recorded_by_file_and_left, A(receive, cancel), keys=()),
    "a message is received, a callback comes": Together(asked_by_event, A(receive, finish_late), keys=()),
    "a notification received twice": Together(completed_and_published, A(tell, tell_again), keys=()),
    "a refused notification received twice": Together(completed_and_refused, A(tell, tell_again), keys=()),
    "a notification received twice after a cool-down": Together(completed_and_silent, A(tell, tell_again), keys=()),
    "a notification while the task ends": Together(processing_and_published, A(tell, generate_and_deliver), keys=()),
    "a notification while another is published": Together(
        processing_and_published, A(tell, generate_and_deliver, publish), keys=()
    ),
    "cancel and check submit": Together(accepted_and_swept, A(cancel, check), keys=()),
    "cancel, check and callback": Together(accepted_and_swept, A(cancel, check, finish_late), keys=()),
    "cancel and repetition": Together(throttled, A(cancel, submit)),
    "cancel without a call for it": Together(finished, A(cancel, ring), keys=()),
    "cancel and callback": Together(finished, A(cancel, ring), keys=(), provider=SpokenVidu),
    "cancel and a late end": Together(submitted, A(cancel, finish_late), keys=(), provider=SpokenVidu),
    "cancel and check": Together(processing_and_swept, A(cancel, check), keys=(), provider=SpokenVidu),
    "cancel and expiry": Together(past_its_deadline, A(cancel, check), keys=(), provider=SpokenVidu),
    "cancel and delivery": Together(generated, A(cancel, deliver), keys=(), provider=SpokenVidu),
    "cancel during the create call": Together(nothing, A(submit, cancel_soon), provider=SpokenVidu),
    "cancel twice, an answer lost": Together(unheard, A(cancel, cancel), keys=(), provider=SpokenVidu),
    "cancel twice": Together(submitted, A(cancel, cancel), keys=(), provider=SpokenVidu),
    "two callbacks adopt by their marks": Together(lost, A(ring, ring), provider=SpokenVidu),
    "check submits what exists, a callback comes, by marks": Together(
        lied_to_and_swept, A(check, ring), provider=SpokenVidu
    ),
    "two tasks claim the same ids, by marks": Together(
        two_lost, A(ring_first, ring_second), keys=(KEY, "order-2"), provider=SpokenVidu
    ),
}
MISLED = frozenset({"two tasks claim the same ids"})
ANSWERS = (AttemptUnderwayError, InvalidRequestError, ProviderUnavailableError)
"""What a caller may be told when nothing went wrong; any other error is one of ours."""


def play(name: str, choices: Choices, callbacks: str, strike: tuple[int, int, Fault] | None = None) -> list[int]:
    """One schedule, to its end and judged; how many effects each actor had."""
    story, world = TOGETHER[name], StoryWorld(provider=TOGETHER[name].provider)
    story.prepare(world)
    scheduler = Scheduler(world.effects)
    actors = [Actor(label, lambda a=act: a(world)) for label, act in story.actors]  # type: ignore[misc]
    if strike:
        struck, at, fault = strike
        actors[struck].strikes[at] = fault
    for actor in actors:
        scheduler.spawn(actor)
    while waiting := [actor for actor in actors if not actor.ended]:
        scheduler.step(waiting[choices(len(waiting))])
    for actor in actors:
        told = isinstance(actor.error, ANSWERS) or strike is not None
        if actor.error and (not told or isinstance(actor.error, AssertionError | NotImplementedError)):
            raise actor.error
    places = 0 if strike is None else 1
    rang = time_passes(world, callbacks, *(story.keys if story.cap == 1000 else ()))
    judge_at_rest(world, rang=rang, misled=name in MISLED, lost_places=places, cap=story.cap)
    return [actor.steps for actor in actors]


@pytest.mark.parametrize("callbacks", ["never", "soon"])
@pytest.mark.parametrize("name", list(TOGETHER))
def test_whatever_the_schedule_the_promises_hold(name: str, callbacks: str, figures: Figures) -> None:
    ran, every = explore(
        lambda choices: play(name, choices, callbacks),
        limit=LIMIT * figures.campaign,
        sample=SAMPLE * figures.campaign,
        seed=1,
    )
    figures.add("schedules of use cases at the same time", ran)
    figures.add("stories of which every schedule ran" if every else "stories of which a sample ran", 1)


@pytest.mark.parametrize("name", list(TOGETHER))
def test_whatever_goes_wrong_besides_the_promises_hold(name: str, figures: Figures) -> None:
    """One of the actors is struck as well."""
    rng, faults, ran = random.Random(name), list(Fault), 0  # noqa: S311 - the same sample each time
    for _ in range(STRUCK * figures.campaign):
        strike = (rng.randrange(len(TOGETHER[name].actors)), rng.randrange(8), rng.choice(faults))
        play(name, Choices((), rng), rng.choice(["never", "soon"]), strike)
        ran += 1
    figures.add("schedules with a fault besides", ran)
