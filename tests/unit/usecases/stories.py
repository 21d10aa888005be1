"""Worlds for stories by the ten thousand: quick, spoken to in HTTP, and watched by the judge."""

import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.unit.template import properties
from tests.unit.usecases.model import BrokenPromiseError, Promise
from tests.unit.usecases.quick_account import quick_account
from tests.unit.usecases.spoken import SpokenProvider
from tests.unit.usecases.telling import HOOK, Backend, Handing, Notice, NoticeQueue
from tests.unit.usecases.world import EVENT_SOURCE, RestlessError, World
from vidu_relay.domain.intake import DroppedFile, RequestEvent, own_key
from vidu_relay.domain.task import Task
from vidu_relay.observability import metrics
from vidu_relay.usecases.check_task import Verdict
from vidu_relay.usecases.notify_client import notify_client

CLIENTS_HEAR = frozenset(properties("NotificationRule")["EventPattern"]["detail-type"])

__all__ = ["StoryWorld", "asks_again", "client_repeats", "provider_finishes", "rings_truly", "time_passes"]


class StoryWorld(World):
    """A world in an account of its own, whose executions are held to their leases."""

    provider: SpokenProvider
    backend: Backend

    def __init__(self, seed: int = 0, provider: type[SpokenProvider] = SpokenProvider) -> None:
        super().__init__(quick_account(), provider)
        self.backend = Backend(self.effects, lambda: len(self.stream))
        self.notices = NoticeQueue(self.effects, self.clock)
        self.given_up = self.notices.dead
        self.notification = replace(self.notification, webhook=self.backend, queue=self.notices)
        self.hooked = False
        """Whether clients, through any door, give a `callback_url`."""
        self.broken: BrokenPromiseError | None = None
        """What came to light inside a function, where the function's own error handling would hide it."""
        metrics.provider.clear_metrics()
        random.seed(seed)  # jitter

    def submit(self, **given: Any) -> Task:
        fields: dict[str, Any] = {**self.hook(), **given}
        return super().submit(**fields)

    def drop(self, content: bytes | None = None, **given: Any) -> DroppedFile:
        return super().drop(content, **self.hook(), **given)

    def event(
        self,
        event_id: str = "event-1",
        source: str = EVENT_SOURCE,
        *,
        detail: dict[str, Any] | None = None,
        **more: Any,
    ) -> RequestEvent:
        if detail is None:
            self.key = more.get("idempotency_key") or own_key("event", event_id)
            detail = {"request": self.body(**self.hook()), **more}
        return super().event(event_id, source, detail=detail)

    def hook(self) -> dict[str, str]:
        return {"callback_url": HOOK} if self.hooked else {}

    def tell(self, notice: Notice | None = None) -> bool:
        """The queue hands a notification over, by default the first that can be seen; whether it is done with."""
        notice = notice or next((one for one in self.notices.notices if one.visible_at <= self.clock.now), None)
        if notice is None:
            return False
        received = self.notices.hand_over(notice)
        handing = Handing(notice, received.receives, self.clock.now)
        self.backend.handings.append(handing)
        self.backend.under_way[threading.get_ident()] = handing
        handing.done = notify_client(received, self.notification)
        if handing.done:
            self.notices.done(notice)
        return handing.done

    def _pump_more(self) -> bool:
        if not any(notice.visible_at <= self.clock.now for notice in self.notices.notices):
            return False
        self.survive(self.tell)
        return True

    def _waiting(self) -> list[int]:
        return [notice.visible_at for notice in self.notices.notices]

    def _on_the_bus(self, arguments: Mapping[str, Any], reply: Any) -> None:
        """The template's other rule: what its client is to be told of."""
        super()._on_the_bus(arguments, reply)
        for entry, result in zip(arguments["Entries"], reply["Entries"], strict=True):
            detail = json.loads(entry["Detail"])
            if "ErrorCode" not in result and entry["DetailType"] in CLIENTS_HEAR and detail["client_callback"]:
                task = detail["task"]
                self.notices.put(json.dumps({"task_id": task["task_id"], "version": task["version"]}))

    def check(self, task_id: str, lease: int | None = None) -> Verdict:
        lease = self.task(task_id).lease if lease is None else lease
        held = self._lease(task_id) == lease
        mine = self.effects.by_thread[threading.get_ident()]
        before = len(mine)
        verdict = super().check(task_id, lease)
        if not held and set(mine[before:]) - {"dynamodb.get_item"}:
            self.broken = BrokenPromiseError(
                Promise.ONE_WATCHER, f"lease {lease} was lost before, and did {mine[before:]}"
            )
        if not verdict.settled and self._lease(task_id) != lease:
            self.broken = BrokenPromiseError(Promise.ONE_WATCHER, f"lease {lease} was lost, and its execution goes on")
        return verdict

    def run(self, *, until: int | None = None) -> None:
        if self.broken:
            raise self.broken
        try:
            super().run(until=until)
        except RestlessError as error:
            raise BrokenPromiseError(Promise.SETTLES, str(error)) from error

    def survive(self, run: Callable[[], Any]) -> bool:
        missing: list[NotImplementedError] = []

        def noted() -> None:
            try:
                run()
            except NotImplementedError as error:
                missing.append(error)

        done = super().survive(noted)
        if missing:
            raise missing[0]
        if self.broken:
            raise self.broken
        return done

    def _lease(self, task_id: str) -> int | None:
        item = self.item(f"task#{task_id}")
        return int(item["lease"]["N"]) if item else None


