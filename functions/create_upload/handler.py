"""`POST /v1/uploads` → a form that uploads one reference image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.representation import timestamp
from vidu_relay.http import daily_cap_of, invalid_request, json_response, read_json_body, tenant_of
from vidu_relay.observability import Metric, count, logger, observed
from vidu_relay.settings import CreateUploadSettings, load
from vidu_relay.usecases.create_upload import create_upload

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from vidu_relay.domain import documents

settings = load(CreateUploadSettings)
quota = DailyQuota(aws.client("dynamodb"), settings.table_name, once=aws.client("dynamodb", single_try=True))
bucket = ImageBucket(aws.client("s3"), settings.inbox_bucket)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    logger.append_keys(tenant_id=tenant_of(event))
    try:
        upload = create_upload(
            read_json_body(event),
            tenant_id=tenant_of(event),
            daily_cap=daily_cap_of(event),
            quota=quota,
            bucket=bucket,
        )
    except InvalidRequestError as error:
        count(Metric.REQUEST_REFUSED)
        logger.info("request_refused", code=error.code)
        return invalid_request(error)
    shown: documents.Upload = {
        "url": upload.url,
        "fields": upload.fields,
        "uri": upload.uri,
        "expires_at": timestamp(upload.expires_at),
    }
    return json_response(201, shown)
