"""The Step Functions state machine `poll_task`: one execution per lease of a task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

__all__ = ["TaskPoller"]


class TaskPoller:
    """Starts executions."""

    def __init__(self, client: SFNClient, state_machine_arn: str) -> None:
        self._client = client
        self._arn = state_machine_arn

    def start(self, task_id: str, lease: int) -> None:
        """Start the execution `<task_id>-<lease>`; nothing happens if it was started before.

        Names stay taken for 90 days, so one lease can never run twice.
        """
        try:
            self._client.start_execution(
                stateMachineArn=self._arn,
                name=f"{task_id}-{lease}",
                input=json.dumps({"task_id": task_id, "lease": lease}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
