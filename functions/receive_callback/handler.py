"""`POST /v1/callbacks/{task_id}?token=…`, called by the provider → the task, settled by our own reading."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vidu_relay import aws
from vidu_relay.adapters.provider_gateway import GatewayProvider
from vidu_relay.adapters.secret_store import ProviderKey, Secret
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.callback_token import CallbackKeys
from vidu_relay.domain.errors import (
    AttemptUnderwayError,
    CallbackRefusedError,
    InvalidRequestError,
    ProviderUnavailableError,
)
from vidu_relay.http import json_response, problem, read_body
from vidu_relay.observability import count, logger, metrics
from vidu_relay.settings import ReceiveCallbackSettings, load, watch_policy
from vidu_relay.usecases.receive_callback import Callback, CallbackPorts, receive_callback

settings = load(ReceiveCallbackSettings)
callback_secret = Secret(aws.client("secretsmanager"), settings.callback_secret_arn)
provider_key = ProviderKey(Secret(aws.client("secretsmanager"), settings.provider_secret_arn))


def _callback_keys(token: str) -> CallbackKeys:
    keys = CallbackKeys(callback_secret.get())
    if not keys.knows(token) and callback_secret.reread():
        return CallbackKeys(callback_secret.get())
    return keys


ports = CallbackPorts(
    store=TaskStore(aws.client("dynamodb"), settings.table_name),
    provider=GatewayProvider(settings.provider_base_url, provider_key),
    poller=TaskPoller(aws.client("stepfunctions"), settings.state_machine_arn),
    callback_keys=_callback_keys,
    signature_keys=lambda: (provider_key(),),
    signature_mode=settings.callback_signature,
    public_base_url=settings.public_base_url,
    policy=watch_policy(settings),
)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    try:
        callback = Callback(
            task_id=(event.get("pathParameters") or {}).get("task_id", ""),
            token=(event.get("queryStringParameters") or {}).get("token", ""),
            headers=event.get("headers") or {},
            body=_body(event),
        )
        receive_callback(callback, ports)
    except CallbackRefusedError as refusal:
        logger.warning("callback_refused", reason=refusal.reason)
        count("CallbackRefused")
        return problem(403, "callback_refused", "This callback is not accepted.")
    except (AttemptUnderwayError, ProviderUnavailableError) as error:
        logger.info("callback_too_early", reason=type(error).__name__)
        return problem(503, "try_again", "Please send this callback again.", headers={"retry-after": "30"})
    return json_response(200, {"status": "ok"})


def _body(event: dict[str, Any]) -> bytes:
    """The body, empty where it cannot be read: it is a doorbell, and the ring is what counts."""
    try:
        return read_body(event)
    except InvalidRequestError as error:
        logger.info("callback_body_ignored", code=error.code)
        return b""
