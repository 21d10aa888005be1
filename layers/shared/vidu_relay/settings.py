"""What each function reads from its environment: one named tuple a function, one field a variable.

A field `table_name` is the variable `TABLE_NAME`. The template must set exactly these (a test compares the
two). Every function loads them all at each cold start: as dataclasses they took six milliseconds of it, and pydantic
takes more than the functions that do not need it weigh. Types are written to be read as they are, not as text.
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import NamedTuple, TypeVar

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


class AuthorizeRequestSettings(NamedTuple):
    table_name: str
    daily_task_cap: int


class ReadTasksSettings(NamedTuple):
    table_name: str
    inbox_bucket: str


class SubmitTaskSettings(NamedTuple):
    table_name: str
    inbox_bucket: str
    provider_name: str
    provider_base_url: str
    provider_secret_arn: str
    callback_secret_arn: str
    public_base_url: str
    state_machine_arn: str
    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int
    off_peak_available: bool
    probe_image_urls: bool
    trusted_origins: tuple[str, ...]


class CreateUploadSettings(NamedTuple):
    table_name: str
    inbox_bucket: str


class AcceptRequestSettings(NamedTuple):
    table_name: str
    inbox_bucket: str
    event_bus_name: str
    daily_task_cap: int
    provider_name: str
    provider_base_url: str
    provider_secret_arn: str
    callback_secret_arn: str
    public_base_url: str
    state_machine_arn: str
    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int
    off_peak_available: bool
    probe_image_urls: bool
    trusted_origins: tuple[str, ...]


class CancelTaskSettings(NamedTuple):
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


class ReceiveCallbackSettings(NamedTuple):
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


class CheckTaskSettings(NamedTuple):
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


class FindOverdueTasksSettings(NamedTuple):
    table_name: str
    state_machine_arn: str


class DeliverVideosSettings(NamedTuple):
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


class NotifyClientSettings(NamedTuple):
    table_name: str
    event_bus_name: str
    webhook_secret_arn: str
    notifications_queue_url: str
    notifications_dead_letters_url: str
    trusted_origins: tuple[str, ...]


class PublishEventsSettings(NamedTuple):
    event_bus_name: str
    failures_bucket: str


class DescribeApiSettings(NamedTuple):
    public_base_url: str


S = TypeVar("S", bound=NamedTuple)


def load(settings: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Read the variables of one settings class.

    Numbers are decimal integers, flags `true` or `false`, lists comma-separated (empty for none).
    Raises `ConfigurationError` naming every variable that is missing or unreadable.
    """
    source = os.environ if environ is None else environ
    values: list[object] = []
    faults: list[str] = []
    for field, kind in settings.__annotations__.items():
        name = field.upper()
        text = source.get(name)
        if text is None:
            faults.append(f"{name} is not set")
            continue
        try:
            values.append(_read(kind, text.strip()))
        except ValueError as fault:
            faults.append(f"{name}: {fault}")
    if faults:
        raise ConfigurationError("; ".join(faults))
    return settings._make(values)


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


def _read(kind: object, text: str) -> object:
    if kind is int:
        return int(text)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text.lower() == "true"
    if kind is str:
        if not text:
            raise ValueError("is empty")
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())
