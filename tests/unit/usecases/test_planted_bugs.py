"""The judge is no judge unless it convicts: bugs planted one by one must each be found, by the promise they break.

Each plants itself by patching the code in memory, then the part of the harness that should find it runs until it does.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.unit.usecases import test_interleavings, test_two_steps_may_fail
from tests.unit.usecases.effects import Fault
from tests.unit.usecases.figures import Figures
from tests.unit.usecases.model import BrokenPromiseError, Promise, judge_at_rest
from tests.unit.usecases.schedule import Choices
from tests.unit.usecases.spoken import Mood, SpokenProvider
from tests.unit.usecases.stories import StoryWorld, client_repeats, rings_truly, time_passes
from tests.unit.usecases.test_any_step_may_fail import EVERY_WAY
from tests.unit.usecases.world import KEY
from vidu_relay.adapters import daily_quota, provider_gateway, task_item, video_archive
from vidu_relay.adapters.event_bus import Event, EventBus, PutResult
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import delivery, lifecycle
from vidu_relay.domain.errors import (
    CreateAmbiguousError,
    CreateRejectedError,
    NotCreatedError,
    ProviderUnavailableError,
)
from vidu_relay.domain.representation import event_detail, event_type
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError
from vidu_relay.domain.task import Task
from vidu_relay.domain.watching import WatchPolicy
from vidu_relay.usecases import (
    attempt_submission,
    check_task,
    publish_events,
    read_remote_task,
    receive_callback,
    reconcile_task,
    submit_task,
)
from vidu_relay.usecases.record_change import record_change

pytestmark = pytest.mark.usefixtures("explorable")

Patch = pytest.MonkeyPatch
Wall = Callable[[], Iterator[object]]


# ------------------------------------------------------------------------------- parts of the harness, bounded


def pairs(*names: str, tries: int = 60) -> Wall:
    """Two faults in these scenarios."""

    def run() -> Iterator[object]:
        rng, faults = random.Random(7), list(Fault)  # noqa: S311 - the same each time
        for _ in range(tries):
            for name in names:
                first, second = rng.randrange(test_two_steps_may_fail.effects_of(name)), rng.randrange(15)
                ways = EVERY_WAY
                yield test_two_steps_may_fail.play(
                    name,
                    test_two_steps_may_fail.Pair(
                        first, rng.choice(faults), second, rng.choice(faults), rng.choice(ways)
                    ),
                )

    return run


def together(*names: str, tries: int = 150) -> Wall:
    """Schedules of these stories."""

    def run() -> Iterator[object]:
        rng = random.Random(7)  # noqa: S311 - the same each time
        for _ in range(tries):
            for name in names:
                yield test_interleavings.play(name, Choices((), rng), rng.choice(["never", "soon"]))

    return run


def story(
    prepare: Callable[[StoryWorld], object],
    callbacks: str = "never",
    provider: type[SpokenProvider] = SpokenProvider,
    keys: tuple[str, ...] = (KEY,),
) -> Wall:
    """One story without faults of ours."""

    def run() -> Iterator[object]:
        world = StoryWorld(provider=provider)
        prepare(world)
        rang = time_passes(world, callbacks, *keys)
        judge_at_rest(world, rang=rang)
        yield world

    return run


# --------------------------------------------------------------------------------------------------- the bugs


def drop_the_revision_condition(patch: Patch) -> None:
    put = TaskStore._put

    def careless(self: TaskStore, task: Task, *, condition: str, values: Any) -> Any:
        if condition.startswith("revision"):
            condition, values = "attribute_exists(pk)", {}
        return put(self, task, condition=condition, values=values)

    patch.setattr(TaskStore, "_put", careless)


def retry_an_ambiguous_create(patch: Patch) -> None:
    create = GatewayProvider.create

    def retried(self: GatewayProvider, *given: Any, mark: str) -> ProviderSnapshot:
        try:
            return create(self, *given, mark=mark)
        except CreateAmbiguousError as error:
            raise NotCreatedError(str(error)) from error

    patch.setattr(GatewayProvider, "create", retried)


def retry_on_503(patch: Patch) -> None:
    create = GatewayProvider.create

    def retried(self: GatewayProvider, *given: Any, mark: str) -> ProviderSnapshot:
        try:
            return create(self, *given, mark=mark)
        except CreateAmbiguousError as error:
            if "503" in str(error):
                raise NotCreatedError(str(error)) from error
            raise

    patch.setattr(GatewayProvider, "create", retried)


def publish_before_the_write(patch: Patch) -> None:
    """The event goes out first; the stream adds nothing."""
    put = TaskStore._put
    worlds: list[StoryWorld] = []
    begin = StoryWorld.__init__

    def begun(self: StoryWorld, seed: int = 0, provider: type[SpokenProvider] = SpokenProvider) -> None:
        begin(self, seed, provider)
        worlds.append(self)

    def early(self: TaskStore, task: Task, **given: Any) -> Any:
        there = worlds[-1].item(f"task#{task.task_id}")
        if there is None or int(there["version"]["N"]) != task.version:
            event = Event(event_type(task), event_detail(task), 0)
            worlds[-1].bus.publish([event])
        return put(self, task, **given)

    patch.setattr(StoryWorld, "__init__", begun)
    patch.setattr(TaskStore, "_put", early)
    patch.setattr(publish_events, "_changed_task", lambda _: None)


def trust_the_callback_body(patch: Patch) -> None:
    def trusting(callback: receive_callback.Callback, ports: receive_callback.CallbackPorts) -> Task:
        task = ports.store.get(callback.task_id)
        assert task is not None
        video = ProviderOutput("up", "done", ("https://cdn.example.com/gen-1.mp4",))
        snapshot = ProviderSnapshot(task.remote_id or "gen-1", ProgressState.SUCCEEDED, (video,))
        return record_change(
            ports.store,
            task,
            lambda there: lifecycle.apply_snapshot(
                there, snapshot, now=ports.clock(), source="callback", policy=ports.policy
            ),
        )

    patch.setattr("tests.unit.usecases.world.receive_callback", trusting)


def ignore_the_lease(patch: Patch) -> None:
    """An execution goes on whoever holds the lease."""
    look = check_task.check_task

    def looking(task_id: str, lease: int, *, ports: Any, **given: Any) -> check_task.Verdict:
        task = ports.store.get(task_id)
        return look(task_id, task.lease if task else lease, ports=ports, **given)

    patch.setattr("tests.unit.usecases.world.check_task", looking)


def attach_a_remote_task_without_owning_it(patch: Patch) -> None:
    save = TaskStore.save
    patch.setattr(TaskStore, "save", lambda self, task, _=(): save(self, task))


def treat_poll_time_out_as_failure(patch: Patch) -> None:
    read = GatewayProvider.read

    def failing(self: GatewayProvider, remote_id: str) -> ProviderSnapshot:
        try:
            return read(self, remote_id)
        except ProviderUnavailableError:
            return ProviderSnapshot(remote_id, ProgressState.FAILED)

    patch.setattr(GatewayProvider, "read", failing)


def give_up_a_delivery_on_s3_trouble(patch: Patch) -> None:
    patch.setattr(delivery, "DELAYED_AFTER", 1)
    patch.setattr(WatchPolicy, "copied_until", lambda _, generated_at: generated_at)


def forget_when_a_submitted_task_is_due(patch: Patch) -> None:
    created = lifecycle.record_created

    def careless(*given: Any, **more: Any) -> Task:
        task = created(*given, **more)
        return replace(task, due_at=None) if task.status.value == "submitted" else task

    patch.setattr(lifecycle, "record_created", careless)


def forget_candidates(patch: Patch) -> None:
    patch.setattr(lifecycle, "note_candidates", lambda task, *_, **__: task)


def keep_the_place_of_a_repetition(patch: Patch) -> None:
    patch.setattr(submit_task, "_give_back", lambda *_: None)


def give_a_place_back_at_every_repetition(patch: Patch) -> None:
    repeated = submit_task._check_repetition
    quotas: list[Any] = []
    take = daily_quota.DailyQuota.take

    def taken(self: Any, *given: Any) -> None:
        quotas.append(self)
        take(self, *given)

    def generous(recorded: Task, tenant_id: str, digest: str) -> None:
        quotas[-1].give_back(tenant_id, recorded.created_at)
        repeated(recorded, tenant_id, digest)

    patch.setattr(daily_quota.DailyQuota, "take", taken)
    patch.setattr(submit_task, "_check_repetition", generous)


def publish_every_write(patch: Patch) -> None:
    """An event for each record of the stream, whether or not the version changed."""
    patch.setattr(publish_events, "_changed_task", lambda change: task_item.task_from_image(change["NewImage"]))


def raise_the_version_at_every_write(patch: Patch) -> None:
    save = TaskStore.save
    patch.setattr(
        TaskStore, "save", lambda self, task, owned=(): save(self, replace(task, version=task.version + 1), owned)
    )


def take_any_record_for_our_own(patch: Patch) -> None:
    """A failed condition passes for our own write whose reply was lost: the stamp is not compared."""
    create = TaskStore.create

    def careless(self: TaskStore, task: Task) -> tuple[Task, bool]:
        create(self, task)
        return replace(task, revision=1), True

    patch.setattr(TaskStore, "create", careless)


def expired_is_the_end(patch: Patch) -> None:
    applied = lifecycle.apply_snapshot
    patch.setattr(
        lifecycle,
        "apply_snapshot",
        lambda task, *given, **more: task if task.status.value == "expired" else applied(task, *given, **more),
    )


def success_without_a_video_is_success(patch: Patch) -> None:
    patch.setattr(
        lifecycle,
        "apply_snapshot",
        _unless(
            lambda task, snapshot: snapshot.state is ProgressState.SUCCEEDED and task.status.value == "submitted",
            lifecycle._generated,
        ),
    )


def a_fault_of_the_gateway_is_a_verdict(patch: Patch) -> None:
    patch.setattr(provider_gateway, "INCONCLUSIVE_CODES", frozenset())


def a_word_unknown_is_a_failure(patch: Patch) -> None:
    read = GatewayProvider.read

    def narrow(self: GatewayProvider, remote_id: str) -> ProviderSnapshot:
        found = read(self, remote_id)
        return replace(found, state=ProgressState.FAILED) if found.state is ProgressState.UNKNOWN else found

    patch.setattr(GatewayProvider, "read", narrow)


def skip_what_was_refused(patch: Patch) -> None:
    """The publisher goes on behind an event that did not get on the bus."""
    put = EventBus.put

    def careless(self: Any, entries: Any) -> PutResult:
        for entry in entries:
            put(self, [entry])
        return PutResult({})

    patch.setattr(EventBus, "put", careless)


def overwrite_what_is_in_the_bucket(patch: Patch) -> None:
    """A second delivery that arrives as half a video replaces the first."""
    put = video_archive.VideoArchive._put

    def half(self: Any, *given: Any) -> Any:
        described = put(self, *given)
        self._client.put_object(Bucket=self._bucket, Key=given[0], Body=b"half")
        return described

    patch.setattr(video_archive.VideoArchive, "_put", half)


def never_ask_for_a_delivery_again(patch: Patch) -> None:
    patch.setattr("vidu_relay.adapters.delivery_queue.DeliveryQueue.ask", lambda *_: None)


def _unless(when: Callable[[Task, Any], bool], then: Callable[..., Task]) -> Callable[..., Task]:
    applied = lifecycle.apply_snapshot

    def apply(task: Task, snapshot: Any, *, now: int, source: str, policy: Any) -> Task:
        if when(task, snapshot):
            return then(task, snapshot, now, source)
        return applied(task, snapshot, now=now, source=source, policy=policy)

    return apply


# ------------------------------------------------------------------------------------------------- bad days


def believe_whatever_a_read_shows(patch: Patch) -> None:
    patch.setattr(read_remote_task, "is_stranger", lambda *_: False)


def own_the_id_that_was_asked_for(patch: Patch) -> None:
    """Another spelling of an id is another owner's."""
    patch.setattr(reconcile_task, "_named", lambda snapshot: replace(snapshot, named_ids=()))


