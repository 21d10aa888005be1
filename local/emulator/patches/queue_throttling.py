"""Stands in for what Lambda does with a queue's messages while their function is throttled.

On AWS it keeps them and tries again until the queue's visibility time-out is over, which runs from the receive. Then it
drops them, and each comes again with a higher receive count, or goes to the dead-letter queue without any run of the
function (Lambda developer guide, "Handling errors for an SQS event source"). MiniStack tries once. AWS documents no
pauses between the tries: here they are `PAUSE_SECONDS`.
"""

import time
from contextvars import ContextVar
from typing import Any

from ministack.services import lambda_svc

from local.emulator.settings import Settings

PAUSE_SECONDS = 0.5


def apply(settings: Settings) -> None:
    run, execute = lambda_svc._run_sqs_batch, lambda_svc._execute_function
    hidden_until: ContextVar[float] = ContextVar("hidden_until", default=0.0)

    def run_batch(mapping: Any, function: Any, event: Any, batch: list[dict[str, Any]], *rest: Any) -> None:
        token = hidden_until.set(min(message["visible_at"] for message in batch))
        try:
            run(mapping, function, event, batch, *rest)
        finally:
            hidden_until.reset(token)

    def execute_when_free(function: Any, event: Any) -> Any:
        result = execute(function, event)
        while result.get("throttle") and time.time() + PAUSE_SECONDS < hidden_until.get():
            time.sleep(PAUSE_SECONDS)
            result = execute(function, event)
        return result

    lambda_svc._run_sqs_batch = run_batch
    lambda_svc._execute_function = execute_when_free
