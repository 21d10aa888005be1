"""The events of Vidu Relay as pydantic models: the `detail` of what comes over the bus. Copy this file.

Written by `make schemas` for version 1.1.0 of the schemas beside it. What is not known here is ignored, and words
(`status`, `code`) are text, so an event that says more than today is read all the same.
"""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

__all__ = ["VideoBatchEvent", "VideoTaskEvent", "VideoTaskNotificationFailed", "VideoTaskRejected"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class BatchFile(_Model):
    bucket: str
    key: str


class EventBatch(_Model):
    batch_id: str
    state: str
    created_at: datetime
    name: str | None = None
    retry_of: str | None = None
    attempt: int
    lines: int
    tasks: int | None
    rejected: int | None
    expected_cost_usd: str
    ended: dict[str, object]
    cost_usd: str
    uncertain_usd: str
    summary: BatchFile | None = None
    retry: BatchFile | None = None


class VideoBatchEvent(_Model):
    """The detail of an event about a batch."""

    event_id: str
    tenant_id: str
    batch: EventBatch


class TaskError(_Model):
    code: str
    message: str


class TaskUsage(_Model):
    cost: str | None
    discount: float | None
    credits: str | None = None


class BillingEvidence(_Model):
    source: str
    at: datetime


class TaskBilling(_Model):
    state: str
    reserved_usd: str | None
    cost_usd: str | None
    evidence: BillingEvidence


class TaskMetadata(_Model):
    remote_task_id: str | None
    model: str | None


class TaskDelivery(_Model):
    attempts: int
    last_error: TaskError | None
    next_try_at: datetime | None


class TaskSubject(_Model):
    id: str
    images: list[str]
    voice_id: str | None = None


class TaskRequest(_Model):
    model: str | None = None
    subjects: list[TaskSubject] | None = None
    images: list[str] | None = None
    prompt: str | None = None
    audio: bool | None = None
    audio_type: str | None = None
    voice_id: str | None = None
    auto_subjects: bool | None = None
    bgm: bool | None = None
    is_rec: bool | None = None
    movement_amplitude: str | None = None
    style: str | None = None
    duration: int | None = None
    seed: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    off_peak: bool | None = None
    watermark: bool | None = None
    wm_position: int | None = None
    wm_url: str | None = None


class TaskResult(_Model):
    type: str
    download_url: str | None = None


class TaskOutput(_Model):
    task_id: str | None
    task_status: str
    results: list[TaskResult]


class Video(_Model):
    bucket: str
    key: str
    size: int
    sha256: str
    content_type: str
    duration_seconds: float | None
    width: int | None
    height: int | None
    notes: list[str]


class EventTask(_Model):
    task_id: str
    status: str
    version: int
    model: str | None
    created_at: datetime
    updated_at: datetime
    error: TaskError | None
    usage: TaskUsage | None
    billing: TaskBilling | None = None
    metadata: TaskMetadata
    delivery: TaskDelivery | None
    external_id: str | None = None
    labels: dict[str, object] | None = None
    priority: int | None = None
    batch_id: str | None = None
    content_deleted_at: datetime | None = None
    request: TaskRequest
    output: list[TaskOutput]
    videos: list[Video]
    videos_total: int | None = None


class VideoTaskEvent(_Model):
    """The detail of an event about a task."""

    event_id: str
    tenant_id: str
    client_callback: bool | None = None
    task: EventTask


class VideoTaskNotificationFailed(_Model):
    """A webhook to a client's `callback_url` failed, and is not sent again."""

    event_id: str
    tenant_id: str
    task_id: str
    version: int
    url_origin: str
    attempts: int
    error: TaskError


class Fault(_Model):
    loc: str
    msg: str
    code: str | None = None


class Problem(_Model):
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[Fault] | None = None
    task_id: str | None = None


class VideoTaskRejected(_Model):
    """A dropped file or an event was refused: no task came of it."""

    event_id: str
    tenant_id: str | None
    source: str
    error: Problem
