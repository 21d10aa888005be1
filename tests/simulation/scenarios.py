"""What scenarios are made of: steps before a use case runs, use cases, and how time passes afterwards."""

import json
from collections.abc import Callable
from contextlib import suppress
from operator import methodcaller
from typing import Any

from tests.simulation.effects import Fault
from tests.simulation.http_provider import CancelBehaviour, CreateBehaviour, HttpProvider
from tests.simulation.notifications import BackendBehaviour
from tests.simulation.simulation import KEY, TENANT, Simulation
from tests.simulation.wiring import PRICE
from tests.unit.pictures import data_uri, png
from vidu_relay.adapters import video_archive
from vidu_relay.domain.budget import Budget
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.notification import latest_notified
from vidu_relay.domain.queued_requests import DroppedFile, RequestEvent
from vidu_relay.domain.snapshot import ProgressState, TaskError
from vidu_relay.usecases.send_webhook import replay_notification


class HttpSimulation(Simulation):
    """A simulation whose provider answers over HTTP, behind the adapter as deployed."""

    provider: HttpProvider

    def __init__(self, provider: type[HttpProvider] = HttpProvider) -> None:
        super().__init__(provider=provider)


Act = Callable[[HttpSimulation], object]
CALLBACKS = ("never", "soon", "after the end")
"""When the provider calls back for what it has finished."""


def then(*acts: Act) -> Act:
    """These steps, one after the other."""

    def act(sim: HttpSimulation) -> None:
        for one in acts:
            one(sim)

    return act


def nothing(sim: HttpSimulation) -> None:
    """For a scenario that begins with its use case."""


# Clients and senders


def submit_as(key: str = KEY, **fields: Any) -> Act:
    return lambda sim: sim.submit(key=key, **fields)


def submit_named(key: str = KEY) -> Act:
    """A request with an external id, which only one task gets; the answer to the others does not matter."""

    def act(sim: HttpSimulation) -> None:
        with suppress(InvalidRequestError):
            sim.submit(key=key, external_id="order-4711", labels={"team": "blue"})

    return act


def record_goes(sim: HttpSimulation) -> None:
    """A task was deleted after its retention; its external id stays."""
    sim.account.clients["dynamodb"].put_item(
        TableName=sim.account.table,
        Item={"pk": {"S": f"external#{TENANT}#order-4711"}, "task_id": {"S": sim.task_id("long ago")}},
    )


def submit_in_budget(key: str = KEY) -> Act:
    """A request of a tenant whose budget pays one task; the answer to the others does not matter."""

    def act(sim: HttpSimulation) -> None:
        with suppress(InvalidRequestError):
            sim.submit(key=key, budget=Budget(daily=PRICE))

    return act


def reserve_and_die(sim: HttpSimulation) -> None:
    """A price was reserved, and the function died before its task was recorded."""
    sim.effects.arm_name("dynamodb.update_item", Fault.DIES_AFTER)
    sim.attempt(lambda: sim.submit(key="order-3"))
    sim.effects.disarm()


submit, submit_other, submit_large = submit_as(), submit_as("order-2"), submit_as(payload="p" * 2000)
submit_off_peak = submit_as(off_peak=True)


def submit_images(sim: HttpSimulation, *, off_peak: bool | None = None) -> None:
    """One image in the request and one in S3; putting that one again is no effect of the relay's."""
    key = f"uploads/{TENANT}/fox.png"
    sim.account.clients["s3"].put_object(Bucket=sim.account.inbox, Key=key, Body=png())
    sim.expected_images[sim.task_id()] = [png(300, 300), png()]
    sim.submit(images=[data_uri(png(300, 300)), f"s3://{sim.account.inbox}/{key}"], off_peak=off_peak)


def submit_images_off_peak(sim: HttpSimulation) -> None:
    submit_images(sim, off_peak=True)


def cancel(sim: HttpSimulation) -> None:
    with suppress(InvalidRequestError):  # the answer where it comes too late
        sim.cancel(sim.task_id())


def cancel_other(sim: HttpSimulation) -> None:
    with suppress(InvalidRequestError):
        sim.cancel(sim.task_id("order-2"))


