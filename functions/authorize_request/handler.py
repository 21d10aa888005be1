"""The API's Lambda authorizer: `Authorization: Bearer <key>` → the tenant."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from vidu_relay import aws
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.observability import logger, observed
from vidu_relay.settings import AuthorizeRequestSettings, load
from vidu_relay.usecases.authorize_request import authorize_request

directory = TenantDirectory(aws.client("dynamodb"), load(AuthorizeRequestSettings).table_name)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    key = authorize_request((event.get("headers") or {}).get("authorization"), directory)
    if key is None:
        logger.info("key_refused")
        return {"isAuthorized": False}
    return {"isAuthorized": True, "context": {"tenant_id": key.tenant_id, "key_id": key.key_id}}
