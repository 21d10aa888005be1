"""A task as others see it: the API's JSON and the detail of an event."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vidu_relay.domain.billing import billing_of
from vidu_relay.domain.image_reference import NAME_SCHEME
from vidu_relay.domain.money import money_text
from vidu_relay.domain.request import Request
from vidu_relay.domain.snapshot import TaskError, Usage
from vidu_relay.domain.states import EVENT_TYPE_ACCEPTED, EVENT_TYPE_DELIVERY_DELAYED, EVENT_TYPES, Status
from vidu_relay.domain.task import Task, Video

if TYPE_CHECKING:
    from vidu_relay.domain import documents

__all__ = [
    "EVENT_HIDDEN_FIELDS",
    "EVENT_PROMPT_CHARACTERS",
    "event_detail",
    "event_type",
    "represent",
    "timestamp",
]

EVENT_PROMPT_CHARACTERS = 500
EVENT_URL_CHARACTERS = 512
MAX_EVENT_BYTES = 19_500
EVENT_HIDDEN_FIELDS = frozenset({"payload", "meta_data", "callback_url"})


def timestamp(at: int) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def represent(
    task: Task,
    *,
    sign: Callable[[Video], str] | None = None,
    download: Callable[[Video, str], str] | None = None,
    request: Mapping[str, Any] | None = None,
    queue_position: int | None = None,
) -> documents.Task:
    """The task as the API returns it: a superset of the provider page's response.

    `sign` gives a short-lived link to *our* copy of a video; without it no result has a `url`. `download` gives one
    under which it is saved by a file name. `request` is the whole request where the record holds it only in part. A
    task whose content is deleted has no links. `queue_position` is shown where it is given.
    """
    if task.content_deleted_at is not None:
        sign = download = None
    place: documents.QueuePlace = {}
    if task.waits and task.queued_at is not None:
        place["queued_at"] = timestamp(task.queued_at)
    if queue_position is not None:
        place["queue_position"] = queue_position
    facts = _facts(task)
    return {
        **place,
        **facts,  # type: ignore[typeddict-item]  # which never have `image_links`
        "request": dict(task.request if request is None else request),
        "output": _output(task, sign, download),
        "videos": [_video(video) for video in task.videos],
        "history": [
            {"at": timestamp(entry.at), "status": entry.status.value, "source": entry.source} for entry in task.history
        ],
    }


def event_type(task: Task) -> str:
    """The detail type of the task's last published change."""
    if task.version == task.first_version:
        return EVENT_TYPE_ACCEPTED
    if task.delivery and task.delivery.delayed_version == task.version:
        return EVENT_TYPE_DELIVERY_DELAYED
    return EVENT_TYPES[task.status]


def event_detail(task: Task) -> documents.VideoTaskEvent:
    """The detail of the event for the task's present version: under 20 KB, and nothing in it that opens anything.

    Where it would be larger, the request keeps its numbers and switches only, and `output` is empty. Where it still
    would be, `videos` ends with the last that fits, and `videos_total` says how many there are.
    """
    parts = Request.of(task.request)
    request = parts.with_references(_bare(slot.reference) for slot in parts.slots)
    request = {name: value for name, value in request.items() if name not in EVENT_HIDDEN_FIELDS}
    if "prompt" in request:
        request["prompt"] = str(request["prompt"])[:EVENT_PROMPT_CHARACTERS]
    if request.get("wm_url"):
        request["wm_url"] = _bare(request["wm_url"])
    shown: documents.EventTask = {
        **_facts(task),
        "request": request,
        "output": _output(task),
        "videos": [_video(video) for video in task.videos],
        "videos_total": len(task.videos),
    }
    detail: documents.VideoTaskEvent = {
        "event_id": f"{task.task_id}:{task.version}",
        "tenant_id": task.tenant_id,
        "client_callback": bool(task.request.get("callback_url")),  # whether, and never where
        "task": shown,
    }
    if _is_too_large(detail):
        shown["request"] = {name: value for name, value in request.items() if isinstance(value, int)}
        shown["output"] = []
    while shown["videos"] and _is_too_large(detail):
        shown["videos"].pop()
    if len(shown["videos"]) == len(task.videos):
        del shown["videos_total"]
    return detail