def ignore_the_id_in_a_refusal(patch: Patch) -> None:
    record = lifecycle.record_create_failure

    def deaf(task: Task, error: Any, **given: Any) -> Task:
        error.candidates = ()
        return record(task, error, **given)

    patch.setattr(lifecycle, "record_create_failure", deaf)


def never_give_a_candidate_up(patch: Patch) -> None:
    patch.setattr(lifecycle, "MISSING_MS", 10**12)


def fail_the_task_when_our_account_is_refused(patch: Patch) -> None:
    patch.setattr(
        attempt_submission,
        "_account_refused",
        lambda _, error, *__: CreateRejectedError(error.code, error.message),
    )


def number_videos_as_they_are_listed(patch: Patch) -> None:
    patch.setattr(delivery, "links_in_order", lambda _, links: [url for _, url in links])


def count_versions_from_one(patch: Patch) -> None:
    make = lifecycle.new_task
    patch.setattr(lifecycle, "new_task", lambda **given: replace(make(**given), version=1))


def drop_the_videos_that_came(patch: Patch) -> None:
    """All or nothing: what is in the bucket is not shown while another video fails."""
    record = delivery.record_copies
    patch.setattr(
        delivery,
        "record_copies",
        lambda task, videos, error, **given: record(task, () if error else videos, error, **given),
    )


