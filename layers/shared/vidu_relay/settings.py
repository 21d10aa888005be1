"""What each function reads from its environment: one class a function, made of the parts it shares with others.

A field `table_name` is the variable `TABLE_NAME`. The template sets what several functions read for all of them, and
the rest for each (tests compare the two). Every function loads this at each cold start: as dataclasses the classes
took six milliseconds of it, and pydantic takes more than the functions that do not need it weigh.
"""

import os
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import TypeVar, get_type_hints

from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.money import read_money
from vidu_relay.domain.polling import PollingPolicy

__all__ = [
    "AcceptRequestSettings",
    "AcceptanceSettings",
    "AuthorizeRequestSettings",
    "CancelTaskSettings",
    "CheckTaskSettings",
    "CreateUploadSettings",
    "DeleteTaskSettings",
    "DeliverVideosSettings",
    "DescribeApiSettings",
    "FindOverdueTasksSettings",
    "ListModelsSettings",
    "NotifyClientSettings",
    "OfferingSettings",
    "ProviderSettings",
    "PublishEventsSettings",
    "ReadTasksSettings",
    "ReceiveCallbackSettings",
    "ReconcileSpendingSettings",
    "RecordSpendingSettings",
    "SendWebhookSettings",
    "ServeConsoleSettings",
    "SubmissionSettings",
    "SubmitTaskSettings",
    "TimingSettings",
    "load",
    "polling_policy",
    "variables",
]


class ProviderSettings:
    """Which providers a function talks to: the default one, where that is asked, and the keys of all."""

    provider_name: str
    provider_base_url: str | None
    provider_secret_arn: str


class CallbackSettings:
    """What signs callback addresses, and where they lead."""

    callback_secret_arn: str
    public_base_url: str


class TimingSettings:
    """The fields of `PollingPolicy`."""

    first_check_seconds: int
    check_interval_seconds: int
    task_deadline_seconds: int
    late_watch_hours: int
    retain_tasks_days: int


class SubmissionSettings(ProviderSettings, CallbackSettings, TimingSettings):
    """What a create call takes."""

    table_name: str
    inbox_bucket: str


class OfferingSettings(ProviderSettings):
    """Which models are offered. No model named: all."""

    off_peak_available: bool
    allow_unlisted_models: bool
    offered_models: tuple[str, ...]


class AcceptanceSettings(SubmissionSettings, OfferingSettings):
    """What accepting a request takes."""

    state_machine_arn: str
    probe_image_urls: bool
    trusted_origins: tuple[str, ...]
    assumed_task_usd: Decimal


class AuthorizeRequestSettings:
    table_name: str
    daily_task_cap: int


class ReadTasksSettings:
    table_name: str
    inbox_bucket: str
    ledger_table: str


class ListModelsSettings(OfferingSettings):
    """`GET /v1/models`."""

    table_name: str


class SubmitTaskSettings(AcceptanceSettings):
    pass


class CreateUploadSettings:
    table_name: str
    inbox_bucket: str


class AcceptRequestSettings(AcceptanceSettings):
    event_bus_name: str
    daily_task_cap: int
    requests_queue_url: str
    sweep_function: str


class CancelTaskSettings(ProviderSettings, TimingSettings):
    table_name: str
    state_machine_arn: str


class DeleteTaskSettings:
    table_name: str
    inbox_bucket: str
    videos_bucket: str


class ReceiveCallbackSettings(ProviderSettings, CallbackSettings, TimingSettings):
    table_name: str
    state_machine_arn: str
    callback_signature: str


class CheckTaskSettings(SubmissionSettings):
    deliveries_queue_url: str


class FindOverdueTasksSettings(TimingSettings):
    table_name: str
    state_machine_arn: str
    check_function: str
    max_tasks_in_flight: int
    requests_queue_url: str


class DeliverVideosSettings(ProviderSettings, TimingSettings):
    table_name: str
    videos_bucket: str
    video_hosts: tuple[str, ...]
    trusted_origins: tuple[str, ...]
    max_video_bytes: int


class NotifyClientSettings(TimingSettings):
    table_name: str
    event_bus_name: str
    webhook_secret_arn: str
    notifications_queue_url: str
    notifications_dead_letters_url: str
    trusted_origins: tuple[str, ...]


class SendWebhookSettings:
    table_name: str
    webhook_secret_arn: str
    notifications_queue_url: str
    trusted_origins: tuple[str, ...]


class PublishEventsSettings:
    table_name: str
    event_bus_name: str
    failures_bucket: str
    sweep_function: str


class ReconcileSpendingSettings(ProviderSettings):
    table_name: str
    ledger_table: str
    inbox_bucket: str
    event_bus_name: str


class RecordSpendingSettings:
    table_name: str
    ledger_table: str
    failures_bucket: str


class DescribeApiSettings:
    public_base_url: str


class ServeConsoleSettings:
    """Where the buckets are: `https://` and the host."""

    inbox_origin: str
    videos_origin: str


S = TypeVar("S")


def variables(settings: type) -> dict[str, object]:
    """The variables of a settings class and of its parts, and the type of each."""
    return {field.upper(): kind for field, kind in get_type_hints(settings).items()}


def load(settings: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Read the variables of one settings class.

    Numbers are decimal integers, amounts US dollars, flags `true` or `false`, lists comma-separated (empty for
    none). Texts are not empty, unless their type allows None.
    Raises `ConfigurationError` naming every variable that is missing or unreadable.
    """
    source = os.environ if environ is None else environ
    loaded = settings()
    faults: list[str] = []
    for name, kind in variables(settings).items():
        text = source.get(name)
        if text is None:
            faults.append(f"{name} is not set")
            continue
        try:
            setattr(loaded, name.lower(), _read(kind, text.strip()))
        except ValueError as fault:
            faults.append(f"{name}: {fault}")
    if faults:
        raise ConfigurationError("; ".join(faults))
    return loaded


def polling_policy(settings: TimingSettings) -> PollingPolicy:
    """The timing part of a function's settings."""
    return PollingPolicy(**{field.name: getattr(settings, field.name) for field in fields(PollingPolicy)})


def _read(kind: object, text: str) -> object:
    if kind is int:
        return int(text)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text.lower() == "true"
    if kind is Decimal:
        amount = read_money(text)
        if not amount:
            raise ValueError(f"must be an amount above 0, not {text!r}")
        return amount
    if kind in (str, str | None):
        if kind is str and not text:
            raise ValueError("is empty")
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())
