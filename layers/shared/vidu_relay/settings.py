"""What each function reads from its environment: one frozen dataclass a function, one field a variable.

A field `table_name` is the variable `TABLE_NAME`. The template must set exactly these (a test compares the
two). Plain dataclasses, because pydantic costs more at cold start than the functions that do not need it weigh.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.watching import WatchPolicy

__all__ = [
    "AcceptRequestSettings",
    "AuthorizeRequestSettings",
    "CancelTaskSettings",
    "CheckTaskSettings",
    "CreateUploadSettings",
    "DeliverVideosSettings",
    "DescribeApiSettings",
    "FindOverdueTasksSettings",
    "NotifyClientSettings",
    "PublishEventsSettings",
    "ReadTasksSettings",
    "ReceiveCallbackSettings",
    "SubmitTaskSettings",
    "load",
    "watch_policy",
]


@dataclass(frozen=True, slots=True)
class AuthorizeRequestSettings:
    table_name: str
    daily_task_cap: int


@dataclass(frozen=True, slots=True)
class ReadTasksSettings:
    table_name: str
    inbox_bucket: str
    videos_bucket: str


@dataclass(frozen=True, slots=True)
class SubmitTaskSettings:
    table_name: str
    inbox_bucket: str
    provider_name: str
    provider_base_url: str
    provider_secret_arn: str
    callback_secret_arn: str
    public_base_url: str
    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int
    off_peak_available: bool
    probe_image_urls: bool
    trusted_origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreateUploadSettings:
    inbox_bucket: str


@dataclass(frozen=True, slots=True)
class AcceptRequestSettings:
    table_name: str
    inbox_bucket: str
    event_bus_name: str
    daily_task_cap: int
    provider_name: str
    provider_base_url: str
    provider_secret_arn: str
    callback_secret_arn: str
    public_base_url: str
    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int
    off_peak_available: bool
    probe_image_urls: bool
    trusted_origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CancelTaskSettings:
    table_name: str
    provider_name: str
    provider_base_url: str
    provider_secret_arn: str
    state_machine_arn: str
    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int


@dataclass(frozen=True, slots=True)
class ReceiveCallbackSettings:
    table_name: str
    provider_name: str
    provider_base_url: str
    provider_secret_arn: str
    callback_secret_arn: str
    public_base_url: str
    callback_signature: str
    state_machine_arn: str
    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int


@dataclass(frozen=True, slots=True)
class CheckTaskSettings:
    table_name: str
    inbox_bucket: str
    provider_name: str
    provider_base_url: str
    provider_secret_arn: str
    callback_secret_arn: str
    public_base_url: str
    deliveries_queue_url: str
    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int


@dataclass(frozen=True, slots=True)
class FindOverdueTasksSettings:
    table_name: str
    state_machine_arn: str


@dataclass(frozen=True, slots=True)
class DeliverVideosSettings:
    table_name: str
    videos_bucket: str
    provider_name: str
    provider_base_url: str
    provider_secret_arn: str
    video_hosts: tuple[str, ...]
    trusted_origins: tuple[str, ...]
    max_video_bytes: int
    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int


@dataclass(frozen=True, slots=True)
class NotifyClientSettings:
    table_name: str
    videos_bucket: str
    event_bus_name: str
    webhook_secret_arn: str
    notifications_queue_url: str
    notifications_dead_letters_url: str
    trusted_origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishEventsSettings:
    event_bus_name: str


@dataclass(frozen=True, slots=True)
class DescribeApiSettings:
    public_base_url: str


S = TypeVar("S")


def load(settings: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Read the variables of one settings class.

    Numbers are decimal integers, flags `true` or `false`, lists comma-separated (empty for none).
    Raises `ConfigurationError` naming every variable that is missing or unreadable.
    """
    source = os.environ if environ is None else environ
    values: dict[str, object] = {}
    faults: list[str] = []
    for field in fields(settings):  # type: ignore[arg-type]  # S is always one of the dataclasses above
        name = field.name.upper()
        text = source.get(name)
        if text is None:
            faults.append(f"{name} is not set")
            continue
        try:
            values[field.name] = _read(str(field.type), text.strip())
        except ValueError as fault:
            faults.append(f"{name}: {fault}")
    if faults:
        raise ConfigurationError("; ".join(faults))
    return settings(**values)


def watch_policy(
    settings: SubmitTaskSettings
    | AcceptRequestSettings
    | CancelTaskSettings
    | ReceiveCallbackSettings
    | CheckTaskSettings
    | DeliverVideosSettings,
) -> WatchPolicy:
    """The timing part of a function's settings."""
    return WatchPolicy(**{field.name: getattr(settings, field.name) for field in fields(WatchPolicy)})


def _read(kind: str, text: str) -> object:
    if kind == "int":
        return int(text)
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text.lower() == "true"
    if kind == "str":
        if not text:
            raise ValueError("is empty")
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())
