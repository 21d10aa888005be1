"""`POST /v1/uploads` and `POST /v1/batches` → a form that uploads one reference image, or the file of a batch."""

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
from vidu_relay.usecases.create_upload import create_batch_upload, create_upload

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from vidu_relay.domain import batch_documents, documents

settings = load(CreateUploadSettings)
quota = DailyQuota(aws.client("dynamodb"), settings.table_name, once=aws.client("dynamodb", single_try=True))
bucket = ImageBucket(aws.client("s3"), settings.inbox_bucket)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    logger.append_keys(tenant_id=tenant_of(event))
    create = _batch_upload if event["routeKey"] == "POST /v1/batches" else _upload
    try:
        return json_response(201, create(read_json_body(event), tenant_of(event), daily_cap_of(event)))
    except InvalidRequestError as error:
        count(Metric.REQUEST_REFUSED)
        logger.info("request_refused", code=error.code)
        return invalid_request(error)


def _upload(body: bytes, tenant_id: str, daily_cap: int) -> documents.Upload:
    made = create_upload(body, tenant_id=tenant_id, daily_cap=daily_cap, quota=quota, bucket=bucket)
    return {"url": made.url, "fields": made.fields, "uri": made.uri, "expires_at": timestamp(made.expires_at)}


def _batch_upload(body: bytes, tenant_id: str, daily_cap: int) -> batch_documents.BatchUpload:
    made = create_batch_upload(body, tenant_id=tenant_id, daily_cap=daily_cap, quota=quota, bucket=bucket)
    return {
        "batch_id": made.batch_id,
        "url": made.url,
        "fields": made.fields,
        "expires_at": timestamp(made.expires_at),
    }
