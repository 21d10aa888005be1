"""What a request will cost: from the operator's price list, else from what the provider billed for such requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from vidu_relay.domain.catalogue import Choice, Parameter
from vidu_relay.domain.money import money_text, parse_money

__all__ = [
    "PRICED",
    "Basis",
    "LearnedPrice",
    "Price",
    "PriceBook",
    "PriceEntry",
    "PriceListError",
    "combination",
    "entry_document",
    "price_of",
    "read_entries",
    "resolved",
]

PRICED = ("audio", "duration", "is_rec", "off_peak", "resolution")
"""Parameters on which providers' prices depend (platform.vidu.com/docs/pricing)."""

Per = Literal["video", "second"]


class PriceListError(ValueError):
    """The operator's price list is malformed. The text names the line and what to change."""


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
    - Either `usd` or `credits` is set, for each video or for each second of it (`per`). Credits become dollars by
      `PriceBook.credit_usd`.
    - `since` is the UTC date, `YYYY-MM-DD`, from which on it holds. A later entry with the same `when` replaces it.
    """

    model: str
    per: Per
    since: str
    usd: Decimal | None = None
    credits: Decimal | None = None
    provider: str | None = None
    when: Mapping[str, Any] = field(default_factory=dict)

    @property
    def applies_to(self) -> tuple[Any, ...]:
        """Equal for entries of which the later one replaces the other."""
        return self.model, self.provider, tuple(sorted(self.when.items()))


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


def resolved(choice: Choice, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the provider takes: what was given, else the default. A parameter without both is left out."""
    values = {name: _value(spec, parameters.get(name)) for name, spec in choice.offer.parameters.items()}
    return {name: value for name, value in values.items() if value is not None}


def combination(choice: Choice, parameters: Mapping[str, Any]) -> str:
    """What requests of one price have in common, as text: `vidu|viduq3_turbo_text2video|audio=true|duration=5|…`."""
    values = resolved(choice, parameters)
    shown = (f"{name}={_text(values[name])}" for name in PRICED if name in values)
    return "|".join((choice.provider, choice.model.id, *shown))


def price_of(choice: Choice, parameters: Mapping[str, Any], book: PriceBook, today: str) -> Price:
    """The price of a request on a UTC date (`YYYY-MM-DD`).

    The most specific entry of the list that holds decides, the dearest of equally specific ones; else what was billed
    for the same combination: the median is expected, the highest reserved. Otherwise the dearest price that is known of
    the model is reserved, else `PriceBook.assumed`.
    """
    values = resolved(choice, parameters)
    listed = [(len(entry.when), price) for entry, price in _listed(choice, values, book, today)]
    if listed:
        expected = max(listed)[1]
        return Price(expected, expected, Basis.LIST)
    learned = book.learned.get(combination(choice, parameters))
    if learned:
        return Price(learned.median, learned.highest, Basis.LEARNED)
    return Price(None, _dearest(choice, book, today), Basis.UNKNOWN)


def _listed(
    choice: Choice, values: Mapping[str, Any], book: PriceBook, today: str
) -> Iterable[tuple[PriceEntry, Decimal]]:
    for entry in _in_force(choice, book, today):
        if all(_same(values.get(name), wanted) for name, wanted in entry.when.items()):
            price = _amount(entry, choice, values.get("duration"), book)
            if price is not None:
                yield entry, price


def _in_force(choice: Choice, book: PriceBook, today: str) -> Sequence[PriceEntry]:
    """The entries for a model at its provider that hold on a date, without those that a later one replaced."""
    latest: dict[tuple[Any, ...], PriceEntry] = {}
    for entry in sorted(book.entries, key=lambda each: each.since):
        if entry.model == choice.model.id and entry.provider in (None, choice.provider) and entry.since <= today:
            latest[entry.applies_to] = entry
    return tuple(latest.values())


def _amount(entry: PriceEntry, choice: Choice, seconds: int | None, book: PriceBook) -> Decimal | None:
    """What an entry makes of a video of so many seconds; None where a number is missing."""
    amount = entry.usd
    if entry.credits is not None:
        rate = book.credit_usd.get(choice.provider)
        amount = None if rate is None else entry.credits * rate
    if amount is None or entry.per == "video":
        return amount
    return None if seconds is None else amount * seconds


