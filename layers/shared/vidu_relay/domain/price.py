"""What a request will cost: from the operator's price list, else from what the provider billed for such requests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal, localcontext
from enum import StrEnum
from typing import Any, Literal

from vidu_relay.domain.catalogue import Choice, Parameter
from vidu_relay.domain.money import MAX_DIGITS, NO_MONEY

__all__ = [
    "PRICED",
    "Basis",
    "LearnedPrice",
    "Price",
    "PriceBook",
    "PriceEntry",
    "Unit",
    "combination",
    "in_dollars",
    "in_force",
    "parameters_of",
    "price_of",
    "resolved",
    "utc_date",
]

PRICED = ("audio", "duration", "is_rec", "off_peak", "resolution")
"""Parameters on which providers' prices depend (platform.vidu.com/docs/pricing)."""

Per = Literal["video", "second", "duration"]
Unit = Literal["usd", "credits"]
PLACES = MAX_DIGITS // 2
EXACT_DIGITS = 60
"""More than the product of an amount, the price of a credit and a number of seconds can have."""


class Basis(StrEnum):
    """Where a price comes from. `unknown` means that the relay reserves a guess and shows no price."""

    LIST = "list"
    LEARNED = "learned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceEntry:
    """One line of the operator's price list.

    - It holds for requests for `model` at `provider` (None: at any) whose parameters, defaults included, have the
      values of `when`.
    - `amounts` are in `unit`; credits become dollars by `PriceBook.credit_usd`. There is one for each video or for each
      second of it, or, `per` duration, one for each whole number of seconds from 1 on.
    - A `surcharge` is added to the price that another entry gives.
    - `since` is the UTC date, `YYYY-MM-DD`, from which on it holds. A later entry for the same requests replaces it.
    - `note` is for people.
    """

    model: str
    per: Per
    since: str
    unit: Unit
    amounts: tuple[Decimal, ...]
    provider: str | None = None
    when: Mapping[str, Any] = field(default_factory=dict)
    surcharge: bool = False
    note: str = ""

    @property
    def applies_to(self) -> tuple[Any, ...]:
        """Equal for entries of which the later one replaces the other."""
        return self.model, self.provider or "", self.surcharge, tuple(sorted(self.when.items()))


@dataclass(frozen=True, slots=True)
class LearnedPrice:
    """What the provider billed for one combination of parameters within 30 days, in US dollars."""

    median: Decimal
    highest: Decimal
    tasks: int


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Everything that is known of prices.

    - `entries` is the operator's list, `credit_usd` the price of a credit for each provider that bills in credits.
    - `learned` holds what was billed, by `combination`.
    - `assumed` is what a task of an unknown price is counted as, where no price of its model is known.
    """

    assumed: Decimal
    entries: tuple[PriceEntry, ...] = ()
    credit_usd: Mapping[str, Decimal] = field(default_factory=dict)
    learned: Mapping[str, LearnedPrice] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a request in US dollars.

    `expected` is None where it is unknown. `reserved` is what a budget counts until the bill is known: never less than
    `expected`, and never zero only because the price is unknown.
    """

    expected: Decimal | None
    reserved: Decimal
    basis: Basis


def utc_date(now: int) -> str:
    """The UTC date of a moment (ms), `YYYY-MM-DD`."""
    return time.strftime("%Y-%m-%d", time.gmtime(now / 1000))


