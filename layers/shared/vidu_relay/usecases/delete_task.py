"""Delete a settled task's content, and keep what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from vidu_relay.adapters.notification_log import NotificationLog
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.task_content import TaskContent
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import erasure
from vidu_relay.domain.identifiers import TASK_ID, request_folder, video_folder
from vidu_relay.domain.notification import notified_versions
from vidu_relay.domain.request import Request
from vidu_relay.domain.task import Task
from vidu_relay.observability import logger
from vidu_relay.usecases.ports import Clock, clock
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["DeletionDependencies", "delete_task"]


@dataclass(frozen=True, slots=True)
class DeletionDependencies:
    """What a deletion needs."""

    store: TaskStore
    requests: RequestArchive
    content: TaskContent
    log: NotificationLog
    clock: Clock = clock


def delete_task(task_id: str, tenant_id: str, deps: DeletionDependencies) -> bool:
    """Delete the content of a task; whether this tenant has such a task. Safe to repeat, also after a fault.

    The record is marked first, so that no late video comes, and stripped of its content last: until then it says which
    objects are to be deleted. Raises `InvalidRequestError` as `erasure.begin_deletion` does, what S3 raises, and
    `DeletionIncompleteError`.
    """
    task = deps.store.get(task_id) if TASK_ID.fullmatch(task_id) else None
    if task is None or task.tenant_id != tenant_id:
        return False
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id)
    task = save_with_retry(deps.store, task, lambda current: erasure.begin_deletion(current, now=deps.clock()))
    for key in _own_objects(task, deps):
        deps.content.delete_inbox(key, whole_key=True)
    deps.content.delete_inbox(request_folder(task.tenant_id, task.task_id))
    deps.content.delete_videos(video_folder(task.tenant_id, task.task_id, task.created_at))
    if task.request.get("callback_url"):
        deps.log.erase(task_id, notified_versions(task), task.expires_at or deps.clock() // 1000)
    save_with_retry(deps.store, task, erasure.without_content)
    logger.info("task_content_deleted")
    return True


def _own_objects(task: Task, deps: DeletionDependencies) -> list[str]:
    """Keys of the images in the inbox bucket that the request names: the tenant's uploads and dropped images."""
    whole = deps.requests.find(task.request_key) if task.request_key else None
    slots = Request.of(task.request if whole is None else whole).slots
    named = [slot.named_object for slot in slots if slot.named_object is not None]
    folders = tuple(f"{folder}/{task.tenant_id}/" for folder in ("uploads", "requests"))
    return [one.key for one in named if one.bucket == deps.content.inbox and one.key.startswith(folders)]
