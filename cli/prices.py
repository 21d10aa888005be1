"""`relay prices`: the operator's price list, and what the provider billed."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from cli.answer import Answer, RefusedError, table
from cli.command import Group, Relay
from cli.connection import now
from vidu_relay.adapters.price_book import PriceBooks, PriceLists
from vidu_relay.domain.catalogue import Choice, models
from vidu_relay.domain.errors import PriceListError
from vidu_relay.domain.money import money_text
from vidu_relay.domain.price import PriceBook, PriceEntry, in_dollars, in_force, parameters_of, price_of
from vidu_relay.domain.price_list import entry_document, list_document, read_list

Entries = tuple[PriceEntry, ...]
Rates = dict[str, Decimal]
ASSUMED = Decimal(0)
"""Not shown: the deployed functions have the parameter AssumedTaskUSD."""
WHEN_HELP = "For requests with this value, defaults included: duration=5, resolution=720p, off_peak=true."
NUMBER = re.compile(r"[0-9]{1,9}")
MANY = 4
"""Amounts of one line that a table shows."""


@click.group(cls=Group)
def prices() -> None:
    """What tasks cost: the operator's price list, and what the provider billed."""


@prices.command("list", examples=["prices list"])
def list_all(relay: Relay) -> Answer:
    """List the prices in force today (UTC), and beside them what the provider billed within 30 days."""
    entries, rates, version = _stored(relay)
    choices = _choices()
    billed = PriceBooks(relay.connection.client("dynamodb"), relay.connection.resource("TaskTable"), ASSUMED)
    book, learned, today = PriceBook(ASSUMED, entries, rates), billed.read(*choices).learned, _today()
    rows, shown, bills = [("MODEL", "PROVIDER", "FOR", "LIST", "BILLED")], [], []
    for choice in choices:
        for entry in in_force(choice, book, today):
            rows.append((choice.model.id, choice.provider, _when(entry.when), _price(entry, choice.provider, book), ""))
            shown.append({**entry_document(entry), "provider": choice.provider})
        prefix = f"{choice.provider}|{choice.model.id}|"
        for name in sorted(name for name in learned if f"{name}|".startswith(prefix)):
            asked, found = parameters_of(choice, name), learned[name]
            listed = price_of(choice, asked, book, today).expected
            median, highest = money_text(found.median), money_text(found.highest)
            text = f"median {median}, highest {highest} USD of {found.tasks} tasks"
            rows.append(
                (choice.model.id, choice.provider, _when(asked), "" if listed is None else _dollars(listed), text)
            )
            bills.append(
                {"model": choice.model.id, "provider": choice.provider, "parameters": asked, "median_usd": median,
                 "highest_usd": highest, "tasks": found.tasks,
                 "list_usd": None if listed is None else money_text(listed)}
            )  # fmt: skip
    text = table(rows) if len(rows) > 1 else f"No prices. `{relay.again('prices', 'import', 'FILE')}` sets a list."
    if rates:
        text += "\nA credit costs " + ", ".join(f"{_dollars(rate)} at {name}" for name, rate in rates.items()) + "."
    data = {"version": version, "credit_usd": {name: money_text(rate) for name, rate in rates.items()}}
    return Answer(text, {**data, "prices": shown, "learned": bills})


@prices.command(
    "set",
    examples=[
        "prices set viduq3_turbo_text2video --provider vidu --when resolution=720p --credits 11 --per second",
        "prices set viduq2_text2video --when resolution=540p --usd 0.05,0.06,0.07 --per duration",
        "prices set viduq1_img2video --when is_rec=true --usd 0.05 --surcharge --since 2026-12-01",
    ],
)
@click.argument("model")
@click.option("--provider", help="Only where this provider is asked.")
@click.option("--when", multiple=True, metavar="NAME=VALUE", help=WHEN_HELP)
@click.option("--usd", metavar="AMOUNT", help="US dollars; with --per duration a list with commas.")
@click.option("--credits", metavar="AMOUNT", help="Credits of the provider: see `prices credit`.")
@click.option("--per", default="video", show_default=True, help="video, second, or duration: for 1, 2, 3 … seconds.")
@click.option("--surcharge", is_flag=True, help="Added to the price that another line gives.")
@click.option("--since", metavar="DATE", help="From when on it holds, UTC (default: today).")
@click.option("--note", default="", help="Where the price is from.")
def set_(relay: Relay, model: str, since: str | None, when: tuple[str, ...], per: str, **given: Any) -> Answer:
    """Add a line to the price list, in place of one for the same requests and date."""
    amounts = {name: given[name].split(",") if per == "duration" else given[name] for name in ("usd", "credits")
               if given[name] is not None}  # fmt: skip
    more = {name: given[name] for name in ("provider", "surcharge", "note") if given[name]}
    line = {"model": model, "when": _values(when), **amounts, "per": per, "since": since or _today(), **more}
    (entry,), _ = read_list({"prices": [line]})
    key = (entry.applies_to, entry.since)
    return _change(
        relay, lambda entries, rates: ((*(e for e in entries if (e.applies_to, e.since) != key), entry), rates)
    )


@prices.command(examples=["prices remove viduq1_text2video", "prices remove viduq1_text2video --when duration=5"])
@click.argument("model")
@click.option("--provider", help="Only lines for this provider.")
@click.option("--when", multiple=True, metavar="NAME=VALUE", help="Only lines with exactly these values.")
@click.option("--since", metavar="DATE", help="Only lines that hold from this date on.")
def remove(relay: Relay, model: str, provider: str | None, when: tuple[str, ...], since: str | None) -> Answer:
    """Remove a model's lines from the price list."""
    values = _values(when)

    def named(entry: PriceEntry) -> bool:
        fits = provider in (None, entry.provider) and since in (None, entry.since)
        return entry.model == model and fits and (not values or dict(entry.when) == values)

    def without(entries: Entries, rates: Rates) -> tuple[Entries, Rates]:
        if not any(map(named, entries)):
            raise RefusedError(f"the price list has no such line of {model}: see `{relay.again('prices', 'export')}`")
        return tuple(entry for entry in entries if not named(entry)), rates

    return _change(relay, without)