def resolved(choice: Choice, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the provider takes: what was given, else the default. A parameter without both is left out."""
    values = {name: _value(spec, parameters.get(name)) for name, spec in choice.offer.parameters.items()}
    return {name: value for name, value in values.items() if value is not None}


def combination(choice: Choice, parameters: Mapping[str, Any]) -> str:
    """What requests of one price have in common, as text: `vidu|viduq3_turbo_text2video|audio=true|duration=5|…`."""
    values = resolved(choice, parameters)
    shown = (f"{name}={_text(values[name])}" for name in PRICED if name in values)
    return "|".join((choice.provider, choice.model.id, *shown))


def parameters_of(choice: Choice, name: str) -> dict[str, Any]:
    """The parameters that a `combination` of this model names."""
    found: dict[str, Any] = {}
    for part in name.split("|")[2:]:
        key, _, text = part.partition("=")
        kind = choice.offer.parameters[key].type if key in choice.offer.parameters else "text"
        found[key] = int(text) if kind == "integer" else text == "true" if kind == "boolean" else text
    return found


def price_of(choice: Choice, parameters: Mapping[str, Any], book: PriceBook, today: str) -> Price:
    """The price of a request on a UTC date (`YYYY-MM-DD`).

    The most specific entry of the list that holds decides, the dearest of equally specific ones, and every surcharge
    that holds is added; else what was billed for the same combination: the median is expected, the highest reserved.
    Otherwise the dearest price that is known of the model is reserved, else `PriceBook.assumed`.
    """
    listed = _listed(choice, resolved(choice, parameters), book, today)
    if listed is not None:
        return Price(listed, listed, Basis.LIST)
    learned = book.learned.get(combination(choice, parameters))
    if learned:
        return Price(learned.median, max(learned.median, learned.highest), Basis.LEARNED)
    return Price(None, _dearest(choice, book, today), Basis.UNKNOWN)


def in_force(choice: Choice, book: PriceBook, today: str) -> Sequence[PriceEntry]:
    """The entries for a model at its provider that hold on a date, without those that a later one replaced."""
    latest: dict[tuple[Any, ...], PriceEntry] = {}
    for entry in sorted(book.entries, key=lambda each: each.since):
        if entry.model == choice.model.id and entry.provider in (None, choice.provider) and entry.since <= today:
            latest[entry.applies_to] = entry
    return tuple(latest.values())


def in_dollars(entry: PriceEntry, provider: str, book: PriceBook) -> tuple[Decimal, ...] | None:
    """An entry's amounts in US dollars, not rounded; None where a credit of the provider has no price."""
    rate = Decimal(1) if entry.unit == "usd" else book.credit_usd.get(provider)
    with localcontext(prec=EXACT_DIGITS):
        return None if rate is None else tuple(amount * rate for amount in entry.amounts)


def _listed(choice: Choice, values: Mapping[str, Any], book: PriceBook, today: str) -> Decimal | None:
    """The price by the list; None where no entry holds, or an amount that decides is not known."""
    holding = [
        entry
        for entry in in_force(choice, book, today)
        if all(_same(values.get(name), wanted) for name, wanted in entry.when.items())
    ]
    specific = max((len(entry.when) for entry in holding if not entry.surcharge), default=None)
    first = [
        _amount(entry, choice, values.get("duration"), book)
        for entry in holding
        if not entry.surcharge and len(entry.when) == specific
    ]
    more = [_amount(entry, choice, values.get("duration"), book) for entry in holding if entry.surcharge]
    known = [amount for amount in first if amount is not None]
    added = [amount for amount in more if amount is not None]
    if not first or len(known) + len(added) < len(first) + len(more):
        return None
    return _rounded_up(max(known), *added)


def _amount(entry: PriceEntry, choice: Choice, seconds: int | None, book: PriceBook) -> Decimal | None:
    """What an entry makes of a video of so many seconds; None where a number is missing."""
    amounts = in_dollars(entry, choice.provider, book)
    if amounts is None or entry.per == "video":
        return amounts[0] if amounts else None
    if seconds is None or seconds < 1:
        return None
    if entry.per == "duration":
        return amounts[seconds - 1] if seconds <= len(amounts) else None
    with localcontext(prec=EXACT_DIGITS):
        return amounts[0] * seconds


def _dearest(choice: Choice, book: PriceBook, today: str) -> Decimal:
    """The dearest known price of a model, with all surcharges; what is assumed where none is known."""
    spec = choice.offer.parameters.get("duration")
    longest = max((value for value in spec.choices if isinstance(value, int)), default=spec.most or 0) if spec else 0
    known: list[Decimal] = []
    added: list[Decimal] = []
    for entry in in_force(choice, book, today):
        lengths = [entry.when["duration"]] if "duration" in entry.when else [None, *range(1, longest + 1)]
        amounts = [amount for each in lengths if (amount := _amount(entry, choice, each, book)) is not None]
        (added if entry.surcharge else known).extend([max(amounts)] if amounts else [])
    prefix = f"{choice.provider}|{choice.model.id}|"
    learned = [price.highest for name, price in book.learned.items() if name.startswith(prefix)]
    listed = [_rounded_up(max(known), *added)] if known else []
    return max([*listed, *learned], default=book.assumed)


def _rounded_up(*amounts: Decimal) -> Decimal:
    """The sum, with as many places as `money.read_money` reads back."""
    with localcontext(prec=EXACT_DIGITS):
        total = sum(amounts, NO_MONEY)
        return total if total == round(total, PLACES) else total.quantize(Decimal(1).scaleb(-PLACES), ROUND_UP)


def _value(spec: Parameter, given: Any) -> Any:
    return spec.default if given is None else given


def _same(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and value == wanted


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
