"""The documents as data, for the tests that hold them to the code."""

import re
from pathlib import Path

__all__ = ["DOCUMENTS", "ROOT", "blocks", "table"]

ROOT = Path(__file__).parents[1]

DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "events/README.md")),
        *(ROOT / "docs").glob("*.md"),
    ]
)
"""Every page there is to read."""


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language ("" for none), without the fences. `page` is a path from `ROOT`."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [content for kind, content in found if kind == language]


def table(page: str, after: str) -> dict[str, list[str]]:
    """The first table behind a piece of text: the other cells of each row, by the first one without its backticks."""
    text = (ROOT / page).read_text().split(after, 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert lines, f"{page}: no table behind {after!r}"
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines.group().splitlines()[2:]]
    firsts = [first for first, *_ in rows]
    repeated = sorted({first for first in firsts if firsts.count(first) > 1})
    assert not repeated, f"{page}: twice in the table behind {after!r}: {', '.join(repeated)}"
    return {first.strip("`"): others for first, *others in rows}
