"""What became of webhooks, by the log of `notify_client`: records of tasks do not hold it."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from cli.connection import Connection
from vidu_relay.domain.task import Task

FAILED = ("notification_failed", "notification_given_up")
SENT = "client_notified"


def last_webhook(task: Task, connection: Connection) -> dict[str, str]:
    """`last_error` and `sent_at` of the task's webhooks, as far as the log has them; `unknown` if it cannot be read."""
    try:
        lines = _lines(connection, task.created_at, f'"{task.task_id}"')
    except ClientError as error:
        return {"unknown": f"{error.response['Error']['Code']}: {error.operation_name}"}
    found: dict[str, str] = {}
    for line in lines:
        if line.get("message") in FAILED:
            code, at, origin, number = (line.get(name) for name in ("code", "timestamp", "origin", "receives"))
            given_up = ", given up" if line["message"] == FAILED[1] else ""
            found["last_error"] = f"{code} at {at} from {origin}, try {number}{given_up}"
        elif line.get("message") == SENT:
            found["sent_at"] = str(line.get("timestamp"))
    return found


def failing_hosts(connection: Connection, since: int) -> list[dict[str, Any]]:
    """Origins whose webhooks failed since a moment (ms), the most failures first: `host`, `failed_tries` and `given_up`
    (how often), `tenants`, and code and time of the last failure."""
    found: dict[str, dict[str, Any]] = {}
    either = " || ".join(f'($.message = "{word}")' for word in FAILED)
    for line in _lines(connection, since, f"{{ {either} }}"):
        if line.get("message") not in FAILED:
            continue
        host, tenant = str(line.get("origin")), str(line.get("tenant_id"))
        one = found.setdefault(host, {"host": host, "failed_tries": 0, "given_up": 0, "tenants": []})
        one["failed_tries" if line["message"] == FAILED[0] else "given_up"] += 1
        one["tenants"] = sorted({*one["tenants"], tenant})
        one |= {"last_code": str(line.get("code")), "last_at": str(line.get("timestamp"))}
    return sorted(found.values(), key=lambda one: (-one["failed_tries"] - one["given_up"], one["host"]))


def _lines(connection: Connection, since: int, pattern: str) -> list[dict[str, Any]]:
    """The log's own lines that match a filter pattern, oldest first. Raises `ClientError`."""
    function = connection.client("lambda").get_function_configuration(FunctionName=connection.resource("NotifyClient"))
    pages = connection.client("logs").get_paginator("filter_log_events")
    group = function["LoggingConfig"]["LogGroup"]
    events = pages.paginate(logGroupName=group, startTime=since, filterPattern=pattern)
    lines = [_read(event["message"]) for page in events for event in page["events"]]
    return sorted(lines, key=lambda line: str(line.get("timestamp")))


def _read(text: str) -> dict[str, Any]:
    """A line of the functions' log; empty if it is none of their own."""
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
