from itertools import count
from typing import Any

from tests.simulation.mutants import Detector, I, Patch, mutant, scenario, schedules, wrap
from tests.simulation.notifications import BackendBehaviour as B
from tests.simulation.notifications import MessageQueue
from tests.simulation.scenarios import backend, completed, then
from vidu_relay.adapters.client_webhook import ClientWebhook, WebhookAnswer
from vidu_relay.adapters.event_bus import Event, EventBus
from vidu_relay.domain import notification
from vidu_relay.domain.errors import NotificationFailedError
from vidu_relay.domain.notification import EVENT_TYPE_NOTIFICATION_FAILED, NOTIFIED
from vidu_relay.domain.states import Status
from vidu_relay.usecases import notify_client, sign_webhook


def answered(*behaviours: B) -> Detector:
    return scenario(then(completed, backend(*behaviours)), again=())


@mutant(answered(B.BUSY), I.NOTIFIED)
def name_each_try_differently(patch: Patch) -> None:
    """Another `webhook-id` at every retry: the client takes each for news."""
    tries = count(1)
    wrap(patch, notify_client, "webhook_id", lambda name, *change: f"{name(*change)}:{next(tries)}")


@mutant(answered(B.REDIRECT), I.NOTIFIED)
def take_a_redirect_for_success(patch: Patch) -> None:
    def mutated(post: Any, *given: Any) -> Any:
        try:
            return post(*given)
        except NotificationFailedError as error:
            if error.code.startswith("http_3"):
                return WebhookAnswer(302)
            raise

    wrap(patch, ClientWebhook, "post", mutated)


@mutant(answered(B.GONE), I.NOTIFIED)
def give_up_without_an_event(patch: Patch) -> None:
    def mutated(publish: Any, bus: EventBus, events: list[Event]) -> Any:
        others = [event for event in events if event.detail_type != EVENT_TYPE_NOTIFICATION_FAILED]
        return publish(bus, others) if others else None

    wrap(patch, EventBus, "publish", mutated)


@mutant(answered(*[B.BUSY] * 60), I.NOTIFIED)
def give_up_without_a_dead_letter(patch: Patch) -> None:
    """The event is published, and no part can send again what was missed."""
    patch.setattr(MessageQueue, "give_up", lambda *_: None)


@mutant(answered(B.SILENT), I.NOTIFIED)
def give_up_at_once(patch: Patch) -> None:
    patch.setattr(notify_client, "gives_up", lambda *_, **__: True)


@mutant(schedules("a refused notification received twice"), I.NOTIFIED)
def go_on_after_a_410(patch: Patch) -> None:
    def mutated(post: Any, *given: Any) -> Any:
        try:
            return post(*given)
        except NotificationFailedError as error:
            raise NotificationFailedError(error.code, error.message) from error

    wrap(patch, ClientWebhook, "post", mutated)


@mutant(answered(), I.NOTIFIED)
def sign_what_is_not_sent(patch: Patch) -> None:
    wrap(patch, sign_webhook, "signed_headers", lambda sign, name, now, body, keys: sign(name, now, body + b" ", keys))


@mutant(schedules("a notification while the task ends"), I.NOTIFIED)
def believe_the_message(patch: Patch) -> None:
    """Whatever version it names is sent as the task stands now."""

    def mutated(body: Any, task: Any, version: int, sign: Any) -> dict[str, Any]:
        return {**body(task, task.version, sign), "version": version}

    wrap(patch, notify_client, "notification_body", mutated)


@mutant(schedules("a notification while the task ends"), I.NOTIFIED)
def leave_out_what_is_over(patch: Patch) -> None:
    """A `processing` that the task has left behind before it was tried."""

    def mutated(worth: Any, task: Any, asked: Any, message: Any) -> bool:
        return asked.version == task.version and bool(worth(task, asked, message))

    wrap(patch, notify_client, "_is_due", mutated)


@mutant(answered(), I.NOTIFIED)
def leave_out_completed(patch: Patch) -> None:
    patch.setattr(notification, "NOTIFIED", NOTIFIED - {Status.COMPLETED})
