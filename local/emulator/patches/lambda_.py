"""Lambda: deployed code, updates of functions in use, and throttled functions of queues."""

import time
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from ministack.core import iam_actions, lambda_runtime
from ministack.services import lambda_svc
from ministack.services.cloudformation import provisioners, stacks

from local.emulator.patches import replaces
from local.emulator.settings import Settings

FUNCTION = "AWS::Lambda::Function"
STEP_SECONDS = 1.0
RETRY_SECONDS = 0.5


def apply(settings: Settings) -> None:
    deployed_code(settings)
    running_invocations()
    updates_in_two_steps()
    throttled_queues()


def deployed_code(settings: Settings) -> None:
    """The links that GetFunction and GetLayerVersion show, and the permissions of reading them.

    MiniStack's links begin with ``http://localhost``, where it serves HTTPS only. It asks for `lambda:ListLayers` where
    AWS asks for `lambda:GetLayerVersion`, and for nothing where AWS asks for `lambda:GetAccountSettings` (Service
    Authorization Reference, "Actions, resources, and condition keys for AWS Lambda").
    """

    def below_endpoint(original: Any, *which: Any) -> str:
        parts = urlsplit(original(*which))
        return f"{settings.endpoint_url}{parts.path}" + (f"?{parts.query}" if parts.query else "")

    replaces(lambda_svc, "_presigned_code_url")(below_endpoint)
    replaces(lambda_svc, "_layer_content_url")(below_endpoint)

    @replaces(iam_actions, "_lambda_action")
    def action_of(original: Any, method: str, path: str) -> Any:
        if method == "GET" and "/layers/" in path and "/versions/" in path:
            return "GetLayerVersion"
        if method == "GET" and path.rstrip("/").endswith("/account-settings"):
            return "GetAccountSettings"
        return original(method, path)


def running_invocations() -> None:
    """An update lets an invocation end on the code, layers and variables it began with; MiniStack kills it.

    Lambda developer guide, "Lambda runtime environment".
    """
    outdated: set[Any] = set()

    @replaces(lambda_svc, "invalidate_worker")
    def invalidate(original: Any, func_name: str, **which: Any) -> None:
        with lambda_runtime._lock:
            for pool in lambda_runtime._workers.values():
                busy = [worker for worker in pool if worker.func_name == func_name and worker.in_use]
                outdated.update(busy)
                pool[:] = [worker for worker in pool if worker not in busy]
        original(func_name, **which)

    @replaces(lambda_svc, "release_worker")
    def release(original: Any, worker: Any) -> None:
        original(worker)
        if worker in outdated:
            outdated.discard(worker)
            lambda_runtime.kill_workers([worker])


def updates_in_two_steps() -> None:
    """CloudFormation changes a function's code and configuration by two calls (github.com/aws/aws-cdk/issues/8446).

    Between them functions start with the one and without the other. MiniStack does both at once and nothing in between.
    Which of the two AWS changes first is not documented; here it is the code.
    """

    @replaces(provisioners._RESOURCE_HANDLERS[FUNCTION], "update")
    def update(original: Any, physical_id: str, old: dict[str, Any], new: dict[str, Any], *names: Any) -> Any:
        halfway = {**old, "Code": new["Code"]}
        if halfway not in (old, new):
            original(physical_id, old, halfway, *names)
            time.sleep(STEP_SECONDS)
            old = halfway
        return original(physical_id, old, new, *names)

    @replaces(stacks, "_runs_on_worker_thread")
    def on_worker_thread(original: Any, kind: str) -> bool:
        return kind == FUNCTION or bool(original(kind))


def throttled_queues() -> None:
    """Lambda keeps a throttled function's messages, and retries until their visibility time-out is over.

    It runs from the receive. Then each comes again with a higher receive count, or goes to the dead-letter queue
    without any run of the function (Lambda developer guide, "Handling errors for an SQS event source"). MiniStack tries
    once. AWS documents no pauses between the tries: here they are `RETRY_SECONDS`.
    """
    hidden_until: ContextVar[float] = ContextVar("hidden_until", default=0.0)

    @replaces(lambda_svc, "_run_sqs_batch")
    def run(original: Any, mapping: Any, function: Any, event: Any, batch: list[dict[str, Any]], *rest: Any) -> None:
        token = hidden_until.set(min(message["visible_at"] for message in batch))
        try:
            original(mapping, function, event, batch, *rest)
        finally:
            hidden_until.reset(token)

    @replaces(lambda_svc, "_execute_function")
    def execute(original: Any, function: Any, event: Any) -> Any:
        result = original(function, event)
        while result.get("throttle") and time.time() + RETRY_SECONDS < hidden_until.get():
            time.sleep(RETRY_SECONDS)
            result = original(function, event)
        return result