def _is_too_large(detail: Mapping[str, Any]) -> bool:
    return len(json.dumps(detail, ensure_ascii=False).encode("utf-8", "surrogatepass")) > MAX_EVENT_BYTES


def _facts(task: Task) -> documents.TaskFacts:
    facts: documents.TaskFacts = {
        "task_id": task.task_id,
        "status": task.status.value,
        "version": task.version,
        "model": task.request.get("model"),
        "created_at": timestamp(task.created_at),
        "updated_at": timestamp(task.updated_at),
        "error": _error(task.error),
        "usage": _usage(task.usage),
        "billing": _billing(task),
        "metadata": {
            "remote_task_id": task.upstream_id or task.remote_id,
            "model": task.remote_model or task.request.get("model"),
        },
        "delivery": _delivery(task),
    }
    if task.external_id:
        facts["external_id"] = task.external_id
    if task.labels:
        facts["labels"] = dict(task.labels)
    if task.priority:
        facts["priority"] = task.priority
    if task.batch_id is not None:
        facts["batch_id"] = task.batch_id
    if task.content_deleted_at is not None:
        facts["content_deleted_at"] = timestamp(task.content_deleted_at)
    return facts


def _usage(usage: Usage | None) -> documents.TaskUsage | None:
    if usage is None:
        return None
    shown: documents.TaskUsage = {"cost": usage.cost, "discount": _number(usage.discount)}
    if usage.credits is not None:
        shown["credits"] = usage.credits
    return shown


def _billing(task: Task) -> documents.TaskBilling:
    billing = billing_of(task)
    reserved, cost = billing.reserved, billing.cost
    return {
        "state": billing.state.value,
        "reserved_usd": None if reserved is None else money_text(reserved),
        "cost_usd": None if cost is None else money_text(cost),
        "evidence": {"source": billing.evidence.source, "at": timestamp(billing.evidence.at)},
    }


def _output(
    task: Task, sign: Callable[[Video], str] | None = None, download: Callable[[Video, str], str] | None = None
) -> list[documents.TaskOutput]:
    videos = {video.number: video for video in task.videos}
    number = 0
    shown: list[documents.TaskOutput] = []
    for output in task.outputs:
        results: list[documents.TaskResult] = []
        for _ in output.links:
            number += 1
            video = videos.get(number)
            result: documents.TaskResult = {"type": "video"}
            if sign and video:
                result["url"] = sign(video)
            if download and video:
                result["download_url"] = download(video, f"{task.task_id}-{number}.mp4")
            results.append(result)
        shown.append({"task_id": output.task_id, "task_status": output.task_status or "done", "results": results})
    return shown


def _error(error: TaskError | None) -> documents.TaskError | None:
    return {"code": error.code, "message": error.message} if error else None


def _delivery(task: Task) -> documents.TaskDelivery | None:
    """How the copy goes: None before one failed."""
    delivery = task.delivery
    if delivery is None or not delivery.attempts:
        return None
    waiting = task.status is Status.GENERATED and task.due_at is not None
    return {
        "attempts": delivery.attempts,
        "last_error": _error(delivery.last_error),
        "next_try_at": timestamp(task.due_at) if waiting and task.due_at is not None else None,
    }


def _video(video: Video) -> documents.Video:
    return {
        "bucket": video.bucket,
        "key": video.key,
        "size": video.size,
        "sha256": video.sha256,
        "content_type": video.content_type,
        "duration_seconds": video.duration_seconds,
        "width": video.width,
        "height": video.height,
        "notes": list(video.notes),
    }


def _number(text: str | None) -> int | float | None:
    if text is None:
        return None
    value = float(text)
    return int(value) if value.is_integer() else value


def _bare(url: str) -> str:
    """A URL without what may be a secret: user, query, fragment. An `ni:` name stays as it is."""
    if url.startswith(NAME_SCHEME):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:EVENT_URL_CHARACTERS]
