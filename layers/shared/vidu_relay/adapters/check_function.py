"""The functions that others invoke: `check_task` for a single check, and the sweep ahead of its time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

__all__ = ["CheckFunction", "SweepFunction"]


class CheckFunction:
    """Invokes the function asynchronously: no caller waits for a slow provider."""

    def __init__(self, client: LambdaClient, function_name: str) -> None:
        self._client = client
        self._name = function_name

    def start(self, task_id: str, lease: int) -> None:
        """Have the task checked once. Lambda may run the check twice or, if it is throttled for long, not at all."""
        payload = json.dumps({"task_id": task_id, "lease": lease}).encode()
        self._client.invoke(FunctionName=self._name, InvocationType="Event", Payload=payload)


class SweepFunction:
    """Invokes the sweep asynchronously: a task may have left room for another at the provider."""

    def __init__(self, client: LambdaClient, function_name: str) -> None:
        self._client = client
        self._name = function_name

    def start(self) -> None:
        """Have it run now. If it does not, it does within a minute."""
        self._client.invoke(FunctionName=self._name, InvocationType="Event", Payload=b"{}")
