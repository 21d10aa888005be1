"""The API's Lambda authorizer: `Authorization: Bearer <key>` → the tenant and its daily cap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.budget import budget_fields
from vidu_relay.observability import logger, observed
from vidu_relay.settings import AuthorizeRequestSettings, load
from vidu_relay.usecases.authorize_request import authorize_request

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(AuthorizeRequestSettings)
directory = TenantDirectory(aws.client("dynamodb"), settings.table_name)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    caller = authorize_request(
        (event.get("headers") or {}).get("authorization"), directory, default_daily_cap=settings.daily_task_cap
    )
    if caller is None:
        logger.info("key_refused")
        return {"isAuthorized": False}
    given = {"tenant_id": caller.tenant_id, "key_id": caller.key_id, "daily_cap": str(caller.daily_cap)}
    given |= budget_fields(caller.budget)
    return {"isAuthorized": True, "context": given}
