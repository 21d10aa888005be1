"""Stands in for the update of a function while it is in use.

On AWS an invocation that has begun ends on the code, layers and variables it began with, where MiniStack kills it. And
CloudFormation changes code and configuration by two calls, some time apart (github.com/aws/aws-cdk/issues/8446):
between them functions start with the one and without the other. MiniStack does both at once and lets nothing in
between. Which of the two AWS changes first is not documented; here it is the code.
"""

import time
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners, stacks

from local.emulator.settings import Settings

FUNCTION = "AWS::Lambda::Function"
BETWEEN_SECONDS = 1.0


def apply(settings: Settings) -> None:
    _let_invocations_end()
    _update_in_two_steps()


def _let_invocations_end() -> None:
    invalidate, release = lambda_runtime.invalidate_worker, lambda_runtime.release_worker
    outdated: set[Any] = set()

    def invalidate_worker(func_name: str, **which: Any) -> None:
        with lambda_runtime._lock:
            for pool in lambda_runtime._workers.values():
                busy = [worker for worker in pool if worker.func_name == func_name and worker.in_use]
                outdated.update(busy)
                pool[:] = [worker for worker in pool if worker not in busy]
        invalidate(func_name, **which)

    def release_worker(worker: Any) -> None:
        release(worker)
        if worker in outdated:
            outdated.discard(worker)
            lambda_runtime.kill_workers([worker])

    lambda_svc.invalidate_worker = invalidate_worker
    lambda_svc.release_worker = release_worker


def _update_in_two_steps() -> None:
    handlers = provisioners._RESOURCE_HANDLERS[FUNCTION]
    update, blocks = handlers["update"], stacks._runs_on_worker_thread

    def update_function(physical_id: str, old: dict[str, Any], new: dict[str, Any], *names: Any) -> Any:
        halfway = {**old, "Code": new["Code"]}
        if halfway not in (old, new):
            update(physical_id, old, halfway, *names)
            time.sleep(BETWEEN_SECONDS)
            old = halfway
        return update(physical_id, old, new, *names)

    handlers["update"] = update_function
    stacks._runs_on_worker_thread = lambda kind: kind == FUNCTION or blocks(kind)
