"""Stands in for the idempotency of StartExecution.

On AWS the name of a running execution, given again with the same input, answers 200 with that execution. MiniStack
answers ``ExecutionAlreadyExists``, which on AWS is for another input, or for an execution that has ended.
"""

import json
from typing import Any

from ministack.services import stepfunctions

from local.emulator.settings import Settings

Response = tuple[int, dict[str, str], bytes]


def apply(settings: Settings) -> None:
    start = stepfunctions._start_execution

    def start_execution(request: dict[str, Any]) -> Response:
        response: Response = start(request)
        status, headers, body = response
        if status == 400 and b"ExecutionAlreadyExists" in body:
            for arn, execution in stepfunctions._executions.items():
                same = all(
                    execution.get(name) == value
                    for name, value in (
                        ("name", request.get("name")),
                        ("stateMachineArn", request.get("stateMachineArn")),
                        ("input", request.get("input", "{}")),
                        ("status", "RUNNING"),
                    )
                )
                if same:
                    return 200, headers, json.dumps({"executionArn": arn, "startDate": execution["startDate"]}).encode()
        return response

    stepfunctions._start_execution = start_execution
