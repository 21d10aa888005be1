"""`GET /v1/openapi.json` → the API's description; `GET /v1/docs` → the same as a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vidu_relay.http import public_response
from vidu_relay.observability import observed
from vidu_relay.openapi_page import CONTENT_SECURITY_POLICY, OPENAPI, render
from vidu_relay.settings import DescribeApiSettings, load

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(DescribeApiSettings)
document = json.loads(OPENAPI.read_text("utf-8"))
document["servers"] = [{"url": settings.public_base_url}]
policy = {"content-security-policy": CONTENT_SECURITY_POLICY}
answers = {
    "GET /v1/openapi.json": public_response("application/json", json.dumps(document, ensure_ascii=False)),
    "GET /v1/docs": public_response("text/html; charset=utf-8", render(document), policy),
}


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return answers[event["routeKey"]]
