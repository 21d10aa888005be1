"""A row says whether its target is reached, and renewing one section of the results leaves the others alone."""

import pytest

from benchmarks.__main__ import PARTS, merge, sections
from benchmarks.copy import C_LOOP, KNOWN, Result, report, rows
from benchmarks.rows import Row, matrix, row, table


@pytest.mark.parametrize(
    ("values", "at_most", "result"), [([1.2, 0.1, 9], 1.2, "reached"), ([1.3, 0.1, 9], 1.2, "missed")]
)
def test_the_median_decides(values: list[float], at_most: float, result: str) -> None:
    found = row("x", values, "×", at_most=at_most)

    assert (found.low, found.high, found.result) == (0.1, 9, result)


@pytest.mark.parametrize(("value", "result"), [(0.9, "reached"), (0.89, "missed")])
def test_a_limit_from_below_is_missed_below_it(value: float, result: str) -> None:
    assert row("x", [value], at_least=0.9).result == result


def test_a_figure_without_target_is_neither_reached_nor_missed() -> None:
    assert row("x", [1.0]).result == ""


def test_two_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="one target"):
        row("x", [1.0], at_most=1, at_least=1)


def test_what_is_missed_stands_out_and_a_bar_in_a_name_breaks_no_table() -> None:
    (line,) = table([row("curl | curl", [2.0], "×", at_most=1)])[2:]
    (cells,) = matrix("", ["a"], [("curl | curl", [None])])[2:]

    assert line == "| curl \\| curl | 2 × |  | ≤ 1 × | **missed** |"
    assert cells.count("|") - cells.count("\\|") == 3


def test_one_section_is_renewed_and_the_others_stay_in_their_order() -> None:
    titles = [title for title, _ in PARTS.values()]
    text = ""
    for title in reversed(titles):
        text = merge(text, title, [f"{title} once"])
    renewed = merge(text, titles[1], ["again"])

    assert list(sections(renewed)) == titles
    assert sections(renewed)[titles[1]] == "again"
    assert sections(renewed)[titles[0]] == f"{titles[0]} once"


def test_a_copy_is_compared_with_its_own_round() -> None:
    results = [
        Result(C_LOOP, "10 MB", 1.0, 1.0, 1), Result(KNOWN, "10 MB", 2.0, 2.0, 1, 3.0),
        Result(KNOWN, "10 MB", 20.0, 20.0, 1, 3.0), Result(C_LOOP, "10 MB", 10.0, 10.0, 1),
    ]  # fmt: skip
    cpu, speed = (found for found in rows(results) if "÷" in found.what)

    assert isinstance(cpu, Row)
    assert (cpu.low, cpu.high, cpu.result) == (2, 2, "missed")
    assert (speed.low, speed.high, speed.result) == (0.5, 0.5, "missed")


def test_without_the_c_loop_the_rest_is_still_shown_and_the_reason_said() -> None:
    lines = report([Result(KNOWN, "10 MB", 2.0, 2.0, 1, 3.0)], ["left out: the C loop (no gcc)"])

    assert not any("÷ C loop:" in line for line in lines)
    assert any(line.startswith(f"| {KNOWN} |") for line in lines)
    assert "left out: the C loop (no gcc)" in "\n".join(lines)
