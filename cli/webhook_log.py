"""What became of a task's webhooks, by the log of `notify_client`: the task's record does not hold it."""

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
    pattern = f'"{task.task_id}"'
    try:
        function = connection.client("lambda").get_function_configuration(
            FunctionName=connection.resource("NotifyClient")
        )
        pages = (
            connection.client("logs")
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=function["LoggingConfig"]["LogGroup"], startTime=task.created_at, filterPattern=pattern
            )
        )
        lines = [_read(event["message"]) for page in pages for event in page["events"]]
    except ClientError as error:
        return {"unknown": f"{error.response['Error']['Code']}: {error.operation_name}"}
    found: dict[str, str] = {}
    for line in sorted(lines, key=lambda line: str(line.get("timestamp"))):
        if line.get("message") in FAILED:
            code, at, origin, number = (line.get(name) for name in ("code", "timestamp", "origin", "receives"))
            given_up = ", given up" if line["message"] == FAILED[1] else ""
            found["last_error"] = f"{code} at {at} from {origin}, try {number}{given_up}"
        elif line.get("message") == SENT:
            found["sent_at"] = str(line.get("timestamp"))
    return found


def _read(text: str) -> dict[str, Any]:
    """A line of the functions' log; empty if it is none of their own."""
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