def asks(ask: Callable[[HttpSimulation], DroppedFile | RequestEvent], *, refused: bool = False) -> Act:
    """A file or event is in the queue of requests."""
    return then(lambda sim: sim.map_source(), lambda sim: sim.send(ask(sim), refused=refused))


def receive(number: int = 0) -> Act:
    """The queue of requests hands over its message of this number."""
    return lambda sim: sim.receive(sim.sent[number])


asks_by_file, asks_by_event = asks(lambda sim: sim.drop()), asks(lambda sim: sim.event(idempotency_key=KEY))


def drops_batch(sim: HttpSimulation, name: str = "night.jsonl") -> None:
    """A file with two requests, a line that is none, and one whose image is missing."""
    sim.map_source()
    good = [json.dumps(sim.body(seed=seed)) for seed in (1, 2)]
    sim.drop_batch(good[0], "{", json.dumps(sim.body(images=["missing.png"])), good[1], name=name)


def receive_batch(number: int) -> Act:
    """The queue of requests hands over its message about a batch of this number."""
    return lambda sim: sim.receive_batch(sim.about_batches[number])


batch_recorded = then(drops_batch, receive_batch(0))
batch_accepted = then(batch_recorded, receive_batch(1))


def batch_ended(sim: HttpSimulation) -> None:
    """Every task of a batch has ended since they were counted, and the sweep has them counted again."""
    sim.provider.finishes_at_once = True
    batch_accepted(sim)
    sim.run(until=sim.clock.now + 55_000)
    then(wait(60), sweep)(sim)


def drops_batch_again(sim: HttpSimulation) -> None:
    drops_batch(sim, "again.jsonl")


def record_and_die(sim: HttpSimulation) -> None:
    """A file's task was recorded, and the function died before the create call."""
    asks_by_file(sim)
    sim.effects.gate = lambda name: Fault.DIES_AFTER if name == "dynamodb.put_item" else None
    sim.receive(sim.sent[0])
    sim.effects.disarm()


# The provider


def creates(*behaviours: CreateBehaviour) -> Act:
    """How the next create calls end."""
    return lambda sim: sim.provider.behaviours.extend(behaviours)


def cancels(behaviour: CancelBehaviour) -> Act:
    return lambda sim: sim.provider.cancel_behaviours.append(behaviour)


def finish(sim: HttpSimulation) -> None:
    sim.provider.finish("gen-1")


def finish_two(sim: HttpSimulation) -> None:
    sim.provider.finish("gen-1", "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")


def shows(state: ProgressState, **fields: Any) -> Act:
    return lambda sim: sim.provider.show("gen-1", state, **fields)


def unreadable(*acts: Act) -> Act:
    """These steps while the provider cannot be read."""

    def act(sim: HttpSimulation) -> None:
        sim.provider.unavailable = True
        then(*acts)(sim)
        sim.provider.unavailable = False

    return act


def call_back(sim: HttpSimulation) -> None:
    """A callback that tells the truth, if there is anything to tell yet."""
    for remote_id in list(sim.provider.remote)[:1]:
        task_id, token, body = sim.provider.callback(remote_id)
        sim.call_back(task_id, json.dumps(body).encode(), token=token)


def report_end(sim: HttpSimulation) -> None:
    """A callback that says it is over, whatever the provider shows."""
    sim.call_back(sim.task_id(), {"id": "gen-1", "status": "completed"})


def finish_late(sim: HttpSimulation) -> None:
    """The provider finishes what it has by then, and calls back."""
    sim.effects.perform("provider.finishes", lambda: finish_all(sim))
    call_back(sim)


# AWS


sweep, publish, notify, book, compare = map(methodcaller, ("sweep", "publish", "notify", "book", "compare"))


def wait(seconds: float) -> Act:
    return lambda sim: sim.clock.advance(seconds)


def check(sim: HttpSimulation) -> None:
    """As the sweep had it made last."""
    sim.check(sim.running[-1].task_id, sim.running[-1].lease)


def book_again(first: int | None = None, end: int | None = None) -> Act:
    """Records of the stream come once more."""
    return lambda sim: sim.book_again(slice(first, end))


def deliver(sim: HttpSimulation) -> None:
    sim.deliver(sim.task_id())


def deliver_again(sim: HttpSimulation) -> None:
    sim.deliver(sim.task_id(), again=True)


