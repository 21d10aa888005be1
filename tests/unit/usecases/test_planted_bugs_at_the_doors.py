"""More planted bugs: in the queue doors, in cancel, in marks and in images. Each must be found, as in its neighbour."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from tests.unit.pictures import data_uri, png
from tests.unit.usecases.figures import Figures
from tests.unit.usecases.spoken import CancelMood, Mood, SpokenVidu
from tests.unit.usecases.stories import StoryWorld
from tests.unit.usecases.test_any_step_may_fail import submit_images_off_peak
from tests.unit.usecases.test_planted_bugs import Bug, P, Patch, convict, pairs, search, story, timed_out, together
from tests.unit.usecases.world import TENANT
from vidu_relay.adapters import daily_quota, image_bucket
from vidu_relay.adapters.provider_vidu import ViduProvider
from vidu_relay.domain import intake, lifecycle, submission
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.lifecycle import Match
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases import accept_request, attempt_submission, cancel_task, present_images
from vidu_relay.usecases.record_change import record_change

pytestmark = pytest.mark.usefixtures("explorable")

# ---------------------------------------------------------------------------------------------- the queue doors


def submit_whatever_was_begun(patch: Patch) -> None:
    """A message that comes again submits its task, whatever became of it."""

    def eager(task: Task, ports: accept_request.IntakePorts, time_left: Any) -> Task:
        submission = ports.acceptance.submission
        sent = submission.present(task, task.request)
        return attempt_submission.attempt_submission(task, sent, submission, time_left=time_left)

    patch.setattr(accept_request, "_go_on", eager)


def reject_on_our_own_fault(patch: Patch) -> None:
    def hasty(asked: Any, ports: accept_request.IntakePorts, **given: Any) -> Task | None:
        try:
            return accept_request.accept_request(asked, ports, **given)
        except Exception as error:  # noqa: BLE001 - this is the bug
            refusal = InvalidRequestError("internal_error", type(error).__name__)
            accept_request._reject(asked, None, refusal, ports)
            return None

    patch.setattr("tests.unit.usecases.world.accept_request", hasty)


def drop_a_message_on_our_own_fault(patch: Patch) -> None:
    def careless(asked: Any, ports: accept_request.IntakePorts, **given: Any) -> Task | None:
        with suppress(Exception):
            return accept_request.accept_request(asked, ports, **given)
        return None

    patch.setattr("tests.unit.usecases.world.accept_request", careless)


def name_each_rejection_anew(patch: Patch) -> None:
    detail, numbers = intake.rejection_detail, count()
    patch.setattr(
        accept_request, "rejection_detail", lambda *given: {**detail(*given), "event_id": f"{next(numbers)}:rejected"}
    )


def leave_out_the_rejection(patch: Patch) -> None:
    patch.setattr(accept_request, "_reject", lambda *_: None)


def take_a_place_at_every_repetition(patch: Patch) -> None:
    repeated, take = accept_request._go_on, daily_quota.DailyQuota.take
    quotas: list[daily_quota.DailyQuota] = []

    def taken(self: daily_quota.DailyQuota, *given: Any) -> None:
        quotas.append(self)
        take(self, *given)

    def greedy(recorded: Task, *given: Any) -> Task:
        take(quotas[-1], recorded.tenant_id, 1000, recorded.created_at)
        return repeated(recorded, *given)

    patch.setattr(daily_quota.DailyQuota, "take", taken)
    patch.setattr(accept_request, "_go_on", greedy)


def know_a_file_by_its_name_alone(patch: Patch) -> None:
    """The idempotency key of a dropped file leaves its content out."""
    key = intake.own_key
    patch.setattr(accept_request, "own_key", lambda *parts: key(*parts[:3]))


# ------------------------------------------------------------------------------------------------------- cancel


def call_it_canceled_without_the_providers_word(patch: Patch) -> None:
    def believed(task: Task, ports: cancel_task.CancelPorts) -> Task:
        canceled = ProviderSnapshot(task.remote_id or "", ProgressState.CANCELED)
        return record_change(
            ports.store,
            task,
            lambda there: lifecycle.apply_snapshot(
                there, canceled, now=ports.clock(), source="cancel", policy=ports.policy
            ),
        )

    patch.setattr(cancel_task, "_read_back", believed)


def cancel_what_is_being_submitted(patch: Patch) -> None:
    def bold(task: Task, *, now: int, policy: Any, **_: Any) -> Task:
        waits = task.status in (Status.ACCEPTED, Status.SUBMITTING)
        return lifecycle.settle(task, Status.CANCELED, now, "cancel", policy) if waits else task

    patch.setattr(lifecycle, "cancel_unsubmitted", bold)


def submit_what_was_canceled(patch: Patch) -> None:
    """The attempt is begun whatever the record says by then."""

    def blind(store: Any, task: Task, change: Callable[[Task], Task]) -> Task:
        try:
            return store.save(change(task))  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001 - this is the bug
            return change(task)

    patch.setattr("vidu_relay.usecases.begin_submission.record_change", blind)


# -------------------------------------------------------------------------------------------------------- marks


def take_any_mark_for_our_own(patch: Patch) -> None:
    match = lifecycle.match_candidate
    patch.setattr(
        lifecycle,
        "match_candidate",
        lambda task, found, **given: Match.OURS if found.mark is not None else match(task, found, **given),
    )


def ignore_marks(patch: Patch) -> None:
    read = ViduProvider.read
    patch.setattr(ViduProvider, "read", lambda self, remote_id: replace(read(self, remote_id), mark=None))


def mark_each_attempt_anew(patch: Patch) -> None:
    """What an earlier attempt made is not known again. This was so once."""
    patch.setattr(submission, "shared_token", lambda attempt: attempt.token)


# ------------------------------------------------------------------------------------------------------- images


def store_images_by_the_task_alone(patch: Patch) -> None:
    """Two images of one request lie at the same place."""
    patch.setattr(present_images, "image_key", lambda tenant_id, task_id, _: f"tasks/{tenant_id}/{task_id}/image")


def forget_which_version_was_looked_at(patch: Patch) -> None:
    patch.setattr(image_bucket, "_target", lambda image, _: {"Bucket": image.bucket, "Key": image.key})


def send_links_off_peak(patch: Patch) -> None:
    present = present_images.present_images
    patch.setattr(
        attempt_submission,
        "present_images",
        lambda request, **given: {**present({**request, "off_peak": False}, **given), "off_peak": True},
    )


# ------------------------------------------------------------------------------------------------------ stories


def received_twice(world: StoryWorld) -> None:
    world.open_doors()
    message = world.send(world.event())
    world.receive(message)
    world.receive(message)


def refused_twice(world: StoryWorld) -> None:
    world.open_doors()
    message = world.send(world.drop(b"{"), refused=True)
    world.receive(message)
    world.receive(message)


def denied_and_lost(world: StoryWorld) -> None:
    """The first attempt was said to have made nothing, and did; the second made nothing, and does not say so."""
    world.provider.moods = [Mood.LIED, Mood.BUSY_IN_VAIN]
    world.submit()
    world.run(until=world.clock() + 200_000)


def canceled_and_forgotten(world: StoryWorld) -> None:
    """The provider says yes to the cancel, and goes on."""
    world.submit()
    world.provider.cancel_moods = [CancelMood.FORGOTTEN]
    world.cancel(world.task_id())


def two_images_inside(world: StoryWorld) -> None:
    world.pictures[world.task_id()] = [png(300, 300), png(400, 400)]
    world.submit(images=[data_uri(png(300, 300)), data_uri(png(400, 400))])


def image_replaced(world: StoryWorld) -> None:
    """After it was looked at, and before the request is sent again."""
    world.provider.moods = [Mood.THROTTLED]
    submit_images_off_peak(world)
    place = {"Bucket": world.account.inbox, "Key": f"uploads/{TENANT}/fox.png"}
    world.account.clients["s3"].put_object(**place, Body=png(500, 500))


BUGS = (
    # which of the two comes up first depends on the order that was drawn
    Bug(submit_whatever_was_begun, story(received_twice, keys=()), (P.BILLED_ONCE, P.NO_DEAD_LETTERS)),
    Bug(reject_on_our_own_fault, pairs("file by its queue", "event by its queue"), (P.ANSWERED,)),
    Bug(drop_a_message_on_our_own_fault, pairs("file by its queue", "event that is refused"), (P.ANSWERED,)),
    Bug(name_each_rejection_anew, story(refused_twice, keys=()), (P.ANSWERED,)),
    Bug(leave_out_the_rejection, story(refused_twice, keys=()), (P.ANSWERED,)),
    Bug(take_a_place_at_every_repetition, story(received_twice, keys=()), (P.CAP,)),
    Bug(know_a_file_by_its_name_alone, together("two uploads of one file"), (P.ANSWERED,)),
    Bug(
        call_it_canceled_without_the_providers_word,
        story(canceled_and_forgotten, provider=SpokenVidu),
        (P.CALLED_OFF,),
    ),
    Bug(cancel_what_is_being_submitted, together("cancel during the create call"), (P.CALLED_OFF,)),
    Bug(submit_what_was_canceled, together("cancel and check submit"), (P.CALLED_OFF,)),
    Bug(take_any_mark_for_our_own, together("two tasks claim the same ids, by marks"), (P.ONE_OWNER,)),
    Bug(ignore_marks, story(timed_out, "soon", SpokenVidu), (P.SETTLES,)),
    Bug(mark_each_attempt_anew, story(denied_and_lost, "soon", SpokenVidu), (P.SETTLES,)),
    Bug(store_images_by_the_task_alone, story(two_images_inside, keys=()), (P.TRUE_IMAGES,)),
    Bug(forget_which_version_was_looked_at, story(image_replaced, keys=()), (P.TRUE_IMAGES,)),
    Bug(send_links_off_peak, story(image_replaced, keys=()), (P.TRUE_IMAGES,)),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.plant.__name__)
def test_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch, figures: Figures) -> None:
    convict(bug, monkeypatch, figures)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.plant.__name__)
def test_nothing_is_found_where_nothing_is_planted(bug: Bug) -> None:
    assert search(bug.wall) > 0
