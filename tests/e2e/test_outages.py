"""Outages of others, and what the operator does: none of them loses a task, a video, an event or money."""

import json
import time
from typing import Any

from local.client import RelayClient
from tests.e2e.attempts import operate, record, restart
from tests.e2e.sweeps import change_record, make_overdue
from tests.e2e.tenants import client_of_new_tenant
from tests.e2e.waiting import events_until, wait_until

Body = dict[str, Any]

LATE_WATCH_MS = 72 * 3_600_000
"""`LateWatchHours` of the stack, in milliseconds."""


def deliver(relay: RelayClient, task_id: str) -> Body:
    """The task once the operator has had it delivered, who does not wait for the hour."""
    operate(relay, "task", "deliver", task_id)
    task = relay.wait(task_id, "completed")
    assert relay.download(task)[4:8] == b"ftyp"
    return task


def test_a_source_that_is_away_delays_the_video_then_expires_the_task_and_loses_nothing(
    relay: RelayClient, request_body: Body
) -> None:
    """Five copies that fail publish the delay. One record is set back by three days, which no test can wait for."""
    tasks = []
    for failures in (5, 6):
        prompt = f"{request_body['prompt']} {failures}"
        fault = {"kind": "status", "status": 404, "times": failures}
        relay.script(prompt, {"videos": {"fault": fault}})
        tasks.append(relay.submit(request_body | {"prompt": prompt})["task_id"])
    found: list[Body] = []

    def published() -> bool:
        relay.sweep()
        found.extend(event for task_id in tasks for event in relay.new_events(task_id))
        return len([event for event in found if event["detail-type"] == "VideoTaskDeliveryDelayed"]) == len(tasks)

    wait_until(published, "the delay of both")
    states = [relay.task(task_id) for task_id in tasks]
    assert [(task["status"], task["delivery"]["attempts"]) for task in states] == [("generated", 5)] * 2
    assert [entry["source"] for entry in deliver(relay, tasks[0])["history"]].count("delivery_delayed") == 1

    history = record(relay, tasks[1])["history"]["L"]
    for entry in history:
        entry["M"]["at"]["N"] = str(int(entry["M"]["at"]["N"]) - LATE_WATCH_MS)
    change = "SET history = :history, due_at = :now ADD revision :one"
    now = {"N": str(int(time.time() * 1000))}
    change_record(relay, f"task#{tasks[1]}", change, "attribute_exists(due_at)", history={"L": history}, now=now)
    expired = relay.wait(tasks[1], "expired", "failed", meanwhile=relay.sweep)
    assert (expired["status"], expired["error"]["code"]) == ("expired", "video_unavailable")
    assert deliver(relay, tasks[1])["error"] is None


def test_disabling_a_tenant_cancels_what_was_not_submitted(relay: RelayClient, request_body: Body) -> None:
    guest = client_of_new_tenant(relay, "leaver")
    relay.script(request_body["prompt"], {"create": {"throttle": {"n": None, "retry_after": 3600}}})
    task_id = guest.submit(request_body)["task_id"]
    guest.close()
    operate(relay, "tenants", "disable", "leaver")
    make_overdue(relay, task_id)
    relay.sweep()

    events_until(relay, task_id, "VideoTaskCanceled")
    assert record(relay, task_id)["error"]["M"]["code"]["S"] == "tenant_disabled"
    assert relay.create_calls(task_id) == 1


def test_while_the_provider_refuses_the_account_tasks_wait_until_the_secret_holds_a_good_key(
    relay: RelayClient, request_body: Body
) -> None:
    """One create call a minute asks whether the account is taken again; the test sets the minute back."""
    secrets, secret = relay.aws("secretsmanager"), {"SecretId": relay.resources()["ProviderSecret"]}
    good = secrets.get_secret_value(**secret)["SecretString"]

    def change_key(text: str) -> None:
        secrets.put_secret_value(**secret, SecretString=text)
        for folder in ("submit_task", "check_task"):  # a function keeps a key for minutes
            restart(relay, folder)

    change_key(json.dumps({"api_key": "revoked by the provider"}))
    try:
        tasks = [relay.submit(request_body)["task_id"] for _ in range(3)]
        assert {relay.task(task_id)["status"] for task_id in tasks} == {"accepted"}
        calls = relay.ask_provider("requests")
        assert [call["status"] for call in calls if call["method"] == "POST"].count(401) == 1
    finally:
        change_key(good)

    change_record(relay, "pause#gateway", "SET probe_at = :long_ago", "attribute_exists(paused_since)")
    for task_id in tasks:
        make_overdue(relay, task_id)
    for task_id in tasks:
        assert relay.wait(task_id, "completed", "failed", meanwhile=relay.sweep)["status"] == "completed"
    assert len(relay.seen_by_provider(request_body["prompt"])) == len(tasks)
