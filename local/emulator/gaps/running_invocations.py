"""Stands in for an update of a function while it is running.

On AWS an invocation that has begun ends on the code, layers and variables it began with, and the next one gets the new.
MiniStack kills it, and its caller is told that the runtime exited.
"""

from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from local.emulator.settings import Settings


def close(settings: Settings) -> None:
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
