"""The handlers as Lambda loads them: fresh for each test, in an account in memory, the provider's HTTP replaced."""

import importlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import pytest

from tests.simulation.effects import Effects
from tests.simulation.provider import SimulatedSource, SimulatedWebhook
from tests.unit.account import ENVIRONMENT, SWEEP_FUNCTION, Account, mock_aws, new_account
from tests.unit.template import sample
from vidu_relay import aws, settings
from vidu_relay.adapters.task_item import task_from_image
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import ApiKey, TenantDirectory, TenantMapping
from vidu_relay.domain.identifiers import api_key_digest
from vidu_relay.domain.task import Task
from vidu_relay.observability import logger, metrics
from vidu_relay.outbound import provider_calls
from vidu_relay.outbound.exchange import Reply

TASK_ID = "myswlg5gzefra7xdps2scd42jm"
REMOTE_ID = "gen-7c1f5e0b9d"
LINK = "https://cdn.example.com/v/8812760039.mp4?Expires=1795510800&Signature=c2FtcGxl"


@dataclass
class Context:
    """What Lambda tells a handler of its invocation."""

    function_name: str = "relay"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:relay"
    aws_request_id: str = "5f0c7b1e-0000-4000-8000-000000000000"
    remaining_ms: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class Gateway:
    """The provider's HTTP server: answers creates and reads, and remembers them."""

    created_at: int = 0
    status: str = "pending"
    create: Reply | None = None
    read: Reply | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)

    def exchange(self, method: str, url: str, **_: Any) -> Reply:
        self.requests.append((method, url))
        if method == "POST" and self.create:
            return self.create
        if method == "GET" and self.read:
            return self.read
        body: dict[str, Any] = {
            "id": REMOTE_ID,
            "status": "pending" if method == "POST" else self.status,
            "created_at": self.created_at,
        }
        if body["status"] == "completed":
            results = [{"type": "video", "url": LINK}]
            body["output"] = [{"task_id": "8812760039", "task_status": "done", "results": results}]
            body["usage"] = {"cost": "0.20", "discount": 1}
        return Reply(200, {}, json.dumps(body).encode())


@dataclass
class Relay:
    """The functions, and what stands around them."""

    account: Account
    gateway: Gateway
    log: io.StringIO
    load: Callable[[str], ModuleType]
    webhook: SimulatedWebhook
    entries: list[dict[str, Any]] = field(default_factory=list)
    """What `accept_request` put on the bus."""

    def invoke(self, function: str, event: Any, *, remaining_ms: int = 30_000) -> dict[str, Any]:
        """Call a fresh function once; what it answers, as JSON carries it."""
        module = self.load(function)
        answer: dict[str, Any] = json.loads(json.dumps(module.handler(event, Context(remaining_ms=remaining_ms))))
        return answer

    def play(self, name: str) -> dict[str, Any]:
        """Call the function that a sample is named after, with it."""
        return self.invoke(name.partition("__")[0], sample(name))

    def task(self) -> Task:
        found = self.store().get(TASK_ID)
        assert found is not None
        return found

    def store(self) -> TaskStore:
        return TaskStore(self.account.clients["dynamodb"], self.account.table)

    def first(self) -> Task:
        """The samples' task as it was first recorded."""
        return task_from_image(sample("publish_events__insert")["Records"][0]["dynamodb"]["NewImage"])

    def add_key(self) -> None:
        """The samples' API key."""
        self.directory().add_key(ApiKey(api_key_digest("sample-api-key-of-acme"), "acme", "backend", 1))

    def map_tenants(self) -> None:
        """The samples' event source."""
        self.directory().add_mapping(TenantMapping.SOURCE, "acme.orders", "acme")

    def directory(self) -> TenantDirectory:
        return TenantDirectory(self.account.clients["dynamodb"], self.account.table)

    def drop(self, key: str, body: bytes) -> None:
        """A file in the inbox."""
        self.account.clients["s3"].put_object(Bucket=self.account.inbox, Key=key, Body=body)

    def drop_order(self) -> None:
        """The file that the sample's notification is about."""
        self.map_tenants()
        body = sample("submit_task__idempotency_key")["body"]
        self.drop("requests/acme/order-1001.json", body.encode())

    def drop_batch(self) -> None:
        """The file of two requests that the sample's notification is about."""
        line = json.dumps(json.loads(sample("submit_task__idempotency_key")["body"]))
        self.drop("requests/acme/night.jsonl", f"{line}\n{line}\n".encode())

    def batch_recorded(self) -> None:
        """The batch of that file."""
        self.drop_batch()
        self.play("accept_request__batch")

    def submitted(self) -> None:
        """The samples' task, as the provider takes it."""
        assert self.play("submit_task__idempotency_key")["statusCode"] == 202

    def waiting(self) -> None:
        """The samples' task, for which the provider has no room."""
        self.gateway.create = Reply(429, {}, b"")
        assert self.play("submit_task__idempotency_key")["statusCode"] == 202

    def canceled(self) -> None:
        self.waiting()
        assert self.play("cancel_task__waiting")["statusCode"] == 202

    def generated(self) -> None:
        self.submitted()
        self.gateway.status = "completed"
        assert self.play("receive_callback__success")["statusCode"] == 200

    def processing_with_callback(self) -> None:
        """The samples' task under way, with a `callback_url`."""
        self.submitted()
        self.gateway.status = "processing"
        assert self.play("receive_callback__processing")["statusCode"] == 200
        task, created_at = self.task(), self.first().created_at  # as old as in the samples, with the same versions
        asked = {**task.request, "callback_url": "https://client.example.com/hook"}
        version = task.version - task.first_version + created_at // 1000
        self.store().save(replace(task, request=asked, created_at=created_at, version=version))

    def notified(self) -> None:
        """Its client was notified."""
        self.processing_with_callback()
        self.play("notify_client__processing")

    def overdue(self) -> None:
        """The samples' task, as old as in the samples, without a callback in time."""
        self.submitted()
        self.store().save(replace(self.task(), due_at=1, lease=self.first().lease))

    def leased(self) -> None:
        self.overdue()
        assert self.play("find_overdue_tasks__minute")["started"] == 1


