"""US dollars as exact decimals: read strictly from operators and clients, leniently from a provider's reply."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["MAX_DIGITS", "NO_MONEY", "money_text", "parse_money", "read_money"]

MAX_DIGITS = 18
"""Of an amount, before and behind the point together: DynamoDB and Python add such numbers exactly."""
NO_MONEY = Decimal(0)
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def parse_money(text: object, what: str) -> Decimal:
    """An amount that an operator or a client wrote: digits with at most one point, such as `0.055`.

    At most nine digits stand on each side of the point. Raises `ValueError` for everything else: a sign, an exponent, a
    currency, NaN, a number that is no text.
    """
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text.strip()):
        raise ValueError(
            f"{what} must be US dollars as a plain decimal in text, such as 0.055, with at most {MAX_DIGITS // 2} "
            "digits on each side of the point"
        )
    return Decimal(text.strip())


def read_money(text: str | None) -> Decimal | None:
    """An amount that a provider stated; None where it is not a finite number of zero or more."""
    try:
        amount = Decimal(text.strip()) if text is not None else None
    except ArithmeticError:
        return None
    if amount is None or not amount.is_finite() or amount < 0 or amount.adjusted() >= MAX_DIGITS // 2:
        return None
    return round(amount, MAX_DIGITS // 2)


def money_text(amount: Decimal) -> str:
    """An amount as digits, without exponent and superfluous zeros: `0.055`, `12`."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
