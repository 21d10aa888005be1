"""The deletion of a task's content: what goes, and what stays of the record. Pure functions."""

from __future__ import annotations

from dataclasses import replace

from vidu_relay.domain.errors import DeliveryUnderwayError, InvalidRequestError
from vidu_relay.domain.polling import DELIVERY_GRACE_MS
from vidu_relay.domain.price import PRICED
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

__all__ = ["begin_deletion", "without_content"]

KEPT_PARAMETERS = ("model", *PRICED)


def begin_deletion(task: Task, *, now: int) -> Task:
    """The task, marked: from now on no video of it is delivered; the same task if it is marked already.

    Raises `InvalidRequestError` (`task_not_settled`) for a task that is not settled, and `DeliveryUnderwayError` while
    a copy that began before the task settled may still write a video.
    """
    if task.content_deleted_at is not None:
        return task
    if not task.settled:
        raise InvalidRequestError(
            "task_not_settled", f"The task is {task.status.value}: cancel it, or delete it once it is settled."
        )
    left_ms = task.updated_at + DELIVERY_GRACE_MS - now
    if task.generated_at is not None and left_ms > 0:
        raise DeliveryUnderwayError(left_ms // 1000 + 1)
    return replace(task, content_deleted_at=now)


def without_content(task: Task) -> Task:
    """The task without what its client or the provider wrote; the same task if nothing is left of it.

    States, ids (`external_id` too), amounts, and the sizes of its videos stay, and of the request the model and what
    prices depend on.
    """
    request = {name: value for name, value in task.request.items() if name in KEPT_PARAMETERS}
    error = task.error
    if error is not None and task.status is Status.FAILED:  # the provider's words, which may quote the prompt
        error = replace(error, message="")
    stripped = replace(task, request=request, request_key=None, image_versions=(), labels=None, error=error)
    return task if stripped == task else stripped