def environment(account: Account) -> dict[str, str]:
    """Every variable of every settings class, as the template would set it."""
    values = {
        "table_name": account.table, "daily_task_cap": "1000", "inbox_bucket": account.inbox,
        "ledger_table": account.ledger,
        "videos_bucket": account.videos, "provider_name": "gateway",
        "provider_base_url": "https://provider.example.com/model/v1", "provider_secret_arn": account.provider_secret,
        "callback_secret_arn": account.callback_secret, "public_base_url": "https://relay.example.com",
        "callback_signature": "off", "state_machine_arn": account.state_machine_arn,
        "check_function": account.check_function,
        "sweep_function": SWEEP_FUNCTION,
        "max_tasks_in_flight": "100",
        "requests_queue_url": account.requests_url,
        "deliveries_queue_url": account.queue_url, "event_bus_name": account.bus, "failures_bucket": account.failures,
        "webhook_secret_arn": account.webhook_secret, "notifications_queue_url": account.notifications_url,
        "notifications_dead_letters_url": account.notifications_dead_url, "first_check_seconds": "120",
        "check_interval_seconds": "10", "task_deadline_seconds": "7200", "late_watch_hours": "72",
        "retain_tasks_days": "30", "off_peak_available": "false", "allow_unlisted_models": "false",
        "offered_models": "", "assumed_task_usd": "1", "probe_image_urls": "false", "video_hosts": "",
        "trusted_origins": "", "max_video_bytes": "2147483648",
        "inbox_origin": "https://inbox.example.com", "videos_origin": "https://videos.example.com",
    }  # fmt: skip
    return {name.upper(): value for name, value in values.items()}


def variables_of(function: str) -> dict[str, object]:
    """What a function reads, by its folder, and the type of each: `submit_task` has `SubmitTaskSettings`."""
    name = "".join(part.title() for part in function.split("_")) + "Settings"
    return settings.variables(getattr(settings, name))


def process_environment(function: str) -> dict[str, str]:
    variables = dict.fromkeys(variables_of(function), "1") | dict.fromkeys(("TRUSTED_ORIGINS", "OFFERED_MODELS"), "")
    flags = dict.fromkeys(("OFF_PEAK_AVAILABLE", "ALLOW_UNLISTED_MODELS", "PROBE_IMAGE_URLS"), "false")
    return {**variables, **flags, "PROVIDER_NAME": "gateway", **ENVIRONMENT, "AWS_LAMBDA_FUNCTION_NAME": function}


@pytest.fixture(scope="package")
def clients_of_our_own() -> Iterator[None]:
    """Clients made with the credentials and region of these tests, kept from one to the next."""
    for cached in (aws.client, aws.upload_client, aws._session):
        cached.cache_clear()
    yield
    for cached in (aws.client, aws.upload_client, aws._session):
        cached.cache_clear()


@pytest.fixture
def relay(clients_of_our_own: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    metrics.provider.namespace, metrics.provider.service = "ViduRelay", "vidu-relay"
    log = io.StringIO()
    stream = logger.registered_handler.stream  # type: ignore[attr-defined]  # it is a StreamHandler
    logger.registered_handler.setStream(log)  # type: ignore[attr-defined]
    with mock_aws():
        account = new_account()
        gateway = Gateway(created_at=int(time.time()))
        monkeypatch.setattr(provider_calls, "exchange", gateway.exchange)

        def load(function: str) -> ModuleType:
            with monkeypatch.context() as own:
                for variable in variables_of(function):  # no others
                    own.setenv(variable, environment(relay.account)[variable])
                sys.modules.pop(f"functions.{function}.handler", None)
                module = importlib.import_module(f"functions.{function}.handler")
            if function in ("notify_client", "send_webhook"):
                monkeypatch.setattr(module, "deps", replace(module.deps, webhook=webhook))
            if function == "deliver_videos":
                monkeypatch.setattr(module, "deps", replace(module.deps, source=SimulatedSource(Effects())))
            return module

        webhook = SimulatedWebhook(Effects())
        relay = Relay(account, gateway, log, load, webhook)
        relay.directory().create_tenant("acme", 1)
        put_events = aws.client("events").put_events

        def overheard(**arguments: Any) -> Any:
            relay.entries += arguments["Entries"]
            return put_events(**arguments)

        monkeypatch.setattr(aws.client("events"), "put_events", overheard)
        yield relay
    logger.registered_handler.setStream(stream)  # type: ignore[attr-defined]
    logger.clear_state()
    metrics.provider.clear_metrics()
