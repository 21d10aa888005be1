"""A tenant's own tasks: one, or a page of them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from vidu_relay.adapters.notification_log import NotificationLog
from vidu_relay.adapters.provider_queue import ProviderQueue
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.domain.errors import InvalidCursorError
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.notification import notified_versions, represent_notification
from vidu_relay.domain.representation import represent
from vidu_relay.domain.request import LARGE_PARAMETERS, Request
from vidu_relay.domain.task import MAX_MOMENT, Task
from vidu_relay.domain.task_query import MAX_LIMIT, TaskQuery
from vidu_relay.usecases.advise_retry import RecentTasks, advise_retry
from vidu_relay.usecases.find_position import find_position

if TYPE_CHECKING:
    from vidu_relay.domain import documents, webhook_documents

__all__ = ["ShownTask", "TaskPage", "list_notifications", "list_tasks", "read_task"]

KEYS_PER_PAGE = 500
"""A filtered page reads this many tasks at most, then returns a cursor, however few matched."""

LINK_BYTES = 4096
"""More than a signed link takes: it carries the session token of the function's role."""

MAX_PAGE_BYTES = 5_000_000
"""Of a page's tasks: Lambda takes an answer of 6 MB. A page ends before the task that would not fit."""


@dataclass(frozen=True, slots=True)
class ShownTask:
    """A task as the API shows it, and in how many seconds to look again; None once it is settled.

    `tag` changes with the record; `task` is None for a client that has this state of it.
    """

    task: documents.Task | None
    retry_after_seconds: int | None
    tag: str = ""


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Tasks as the API shows them, newest first; `next_cursor` is None after the last.

    `tag` changes with the records; `tasks` are left out if the page is `unchanged` for a client.
    """

    tasks: list[documents.Task]
    next_cursor: str | None
    tag: str = field(default="", compare=False)
    unchanged: bool = False


def read_task(
    task_id: str,
    tenant_id: str,
    *,
    store: TaskStore,
    requests: RequestArchive,
    videos: VideoLinks,
    queue: ProviderQueue,
    recent: RecentTasks,
    known: Container[str] = (),
) -> ShownTask | None:
    """One task as the API shows it, with its whole request; None if this tenant has no such task.

    `known` has the tags of what the client has.
    """
    task = _own_task(task_id, tenant_id, store)
    if task is None:
        return None
    wait, position = advise_retry(task, recent), find_position(task, queue)
    tag = _tag([task], str(position))
    if tag in known:
        return ShownTask(None, wait, tag)
    whole = _whole_request(task, requests)
    shown = represent(task, sign=videos.link, download=videos.download, request=whole, queue_position=position)
    if links := _image_links(task, whole, requests.bucket, videos):
        shown["image_links"] = links
    return ShownTask(shown, wait, tag)


def list_notifications(
    task_id: str, tenant_id: str, *, store: TaskStore, log: NotificationLog
) -> webhook_documents.TaskNotifications | None:
    """What became of a task's notifications, as far as they were attempted; None if this tenant has no such task."""
    task = _own_task(task_id, tenant_id, store)
    if task is None:
        return None
    records = log.find(task_id, notified_versions(task) if task.request.get("callback_url") else ())
    return {"notifications": [represent_notification(task, version, record) for version, record in records.items()]}


def _own_task(task_id: str, tenant_id: str, store: TaskStore) -> Task | None:
    task = store.get(task_id) if TASK_ID.fullmatch(task_id) else None
    return task if task is not None and task.tenant_id == tenant_id else None


