"""More planted bugs: in how clients are told. Each must be found, as in its neighbours."""

from itertools import count
from typing import Any

import pytest

from tests.unit.usecases.figures import Figures
from tests.unit.usecases.stories import StoryWorld
from tests.unit.usecases.telling import BackendMood
from tests.unit.usecases.test_interleavings import completed_and_published
from tests.unit.usecases.test_planted_bugs import Bug, P, Patch, convict, search, story, together
from vidu_relay.adapters.client_webhook import ClientWebhook
from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.domain import notification
from vidu_relay.domain.errors import NotificationFailedError
from vidu_relay.domain.notification import (
    EVENT_TYPE_NOTIFICATION_FAILED,
    NOTIFIED,
    Notification,
    notification_body,
    webhook_id,
)
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.domain.webhook_signature import signed_headers
from vidu_relay.usecases import notify_client

pytestmark = pytest.mark.usefixtures("explorable")


def name_each_try_anew(patch: Patch) -> None:
    """Another `webhook-id` at every retry: the client takes each for news."""
    name, tries = webhook_id, count(1)
    patch.setattr(notify_client, "webhook_id", lambda *change: f"{name(*change)}:{next(tries)}")


def take_a_redirect_for_a_yes(patch: Patch) -> None:
    post = ClientWebhook.post

    def pleased(self: ClientWebhook, *given: Any) -> int:
        try:
            return post(self, *given)
        except NotificationFailedError as error:
            if error.code.startswith("http_3"):
                return 302
            raise

    patch.setattr(ClientWebhook, "post", pleased)


def give_up_without_a_word(patch: Patch) -> None:
    """No event tells of it."""
    publish = EventBus.publish

    def silent(self: EventBus, events: list[Event]) -> int | None:
        told = [event for event in events if event.detail_type != EVENT_TYPE_NOTIFICATION_FAILED]
        return publish(self, told) if told else None

    patch.setattr(EventBus, "publish", silent)


def give_up_without_a_letter(patch: Patch) -> None:
    """The event is out, and nobody can send what was missed again."""
    patch.setattr("tests.unit.usecases.telling.NoticeQueue.give_up", lambda *_: None)


def give_up_at_once(patch: Patch) -> None:
    patch.setattr(notify_client, "gives_up", lambda *_, **__: True)


def go_on_after_a_410(patch: Patch) -> None:
    post = ClientWebhook.post

    def stubborn(self: ClientWebhook, *given: Any) -> int:
        try:
            return post(self, *given)
        except NotificationFailedError as error:
            raise NotificationFailedError(error.code, error.message) from error

    patch.setattr(ClientWebhook, "post", stubborn)


def sign_what_is_not_sent(patch: Patch) -> None:
    sign = signed_headers
    patch.setattr(notify_client, "signed_headers", lambda name, now, body, keys: sign(name, now, body + b" ", keys))


def believe_the_message(patch: Patch) -> None:
    """Whatever version it names is told as the task stands now."""
    body = notification_body

    def present(task: Task, version: int, sign: Any) -> dict[str, Any]:
        return {**body(task, task.version, sign), "version": version}

    patch.setattr(notify_client, "notification_body", present)


def leave_out_what_is_over(patch: Patch) -> None:
    """A `processing` that the task has left behind before it was tried."""
    worth = notify_client._worth_telling

    def hasty(task: Task, asked: Notification, message: Any) -> bool:
        return asked.version == task.version and worth(task, asked, message)

    patch.setattr(notify_client, "_worth_telling", hasty)


def leave_out_completed(patch: Patch) -> None:
    """The best of all ends is not worth a call."""
    patch.setattr(notification, "NOTIFIED", NOTIFIED - {Status.COMPLETED})


def answered(*moods: BackendMood) -> Any:
    def prepare(world: StoryWorld) -> None:
        completed_and_published(world)
        world.backend.moods = list(moods)

    return prepare


def away_for_days(world: StoryWorld) -> None:
    answered(*[BackendMood.BUSY] * 60)(world)


M = BackendMood
BUGS = (
    Bug(name_each_try_anew, story(answered(M.BUSY), keys=()), (P.TOLD,)),
    Bug(take_a_redirect_for_a_yes, story(answered(M.MOVED), keys=()), (P.TOLD,)),
    Bug(give_up_without_a_word, story(answered(M.GONE), keys=()), (P.TOLD,)),
    Bug(give_up_without_a_letter, story(away_for_days, keys=()), (P.TOLD,)),
    Bug(give_up_at_once, story(answered(M.SILENT), keys=()), (P.TOLD,)),
    Bug(go_on_after_a_410, together("a refused notification received twice"), (P.TOLD,)),
    Bug(sign_what_is_not_sent, story(answered(), keys=()), (P.TOLD,)),
    Bug(believe_the_message, together("a notification while the task ends"), (P.TOLD,)),
    Bug(leave_out_what_is_over, together("a notification while the task ends"), (P.TOLD,)),
    Bug(leave_out_completed, story(answered(), keys=()), (P.TOLD,)),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.plant.__name__)
def test_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch, figures: Figures) -> None:
    convict(bug, monkeypatch, figures)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.plant.__name__)
def test_nothing_is_found_where_nothing_is_planted(bug: Bug) -> None:
    assert search(bug.wall) > 0