# ---------------------------------------------------------------------------------------------------- stories


def overdue_and_silent(world: StoryWorld) -> None:
    """The provider's API is away when the first check comes."""
    world.submit()
    world.provider.unavailable = True
    world.run(until=world.clock() + 200_000)
    world.provider.unavailable = False


def late(world: StoryWorld) -> None:
    world.submit()
    world.run(until=world.clock() + 7_300_000)


def says(world: StoryWorld, state: ProgressState, **fields: Any) -> None:
    """For a while the provider says something that is no verdict."""
    world.submit()
    world.provider.show("gen-1", state, **fields)
    world.run(until=world.clock() + 200_000)
    world.provider.show("gen-1", ProgressState.PROCESSING, error=None)


def rings_on_a_running_task(world: StoryWorld) -> None:
    world.submit()
    rings_truly(world, "gen-1")


def lost_and_rung_for_in_vain(world: StoryWorld) -> None:
    """The one callback comes while the provider's API is away."""
    world.provider.moods = [Mood.TIMED_OUT]
    world.submit()
    world.provider.finish("gen-1")
    world.provider.unavailable = True
    assert rings_truly(world, "gen-1")
    world.provider.unavailable = False


def lost_and_rung_for(prepare: Callable[[StoryWorld], None]) -> Wall:
    """The callback that is answered well is the last that comes."""

    def run() -> Iterator[object]:
        world = StoryWorld()
        prepare(world)
        time_passes(world, "never", KEY)
        judge_at_rest(world, rang={"gen-1"})
        yield world

    return run


