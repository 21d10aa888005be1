"""Mutants of submission, of reading the provider, of candidates and of delivery."""

from dataclasses import replace
from typing import Any

from tests.simulation.http_provider import CreateBehaviour
from tests.simulation.mutants import I, Patch, mutant, points, scenario, schedules, until, wrap
from tests.simulation.scenarios import (
    Act,
    HttpSimulation,
    calls_back,
    creates,
    finish,
    shows,
    submit,
    submit_as,
    submit_off_peak,
    then,
    throttled,
    unreadable,
)
from vidu_relay.adapters import daily_quota, provider_gateway, video_archive
from vidu_relay.adapters.check_function import CheckFunction
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import delivery, lifecycle, submission
from vidu_relay.domain.delivery import Copies
from vidu_relay.domain.errors import (
    CreateAmbiguousError,
    CreateRejectedError,
    NotCreatedError,
    ProviderUnavailableError,
)
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, ProviderSnapshot, TaskError
from vidu_relay.domain.task import Origin, Task
from vidu_relay.usecases import (
    attempt_submission,
    check_task,
    deliver_videos,
    read_remote_task,
    receive_callback,
    reconcile_task,
    submit_task,
)
from vidu_relay.usecases.save_with_retry import save_with_retry


def says(state: ProgressState, **fields: Any) -> Act:
    """For a while the provider shows a state that is no end."""
    return then(submit, shows(state, **fields), until(200), shows(ProgressState.PROCESSING, error=None))


def calls_back_for_first(sim: HttpSimulation) -> None:
    assert calls_back(sim, "gen-1")


def shown_another_task(sim: HttpSimulation) -> None:
    """A read of our id shows the video of another client's task."""
    then(submit, submit_as("other"))(sim)
    sim.provider.finish("gen-2")
    sim.provider.confused = {"gen-1": "gen-2"}
    until(300)(sim)
    sim.provider.confused = {}


def named_in_another_spelling(sim: HttpSimulation) -> None:
    """A callback of an unconfirmed create names another task's id in capitals, at a provider that folds case."""
    then(submit_as("other"), creates(CreateBehaviour.BUSY_UNKNOWN), submit, finish)(sim)
    sim.survive(lambda: sim.call_back(sim.task_id(), {"id": "GEN-1", "status": "completed"}))


A, B = "https://cdn.example.com/a.mp4", "https://cdn.example.com/b.mp4"


def listed_in_another_order(sim: HttpSimulation) -> None:
    submit(sim)
    sim.provider.finish("gen-1", A, B)
    sim.source.expired.add(B)
    then(calls_back_for_first, until(5))(sim)
    sim.source.expired.clear()
    sim.provider.finish("gen-1", B, A)


def one_of_two_is_gone(sim: HttpSimulation) -> None:
    submit(sim)
    sim.provider.finish("gen-1", A, B)
    sim.source.files[A] = b"<html>gone</html>" * 20


overdue_and_unreadable = then(submit, unreadable(until(200)))
both = (submit, submit_as("other"))


# Submission


@mutant(scenario(then(creates(CreateBehaviour.TIMED_OUT), submit)), I.BILLED_ONCE)
def retry_an_ambiguous_create(patch: Patch) -> None:
    def retried(create: Any, *given: Any, **more: Any) -> ProviderSnapshot:
        try:
            return create(*given, **more)  # type: ignore[no-any-return]
        except CreateAmbiguousError as error:
            raise NotCreatedError(str(error)) from error

    wrap(patch, GatewayProvider, "create", retried)


@mutant(scenario(then(creates(CreateBehaviour.BUSY), submit)), I.BILLED_ONCE)
def retry_on_503(patch: Patch) -> None:
    def retried(create: Any, *given: Any, **more: Any) -> ProviderSnapshot:
        try:
            return create(*given, **more)  # type: ignore[no-any-return]
        except CreateAmbiguousError as error:
            if "503" in str(error):
                raise NotCreatedError(str(error)) from error
            raise

    wrap(patch, GatewayProvider, "create", retried)


@mutant(scenario(then(creates(CreateBehaviour.THROTTLED_WITH_ID), submit)), I.BILLED_ONCE)
def ignore_the_id_in_a_refusal(patch: Patch) -> None:
    def mutated(record: Any, task: Task, error: Any, **given: Any) -> Any:
        error.candidates = ()
        return record(task, error, **given)

    wrap(patch, submission, "record_create_failure", mutated)


@mutant(scenario(then(creates(*[CreateBehaviour.UNPAID] * 40), submit)), I.PROVEN_STATE)
def fail_the_task_when_our_account_is_refused(patch: Patch) -> None:
    patch.setattr(
        attempt_submission, "_account_refused", lambda _, error, *__: CreateRejectedError(error.code, error.message)
    )


