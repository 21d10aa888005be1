"""Mutants of the queued entry points, of cancel, of correlation tags and of images."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from tests.simulation.http_provider import CancelBehaviour, CreateBehaviour, HttpVidu
from tests.simulation.mutants import I, Patch, mutant, points, scenario, schedules, until, wrap
from tests.simulation.scenarios import (
    HttpSimulation,
    asks,
    asks_by_event,
    batch_accepted,
    cancel,
    cancels,
    creates,
    drops_batch,
    receive,
    receive_batch,
    submit,
    submit_images_off_peak,
    then,
)
from tests.simulation.simulation import TENANT
from tests.unit.pictures import data_uri, png
from vidu_relay.adapters import batch_store, daily_quota, image_bucket
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.domain import batch, lifecycle, queued_requests, request, submission
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.request import Request
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot
from vidu_relay.domain.states import Status
from vidu_relay.domain.submission import Match
from vidu_relay.domain.task import Task
from vidu_relay.usecases import (
    accept_batch_lines,
    accept_request,
    attempt_submission,
    begin_submission,
    cancel_task,
    follow_batch,
    resolve_image_links,
)
from vidu_relay.usecases.save_with_retry import save_with_retry

ACCEPT = "tests.simulation.simulation.accept_request"
received_twice = then(asks_by_event, receive(), receive())
rejected_twice = then(asks(lambda sim: sim.drop(b"{"), refused=True), receive(), receive())
denied_and_lost = then(creates(CreateBehaviour.DENIED, CreateBehaviour.BUSY_UNKNOWN), submit, until(200))
"""The first attempt was said to have made nothing, and did; the second made nothing, and does not say so."""


def two_images_inside(sim: HttpSimulation) -> None:
    sim.expected_images[sim.task_id()] = [png(300, 300), png(400, 400)]
    sim.submit(images=[data_uri(png(300, 300)), data_uri(png(400, 400))])


def image_replaced(sim: HttpSimulation) -> None:
    """After it was checked, and before the request is sent again."""
    then(creates(CreateBehaviour.THROTTLED), submit_images_off_peak)(sim)
    place = {"Bucket": sim.account.inbox, "Key": f"uploads/{TENANT}/fox.png"}
    sim.account.clients["s3"].put_object(**place, Body=png(500, 500))


# which of the two is seen first depends on the order that was drawn
@mutant(scenario(received_twice, again=()), I.BILLED_ONCE, I.NO_DEAD_LETTERS)
def submit_whatever_was_begun(patch: Patch) -> None:
    """A message that comes again submits its task, whatever became of it."""

    def eager(task: Task, deps: accept_request.AcceptRequestDependencies, time_left: Any) -> Task:
        submission = deps.acceptance.submission
        whole = deps.acceptance.archive.request_of(task)
        sent = resolve_image_links.resolve_image_links(whole, task, submission.images)
        call = attempt_submission.CreateCall(whole.model, sent, "https://relay.example/v1/callbacks", 0)
        return attempt_submission.attempt_submission(task, call, submission, time_left=time_left)

    patch.setattr(accept_request, "_go_on", eager)


@mutant(points("file", "event with a key"), I.ANSWERED)
def reject_on_our_own_fault(patch: Patch) -> None:
    def hasty(asked: Any, deps: accept_request.AcceptRequestDependencies, **given: Any) -> Task | None:
        try:
            return accept_request.accept_request(asked, deps, **given)
        except Exception as error:  # noqa: BLE001 - this is the mutant
            refusal = InvalidRequestError("internal_error", type(error).__name__)
            accept_request.reject_request(asked, None, refusal, deps)
            return None

    patch.setattr(ACCEPT, hasty)


@mutant(points("file", "event that is rejected"), I.ANSWERED)
def drop_a_message_on_our_own_fault(patch: Patch) -> None:
    def careless(asked: Any, deps: accept_request.AcceptRequestDependencies, **given: Any) -> Task | None:
        with suppress(Exception):
            return accept_request.accept_request(asked, deps, **given)
        return None

    patch.setattr(ACCEPT, careless)


@mutant(scenario(rejected_twice, again=()), I.ANSWERED)
def name_each_rejection_differently(patch: Patch) -> None:
    numbers = count()

    def mutated(detail: Any, *given: Any) -> dict[str, Any]:
        return {**detail(*given), "event_id": f"{next(numbers)}:rejected"}

    wrap(patch, accept_request, "rejection_detail", mutated)


@mutant(scenario(rejected_twice, again=()), I.ANSWERED)
def leave_out_the_rejection(patch: Patch) -> None:
    patch.setattr(accept_request, "reject_request", lambda *_: None)


@mutant(scenario(received_twice, again=()), I.QUOTA)
def take_a_slot_at_every_repetition(patch: Patch) -> None:
    take, quotas = daily_quota.DailyQuota.take, list[Any]()

    def taken(original: Any, quota: Any, *given: Any, **more: Any) -> Any:
        quotas.append(quota)
        return original(quota, *given, **more)

    def greedy(go_on: Any, recorded: Task, *given: Any) -> Any:
        take(quotas[-1], recorded.tenant_id, 1000, recorded.created_at)
        return go_on(recorded, *given)

    wrap(patch, daily_quota.DailyQuota, "take", taken)
    wrap(patch, accept_request, "_go_on", greedy)


@mutant(schedules("two uploads of one file"), I.ANSWERED)
def know_a_file_by_its_name_alone(patch: Patch) -> None:
    """The idempotency key of a dropped file leaves its content out."""
    patch.setattr(accept_request, "own_key", lambda *parts: queued_requests.own_key(*parts[:3]))


# Cancel


@mutant(scenario(then(submit, cancels(CancelBehaviour.IGNORED), cancel), provider=HttpVidu), I.TRUE_CANCEL)
def call_it_canceled_without_a_read(patch: Patch) -> None:
    """The provider says yes to the cancel, and goes on."""

    def believed(task: Task, deps: cancel_task.CancelDependencies) -> Task:
        canceled = ProviderSnapshot(task.remote_id or "", ProgressState.CANCELED)
        given = {"now": deps.clock(), "source": "cancel", "policy": deps.policy}
        return save_with_retry(deps.store, task, lambda current: lifecycle.apply_snapshot(current, canceled, **given))  # type: ignore[arg-type]

    patch.setattr(cancel_task, "_refreshed", believed)


@mutant(schedules("cancel during the create call"), I.TRUE_CANCEL)
def cancel_what_is_being_submitted(patch: Patch) -> None:
    def bold(task: Task, *, now: int, policy: Any, **_: Any) -> Task:
        waits = task.status in (Status.ACCEPTED, Status.SUBMITTING)
        return lifecycle.settle(task, Status.CANCELED, now, "cancel", policy) if waits else task

    patch.setattr(lifecycle, "cancel_unsubmitted", bold)


@mutant(schedules("cancel and check submit"), I.TRUE_CANCEL)
def submit_what_was_canceled(patch: Patch) -> None:
    """The attempt is begun whatever the record says by then."""

    def blind(store: Any, task: Task, change: Callable[[Task], Task]) -> Task:
        try:
            return store.save(change(task))  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001 - this is the mutant
            return change(task)

    patch.setattr("vidu_relay.usecases.begin_submission.save_with_retry", blind)


# Correlation tags


@mutant(schedules("two tasks attach the same ids, by tags"), I.ONE_OWNER)
def take_any_tag_for_our_own(patch: Patch) -> None:
    def mutated(match: Any, task: Task, found: Any, **given: Any) -> Any:
        return Match.OURS if found.tag is not None else match(task, found, **given)

    wrap(patch, submission, "match_candidate", mutated)


@mutant(scenario(then(creates(CreateBehaviour.TIMED_OUT), submit), "soon", HttpVidu), I.SETTLED)
def ignore_tags(patch: Patch) -> None:
    wrap(patch, ViduProvider, "read", lambda read, *given: replace(read(*given), tag=None))


@mutant(scenario(denied_and_lost, "soon", HttpVidu), I.SETTLED)
def tag_each_attempt_differently(patch: Patch) -> None:
    """What an earlier attempt made is not known again."""
    patch.setattr(submission, "shared_token", lambda attempt: attempt.token)


# Images


@mutant(scenario(two_images_inside, again=()), I.TRUE_IMAGES)
def store_images_by_the_task_alone(patch: Patch) -> None:
    """Two images of one request lie at the same place."""
    for module in (request, resolve_image_links):
        patch.setattr(module, "image_key", lambda tenant_id, task_id, _: f"tasks/{tenant_id}/{task_id}/image")


@mutant(scenario(image_replaced, again=()), I.TRUE_IMAGES)
def forget_which_version_was_checked(patch: Patch) -> None:
    patch.setattr(image_bucket, "_target", lambda image, _: {"Bucket": image.bucket, "Key": image.key})


@mutant(scenario(image_replaced, again=()), I.TRUE_IMAGES)
def send_links_off_peak(patch: Patch) -> None:
    def mutated(resolve: Any, whole: Request, *given: Any) -> Any:
        links = resolve(Request({**whole.parameters, "off_peak": False}, whole.slots), *given)
        return {**links, "off_peak": True}

    wrap(patch, begin_submission, "resolve_image_links", mutated)


def wrap_lines(patch: Patch, mutated: Callable[..., Any]) -> None:
    wrap(patch, accept_batch_lines, "queue_task", mutated)


@mutant(scenario(drops_batch, again=()), I.QUOTA, I.SPENDING)
def reserve_again_for_each_line(patch: Patch) -> None:
    def mutated(queue: Any, asked: Any, origin: Any, acceptance: Any) -> Task:
        task: Task = queue(asked, replace(origin, created_at=None, daily_cap=1000), acceptance)
        return task

    wrap_lines(patch, mutated)


@mutant(scenario(drops_batch, again=()), I.QUOTA, I.SPENDING)
def keep_what_rejected_lines_reserved(patch: Patch) -> None:
    def mutated(settle: Any, *given: Any, tasks: int, price: Any) -> Any:
        return settle(*given, tasks=0, price=price * 0)

    wrap(patch, daily_quota.DailyQuota, "settle_batch", mutated)


@mutant(points("batch", "lines of a batch"), I.ANSWERED, I.QUOTA)
def count_a_line_by_the_execution_that_recorded_it(patch: Patch) -> None:
    """A line whose task an earlier execution recorded is passed over."""
    passed: set[str] = set()

    def mutated(queue: Any, asked: Any, origin: Any, acceptance: Any) -> Task:
        task_id = task_id_for_key(origin.tenant_id, origin.idempotency_key)
        passed.update([task_id] if acceptance.submission.store.get(task_id) else [])
        task: Task = queue(asked, origin, acceptance)
        return task

    wrap_lines(patch, mutated)
    wrap(patch, accept_batch_lines.Slice, "add", lambda add, *one: None if one[1].task_id in passed else add(*one))


@mutant(schedules("lines of a batch received twice"), I.ANSWERED, I.QUOTA, I.SPENDING)
def accept_lines_without_a_lease(patch: Patch) -> None:
    """The last execution writes its lines over those of the other."""

    def mutated(put: Any, store: Any, one: Any) -> Any:
        made = put(store, one)
        return made if not one.revision else {name: made[name] for name in ("TableName", "Item")}

    wrap(patch, batch_store.BatchStore, "putting", mutated)
    patch.setattr(accept_batch_lines, "LEASE_MS", 0)


@mutant(points("batch accepted", "batch ended"), I.ANSWERED)
def mark_the_event_of_a_batch_before_it_is_published(patch: Patch) -> None:
    def mutated(publish: Any, one: batch.Batch, deps: Any) -> None:
        done = one.state is batch.BatchState.COMPLETED
        marked = replace(one, accepted_published=True, completed_published=done)
        deps.batches.save(replace(marked, due_at=None) if done else marked)
        publish(one, deps)

    wrap(patch, follow_batch, "_publish", mutated)


@mutant(scenario(then(batch_accepted, receive_batch(2)), again=()), I.SETTLED)
def complete_a_batch_behind_its_first_open_task(patch: Patch) -> None:
    wrap(patch, follow_batch, "_count_ends", lambda counted, one, *given: replace(counted(one, *given), cursor=99))