def asked_again(world: StoryWorld) -> None:
    world.provider.moods = [Mood.THROTTLED]
    world.submit()
    client_repeats(world, KEY, KEY)


def busy(world: StoryWorld) -> None:
    world.provider.moods = [Mood.BUSY]
    world.submit()


def timed_out(world: StoryWorld) -> None:
    world.provider.moods = [Mood.TIMED_OUT]
    world.submit()


def in_a_mood(*moods: Mood) -> Callable[[StoryWorld], None]:
    def prepare(world: StoryWorld) -> None:
        world.provider.moods = list(moods)
        world.submit()

    return prepare


def shown_another_task(world: StoryWorld) -> None:
    """A read of our id shows the video of another client's task."""
    world.submit()
    world.submit(key="other")
    world.provider.finish("gen-2")
    world.provider.confused = {"gen-1": "gen-2"}
    world.run(until=world.clock() + 300_000)
    world.provider.confused = {}


def named_in_another_spelling(world: StoryWorld) -> None:
    """A callback of an unconfirmed create names another task's id, in capitals, at a provider that folds case."""
    world.submit(key="other")
    world.provider.moods = [Mood.BUSY_IN_VAIN]
    world.submit()
    world.provider.finish("gen-1")
    world.survive(lambda: world.ring(world.task_id(), {"id": "GEN-1", "status": "completed"}))


def unpaid_for_hours(world: StoryWorld) -> None:
    world.provider.moods = [Mood.UNPAID] * 40
    world.submit()


def listed_the_other_way_round(world: StoryWorld) -> None:
    a, b = "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4"
    world.submit()
    world.provider.finish("gen-1", a, b)
    world.source.expired.add(b)
    rings_truly(world, "gen-1")
    world.run(until=world.clock() + 5_000)
    world.source.expired.clear()
    world.provider.finish("gen-1", b, a)


def one_of_two_is_gone(world: StoryWorld) -> None:
    world.submit()
    world.provider.finish("gen-1", "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4")
    world.source.files["https://cdn.example.com/a.mp4"] = b"<html>gone</html>" * 20


@dataclass(frozen=True)
class Bug:
    """A bug, the part of the harness that must find it, and the promises it may be convicted of."""

    plant: Callable[[Patch], None]
    wall: Wall
    breaks: tuple[Promise, ...]