@mutant(scenario(submit), I.ALWAYS_DUE)
def forget_when_a_submitted_task_is_due(patch: Patch) -> None:
    def mutated(created: Any, *given: Any, **more: Any) -> Task:
        task: Task = created(*given, **more)
        return replace(task, due_at=None) if task.status.value == "submitted" else task

    wrap(patch, submission, "record_created", mutated)


@mutant(schedules("the same request twice"), I.QUOTA)
def keep_the_slot_of_a_repetition(patch: Patch) -> None:
    patch.setattr(submit_task, "_give_back", lambda *_: None)


@mutant(scenario(then(throttled, submit, submit)), I.QUOTA)
def give_a_slot_back_at_every_repetition(patch: Patch) -> None:
    quotas: list[Any] = []

    def taken(take: Any, quota: Any, *given: Any, **more: Any) -> Any:
        quotas.append(quota)
        return take(quota, *given, **more)

    def generous(repeated: Any, recorded: Task, origin: Origin, request: Any) -> None:
        quotas[-1].give_back(origin.tenant_id, recorded.created_at)
        repeated(recorded, origin, request)

    wrap(patch, daily_quota.DailyQuota, "take", taken)
    wrap(patch, submit_task, "_check_repetition", generous)


@mutant(schedules("the same request twice"), I.QUOTA)
def take_any_record_for_our_own(patch: Patch) -> None:
    """A failed condition passes for our own write whose reply was lost: the stamp is not compared."""

    def mutated(create: Any, store: TaskStore, task: Task, **given: Any) -> tuple[Task, bool]:
        create(store, task, **given)
        return replace(task, revision=1), True

    wrap(patch, TaskStore, "create", mutated)


# Reading the provider


@mutant(scenario(then(submit, calls_back_for_first)), I.PROVEN_STATE)
def trust_the_callback_body(patch: Patch) -> None:
    def trusting(callback: receive_callback.Callback, deps: receive_callback.CallbackDependencies) -> Task:
        task = deps.store.get(callback.task_id)
        assert task is not None
        video = ProviderOutput("up", "done", ("https://cdn.example.com/gen-1.mp4",))
        snapshot = ProviderSnapshot(task.remote_id or "gen-1", ProgressState.SUCCEEDED, (video,))
        given = {"now": deps.clock(), "source": "callback", "policy": deps.policy}
        return save_with_retry(deps.store, task, lambda current: lifecycle.apply_snapshot(current, snapshot, **given))  # type: ignore[arg-type]

    patch.setattr("tests.simulation.simulation.receive_callback", trusting)


@mutant(scenario(overdue_and_unreadable), I.PROVEN_STATE)
def treat_a_failed_read_as_failure(patch: Patch) -> None:
    def mutated(read: Any, provider: Any, remote_id: str) -> ProviderSnapshot:
        try:
            return read(provider, remote_id)  # type: ignore[no-any-return]
        except ProviderUnavailableError:
            return ProviderSnapshot(remote_id, ProgressState.FAILED)

    wrap(patch, GatewayProvider, "read", mutated)


@mutant(scenario(says(ProgressState.UNKNOWN)), I.PROVEN_STATE)
def an_unknown_state_is_a_failure(patch: Patch) -> None:
    def mutated(read: Any, *given: Any) -> ProviderSnapshot:
        found: ProviderSnapshot = read(*given)
        return replace(found, state=ProgressState.FAILED) if found.state is ProgressState.UNKNOWN else found

    wrap(patch, GatewayProvider, "read", mutated)


@mutant(scenario(says(ProgressState.FAILED, error=TaskError("008017097", "The gateway is unwell."))), I.PROVEN_STATE)
def a_fault_of_the_gateway_is_an_end(patch: Patch) -> None:
    patch.setattr(provider_gateway, "INCONCLUSIVE_CODES", frozenset())


@mutant(scenario(says(ProgressState.SUCCEEDED)), I.PROVEN_STATE)
def success_without_a_video_is_success(patch: Patch) -> None:
    def mutated(apply: Any, task: Task, snapshot: Any, *, now: int, source: str, policy: Any) -> Any:
        if snapshot.state is ProgressState.SUCCEEDED and task.status.value == "submitted":
            return lifecycle._generated(task, snapshot, now, source)
        return apply(task, snapshot, now=now, source=source, policy=policy)

    wrap(patch, lifecycle, "apply_snapshot", mutated)


@mutant(scenario(then(submit, until(7300))), I.SETTLED)
def expired_is_the_end(patch: Patch) -> None:
    def mutated(apply: Any, task: Task, *given: Any, **more: Any) -> Any:
        return task if task.status.value == "expired" else apply(task, *given, **more)

    wrap(patch, lifecycle, "apply_snapshot", mutated)


