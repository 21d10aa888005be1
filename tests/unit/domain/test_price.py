"""Prices: which line of the list decides, what is learned, what is reserved for an unknown price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from vidu_relay.domain.catalogue import Choice, Offering
from vidu_relay.domain.money import money_text, parse_money, read_money
from vidu_relay.domain.price import (
    Basis,
    LearnedPrice,
    Price,
    PriceBook,
    combination,
    entry_document,
    price_of,
    read_entries,
)

TURBO, SEED = "viduq3_turbo_text2video", "viduq2_pro_fast_reference2video"
TODAY = "2026-11-30"
ASSUMED = Decimal("1.5")


def choice(model: str = TURBO, provider: str = "vidu") -> Choice:
    found = Offering((provider,)).find(model)
    assert found
    return found


def line(**changes: Any) -> dict[str, Any]:
    return {"model": TURBO, "usd": "0.5", "per": "video", "since": "2026-01-01"} | changes


def book(*lines: dict[str, Any], rate: str | None = "0.005", **learned: str) -> PriceBook:
    entries, rates = read_entries({"prices": list(lines), "credit_usd": {"vidu": rate} if rate else {}})
    known = {name: LearnedPrice(Decimal(text) / 2, Decimal(text), 3) for name, text in learned.items()}
    return PriceBook(ASSUMED, entries, rates, known)


@pytest.mark.parametrize(
    ("lines", "parameters", "expected"),
    [
        ([line()], {}, "0.5"),
        ([line(per="second")], {}, "2.5"),  # five seconds by default
        ([line(per="second")], {"duration": 16}, "8"),
        ([line(usd="0.1"), line(usd="0.3", when={"resolution": "1080p"})], {"resolution": "1080p"}, "0.3"),
        ([line(usd="0.1"), line(usd="0.3", when={"resolution": "1080p"})], {}, "0.1"),
        ([line(usd="0.1", when={"resolution": "720p"})], {}, "0.1"),  # the default counts
        ([line(usd="0.3"), line(usd="0.1", since="2026-11-30")], {}, "0.1"),
        ([line(usd="0.3"), line(usd="0.1", since="2026-12-01")], {}, "0.3"),
        ([line(usd="0.1", when={"audio": True}), line(usd="0.2", when={"duration": 5})], {}, "0.2"),
        ([line(usd="0.1"), line(usd="0.9", provider="gateway")], {}, "0.1"),
        ([{**line(credits="11", per="second"), "usd": None}], {}, "0.275"),
    ],
    ids=[
        "for each video", "for each second", "of a longer one", "most specific", "general", "default", "later",
        "not yet", "dearest of equals", "other provider", "credits",
    ],
)  # fmt: skip
def test_list_decides(lines: list[dict[str, Any]], parameters: dict[str, Any], expected: str) -> None:
    clean = [{name: value for name, value in each.items() if value is not None} for each in lines]
    amount = Decimal(expected)
    assert price_of(choice(), parameters, book(*clean), TODAY) == Price(amount, amount, Basis.LIST)


def test_unlisted_price_is_learned_from_bills_of_the_same_combination() -> None:
    name = combination(choice(), {"prompt": "a fox", "seed": 7})
    assert name == f"vidu|{TURBO}|audio=true|duration=5|off_peak=false|resolution=720p"
    known = book(**{name: "0.4"})
    assert price_of(choice(), {}, known, TODAY) == Price(Decimal("0.2"), Decimal("0.4"), Basis.LEARNED)
    assert price_of(choice(), {"duration": 6}, known, TODAY) == Price(None, Decimal("0.4"), Basis.UNKNOWN)


@pytest.mark.parametrize(
    ("lines", "rate", "reserved"),
    [
        ([], None, ASSUMED),
        ([line(usd="0.1", per="second", when={"resolution": "1080p"})], None, Decimal("1.6")),
        ([line(usd="0.1", when={"resolution": "540p"}), line(usd="0.2", when={"duration": 9})], None, Decimal("0.2")),
        ([{**line(credits="11"), "usd": None}], None, ASSUMED),
        ([line(model=SEED, usd="9")], None, ASSUMED),
    ],
    ids=["nothing known", "longest video", "dearest", "credits without a price", "another model"],
)
def test_unknown_price_is_reserved_as_the_dearest_known_one(
    lines: list[dict[str, Any]], rate: str | None, reserved: Decimal
) -> None:
    clean = [{name: value for name, value in each.items() if value is not None} for each in lines]
    assert price_of(choice(), {}, book(*clean, rate=rate), TODAY) == Price(None, reserved, Basis.UNKNOWN)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "price list"),
        ({"prices": {}}, "list"),
        ({"prices": ["x"]}, "prices.0: must be an object"),
        ({"prices": [line(currency="EUR")]}, "US dollars"),
        ({"prices": [line(model="sora")]}, "model"),
        ({"prices": [line(provider="runway")]}, "provider"),
        ({"prices": [line(when={"subjects": 1})]}, "when"),
        ({"prices": [line(when={"duration": 5.5})]}, "when"),
        ({"prices": [line(per="month")]}, "per"),
        ({"prices": [line(credits="1")]}, "either"),
        ({"prices": [line(since="tomorrow")]}, "date"),
        ({"credit_usd": {"vidu": 0.005}}, "plain decimal"),
        *[({"prices": [line(usd=bad)]}, "plain decimal") for bad in
          ("-1", "NaN", "1e3", "Infinity", "1234567890", "0.1234567891", "1,5", "$1", "", "\uff11", 1.5, None)],
    ],
)  # fmt: skip
def test_malformed_list_says_what_to_change(document: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_entries(document)


def test_entry_is_written_as_it_is_read() -> None:
    lines = [line(when={"audio": False}, provider="vidu"), {**line(credits="7.5", per="second")}]
    del lines[1]["usd"]
    entries, _ = read_entries({"prices": lines})
    assert [entry_document(entry) for entry in entries] == lines


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0.0450", "0.045"), ("1e-3", "0.001"), (" 2 ", "2"), ("-1", None), ("NaN", None), ("Infinity", None),
     ("1e99", None), ("free", None), (None, None)],
)  # fmt: skip
def test_provider_s_amount_is_read_leniently_and_exactly(text: str | None, amount: str | None) -> None:
    found = read_money(text)
    assert (money_text(found) if found is not None else None) == amount


def test_operator_s_amount_is_exact() -> None:
    assert money_text(parse_money("0.10", "price") * 3) == "0.3"
