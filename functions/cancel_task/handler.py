"""`POST /v1/tasks/{task_id}/cancel` → the task, canceled if the provider allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.errors import ConfigurationError, InvalidRequestError, ProviderUnavailableError
from vidu_relay.domain.representation import represent
from vidu_relay.http import invalid_request, json_response, not_configured, problem, task_not_found, tenant_of
from vidu_relay.observability import Metric, count, logger, observed
from vidu_relay.settings import CancelTaskSettings, load, polling_policy
from vidu_relay.usecases.cancel_task import CancelDependencies, cancel_task
from vidu_relay.wiring import provider_accounts, providers

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(CancelTaskSettings)
deps = CancelDependencies(
    store=TaskStore(aws.client("dynamodb"), settings.table_name),
    providers=providers(provider_accounts(settings)),
    poller=TaskPoller(aws.client("stepfunctions"), settings.state_machine_arn),
    policy=polling_policy(settings),
)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    tenant_id = tenant_of(event)
    try:
        task = cancel_task(str((event.get("pathParameters") or {}).get("task_id", "")), tenant_id, deps)
    except InvalidRequestError as error:
        count(Metric.REQUEST_REFUSED)
        logger.info("cancel_declined", code=error.code)
        return invalid_request(error)
    except ProviderUnavailableError:
        return problem(
            503,
            "cancel_unconfirmed",
            "The provider gave no clear answer, so the task may or may not be canceled. Send the cancel again.",
            headers={"retry-after": "10"},
        )
    except ConfigurationError as error:
        logger.error("not_configured", reason=str(error))
        return not_configured("The task was not canceled: send the cancel again then.")
    return json_response(202, represent(task)) if task else task_not_found()
