"""What the upstream API says about a task, in create and poll replies and in callbacks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from local.simulator.scripts import Failure, WithoutUrl
from local.simulator.tasks import State, Task

CREDITS = 4
CANCELED = "UserCancelled"
_WORDS: dict[State, str] = {
    "pending": "queueing",
    "processing": "processing",
    "succeeded": "success",
    "failed": "failed",
    "canceled": "failed",
}
_REPEATED = ("prompt", "duration", "seed", "aspect_ratio", "resolution", "payload", "off_peak")


def credits_of(task: Task) -> int:
    """The bill of a task."""
    own = task.script.books.credits
    return CREDITS if own is None else own


def created_body(task: Task) -> dict[str, Any]:
    """The reply to a create call: what was asked for, and the id."""
    repeated = {name: task.params[name] for name in _REPEATED if name in task.params}
    return repeated | {
        "task_id": task.id,
        "state": "created" if task.created_as == "pending" else _WORDS[task.created_as],
        "model": task.model.name,
        "credits": credits_of(task),
        "created_at": created_at(task),
    }


def created_at(task: Task) -> str:
    """When it was created, as RFC 3339."""
    return datetime.fromtimestamp(task.created_at, UTC).isoformat().replace("+00:00", "Z")


def listed_body(task: Task, state: State) -> dict[str, Any]:
    """The task in a list, which does not show its payload."""
    shown = {name: task.params[name] for name in ("prompt", "images", "duration", "resolution") if name in task.params}
    bill = {"credits": credits_of(task)} if task.script.books.show_credits else {}
    return (
        {"id": task.id, "state": _WORDS[state], "model": task.model.name, "created_at": created_at(task)} | shown | bill
    )


def vidu_body(
    task: Task,
    state: State,
    links: Sequence[str],
    *,
    without_url: WithoutUrl | None = None,
) -> dict[str, Any]:
    """The task as polls and callbacks show it in `state`, `links` as its creations."""
    body: dict[str, Any] = {
        "id": task.id,
        "state": _WORDS[state],
        "err_code": _err_code(task, state),
        "credits": credits_of(task),
        "payload": task.params.get("payload", ""),
        "creations": [_creation(task, number, link) for number, link in enumerate(links)],
    }
    if task.script.reply.unknown_fields:
        body |= {"bgm": False, "x_internal": {"node": 7}, "cus_priority": 0}
    if without_url is not None and without_url.how == "no_output":
        del body["creations"]
    elif without_url is not None and without_url.how == "null_url":
        body["creations"] = [_creation(task, 0, None)]
    return body


def _creation(task: Task, number: int, link: str | None) -> dict[str, Any]:
    # beside the video, what must not be taken for it
    decoys = {
        "cover_url": f"{link}&cover=1" if link else "",
        "watermarked_url": f"{link}&watermarked=1" if link else "",
    }
    return {"id": f"{task.remote_id}{number}", "url": link, **decoys}


def _err_code(task: Task, state: State) -> str:
    if state == "canceled" or (state == "failed" and task.state == "canceled"):
        return CANCELED
    failure = task.script.outcome.fail or Failure()
    return failure.code if state == "failed" and failure.form != "absent" else ""
