"""The events of Vidu Relay as pydantic models: the `detail` of what comes over the bus. Copy this file.

Written by `make schemas` for version 1.0.0 of the schemas beside it. What is not known here is ignored, and words
(`status`, `code`) are text, so an event that says more than today is read all the same.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

__all__ = ["VideoTaskEvent", "VideoTaskNotificationFailed", "VideoTaskRejected"]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class TaskSubject(_Told):
    id: str
    images: list[str]
    voice_id: str | None = None


class TaskRequest(_Told):
    model: str | None = None
    subjects: list[TaskSubject] | None = None
    images: list[str] | None = None
    prompt: str | None = None
    audio: bool | None = None
    duration: int | None = None
    seed: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    off_peak: bool | None = None
    watermark: bool | None = None
    wm_position: int | None = None
    wm_url: str | None = None


class TaskError(_Told):
    code: str
    message: str


class TaskResult(_Told):
    type: str


class TaskOutput(_Told):
    task_id: str | None
    task_status: str
    results: list[TaskResult]


class TaskUsage(_Told):
    cost: str | None
    discount: float | None


class TaskMetadata(_Told):
    remote_task_id: str | None
    model: str | None


class Video(_Told):
    bucket: str
    key: str
    size: int
    sha256: str
    content_type: str
    duration_seconds: float | None
    width: int | None
    height: int | None
    notes: list[str]


class TaskDelivery(_Told):
    attempts: int
    last_error: TaskError | None
    next_try_at: datetime | None


class Task(_Told):
    task_id: str
    status: str
    version: int
    model: str | None
    created_at: datetime
    updated_at: datetime
    request: TaskRequest
    error: TaskError | None
    output: list[TaskOutput]
    usage: TaskUsage | None
    metadata: TaskMetadata
    videos: list[Video]
    delivery: TaskDelivery | None
    videos_total: int | None = None


class VideoTaskEvent(_Told):
    """The detail of an event that tells of a task."""

    event_id: str
    tenant_id: str
    client_callback: bool | None = None
    task: Task


class Fault(_Told):
    loc: str
    msg: str
    code: str | None = None


class Problem(_Told):
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[Fault] | None = None


class VideoTaskRejected(_Told):
    """The detail of an event that tells of a refused request."""

    event_id: str
    tenant_id: str | None
    source: str
    error: Problem


class VideoTaskNotificationFailed(_Told):
    """The detail of an event that tells of a client that was not told."""

    event_id: str
    tenant_id: str
    task_id: str
    version: int
    url_origin: str
    attempts: int
    error: TaskError