def replay(sim: HttpSimulation) -> None:
    """The client asks for its latest notification again."""
    version = latest_notified(sim.task(sim.task_id()))
    replay_notification(sim.task_id(), str(version), TENANT, sim.sending)


def backend(*behaviours: BackendBehaviour) -> Act:
    return lambda sim: sim.backend.behaviours.extend(behaviours)


def hooked(sim: HttpSimulation) -> None:
    """Its client gives a `callback_url`."""
    sim.hooked = True


def in_parts(sim: HttpSimulation) -> None:
    """The video host names no length, and a video is longer than what is one PUT."""
    sim.source.known_length, sim.source.padding = False, bytes(video_archive.PART_BYTES)


def probe_is_due(sim: HttpSimulation) -> None:
    """The provider refused our account, and the next create call is to find out whether it still does."""
    error = TaskError("40201", "Insufficient credits")
    sim.submission.pauses.pause("gateway", error, now=sim.clock(), probe_at=sim.clock())


def deliver_one_of_two(sim: HttpSimulation) -> None:
    sim.source.expired.add("https://cdn.example.com/b.mp4")
    deliver(sim)
    sim.source.expired.clear()


overdue = then(submit, wait(125))
swept = then(wait(125), sweep)
finished = then(overdue, finish)
throttled = then(creates(CreateBehaviour.THROTTLED), submit)
queued = then(creates(CreateBehaviour.THROTTLED), submit_other, submit, wait(20))
"""One task came back from the provider, and one waits behind it."""
crowded = then(submit_as("order-0"), queued)
"""And a third one is at the provider."""
denied = then(creates(CreateBehaviour.DENIED), submit)
unconfirmed = then(creates(CreateBehaviour.TIMED_OUT), submit, wait(100))
generated = then(submit, finish, call_back)
unverified = then(reserve_and_die, submit, finish, call_back, wait(2100))
completed = then(hooked, generated, deliver, publish)
processing = then(hooked, submit, shows(ProgressState.PROCESSING), call_back, publish, finish)
past_deadline = then(overdue, wait(7200), sweep)
off_peak = then(submit_off_peak, wait(3700))
late = then(past_deadline, check, wait(3700))
two_unconfirmed = then(creates(CreateBehaviour.TIMED_OUT, CreateBehaviour.BUSY), submit, submit_other)


# Afterwards


def ask_again(sim: HttpSimulation, act: Act, tries: int = 3) -> None:
    """The request is repeated until it is answered; one that returns False was not."""
    for _ in range(tries):
        answers: list[object] = []
        if sim.survive(lambda: answers.append(act(sim))) and answers != [False]:  # noqa: B023
            break
        sim.clock.advance(1)


def finish_all(sim: HttpSimulation) -> None:
    """Whatever the provider has not decided yet, it makes a video of."""
    for remote_id, snapshot in sim.provider.remote.items():
        if snapshot.state not in ("succeeded", "failed", "canceled"):
            sim.provider.finish(remote_id)


def calls_back(sim: HttpSimulation, remote_id: str, tries: int = 4) -> bool:
    """The provider calls back truthfully, again if that is refused; whether it was answered 200."""
    for _ in range(tries):
        task_id, token, body = sim.provider.callback(remote_id)
        if sim.survive(lambda: sim.call_back(task_id, json.dumps(body).encode(), token=token)):  # noqa: B023
            return True
        sim.clock.advance(60)
    return False


def _call_back_for_all(sim: HttpSimulation) -> set[str]:
    """The remote ids that were answered 200, and prove whose they are."""
    named = {remote_id for remote_id in list(sim.provider.remote) if calls_back(sim, remote_id)}
    return {remote_id for remote_id in named if sim.provider.proves(remote_id)}


def time_passes(sim: HttpSimulation, callbacks: str, *again: Act) -> set[str]:
    """Requests are repeated, the provider finishes and calls back, sweeps and executions do their work.

    Returns the remote ids that were named and answered 200 after the provider had decided.
    """
    sim.provider.finishes_at_once = True
    for act in again:
        ask_again(sim, act)
    finish_all(sim)
    named = _call_back_for_all(sim) if callbacks == "soon" else set()
    sim.run()
    if callbacks == "after the end":
        named = _call_back_for_all(sim)
        sim.run()
    return named
