"""`POST /v1/callbacks/{task_id}?token=…` → the task, as our own read of the provider shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.errors import (
    AttemptUnderwayError,
    CallbackRefusedError,
    InvalidRequestError,
)
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.http import json_response, problem, read_body
from vidu_relay.observability import Metric, count, logger, observed
from vidu_relay.settings import ReceiveCallbackSettings, load, polling_policy
from vidu_relay.usecases.receive_callback import Callback, CallbackDependencies, receive_callback
from vidu_relay.wiring import callback_keys, provider_accounts, providers

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(ReceiveCallbackSettings)
accounts = provider_accounts(settings)
deps = CallbackDependencies(
    store=TaskStore(aws.client("dynamodb"), settings.table_name),
    providers=providers(accounts),
    poller=TaskPoller(aws.client("stepfunctions"), settings.state_machine_arn),
    callback_keys=callback_keys(settings.callback_secret_arn),
    signature_keys=accounts.signing,
    fresh_signature_keys=accounts.fresh_signing,
    signature_mode=settings.callback_signature,
    public_base_url=settings.public_base_url,
    policy=polling_policy(settings),
)
REFUSED_FOR = {"token": Metric.CALLBACK_REFUSED_ADDRESS, "unknown_task": Metric.CALLBACK_REFUSED_UNKNOWN_TASK}
"""The metric of a refusal's reason; every other reason is about the provider's signature."""


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    task_id = str((event.get("pathParameters") or {}).get("task_id", ""))
    if TASK_ID.fullmatch(task_id):  # anything else is no task id, and is not logged
        logger.append_keys(task_id=task_id)
    try:
        callback = Callback(
            task_id=task_id,
            token=(event.get("queryStringParameters") or {}).get("token", ""),
            headers=event.get("headers") or {},
            body=_body(event),
        )
        receive_callback(callback, deps)
    except CallbackRefusedError as refusal:
        logger.warning("callback_refused", reason=refusal.reason)
        count(Metric.CALLBACK_REFUSED)
        count(REFUSED_FOR.get(refusal.reason, Metric.CALLBACK_REFUSED_SIGNATURE))
        return problem(403, "callback_refused", "This callback is not accepted.")
    except AttemptUnderwayError:
        logger.info("callback_too_early")
        count(Metric.CALLBACK_TOO_EARLY)
        return problem(503, "try_again", "Please send this callback again.", headers={"retry-after": "30"})
    return json_response(200, {"status": "ok"})


def _body(event: dict[str, Any]) -> bytes:
    """The body, empty if it cannot be read: the callback still triggers a read of the provider."""
    try:
        return read_body(event)
    except InvalidRequestError as error:
        logger.info("callback_body_ignored", code=error.code)
        return b""
