"""What the API and an event say of webhooks: types, as in `documents`."""

from typing import Annotated, Literal, TypedDict

from vidu_relay.domain.documents import Moment, State, TaskError, TaskId, TenantId, Version
from vidu_relay.domain.identifiers import TASK_ID

__all__ = [
    "NotificationFailure", "ReplayTaken", "TaskNotification", "TaskNotifications", "WebhookAttempt", "WebhookTest",
    "WebhookTestRequest",
]  # fmt: skip


class WebhookAttempt(TypedDict):
    """One call of a `callback_url`."""

    at: Annotated[Moment, "When it began."]
    status: Annotated[int | None, "HTTP's. Null where no whole answer came."]
    fault: Annotated[str | None, "Why no whole answer came: a code of notifications."]
    latency_ms: Annotated[int, {"minimum": 0}]
    answer: Annotated[
        str,
        "The first 256 bytes of the answer as text; U+FFFD stands for what is no UTF-8 or is not printed. It is your "
        "server's: treat it as foreign text.",
    ]


class TaskNotification(TypedDict):
    """One change of a task that its client is notified of, and how that went."""

    version: Version
    webhook_id: Annotated[str, "The same at every attempt."]
    status: Annotated[State, "The state that the webhook is about."]
    state: Annotated[
        Literal["delivered", "retrying", "gave_up"], "`retrying` also where it was delivered and a replay of it failed."
    ]
    next_try_at: Annotated[Moment | None, "Not before; later where your servers answer slowly."]
    attempts: Annotated[list[WebhookAttempt], "Oldest first; of many the latest."]


class TaskNotifications(TypedDict):
    """The notifications of a task that were attempted."""

    notifications: list[TaskNotification]


class ReplayTaken(TypedDict):
    """The webhook is queued again."""

    webhook_id: Annotated[str, "That of the attempts before."]


class WebhookTestRequest(TypedDict):
    """Where to send a test message."""

    callback_url: Annotated[str, {"format": "uri"}, "As in a task's request."]


class WebhookTest(WebhookAttempt):
    """What came of a test message."""

    webhook_id: str


class NotificationFailure(TypedDict):
    """A webhook to a client's `callback_url` failed, and is not sent again."""

    event_id: Annotated[
        str,
        {"pattern": f"^{TASK_ID.pattern}:[1-9][0-9]*:notification$"},
        "The same however often the event comes.",
    ]
    tenant_id: TenantId
    task_id: TaskId
    version: Annotated[Version, "Of the change that the webhook was about."]
    url_origin: Annotated[str, "The client's address without path and query."]
    attempts: Annotated[int, {"minimum": 0}, "How often it was tried."]
    error: Annotated[TaskError, "Why the last try failed."]
