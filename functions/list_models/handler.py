"""`GET /v1/models` and `GET /v1/models/{model_id}` → the models that the deployment offers."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.price_book import PriceBooks
from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.model_schema import describe_model, describe_models
from vidu_relay.domain.money import NO_MONEY
from vidu_relay.domain.price import utc_date
from vidu_relay.domain.price_list import describe_price
from vidu_relay.http import header, json_response, not_configured, problem
from vidu_relay.observability import logger, observed
from vidu_relay.settings import ListModelsSettings, load
from vidu_relay.usecases.ports import clock
from vidu_relay.wiring import offering

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from vidu_relay.domain import model_documents

settings = load(ListModelsSettings)
offered = offering(settings)
books = PriceBooks(aws.client("dynamodb"), settings.table_name, NO_MONEY)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    try:
        return _models(event, (event.get("pathParameters") or {}).get("model_id"))
    except ConfigurationError as error:
        logger.error("not_configured", reason=str(error))
        return not_configured("Ask again then.")


def _models(event: dict[str, Any], model_id: str | None) -> dict[str, Any]:
    ids = offered.model_ids() if model_id is None else [model_id]
    book = books.read(*(choice for each in ids if (choice := offered.find(each))))
    price = partial(describe_price, book=book, today=utc_date(clock()))
    if model_id is None:
        shown: model_documents.ModelList = {"models": describe_models(offered, price)}
        return _cached(event, shown)
    found = describe_model(model_id, offered, price)
    if found is None:
        known = ", ".join(offered.model_ids())
        return problem(404, "model_not_found", f"This deployment offers no such model; it has {known}.")
    return _cached(event, found)


def _cached(event: dict[str, Any], shown: model_documents.ModelList | model_documents.OfferedModel) -> dict[str, Any]:
    """The answer, which a client may keep for five minutes; 304 without it where the client has the same."""
    answer = json_response(200, shown, {"cache-control": "private, max-age=300"})
    tag = f'"{hashlib.sha256(answer["body"].encode()).hexdigest()[:32]}"'
    answer["headers"]["etag"] = tag
    if tag in [one.strip().removeprefix("W/") for one in (header(event, "if-none-match") or "").split(",")]:
        answer |= {"statusCode": 304, "body": ""}
    return answer