P = Promise
BUGS = (
    Bug(drop_the_revision_condition, together("callback and check", "two callbacks"), (P.ONE_WRITE, P.TRUE_EVENTS)),
    Bug(retry_an_ambiguous_create, story(timed_out), (P.BILLED_ONCE,)),
    Bug(retry_on_503, story(busy), (P.BILLED_ONCE,)),
    Bug(publish_before_the_write, pairs("callback settles"), (P.TRUE_EVENTS,)),
    Bug(trust_the_callback_body, story(rings_on_a_running_task), (P.NEVER_FOOLED,)),
    Bug(ignore_the_lease, together("claimed end and check"), (P.ONE_WATCHER,)),
    Bug(attach_a_remote_task_without_owning_it, together("two tasks claim the same ids"), (P.ONE_OWNER,)),
    Bug(treat_poll_time_out_as_failure, story(overdue_and_silent), (P.NEVER_FOOLED,)),
    Bug(give_up_a_delivery_on_s3_trouble, pairs("deliver"), (P.NEVER_FOOLED, P.SETTLES)),
    Bug(forget_when_a_submitted_task_is_due, story(lambda w: w.submit()), (P.WATCHED,)),
    Bug(forget_candidates, lost_and_rung_for(lost_and_rung_for_in_vain), (P.SETTLES,)),
    Bug(keep_the_place_of_a_repetition, together("the same request twice"), (P.CAP,)),
    Bug(give_a_place_back_at_every_repetition, story(asked_again), (P.CAP,)),
    Bug(publish_every_write, story(overdue_and_silent), (P.TRUE_EVENTS,)),
    Bug(raise_the_version_at_every_write, story(overdue_and_silent), (P.ONE_WRITE,)),
    Bug(take_any_record_for_our_own, together("the same request twice"), (P.CAP,)),
    Bug(expired_is_the_end, story(late), (P.SETTLES,)),
    Bug(
        success_without_a_video_is_success,
        story(lambda w: says(w, ProgressState.SUCCEEDED)),
        (P.NEVER_FOOLED,),
    ),
    Bug(
        a_fault_of_the_gateway_is_a_verdict,
        story(lambda w: says(w, ProgressState.FAILED, error=TaskError("008017097", "The gateway is unwell."))),
        (P.NEVER_FOOLED,),
    ),
    Bug(a_word_unknown_is_a_failure, story(lambda w: says(w, ProgressState.UNKNOWN)), (P.NEVER_FOOLED,)),
    Bug(skip_what_was_refused, pairs("publish"), (P.TRUE_EVENTS,)),
    Bug(overwrite_what_is_in_the_bucket, story(lambda w: w.submit()), (P.WHOLE_VIDEOS,)),
    Bug(believe_whatever_a_read_shows, story(shown_another_task, keys=(KEY, "other")), (P.NEVER_FOOLED,)),
    Bug(
        own_the_id_that_was_asked_for,
        story(named_in_another_spelling, keys=(KEY, "other")),
        (P.ONE_OWNER, P.NEVER_FOOLED),
    ),
    Bug(ignore_the_id_in_a_refusal, story(in_a_mood(Mood.THROTTLED_WITH_ID)), (P.BILLED_ONCE,)),
    Bug(never_give_a_candidate_up, story(in_a_mood(Mood.THROTTLED_WITH_A_WRONG_ID)), (P.SETTLES,)),
    Bug(fail_the_task_when_our_account_is_refused, story(unpaid_for_hours), (P.NEVER_FOOLED,)),
    Bug(number_videos_as_they_are_listed, story(listed_the_other_way_round), (P.WHOLE_VIDEOS,)),
    Bug(count_versions_from_one, story(lambda w: w.submit()), (P.ONE_WRITE,)),
    Bug(drop_the_videos_that_came, story(one_of_two_is_gone), (P.SETTLES,)),
    Bug(never_ask_for_a_delivery_again, pairs("deliver", "check asks for a delivery"), (P.SETTLES,)),
)


def search(wall: Wall) -> int:
    """Run the wall; how many stories it took to its end. Raises what it finds."""
    return sum(1 for _ in wall())


def convict(bug: Bug, patch: pytest.MonkeyPatch, figures: Figures) -> None:
    """Plant a bug: its wall must find it, by a promise that it breaks."""
    bug.plant(patch)
    with pytest.raises(BrokenPromiseError) as found:
        search(bug.wall)
    assert found.value.promise in bug.breaks, found.value
    figures.add("bugs planted and found", 1)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.plant.__name__)
def test_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch, figures: Figures) -> None:
    convict(bug, monkeypatch, figures)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.plant.__name__)
def test_nothing_is_found_where_nothing_is_planted(bug: Bug) -> None:
    """The same part of the harness, so that what convicts is the bug."""
    assert search(bug.wall) > 0
