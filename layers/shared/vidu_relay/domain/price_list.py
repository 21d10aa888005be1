"""The operator's price list: as a document that people write, and as `GET /v1/models` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from vidu_relay.domain.catalogue import PROVIDERS, Choice, Model, Parameter, find_model, models
from vidu_relay.domain.errors import PriceListError
from vidu_relay.domain.money import money_text, parse_money
from vidu_relay.domain.price import PriceBook, PriceEntry, Unit, in_dollars, in_force

__all__ = ["describe_price", "entry_document", "list_document", "read_list"]

MAX_AMOUNT, MAX_CREDIT_USD = 100_000, 100
"""Far above every price, so that a typing error is refused; what a task adds up to stays below 10^9 dollars."""
MAX_SECONDS = 600
MAX_NOTE_CHARACTERS = 200
FIELDS = {"model", "provider", "when", "usd", "credits", "per", "surcharge", "since", "note"}
PYTHON_TYPES: Mapping[str, type] = {"integer": int, "boolean": bool}


def read_list(document: object) -> tuple[tuple[PriceEntry, ...], dict[str, Decimal]]:
    """A price list as the operator writes it, and the price of a credit for each provider.

    `{"credit_usd": {"vidu": "0.005"}, "prices": [{"model", "provider"?, "when"?, "usd" or "credits", "per",
    "surcharge"?, "since", "note"?}]}` with amounts in text, in a list where `per` is duration. The currency is always
    US dollars. Raises `PriceListError`.
    """
    if not isinstance(document, dict) or set(document) - {"prices", "credit_usd"}:
        raise PriceListError('a price list is {"prices": […], "credit_usd": {…}}')
    rates, lines = document.get("credit_usd", {}), document.get("prices", [])
    if not isinstance(rates, dict) or not isinstance(lines, list):
        raise PriceListError("`prices` must be a list and `credit_usd` an object")
    if unknown := sorted(set(rates) - set(PROVIDERS)):
        raise PriceListError(f"credit_usd: there is no provider {unknown[0]!r}; there are {', '.join(PROVIDERS)}")
    credit_usd = {name: _money(rate, f"credit_usd of {name}", MAX_CREDIT_USD) for name, rate in rates.items()}
    if free := [name for name, rate in credit_usd.items() if not rate]:
        raise PriceListError(f"credit_usd of {free[0]} must be more than 0")
    entries = tuple(_entry(line, f"prices.{number}") for number, line in enumerate(lines))
    seen: dict[tuple[Any, ...], int] = {}
    for number, entry in enumerate(entries):
        first = seen.setdefault((entry.applies_to, entry.since), number)
        if first != number:
            raise PriceListError(f"prices.{number}: is for the same requests and date as prices.{first}: drop one")
    return entries, credit_usd


def list_document(entries: tuple[PriceEntry, ...], credit_usd: Mapping[str, Decimal]) -> dict[str, Any]:
    """A list as the operator writes it: `read_list` gives it back."""
    rates = {name: money_text(rate) for name, rate in credit_usd.items()}
    return {"credit_usd": rates, "prices": [entry_document(entry) for entry in entries]}


def entry_document(entry: PriceEntry) -> dict[str, Any]:
    """An entry as the operator writes it."""
    return {
        "model": entry.model,
        **({"provider": entry.provider} if entry.provider else {}),
        **({"when": dict(entry.when)} if entry.when else {}),
        entry.unit: _written(entry, entry.amounts),
        "per": entry.per,
        **({"surcharge": True} if entry.surcharge else {}),
        "since": entry.since,
        **({"note": entry.note} if entry.note else {}),
    }


def describe_price(choice: Choice, book: PriceBook, today: str) -> dict[str, Any] | None:
    """The price of a model as `GET /v1/models` shows it; None where nothing is known.

    `list` has the entries in force, each with its amounts in US dollars (null where a credit has no price). `learned`
    says from which median up to which highest amount tasks of the model were billed, and how many tasks that were.
    """
    entries = in_force(choice, book, today)
    prefix = f"{choice.provider}|{choice.model.id}|"
    learned = [price for name, price in book.learned.items() if name.startswith(prefix)]
    if not entries and not learned:
        return None
    return {
        "list": [
            {
                "when": dict(entry.when),
                "usd": (amounts := in_dollars(entry, choice.provider, book)) and _written(entry, amounts),
                "per": entry.per,
                "surcharge": entry.surcharge,
                "since": entry.since,
            }
            for entry in entries
        ],
        "learned": {
            "from_usd": money_text(min(price.median for price in learned)),
            "to_usd": money_text(max(price.highest for price in learned)),
            "tasks": sum(price.tasks for price in learned),
        }
        if learned
        else None,
    }


def _written(entry: PriceEntry, amounts: tuple[Decimal, ...]) -> str | list[str]:
    texts = [money_text(amount) for amount in amounts]
    return texts if entry.per == "duration" else texts[0]


def _entry(line: object, place: str) -> PriceEntry:
    if not isinstance(line, dict):
        raise PriceListError(f"{place}: must be an object")
    if unknown := sorted(set(line) - FIELDS):
        hint = ": prices are in US dollars (`usd`)" if "currency" in unknown else ""
        raise PriceListError(f"{place}: unknown field {', '.join(map(repr, unknown))}{hint}")
    model, provider, per = _model(line.get("model"), place), line.get("provider"), line.get("per")
    if provider is not None and provider not in model.offers:
        raise PriceListError(f"{place}: `provider` must be one that has the model: {', '.join(model.offers)}")
    if per not in ("video", "second", "duration"):
        raise PriceListError(f"{place}: `per` must be video, second or duration")
    surcharge, note = line.get("surcharge", False), line.get("note", "")
    if not isinstance(surcharge, bool):
        raise PriceListError(f"{place}: `surcharge` must be true or false")
    if not isinstance(note, str) or len(note) > MAX_NOTE_CHARACTERS or not note.isprintable():
        raise PriceListError(f"{place}: `note` must be one line of at most {MAX_NOTE_CHARACTERS} characters")
    if ("usd" in line) == ("credits" in line):
        raise PriceListError(f"{place}: either `usd` or `credits` must be given")
    unit: Unit = "usd" if "usd" in line else "credits"
    try:
        since = date.fromisoformat(str(line.get("since"))).isoformat()
    except ValueError:
        raise PriceListError(f"{place}: `since` must be a date, such as 2026-12-01") from None
    return PriceEntry(
        model=model.id,
        provider=provider,
        when=_when(line.get("when", {}), model, provider, place),
        per=per,
        since=since,
        unit=unit,
        amounts=_amounts(line[unit], per, f"{place}: `{unit}`"),
        surcharge=surcharge,
        note=note,
    )


def _model(model_id: object, place: str) -> Model:
    model = find_model(model_id) if isinstance(model_id, str) else None
    if model is None:
        from difflib import get_close_matches

        near = get_close_matches(str(model_id), models(), 1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise PriceListError(f"{place}: `model` must be the id of a model of the catalogue{hint}")
    return model


def _when(when: object, model: Model, provider: str | None, place: str) -> dict[str, Any]:
    offers = [model.offers[provider]] if provider else list(model.offers.values())
    taken: dict[str, list[Parameter]] = {}
    for offer in offers:
        for name, spec in offer.parameters.items():
            taken.setdefault(name, []).append(spec)
    if not isinstance(when, dict) or set(when) - set(taken):
        raise PriceListError(f"{place}: `when` must be an object of the model's parameters: {', '.join(taken)}")
    for name, value in when.items():
        if not any(_takes(spec, value) for spec in taken[name]):
            choices = "".join(
                f", one of {', '.join(map(str, spec.choices))}" for spec in taken[name][:1] if spec.choices
            )
            raise PriceListError(f"{place}: `when` must have a value of {name} that the model takes{choices}")
    return when


def _takes(spec: Parameter, value: object) -> bool:
    if spec.type in ("images", "subjects") or type(value) is not PYTHON_TYPES.get(spec.type, str):
        return False
    if isinstance(value, int) and spec.least is not None and spec.most is not None:
        return spec.least <= value <= spec.most
    return not spec.choices or value in spec.choices


def _amounts(given: object, per: str, what: str) -> tuple[Decimal, ...]:
    if per != "duration":
        return (_money(given, what, MAX_AMOUNT),)
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_SECONDS:
        raise PriceListError(f"{what} must be a list of amounts for 1, 2, 3 … seconds, since `per` is duration")
    return tuple(_money(each, what, MAX_AMOUNT) for each in given)


def _money(given: object, what: str, most: int) -> Decimal:
    try:
        amount = parse_money(given, what)
    except ValueError as error:
        raise PriceListError(str(error)) from None
    if amount > most:
        raise PriceListError(f"{what} must be at most {most}")
    return amount
