"""What version 1.0.0 wrote into the table, secrets, queues and executions: every later version reads it, and goes on
writing its fields, so that 1.0.0 can read what an upgrade wrote before a rollback.
"""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.functions.conftest import Relay
from tests.functions.released_formats import DIGEST, DUE, FAULT, ORIGIN, OVERDUE, TASKS, written
from tests.simulation.memory_account import memory_account
from tests.unit.account import PROVIDER_KEY
from tests.unit.builders import NOW, TASK_ID
from tests.unit.template import ROOT
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.delivery_queue import read_message
from vidu_relay.adapters.notification_queue import read_notification
from vidu_relay.adapters.provider_pause import Pause, ProviderPauses
from vidu_relay.adapters.request_queue import read_request
from vidu_relay.adapters.secret_store import ProviderAccounts, Secret
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import ApiKey, Tenant, TenantDirectory, TenantMapping
from vidu_relay.adapters.webhook_origins import Turn, WebhookOrigins
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.errors import RemoteTaskOwnedError
from vidu_relay.domain.limit_errors import DailyCapReachedError
from vidu_relay.domain.notification import Notification
from vidu_relay.domain.queued_requests import DroppedFile, RequestEvent
from vidu_relay.domain.webhook_signature import tenant_secret

FIXTURES = ROOT / "tests" / "fixtures" / "1.0.0"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return found


def missing(released: Any, today: Any, path: str = "") -> list[str]:
    """Where something written today lacks what the release wrote; only the words of a message, and how long counters
    are kept, may differ."""
    if isinstance(released, dict) and isinstance(today, dict):
        parts = [missing(old, today.get(name), f"{path}.{name}") for name, old in released.items()]
        return [fault for part in parts for fault in part]
    if isinstance(released, list) and isinstance(today, list) and len(released) == len(today):
        return [fault for old, new in zip(released, today, strict=True) for fault in missing(old, new, f"{path}[]")]
    free = ".message." in f"{path}." or (path.startswith("table.cap#") and path.endswith(".expires_at.N"))
    same = type(released) is type(today) if free else released == today
    return [] if same else [f"{path}: {released!r}, today {today!r}"]


KEPT_LONGER = "table.cap#acme#2027-01-15.expires_at"
"""The counters of a day, of which 1.0.0 does not read how long they are kept."""


def test_today_writes_what_1_0_0_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    today = json.loads(json.dumps(written(monkeypatch)))
    assert {path.stem for path in FIXTURES.iterdir()} == set(today)
    faults = [fault for name in today for fault in missing(read(name), today[name], name)]
    assert [fault for fault in faults if not fault.startswith(KEPT_LONGER)] == []


def test_a_changed_name_type_or_value_is_noticed() -> None:
    old = {"pk": {"N": "1"}, "message": {"S": "a"}, "list": [1]}
    assert missing(old, {**old, "message": {"S": "b"}, "new": 1}) == []
    changes: Any = ({"pk": {"S": "1"}}, {"pk": {"N": "2"}}, {"list": []}, {"message": {"N": "1"}})
    for change in changes:
        assert missing(old, {**old, **change}), change


def test_records_are_read_as_they_were_meant() -> None:
    account = memory_account()
    client, table = account.clients["dynamodb"], account.table
    client.items.update(read("table"))
    store, tenants, pauses = TaskStore(client, table), TenantDirectory(client, table), ProviderPauses(client, table)
    expected = {task.task_id: replace(task, revision=task.revision + 1) for task in TASKS.values()}
    late = TASKS["late"].task_id
    expected[late] = replace(expected[late], revision=2)
    expected[OVERDUE.task_id] = replace(
        OVERDUE, revision=OVERDUE.revision + 2, lease=OVERDUE.lease + 1, due_at=DUE + 1, due_since=DUE
    )
    assert {task_id: store.get(task_id) for task_id in expected} == expected
    assert {task_id for task_id, _ in store.find_due(DUE * 2)} == {i for i, task in expected.items() if task.due_at}
    with pytest.raises(RemoteTaskOwnedError):
        store.save(expected[OVERDUE.task_id], ("gen-7",))
    acme = Tenant("acme", NOW, True, 1, ("orders",), ("drops",), 2, NOW)
    assert tenants.find_key(DIGEST) == ApiKey(DIGEST, "acme", "backend", NOW)
    assert tenants.list_tenants() == [acme, Tenant("globex", NOW)]
    assert (
        tenants.find_owner(TenantMapping.SOURCE, "orders") == tenants.find_owner(TenantMapping.BUCKET, "drops") == acme
    )
    assert tenants.find_former_owner(TenantMapping.SOURCE, "orders") == Tenant("globex", NOW)
    assert tenants.find_owner(TenantMapping.SOURCE, "gone") is None
    assert tenants.find_former_owner(TenantMapping.SOURCE, "gone") == acme
    with pytest.raises(DailyCapReachedError):
        DailyQuota(client, table, once=client).take("acme", 1, NOW)
    assert pauses.find("gateway") == Pause(NOW, NOW + 1, None, FAULT, "acme")
    assert pauses.find("vidu") == Pause(None, NOW + 1, NOW + 2, FAULT)
    turn = WebhookOrigins(client, table).take_turn("acme", ORIGIN, NOW)
    assert turn == Turn(30_000, FAULT, NOW + 30_000, 1, 0, NOW + 40_000)


def test_secrets_and_what_was_derived_from_them_stay_valid() -> None:
    secrets, derived = read("secrets"), read("derived")
    client: Any = SimpleNamespace(get_secret_value=lambda **_: {"SecretString": json.dumps(secrets["provider"])})
    for default in ("gateway", "vidu"):
        assert ProviderAccounts(Secret(client, ""), default).signing(default) == ("new-key", PROVIDER_KEY)
    assert CallbackKeys(secrets["callback"]).verify(TASK_ID, derived["callback token"])
    assert tenant_secret(secrets["webhook"], "acme", 2) == derived["webhook secret"]


def test_messages_are_read_as_they_were_meant() -> None:
    bodies = {name: json.dumps(content) for name, content in read("messages").items()}
    assert read_message(bodies["delivery"]) == TASK_ID
    assert read_notification(bodies["notification"]) == Notification(TASK_ID, 7)
    file, event = read_request(bodies["request: file"]), read_request(bodies["request: event"])
    assert file == DroppedFile("relay-inbox", "requests/acme/order-1001.json", None)
    assert isinstance(event, RequestEvent)
    assert (event.source, event.detail["idempotency_key"], event.fault) == ("acme.orders", "order-1001", None)


def test_a_running_execution_gets_the_answer_that_it_reads(relay: Relay) -> None:
    """An execution keeps the definition that it was started with."""
    released = read("executions")
    assert relay.invoke("check_task", released["input"]) == released["output"]
    assert released["name"] == f"{TASK_ID}-3"