def list_tasks(
    tenant_id: str, given: Mapping[str, str], *, store: TaskStore, videos: VideoLinks, known: Container[str] = ()
) -> TaskPage:
    """A page of a tenant's tasks. `given` is the query string's, unchecked; `known` the tags of what the client has.

    A page has at most `limit` tasks and `MAX_PAGE_BYTES` bytes; `next_cursor` goes on with what had no room. The task
    with an `external_id` is read as it is now; every other page may lack what was submitted a moment ago.
    Raises `InvalidRequestError` as `TaskQuery.read` does, and `InvalidCursorError`.
    """
    query = TaskQuery.read(given)
    if query.external_id is not None:
        found = store.find_external(tenant_id, query.external_id)
        return _page([found] if found else [], None, videos, known)
    scope = f"{tenant_id}\0{query.scope}"
    after = _read_cursor(query, scope)
    keys_of = partial(store.list_keys, tenant_id, created=(query.first, query.last))
    shown: list[Task] = []
    size_bytes = seen = 0
    while seen < KEYS_PER_PAGE:
        take = min(KEYS_PER_PAGE - seen, MAX_LIMIT if query.reads_records else query.limit)
        keys = keys_of(limit=take, after=after)
        tasks = store.get_many(task_id for _, task_id in keys)
        for created_at, task_id in keys:
            task = tasks.get(task_id)
            if task and task.tenant_id == tenant_id and query.shows(task):
                size_bytes += _bytes_in_answer(represent(task)) + LINK_BYTES * len(task.videos)
                if size_bytes > MAX_PAGE_BYTES and shown:
                    return _page(shown, _cursor(after, scope) if after else None, videos, known)
                shown.append(task)
            after = (created_at, task_id)
            if len(shown) == query.limit:
                break
        seen += len(keys)
        full = len(shown) == query.limit
        more = bool(keys_of(limit=1, after=after)) if full and after == keys[-1] else full or len(keys) == take
        if full or not more:
            after = after if more else None
            break
    return _page(shown, _cursor(after, scope) if after else None, videos, known)


def _page(tasks: list[Task], cursor: str | None, videos: VideoLinks, known: Container[str]) -> TaskPage:
    tag = _tag(tasks, cursor or "")
    if tag in known:
        return TaskPage([], cursor, tag, unchanged=True)
    return TaskPage([represent(task, sign=videos.link) for task in tasks], cursor, tag)


def _tag(tasks: list[Task], *more: str) -> str:
    """An entity tag of the ids and revisions of tasks: links in an answer end sooner than it changes."""
    states = [f"{task.task_id}.{task.revision}" for task in tasks]
    return f'"{hashlib.sha256(" ".join([*states, *more]).encode()).hexdigest()[:32]}"'


def _image_links(task: Task, whole: Mapping[str, Any] | None, inbox: str, videos: VideoLinks) -> dict[str, str]:
    """Links to the images in the inbox bucket that are the tenant's own, by how the request names them."""
    if task.content_deleted_at is not None:
        return {}
    folders = tuple(f"{folder}/{task.tenant_id}/" for folder in ("uploads", "requests", "tasks"))
    slots = Request.of(task.request if whole is None else whole).slots
    images = {slot.reference: slot.object(inbox, task.tenant_id, task.task_id) for slot in slots}
    return {
        reference: videos.link(image)
        for reference, image in images.items()
        if image and image.bucket == inbox and image.key.startswith(folders)
    }


def _bytes_in_answer(shown: Mapping[str, Any]) -> int:
    """A function's answer holds its body as a JSON string, so quotes and backslashes are escaped twice."""
    return len(json.dumps(json.dumps(shown, ensure_ascii=False), ensure_ascii=False).encode())


def _whole_request(task: Task, requests: RequestArchive) -> dict[str, Any] | None:
    """The request with what the record left out, image bytes excepted: those are shown by reference only."""
    whole = requests.find(task.request_key) if task.request_key else None
    if whole is None:
        return None
    return {**task.request, **{name: whole[name] for name in LARGE_PARAMETERS if name in whole}}


def _cursor(after: tuple[int, str], scope: str) -> str:
    """A position and a checksum of it and of the list it is in: `scope` names the tenant and the filters.

    The checksum detects a damaged cursor and another list's. It is no signature: a client that computes one gets a
    position in its own list, and nothing else.
    """
    position = f"{after[0]}.{after[1]}"
    digest = hashlib.sha256(f"{scope}{position}".encode()).hexdigest()
    return base64.urlsafe_b64encode(f"{position}.{digest[:16]}".encode()).rstrip(b"=").decode()


def _read_cursor(query: TaskQuery, scope: str) -> tuple[int, str] | None:
    """Where a page begins, from a cursor that was handed out for this list."""
    text = query.cursor
    if text is None:
        return None
    try:
        plain = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        created_at, task_id, _ = plain.split(".")
        position = int(created_at), task_id
    except (ValueError, binascii.Error) as error:
        raise InvalidCursorError from error
    if _cursor(position, scope) != text or not TASK_ID.fullmatch(task_id):
        raise InvalidCursorError
    if not query.first <= position[0] <= min(query.last, MAX_MOMENT - 1):
        raise InvalidCursorError
    return position
