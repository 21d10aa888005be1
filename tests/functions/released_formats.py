"""Writes every kind of record, secret, message and execution input once, each by the code that writes it in production.

`tests/fixtures/1.0.0/` holds what `written` gave at that release, and is never changed.
"""

import io
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cli.provider import set_key
from tests.simulation.memory_account import memory_account
from tests.unit.account import Account
from tests.unit.builders import NOW, REQUEST, TASK_ID, new_task, submitting, task_in, video
from tests.unit.template import properties, sample
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.delivery_queue import DeliveryQueue
from vidu_relay.adapters.notification_queue import NotificationQueue
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import ApiKey, Tenant, TenantDirectory, TenantMapping
from vidu_relay.adapters.webhook_origins import Turn, WebhookOrigins
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.identifiers import api_key_digest, task_id_for_key, video_key
from vidu_relay.domain.notification import Notification
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import DELIVERY_DELAYED, Attempt, Candidate, Delivery, HistoryEntry, Refusal, Task
from vidu_relay.domain.webhook_signature import tenant_secret

FAULT = TaskError("source_unavailable", "HTTP 503")
DIGEST = api_key_digest("relay-key")
ORIGIN = "https://client.example"
TASKS: dict[str, Task] = {
    **{status.value: task_in(status) for status in Status},
    "new": new_task(message_id="m" * 32, image_versions=("v1", ""), request_key="tasks/acme/a.json"),
    "webhook, off-peak": new_task(request={**REQUEST, "callback_url": f"{ORIGIN}/hook", "off_peak": True, "seed": 7}),
    "paused": new_task(account_refused_at=NOW, paused_since=NOW + 1, attempts=1),
    "unconfirmed": submitting(
        attempt=Attempt("token.1", NOW, NOW + 1, Refusal(FAULT, 2.5)),
        candidates=(Candidate("gen-1", NOW, True), Candidate("gen-2")),
    ),
    "delivery fails": replace(
        task_in(Status.GENERATED),
        delivery=Delivery(1, 2, 1, 1, FAULT, NOW // 1000 + 4),
        history=(*task_in(Status.GENERATED).history, HistoryEntry(NOW, Status.GENERATED, DELIVERY_DELAYED)),
    ),
    "late": replace(
        task_in(Status.COMPLETED),
        history=(*task_in(Status.EXPIRED).history, *task_in(Status.COMPLETED).history[-2:]),
        aliases=("gen-8",),
        upstream_id="812345678901234567",
        remote_model="viduq2-pro-fast",
        checks=3,
        videos=(video(duration_seconds=5.04, width=1280, height=720, number=2, notes=("no_duration",)),),
    ),
}
TASKS = {name: replace(task, task_id=task_id_for_key("acme", name)) for name, task in TASKS.items()}
OVERDUE = TASKS["submitted"]
DUE = OVERDUE.due_at or 0


def fill(account: Account) -> None:
    """Write every kind of item, each by the code that writes it in production."""
    client, table = account.clients["dynamodb"], account.table
    store, tenants, pauses = TaskStore(client, table), TenantDirectory(client, table), ProviderPauses(client, table)
    for task in TASKS.values():
        store.create(task)
    store.take_lease(OVERDUE.task_id, DUE, DUE + 1)
    store.save(replace(TASKS["late"], revision=1), ("gen-7",))
    for tenant_id in ("acme", "globex"):
        tenants.create_tenant(tenant_id, NOW)
    for name, tenant_id in (("orders", "globex"), ("gone", "acme")):
        tenants.add_mapping(TenantMapping.SOURCE, name, tenant_id)
        tenants.remove_mapping(TenantMapping.SOURCE, name, tenant_id, NOW)
    tenants.add_mapping(TenantMapping.SOURCE, "orders", "acme")
    tenants.add_mapping(TenantMapping.BUCKET, "drops", "acme")
    tenants.set_disabled("acme", True)
    tenants.set_daily_cap("acme", 1)
    tenants.rotate_webhook_secret(Tenant("acme", NOW), NOW)
    tenants.add_key(ApiKey(DIGEST, "acme", "backend", NOW))
    DailyQuota(client, table, once=client).take("acme", 1, NOW)
    DailyQuota(client, table, once=client).take_upload("acme", 1, NOW)
    pauses.pause("vidu", FAULT, now=NOW, probe_at=NOW + 1)
    pauses.end("vidu", now=NOW + 2)
    pauses.pause("gateway", FAULT, now=NOW, probe_at=NOW + 1, tenant_id="acme")
    WebhookOrigins(client, table).failed("acme", ORIGIN, Turn(0), NOW, 10_000, FAULT)


def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What this version writes, by file and by name."""
    account, sent = memory_account(), list[Any]()
    fill(account)
    monkeypatch.setattr("sys.stdin", io.StringIO("new-key"))
    deployed = {"PROVIDER_NAME": "gateway"}
    connection: Any = SimpleNamespace(resource=lambda _: "provider", client=account.clients.get, submitting=deployed)
    set_key.callback(SimpleNamespace(connection=connection), None, None, forget_previous=False)  # type: ignore[misc]
    sqs: Any = SimpleNamespace(send_message=lambda **message: sent.append(json.loads(message["MessageBody"])))
    DeliveryQueue(sqs, "").ask(TASK_ID, "acme")
    NotificationQueue(sqs, "", "").ask(Notification(TASK_ID, 7), "acme")
    TaskPoller(account.clients["stepfunctions"], account.state_machine_arn).start(TASK_ID, 3)
    secrets = {name: json.loads(text) for name, text in account.clients["secretsmanager"].secrets.items()}
    for name, resource in (("callback", "CallbackSecret"), ("webhook", "WebhookSecret")):
        made = properties(resource)["GenerateSecretString"]
        secrets[name] = {**json.loads(made["SecretStringTemplate"]), made["GenerateStringKey"]: "k" * 48}
    requests = {
        f"request: {name}": sample(f"accept_request__{name}")["Records"][0]["body"] for name in ("file", "event")
    }
    ((execution, given),) = account.clients["stepfunctions"].inputs.items()
    return {
        "table": account.clients["dynamodb"].items,
        "secrets": secrets,
        "messages": {"delivery": sent[0], "notification": sent[1], **{n: json.loads(b) for n, b in requests.items()}},
        "executions": {"name": execution, "input": json.loads(given), "output": {"settled": True, "wait_seconds": 0}},
        "derived": {
            "callback token": CallbackKeys(secrets["callback"]).sign(TASK_ID),
            "webhook secret": tenant_secret(secrets["webhook"], "acme", 2),
            "key digest": DIGEST,
            "task id": OVERDUE.task_id,
            "video key": video_key("acme", TASK_ID, NOW, 1),
        },
    }
