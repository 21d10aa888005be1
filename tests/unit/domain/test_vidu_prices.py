"""The example list of Vidu's prices, against bills worked out from the public tables without the relay's code."""

import json
import random
from decimal import Decimal
from typing import Any

from tests.unit.template import ROOT
from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.price import Basis, PriceBook, price_of
from vidu_relay.domain.price_list import read_list

CREDIT = Decimal("0.005")
RESOLUTIONS = ("540p", "720p", "1080p")
PER_SECOND = {  # by resolution: usual, off-peak
    "viduq3-pro": ((9, 20, 24), (5, 10, 12)),
    "viduq3-turbo": ((7, 11, 13), (4, 6, 7)),
    "viduq3-pro-fast": ((None, 20, 25), (None, 10, 13)),
    "reference viduq3": ((7, 12, 15), (4, 6, 7)),
    "reference viduq3-turbo": ((4, 10, 13), (2, 5, 7)),
}
FIRST_AND_NEXT = {  # credits of one second, and of each further one up to eight
    "viduq2": ((10, 2), (15, 5), (20, 10)),
    "viduq2-turbo": ((6, 2), (0, 10), (35, 10)),
    "viduq2-pro": ((5, 5), (15, 10), (55, 15)),
    "viduq2-pro-fast": (None, (8, 2), (16, 4)),
    "reference viduq2": ((15, 5), (25, 5), (75, 10)),
}
IRREGULAR = {("viduq2-turbo", "720p", 1): 8, ("viduq2-pro", "540p", 1): 8}
PER_CLIP = {("vidu2.0", 4, "360p"): 20, ("vidu2.0", 4, "720p"): 40} | {
    ("vidu2.0", seconds, resolution): 100 for seconds, resolution in ((4, "1080p"), (8, "720p"))
}
SIMULATED: dict[str, dict[str, Any]] = json.loads((ROOT / "local" / "simulator" / "models.json").read_text())["vidu"]


def spec_of(name: str, specs: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """What a parameter takes, where that depends on the duration too."""
    by = specs[name].get("by")
    found: dict[str, Any] = specs[name][str(asked.get(by, specs[by]["default"]))] if by else specs[name]
    return found


def bill(kind: str, model: str, asked: dict[str, Any]) -> int | None:
    """Credits of a video; None where no public table has them. The defaults are the simulator's."""
    specs = SIMULATED[kind][model]["parameters"]
    values: dict[str, Any] = {name: asked.get(name, spec_of(name, specs, asked).get("default")) for name in specs}
    seconds, resolution = int(values["duration"]), values["resolution"]
    extra = (10 if values.get("is_rec") else 0) + (15 if "viduq2" in model and values.get("audio") else 0)
    special = f"reference {model}" if kind == "reference2video" else ""
    name = special if special in PER_SECOND | FIRST_AND_NEXT else model
    if name in PER_SECOND:
        rate = PER_SECOND[name][bool(values["off_peak"])][RESOLUTIONS.index(resolution)]
        return (rate or 0) * seconds + extra
    if values["off_peak"]:
        return None
    if name not in FIRST_AND_NEXT:
        return PER_CLIP.get((model, seconds, resolution), 80) + extra
    first, following = FIRST_AND_NEXT[name][RESOLUTIONS.index(resolution)] or (0, 0)
    usual, late = (seconds, 0) if "fast" in name else (min(seconds, 8), max(0, seconds - 8))
    return IRREGULAR.get((name, resolution, seconds), first + (usual - 1) * following + 20 * late) + extra


def random_request(draw: random.Random, specs: dict[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    for name in ("audio", "duration", "is_rec", "off_peak", "resolution"):
        if name in specs and draw.random() < 0.7:
            spec = spec_of(name, specs, asked)
            numbers = range(spec["min"], spec["max"] + 1) if "min" in spec else (True, False)
            asked[name] = draw.choice(spec.get("enum") or list(numbers))
    return asked


def test_a_thousand_estimates_by_the_example_list_are_the_bills() -> None:
    entries, rates = read_list(json.loads((ROOT / "docs" / "examples" / "prices-vidu.json").read_text()))
    book, draw = PriceBook(Decimal(1), entries, rates), random.Random(15)  # noqa: S311 - the same requests each time
    listed = [
        choice for model in sorted({entry.model for entry in entries}) if (choice := Offering(("vidu",)).find(model))
    ]
    known, total, billed = 0, Decimal(0), Decimal(0)
    for choice in draw.choices(listed, k=1000):
        kind, model = choice.model.kind, choice.offer.model
        asked = random_request(draw, SIMULATED[kind][model]["parameters"])
        price, credits_ = price_of(choice, asked, book, "2026-11-30"), bill(kind, model, asked)
        assert price.expected == (None if credits_ is None else credits_ * CREDIT), (kind, model, asked)
        assert (price.basis is Basis.UNKNOWN) == (credits_ is None)
        known += credits_ is not None
        total, billed = total + (price.expected or 0), billed + (credits_ or 0) * CREDIT
    assert (known > 700, total) == (True, billed)
