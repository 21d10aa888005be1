"""What a request would send to the provider, and what it would cost: checked like a submission, and nothing is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidu_relay.domain.money import money_text
from vidu_relay.domain.request import Request
from vidu_relay.usecases.check_references import check_references
from vidu_relay.usecases.price_request import price_request

if TYPE_CHECKING:
    from vidu_relay.domain import model_documents
    from vidu_relay.usecases.submit_task import Acceptance

__all__ = ["HOURLY_ESTIMATES", "estimate_task"]

HOURLY_ESTIMATES = 120
"""Of a tenant: an estimate opens the request's image URLs, and no daily cap of tasks bounds it."""


def estimate_task(request: Request, tenant_id: str, acceptance: Acceptance) -> model_documents.Estimate:
    """The estimate of a request that `parse_request` has read.

    It writes the hour's counter and nothing else, and calls no provider. Raises `HourlyLimitReachedError`, and
    `InvalidRequestError` as `check_references` does.
    """
    deps = acceptance.submission
    now = deps.clock()
    acceptance.quota.take_hourly("estimates", tenant_id, HOURLY_ESTIMATES, now)
    check_references(request, tenant_id, acceptance.images)
    path, body = deps.providers(request.provider).describe_create(
        request.model, request.sent(slot.reference for slot in request.slots)
    )
    price = price_request(request, acceptance.prices, now).price
    return {
        "model": request.model,
        "provider": request.provider,
        "off_peak": request.off_peak,
        "usd": None if price.expected is None else money_text(price.expected),
        "reserved_usd": money_text(price.reserved),
        "basis": price.basis.value,
        "request": {"path": path, "body": body},
    }