@mutant(scenario(submit_off_peak, again=()), I.SETTLED)
def never_make_a_slow_check(patch: Patch) -> None:
    patch.setattr(CheckFunction, "start", lambda *_: None)


@mutant(scenario(then(submit_off_peak, until(4000)), again=()), I.ALWAYS_DUE)
def forget_the_next_slow_poll(patch: Patch) -> None:
    patch.setattr(lifecycle, "leave_until", lambda task, _: lifecycle.stop_polling(task))


@mutant(schedules("reported end and check"), I.ONE_POLLER)
def ignore_the_lease(patch: Patch) -> None:
    """An execution goes on without the lease."""
    _without_a_lease(patch)


@mutant(schedules("slow check beyond its lease, and sweep"), I.ONE_POLLER)
def ignore_the_lease_of_a_slow_check(patch: Patch) -> None:
    _without_a_lease(patch)


def _without_a_lease(patch: Patch) -> None:
    original = check_task.check_task

    def mutated(task_id: str, lease: int, *, deps: Any, **given: Any) -> check_task.NextStep:
        task = deps.store.get(task_id)
        return original(task_id, task.lease if task else lease, deps=deps, **given)

    patch.setattr("tests.simulation.simulation.check_task", mutated)


# Candidates and owners


@mutant(schedules("two tasks attach the same ids"), I.ONE_OWNER)
def attach_a_remote_task_without_owning_it(patch: Patch) -> None:
    wrap(patch, TaskStore, "save", lambda save, store, task, _=(): save(store, task))


@mutant(scenario(named_in_another_spelling, again=both), I.ONE_OWNER, I.PROVEN_STATE)
def learn_an_id_without_owning_it(patch: Patch) -> None:
    patch.setattr(TaskStore, "own", lambda *_: None)


@mutant(
    scenario(
        then(creates(CreateBehaviour.TIMED_OUT), submit, finish, unreadable(calls_back_for_first)), named=("gen-1",)
    ),
    I.SETTLED,
)
def forget_candidates(patch: Patch) -> None:
    """The one callback comes while the provider cannot be read."""
    patch.setattr(submission, "note_candidates", lambda task, *_, **__: task)


@mutant(scenario(then(creates(CreateBehaviour.THROTTLED_WITH_WRONG_ID), submit)), I.SETTLED)
def never_give_a_candidate_up(patch: Patch) -> None:
    patch.setattr(submission, "MISSING_MS", 10**12)


@mutant(scenario(shown_another_task, again=both), I.PROVEN_STATE)
def believe_whatever_a_read_shows(patch: Patch) -> None:
    patch.setattr(read_remote_task, "shows_another_task", lambda *_: False)


@mutant(scenario(named_in_another_spelling, again=both), I.ONE_OWNER, I.PROVEN_STATE)
def own_the_id_that_was_asked_for(patch: Patch) -> None:
    """Another spelling of an id is another owner's."""
    patch.setattr(reconcile_task, "_named", lambda snapshot: replace(snapshot, named_ids=()))


# Delivery


@mutant(points("deliver"), I.PROVEN_STATE, I.SETTLED)
def give_up_a_delivery_on_s3_trouble(patch: Patch) -> None:
    patch.setattr(delivery, "DELAYED_AFTER", 1)
    patch.setattr(PollingPolicy, "copied_until", lambda _, generated_at: generated_at)


@mutant(points("deliver", "check asks for a delivery"), I.SETTLED)
def never_ask_for_a_delivery_again(patch: Patch) -> None:
    patch.setattr("vidu_relay.adapters.delivery_queue.DeliveryQueue.ask", lambda *_: None)


@mutant(scenario(submit), I.WHOLE_VIDEOS)
def overwrite_what_is_in_the_bucket(patch: Patch) -> None:
    """A second delivery that arrives as half a video replaces the first."""

    def mutated(put: Any, archive: Any, key: str, *given: Any) -> Any:
        described = put(archive, key, *given)
        archive._client.put_object(Bucket=archive._bucket, Key=key, Body=b"half")
        return described

    wrap(patch, video_archive.VideoArchive, "_put", mutated)


@mutant(scenario(listed_in_another_order), I.WHOLE_VIDEOS)
def number_videos_as_they_are_listed(patch: Patch) -> None:
    patch.setattr(deliver_videos, "links_in_order", lambda _, links: [url for _, url in links])


@mutant(scenario(one_of_two_is_gone), I.SETTLED)
def drop_the_videos_that_came(patch: Patch) -> None:
    """All or nothing: what is in the bucket is not shown while another video fails."""

    def mutated(record: Any, task: Task, copies: Copies, **given: Any) -> Any:
        return record(task, replace(copies, videos=()) if copies.error else copies, **given)

    wrap(patch, deliver_videos, "record_copies", mutated)
