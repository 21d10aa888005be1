"""`POST /v1/tasks` → a task, submitted to the provider; `POST /v1/estimates` → what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.provider_queue import ProviderQueue
from vidu_relay.domain.errors import ConfigurationError, InvalidRequestError
from vidu_relay.domain.limit_errors import DailyCapReachedError
from vidu_relay.domain.representation import represent
from vidu_relay.domain.request_model import parse_request
from vidu_relay.domain.task import Origin
from vidu_relay.http import (
    budget_of,
    daily_cap_of,
    header,
    invalid_request,
    json_response,
    max_cost_of,
    not_configured,
    read_json_body,
    tenant_of,
)
from vidu_relay.observability import Metric, count, logger, observed
from vidu_relay.settings import SubmitTaskSettings, load
from vidu_relay.usecases.estimate_task import estimate_task
from vidu_relay.usecases.find_position import find_position
from vidu_relay.usecases.submit_task import check_idempotency_key, submit_task
from vidu_relay.wiring import acceptance

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(SubmitTaskSettings)
deps = acceptance(settings)
queue = ProviderQueue(aws.client("dynamodb"), settings.table_name)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    logger.append_keys(tenant_id=tenant_of(event))
    try:
        if event["routeKey"] == "POST /v1/estimates":
            request = parse_request(read_json_body(event), deps.offering)
            return json_response(200, estimate_task(request, tenant_of(event), deps))
        key = header(event, "idempotency-key")
        check_idempotency_key(key)
        request = parse_request(read_json_body(event), deps.offering)
        budget, most = budget_of(event), max_cost_of(event)
        origin = Origin(tenant_of(event), daily_cap_of(event), key, budget=budget, max_cost=most)
        task = submit_task(request, origin, deps, time_left=context.get_remaining_time_in_millis)
    except InvalidRequestError as error:
        count(Metric.DAILY_CAP_REACHED if isinstance(error, DailyCapReachedError) else Metric.REQUEST_REFUSED)
        logger.info("request_refused", code=error.code)
        return invalid_request(error)
    except ConfigurationError as error:
        count(Metric.PROVIDER_ACCOUNT_REFUSED)
        logger.error("not_configured", reason=str(error))
        return not_configured("Nothing was recorded: send the request again then.")
    shown = represent(task, queue_position=find_position(task, queue))
    return json_response(202, shown, {"location": f"/v1/tasks/{task.task_id}"})
