"""The price of a request, by what is known now."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from vidu_relay.adapters.price_book import PriceBooks
from vidu_relay.domain.catalogue import choice_at, models
from vidu_relay.domain.limit_errors import MaxCostExceededError
from vidu_relay.domain.money import money_text
from vidu_relay.domain.price import Basis, Price, price_of, utc_date
from vidu_relay.domain.request import Request

__all__ = ["PricedRequest", "check_max_cost", "price_request"]


@dataclass(frozen=True, slots=True)
class PricedRequest:
    """A price, and what a credit of the provider costs in US dollars where it bills in credits."""

    price: Price
    credit_usd: Decimal | None


def price_request(request: Request, prices: PriceBooks, now: int) -> PricedRequest:
    """The price, at the provider that the request is for, on the UTC date of `now` (ms)."""
    choice = choice_at(models()[request.model], request.provider)
    book = prices.read(choice)
    return PricedRequest(
        price_of(choice, request.parameters, book, utc_date(now)), book.credit_usd.get(choice.provider)
    )


def check_max_cost(price: Price, most: Decimal | None) -> None:
    """Raises `MaxCostExceededError` if more than `most` would be reserved; None allows everything."""
    if most is not None and price.reserved > most:
        raise MaxCostExceededError(money_text(price.reserved), money_text(most), known=price.basis is not Basis.UNKNOWN)
