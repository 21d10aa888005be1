"""The price of a request that was read a moment ago, by what is known now."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from vidu_relay.adapters.price_book import PriceBooks
from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.errors import ConfigurationError, MaxCostExceededError
from vidu_relay.domain.money import money_text
from vidu_relay.domain.price import Basis, Price, price_of, utc_date
from vidu_relay.domain.request import Request

__all__ = ["PricedRequest", "check_max_cost", "price_request"]


@dataclass(frozen=True, slots=True)
class PricedRequest:
    """A price, and what a credit of the provider costs in US dollars where it bills in credits."""

    price: Price
    credit_usd: Decimal | None


def price_request(request: Request, offering: Offering, prices: PriceBooks, now: int) -> PricedRequest:
    """The price on the UTC date of `now` (ms). Raises `ConfigurationError` if the provider lost its key since."""
    choice = offering.find(request.model)
    if choice is None:
        raise ConfigurationError(f"no provider has a key for {request.model}")
    book = prices.read(choice)
    return PricedRequest(
        price_of(choice, request.parameters, book, utc_date(now)), book.credit_usd.get(choice.provider)
    )


def check_max_cost(price: Price, most: Decimal | None) -> None:
    """Raises `MaxCostExceededError` if more than `most` would be reserved; None allows everything."""
    if most is not None and price.reserved > most:
        raise MaxCostExceededError(money_text(price.reserved), money_text(most), known=price.basis is not Basis.UNKNOWN)
