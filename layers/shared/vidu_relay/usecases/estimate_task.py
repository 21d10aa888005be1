"""What a request would send to the provider, and what it would cost: checked like a submission, and nothing is made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.money import money_text
from vidu_relay.domain.price import price_of
from vidu_relay.domain.request import Request
from vidu_relay.usecases.check_references import check_references

if TYPE_CHECKING:
    from vidu_relay.domain import documents
    from vidu_relay.usecases.submit_task import Acceptance

__all__ = ["HOURLY_ESTIMATES", "estimate_task"]

HOURLY_ESTIMATES = 120
"""Of a tenant: an estimate opens the request's image URLs, and no daily cap of tasks bounds it."""


def estimate_task(request: Request, tenant_id: str, offering: Offering, acceptance: Acceptance) -> documents.Estimate:
    """The estimate of a request that `parse_request` has read.

    It writes the hour's counter and nothing else, and calls no provider. Raises `HourlyLimitReachedError`, and
    `InvalidRequestError` as `check_references` does; `ConfigurationError` if the model's provider lost its key since.
    """
    deps = acceptance.submission
    now = deps.clock()
    choice = offering.find(request.model)
    if choice is None:
        raise ConfigurationError(f"no provider has a key for {request.model}")
    acceptance.quota.take_hourly("estimates", tenant_id, HOURLY_ESTIMATES, now)
    check_references(request, tenant_id, acceptance.images)
    path, body = deps.provider.describe_create(request.model, request.sent(slot.reference for slot in request.slots))
    today = time.strftime("%Y-%m-%d", time.gmtime(now / 1000))
    price = price_of(choice, request.parameters, acceptance.prices.read(choice), today)
    return {
        "model": request.model,
        "provider": choice.provider,
        "off_peak": request.off_peak,
        "usd": None if price.expected is None else money_text(price.expected),
        "reserved_usd": money_text(price.reserved),
        "basis": price.basis.value,
        "request": {"path": path, "body": body},
    }
