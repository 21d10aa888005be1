"""`GetServiceQuota` (Service Quotas API reference), which MiniStack does not have, with AWS's defaults for us-east-1.

Every other quota is `NoSuchResourceException`, as is on AWS one that the account has no value for.
"""

import json
from typing import Any

from ministack import app
from ministack.core import iam_actions, router
from ministack.core.responses import error_response_json, json_response

from local.emulator.settings import Settings

VALUES = {
    ("apigateway", "L-8A5B8E43"): 10_000.0,
    ("events", "L-9B653E91"): 10_000.0,
    ("events", "L-5540C5E3"): 18_750.0,
}


def apply(settings: Settings) -> None:
    router.SERVICE_PATTERNS["servicequotas"] = {"target_prefixes": ["ServiceQuotasV20190624"]}
    app.SERVICE_HANDLERS["servicequotas"] = answer
    iam_actions.SERVICE_TO_IAM_NAMESPACE["servicequotas"] = "servicequotas"


async def answer(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Any:
    asked = json.loads(body)
    value = VALUES.get((asked.get("ServiceCode"), asked.get("QuotaCode")))
    if value is None or not headers["x-amz-target"].endswith(".GetServiceQuota"):
        return error_response_json("NoSuchResourceException", "There is no such quota.", 400)
    return json_response({"Quota": {**asked, "Value": value}})