@prices.command("import", examples=["prices import prices.json", "prices import -           (from standard input)"])
@click.argument("file")
def import_(relay: Relay, file: str) -> Answer:
    """Replace the whole price list by a file, in the form that `prices export` prints (-: standard input)."""
    try:
        given = json.loads(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    except OSError as error:
        raise RefusedError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{'standard input' if file == '-' else file} is not JSON: {error}") from error
    new = read_list(given)
    return _change(relay, lambda *_: new, replaces=True)


@prices.command(examples=["prices export                         (into a file: add `> prices.json`)"])
def export(relay: Relay) -> Answer:
    """Print the whole price list, also lines that are replaced or not in force yet."""
    document = _lists(relay).read().document
    return Answer(json.dumps(document, indent=1, ensure_ascii=False), document)


@prices.command(examples=["prices credit vidu 0.005"])
@click.argument("provider")
@click.argument("usd")
def credit(relay: Relay, provider: str, usd: str) -> Answer:
    """Set what a credit of a provider costs, in US dollars."""
    _, given = read_list({"credit_usd": {provider: usd}})
    return _change(relay, lambda entries, rates: (entries, {**rates, **given}))


def _change(
    relay: Relay, change: Callable[[Entries, Rates], tuple[Entries, Rates]], *, replaces: bool = False
) -> Answer:
    """Write the changed list, unless another command has written one since it was read; what the change means."""
    try:
        entries, rates, version = _stored(relay)
    except PriceListError as error:
        if not replaces:
            raise PriceListError(f"{error}. Correct what `prices export` prints, and import it") from error
        entries, rates, version = (), {}, _lists(relay).read().version
    changed = change(entries, rates)
    lines = [*_differences(entries, changed[0]), *_new_rates(rates, changed[1])]
    if not lines:
        return Answer("Nothing changes.", {"version": version, "changes": []})
    lines += _effects(PriceBook(ASSUMED, entries, rates), PriceBook(ASSUMED, *changed))
    version = _lists(relay).write(list_document(*changed), seen=version, now=now())
    text = f"The price list has version {version}. Functions that are warm use it within a minute."
    return Answer("\n".join([*lines, text]), {"version": version, "changes": lines})


def _differences(before: Entries, after: Entries) -> Iterator[str]:
    old, new = ([entry_document(entry) for entry in entries] for entries in (before, after))
    yield from (f"- {_line(entry)}" for entry in before if entry_document(entry) not in new)
    yield from (f"+ {_line(entry)}" for entry in after if entry_document(entry) not in old)


def _new_rates(before: Rates, after: Rates) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            was, will = (_dollars(rates[name]) if name in rates else "not set" for rates in (before, after))
            yield f"a credit at {name}: {will} (before: {was})"


def _effects(before: PriceBook, after: PriceBook) -> Iterator[str]:
    """What a request without optional parameters costs, where that changes today."""
    for choice in _choices():
        was, will = (price_of(choice, {}, book, _today()).expected for book in (before, after))
        if was != will:
            old, new = ("unknown" if price is None else _dollars(price) for price in (was, will))
            yield f"{choice.model.id} at {choice.provider}, by default: {new} (before: {old})"


def _lists(relay: Relay) -> PriceLists:
    return PriceLists(relay.connection.client("dynamodb"), relay.connection.resource("TaskTable"))


def _stored(relay: Relay) -> tuple[Entries, Rates, int]:
    stored = _lists(relay).read()
    return *read_list(stored.document), stored.version


def _choices() -> list[Choice]:
    return [Choice(model, provider, provider) for model in models().values() for provider in model.offers]


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(now() / 1000))


def _values(given: tuple[str, ...]) -> dict[str, str | int | bool]:
    """The values of `--when`, as JSON has them."""
    values: dict[str, str | int | bool] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise RefusedError(f"--when {text!r}: must be NAME=VALUE")
        flag = {"true": True, "false": False}.get(value)
        values[name] = flag if flag is not None else int(value) if NUMBER.fullmatch(value) else value
    return values


def _line(entry: PriceEntry) -> str:
    place = f" at {entry.provider}" if entry.provider else ""
    when = f", {_when(entry.when)}" if entry.when else ""
    return f"{entry.model}{place}{when}: {_price(entry, '', None)}, since {entry.since}"


def _when(when: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={str(v).lower() if isinstance(v, bool) else v}" for name, v in when.items())


def _price(entry: PriceEntry, provider: str, book: PriceBook | None) -> str:
    amounts = [money_text(amount) for amount in entry.amounts]
    text = f"{' '.join(amounts[:MANY])}{' …' if len(amounts) > MANY else ''} {entry.unit.replace('usd', 'USD')}"
    dollars = in_dollars(entry, provider, book) if book and entry.unit == "credits" and len(amounts) == 1 else None
    text += f" ({_dollars(dollars[0])})" if dollars else ""
    per = {"video": "a video", "second": "a second", "duration": "for 1, 2, 3 … seconds"}[entry.per]
    return f"{'+ ' if entry.surcharge else ''}{text} {per}"


def _dollars(amount: Decimal) -> str:
    return f"{money_text(amount)} USD"
