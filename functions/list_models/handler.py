"""`GET /v1/models` and `GET /v1/models/{model_id}` → the models that the deployment offers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.model_schema import describe_model, describe_models
from vidu_relay.http import header, json_response, not_configured, problem
from vidu_relay.observability import logger, observed
from vidu_relay.settings import ListModelsSettings, load
from vidu_relay.wiring import offering

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from vidu_relay.domain import documents

settings = load(ListModelsSettings)
offered = offering(settings)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    try:
        return _models(event, (event.get("pathParameters") or {}).get("model_id"))
    except ConfigurationError as error:
        logger.error("not_configured", reason=str(error))
        return not_configured("Ask again then.")


def _models(event: dict[str, Any], model_id: str | None) -> dict[str, Any]:
    if model_id is None:
        shown: documents.ModelList = {"models": describe_models(offered)}
        return _cached(event, shown)
    found = describe_model(model_id, offered)
    if found is None:
        known = ", ".join(offered.model_ids())
        return problem(404, "model_not_found", f"This deployment offers no such model; it has {known}.")
    return _cached(event, found)


def _cached(event: dict[str, Any], shown: documents.ModelList | documents.OfferedModel) -> dict[str, Any]:
    """The answer, which a client may keep for five minutes; 304 without it where the client has the same."""
    answer = json_response(200, shown, {"cache-control": "private, max-age=300"})
    tag = f'"{hashlib.sha256(answer["body"].encode()).hexdigest()[:32]}"'
    answer["headers"]["etag"] = tag
    if tag in [one.strip().removeprefix("W/") for one in (header(event, "if-none-match") or "").split(",")]:
        answer |= {"statusCode": 304, "body": ""}
    return answer
