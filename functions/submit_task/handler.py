"""`POST /v1/tasks` → a task, submitted to the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.domain.errors import DailyCapReachedError, InvalidRequestError
from vidu_relay.domain.representation import represent
from vidu_relay.domain.request import parse_request
from vidu_relay.http import daily_cap_of, header, invalid_request, json_response, read_json_body, tenant_of
from vidu_relay.observability import Metric, count, logger, observed
from vidu_relay.settings import SubmitTaskSettings, load
from vidu_relay.usecases.submit_task import CREATE_CALL_MS, check_idempotency_key, submit_task
from vidu_relay.wiring import image_check, submission

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(SubmitTaskSettings)
quota = DailyQuota(aws.client("dynamodb"), settings.table_name, once=aws.when_needed("dynamodb", single_try=True))
archive = RequestArchive(aws.when_needed("s3"), settings.inbox_bucket)
ports = submission(settings)
images = image_check(settings, ports.images)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    logger.append_keys(tenant_id=tenant_of(event))
    try:
        key = header(event, "idempotency-key")
        check_idempotency_key(key)
        request = parse_request(read_json_body(event), off_peak_available=settings.off_peak_available)
        task = submit_task(
            request,
            tenant_id=tenant_of(event),
            idempotency_key=key,
            daily_cap=daily_cap_of(event),
            quota=quota,
            archive=archive,
            images=images,
            ports=ports,
            time_is_short=lambda: context.get_remaining_time_in_millis() < CREATE_CALL_MS,
        )
    except InvalidRequestError as error:
        count(Metric.DAILY_CAP_REACHED if isinstance(error, DailyCapReachedError) else Metric.REQUEST_REFUSED)
        logger.info("request_refused", code=error.code)
        return invalid_request(error)
    return json_response(202, represent(task), {"location": f"/v1/tasks/{task.task_id}"})