def _dearest(choice: Choice, book: PriceBook, today: str) -> Decimal:
    """The dearest known price of a model; what is assumed where none is known."""
    spec = choice.offer.parameters.get("duration")
    longest = max((value for value in spec.choices if isinstance(value, int)), default=spec.most) if spec else None
    known = [
        price
        for entry in _in_force(choice, book, today)
        if (price := _amount(entry, choice, entry.when.get("duration", longest), book)) is not None
    ]
    prefix = f"{choice.provider}|{choice.model.id}|"
    known += [learned.highest for name, learned in book.learned.items() if name.startswith(prefix)]
    return max(known, default=book.assumed)


def read_entries(document: object) -> tuple[tuple[PriceEntry, ...], dict[str, Decimal]]:
    """A price list as the operator writes it, and the price of a credit for each provider.

    `{"credit_usd": {"vidu": "0.005"}, "prices": [{"model", "provider"?, "when"?, "usd" or "credits", "per", "since"}]}`
    with amounts in text. Raises `PriceListError`, and `ValueError` for an amount; a currency is always US dollars.
    """
    if not isinstance(document, dict) or set(document) - {"prices", "credit_usd"}:
        raise PriceListError('a price list is {"prices": […], "credit_usd": {…}}')
    rates, lines = document.get("credit_usd", {}), document.get("prices", [])
    if not isinstance(rates, dict) or not isinstance(lines, list):
        raise PriceListError("`prices` must be a list and `credit_usd` an object")
    credit_usd = {str(name): parse_money(rate, f"credit_usd of {name}") for name, rate in rates.items()}
    return tuple(_entry(line, f"prices.{number}") for number, line in enumerate(lines)), credit_usd


_FIELDS = {"model", "provider", "when", "usd", "credits", "per", "since"}


def _entry(line: object, place: str) -> PriceEntry:
    from datetime import date

    from vidu_relay.domain.catalogue import PROVIDERS, find_model

    if not isinstance(line, dict):
        raise PriceListError(f"{place}: must be an object")
    if unknown := sorted(set(line) - _FIELDS):
        hint = ": prices are in US dollars (`usd`)" if "currency" in unknown else ""
        raise PriceListError(f"{place}: unknown field {', '.join(map(repr, unknown))}{hint}")
    model = find_model(line["model"]) if isinstance(line.get("model"), str) else None
    if model is None:
        raise PriceListError(f"{place}: `model` must be the id of a model of the catalogue")
    provider, when = line.get("provider"), line.get("when", {})
    if provider is not None and provider not in PROVIDERS:
        raise PriceListError(f"{place}: `provider` must be one of {', '.join(PROVIDERS)}")
    taken = {name: spec for each in model.offers.values() for name, spec in each.parameters.items()}
    if not isinstance(when, dict) or set(when) - set(taken):
        raise PriceListError(f"{place}: `when` must be an object of the model's parameters")
    if any(type(value) not in (str, int, bool) for value in when.values()):
        raise PriceListError(f"{place}: `when` holds text, whole numbers, true and false")
    if line.get("per") not in ("video", "second"):
        raise PriceListError(f"{place}: `per` must be video or second")
    if ("usd" in line) == ("credits" in line):
        raise PriceListError(f"{place}: either `usd` or `credits` must be given")
    try:
        since = date.fromisoformat(str(line.get("since"))).isoformat()
    except ValueError:
        raise PriceListError(f"{place}: `since` must be a date, such as 2026-12-01") from None
    return PriceEntry(
        model=model.id,
        provider=provider,
        when=when,
        per=line["per"],
        since=since,
        usd=parse_money(line["usd"], f"{place}: `usd`") if "usd" in line else None,
        credits=parse_money(line["credits"], f"{place}: `credits`") if "credits" in line else None,
    )


def entry_document(entry: PriceEntry) -> dict[str, Any]:
    """An entry as the operator writes it: `read_entries` gives it back."""
    amounts = (("usd", entry.usd), ("credits", entry.credits))
    return {
        "model": entry.model,
        **({"provider": entry.provider} if entry.provider else {}),
        **({"when": dict(entry.when)} if entry.when else {}),
        **{name: money_text(amount) for name, amount in amounts if amount is not None},
        "per": entry.per,
        "since": entry.since,
    }


def _value(spec: Parameter, given: Any) -> Any:
    return spec.default if given is None else given


def _same(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and value == wanted


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
