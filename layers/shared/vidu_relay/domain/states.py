"""The states of a task, the changes allowed between them, and the event each change publishes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

__all__ = [
    "EVENT_TYPES",
    "EVENT_TYPE_ACCEPTED",
    "EVENT_TYPE_DELIVERY_DELAYED",
    "EVENT_TYPE_REJECTED",
    "SETTLED",
    "TRANSITIONS",
    "Status",
    "can_transition",
]


class Status(StrEnum):
    """Where a task stands. The values are public: they appear in the API, in events and in filters."""

    ACCEPTED = "accepted"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    PROCESSING = "processing"
    GENERATED = "generated"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"


TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        # accepted → submitted and beyond: a callback revealed that an attempt did create a task
        Status.ACCEPTED: frozenset(
            {
                Status.SUBMITTING,
                Status.SUBMITTED,
                Status.PROCESSING,
                Status.GENERATED,
                Status.FAILED,
                Status.EXPIRED,
                Status.CANCELED,
            }
        ),
        # submitting → accepted: the attempt certainly created nothing
        Status.SUBMITTING: frozenset(
            {
                Status.ACCEPTED,
                Status.SUBMITTED,
                Status.PROCESSING,
                Status.GENERATED,
                Status.FAILED,
                Status.EXPIRED,
                Status.CANCELED,
            }
        ),
        Status.SUBMITTED: frozenset(
            {Status.PROCESSING, Status.GENERATED, Status.FAILED, Status.EXPIRED, Status.CANCELED}
        ),
        Status.PROCESSING: frozenset({Status.GENERATED, Status.FAILED, Status.EXPIRED, Status.CANCELED}),
        # generated → expired: the videos could not be copied for as long as a late video is waited for
        Status.GENERATED: frozenset({Status.COMPLETED, Status.EXPIRED}),
        Status.EXPIRED: frozenset({Status.GENERATED}),  # a late video is still delivered
        Status.COMPLETED: frozenset(),
        Status.FAILED: frozenset(),
        Status.CANCELED: frozenset(),
    }
)

SETTLED = frozenset({Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELED})
"""The states a client need not wait beyond. `expired` may still be followed by `generated`."""

EVENT_TYPE_ACCEPTED = "VideoTaskAccepted"
"""Published when a task is first recorded, whichever state it is recorded in."""

EVENT_TYPE_REJECTED = "VideoTaskRejected"
"""Published when a dropped file or an event was refused: no task came of it."""

EVENT_TYPE_DELIVERY_DELAYED = "VideoTaskDeliveryDelayed"
"""Published once for a `generated` task whose videos cannot be copied yet."""

EVENT_TYPES: Mapping[Status, str] = MappingProxyType(
    {
        Status.SUBMITTED: "VideoTaskSubmitted",
        Status.PROCESSING: "VideoTaskProcessing",
        Status.GENERATED: "VideoTaskGenerated",
        Status.COMPLETED: "VideoTaskCompleted",
        Status.FAILED: "VideoTaskFailed",
        Status.EXPIRED: "VideoTaskExpired",
        Status.CANCELED: "VideoTaskCanceled",
    }
)
"""Entering one of these states is published. Moves between `accepted` and `submitting` are retries: they are not."""


def can_transition(before: Status, after: Status) -> bool:
    """Whether a task in state `before` may enter state `after`."""
    return after in TRANSITIONS[before]
