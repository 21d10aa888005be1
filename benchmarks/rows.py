"""A measured figure: its median and extremes, and whether it reaches its target."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Row", "matrix", "row", "table"]


@dataclass(frozen=True, slots=True)
class Row:
    """Median, least and greatest of what was measured. A target is a limit from above unless it is `at_least`."""

    what: str
    middle: float
    low: float
    high: float
    unit: str = ""
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def result(self) -> str:
        """`reached` or `missed`, by the median; empty where there is no target."""
        if self.target is None:
            return ""
        reached = self.middle >= self.target if self.at_least else self.middle <= self.target
        return "reached" if reached else "missed"

    @property
    def limit(self) -> str:
        """The target as text."""
        return "" if self.target is None else f"{'≥' if self.at_least else '≤'} {self.target:g} {self.unit}".rstrip()


def row(
    what: str,
    values: Sequence[float],
    unit: str = "",
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    note: str = "",
) -> Row:
    """A row of these values, with at most one of the two targets."""
    if at_most is not None and at_least is not None:
        raise ValueError(f"{what}: a figure has one target")
    target = at_least if at_most is None else at_most
    return Row(what, statistics.median(values), min(values), max(values), unit, target, at_least is not None, note)


def table(rows: Iterable[Row]) -> list[str]:
    """The rows as a Markdown table, in the order given."""
    lines = ["| what | median | min to max | target | |", "|---|---:|---|---|---|"]
    for each in rows:
        extremes = "" if each.low == each.high else f"{_number(each.low)} to {_number(each.high)}"
        result = f"**{each.result}**" if each.result == "missed" else each.result
        said = _text(f"{each.what} ({each.note})" if each.note else each.what)
        lines.append(f"| {said} | {_number(each.middle)} {each.unit} | {extremes} | {each.limit} | {result} |")
    return lines


def matrix(corner: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[Row | None]]]) -> list[str]:
    """Figures without targets, one line for each thing and one column for each figure; None where it is not known."""
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, cells in rows:
        texts = ("" if c is None else f"{_number(c.middle)} ({_number(c.low)} to {_number(c.high)})" for c in cells)
        lines.append(f"| {_text(name)} | " + " | ".join(texts) + " |")
    return lines


def _text(name: str) -> str:
    return name.replace("|", "\\|")


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"