def client_repeats(world: World, *keys: str, tries: int = 3, **fields: Any) -> None:
    """Each client sends its request until it is answered, as it would after a lost reply."""
    for key in keys:
        for _ in range(tries):
            if world.survive(lambda k=key: world.submit(key=k, **fields)):  # type: ignore[misc]
                break
            world.clock.advance(1)


def asks_again(world: World, again: Callable[[World], object], tries: int = 3) -> None:
    """The request is repeated until that is answered; a repetition that says False was not."""
    for _ in range(tries):
        answers: list[object] = []
        if world.survive(lambda: answers.append(again(world))) and answers != [False]:  # noqa: B023
            break
        world.clock.advance(1)


def provider_finishes(world: World) -> None:
    """Whatever the provider has not decided yet, it makes a video of."""
    for remote_id, snapshot in world.provider.remote.items():
        if snapshot.state not in ("succeeded", "failed", "canceled"):
            world.provider.finish(remote_id)


def provider_rings(world: StoryWorld) -> set[str]:
    """It calls back for each task; those that were answered well, and prove whose they are."""
    rang = {remote_id for remote_id in list(world.provider.remote) if rings_truly(world, remote_id)}
    return {remote_id for remote_id in rang if world.provider.proves(remote_id)}


def rings_truly(world: StoryWorld, remote_id: str, tries: int = 4) -> bool:
    """The provider calls back, again if that is refused, as it says it does; whether it was answered well."""
    for _ in range(tries):
        task_id, token, body = world.provider.call_back(remote_id)
        if world.survive(lambda: world.ring(task_id, json.dumps(body).encode(), token=token)):  # noqa: B023
            return True
        world.clock.advance(60)
    return False


def time_passes(
    world: StoryWorld,
    callbacks: str,
    *keys: str,
    payload: str | None = None,
    again: Callable[[World], object] | None = None,
) -> set[str]:
    """Clients ask again (or their queue does), the provider finishes and rings as told, sweeps and executions do their
    work.

    Returns the remote ids that were named and answered well after the provider had decided.
    """
    world.provider.diligent = True
    if again:
        asks_again(world, again)
    else:
        client_repeats(world, *keys, payload=payload)
    provider_finishes(world)
    rang: set[str] = set()
    if callbacks == "soon":
        rang = provider_rings(world)
    world.run()
    if callbacks == "after the end":
        rang = provider_rings(world)
        world.run()
    return rang
