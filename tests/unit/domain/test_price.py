"""Prices: which line of the list decides, what is learned, what is reserved for an unknown price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from vidu_relay.domain.catalogue import Choice, Offering
from vidu_relay.domain.errors import PriceListError
from vidu_relay.domain.money import money_text, parse_money, read_money
from vidu_relay.domain.price import (
    Basis,
    LearnedPrice,
    Price,
    PriceBook,
    combination,
    price_of,
)
from vidu_relay.domain.price_list import describe_price, list_document, read_list

TURBO, SEED = "viduq3_turbo_text2video", "viduq2_pro_fast_reference2video"
TODAY = "2026-11-30"
ASSUMED = Decimal("1.5")


def choice(model: str = TURBO, provider: str = "vidu") -> Choice:
    found = Offering((provider,)).find(model)
    assert found
    return found


def line(**changes: Any) -> dict[str, Any]:
    unit = {} if "credits" in changes else {"usd": "0.5"}
    return {"model": TURBO, **unit, "per": "video", "since": "2026-01-01"} | changes


def book(*lines: dict[str, Any], rate: str | None = "0.005", **learned: str) -> PriceBook:
    entries, rates = read_list({"prices": list(lines), "credit_usd": {"vidu": rate} if rate else {}})
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
        ([line(credits="11", per="second")], {}, "0.275"),
        ([line(credits=["1", "3", "7"], per="duration")], {"duration": 3}, "0.035"),
        ([line(), line(usd="0.1", surcharge=True, when={"audio": True})], {}, "0.6"),
        ([line(), line(usd="0.1", surcharge=True, when={"audio": True})], {"audio": False}, "0.5"),
        ([line(), line(usd="0.1", per="second", surcharge=True), line(usd="1", surcharge=True,
                                                                      when={"resolution": "720p"})], {}, "2"),
        ([line(credits="100000", per="second")], {"duration": 16}, "8000"),
        ([line(credits="0.000000001")], {}, "0.000000001"),
    ],
    ids=[
        "for each video", "for each second", "of a longer one", "most specific", "general", "default", "later",
        "not yet", "dearest of equals", "other provider", "credits", "by duration", "surcharge",
        "surcharge of others", "two surcharges", "large", "rounded up",
    ],
)  # fmt: skip
def test_list_decides(lines: list[dict[str, Any]], parameters: dict[str, Any], expected: str) -> None:
    amount = Decimal(expected)
    assert price_of(choice(), parameters, book(*lines), TODAY) == Price(amount, amount, Basis.LIST)


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
        ([line(credits="11")], None, ASSUMED),
        ([line(model=SEED, usd="9")], None, ASSUMED),
        ([line(), line(credits="11", when={"duration": 5})], None, Decimal("0.5")),
        ([line(), line(credits="11", surcharge=True)], None, Decimal("0.5")),
        ([line(usd=["1", "4", "2"], per="duration")], None, Decimal(4)),
        ([line(surcharge=True, when={"audio": False}), line(when={"resolution": "540p"})], None, Decimal(1)),
    ],
    ids=[
        "nothing known",
        "longest video",
        "dearest",
        "credits without a price",
        "another model",
        "what decides has no price",
        "surcharge without a price",
        "duration beyond the list",
        "with surcharges",
    ],
)
def test_unknown_price_is_reserved_as_the_dearest_known_one(
    lines: list[dict[str, Any]], rate: str | None, reserved: Decimal
) -> None:
    assert price_of(choice(), {}, book(*lines, rate=rate), TODAY) == Price(None, reserved, Basis.UNKNOWN)


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
        ({"prices": [line(credits="1", usd="1")]}, "either"),
        ({"prices": [line(model="viduq3_turbo_text")]}, "did you mean viduq3_turbo_text2video"),
        ({"prices": [line(when={"resolution": "4K"})]}, "one of 540p, 720p, 1080p"),
        ({"prices": [line(when={"audio": 1})]}, "audio"),
        ({"prices": [line(when={"duration": 17})]}, "duration"),
        ({"prices": [line(surcharge="yes")]}, "surcharge"),
        ({"prices": [line(note="a\nb")]}, "one line"),
        ({"prices": [line(per="duration")]}, "list of amounts"),
        ({"prices": [line(usd=["1"])]}, "plain decimal"),
        ({"prices": [line(), line(usd="2")]}, "prices.1: is for the same"),
        ({"prices": [line(usd="100000.1")]}, "at most 100000"),
        ({"credit_usd": {"vidu": "0"}}, "more than 0"),
        ({"credit_usd": {"runway": "1"}}, "no provider"),
        ({"prices": [line(since="tomorrow")]}, "date"),
        ({"credit_usd": {"vidu": 0.005}}, "plain decimal"),
        *[({"prices": [line(usd=bad)]}, "plain decimal") for bad in
          ("-1", "NaN", "1e3", "Infinity", "1234567890", "0.1234567891", "1,5", "$1", "", "\uff11", 1.5, None)],
    ],
)  # fmt: skip
def test_malformed_list_says_what_to_change(document: object, words: str) -> None:
    with pytest.raises(PriceListError, match=words):
        read_list(document)


def test_list_is_written_as_it_is_read() -> None:
    lines = [
        line(when={"audio": False}, provider="vidu", note="of the page"),
        line(credits="7.5", per="second", surcharge=True),
        line(credits=["1", "2"], per="duration"),
    ]
    document = {"credit_usd": {"vidu": "0.005"}, "prices": lines}
    assert list_document(*read_list(document)) == document


def test_model_s_price_is_described_by_what_is_in_force_and_what_was_billed() -> None:
    assert describe_price(choice(), book(line(since="2027-01-01"), line(model=SEED)), TODAY) is None
    name = combination(choice(), {})
    known = book(line(since="2025-01-01"), line(usd="3"), **{name: "0.4", f"{name}|x": "1"})
    described = describe_price(choice(), known, TODAY)
    assert described == {
        "list": [{"when": {}, "usd": "3", "per": "video", "surcharge": False, "since": "2026-01-01"}],
        "learned": {"from_usd": "0.2", "to_usd": "1", "tasks": 6},
    }
    (shown,) = (describe_price(choice(), book(line(credits=["1", "2"], per="duration")), TODAY) or {})["list"]
    assert shown["usd"] == ["0.005", "0.01"]
    without = describe_price(choice(), book(line(credits="1"), rate=None), TODAY)
    assert without
    assert (without["list"][0]["usd"], without["learned"]) == (None, None)


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
