"""StartExecution is idempotent (Step Functions API reference): a running execution's name with its input answers 200.

MiniStack answers ``ExecutionAlreadyExists``, which on AWS is for another input, or for an execution that has ended.
"""

import json
from typing import Any

from ministack.services import stepfunctions

from local.emulator.patches import replaces
from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    @replaces(stepfunctions, "_start_execution")
    def start(original: Any, request: dict[str, Any]) -> Any:
        status, headers, body = original(request)
        asked = {"input": "{}", **request, "status": "RUNNING"}
        if status == 400 and b"ExecutionAlreadyExists" in body:
            for arn, execution in stepfunctions._executions.items():
                if all(execution.get(key) == asked.get(key) for key in ("name", "stateMachineArn", "input", "status")):
                    return 200, headers, json.dumps({"executionArn": arn, "startDate": execution["startDate"]}).encode()
        return status, headers, body
