"""The Makefiles run with GNU make 3.81, which is what macOS ships."""

import re
from pathlib import Path

import pytest

from tests.unit.template import ROOT

MAKEFILES = [ROOT / "Makefile", *sorted((ROOT / "layers").glob("*/Makefile"))]
NEWER_THAN_3_81 = {
    "3.82": [
        r"^\.ONESHELL",
        r"^\.SHELLFLAGS",
        r"^\s*define\s+\S+\s*[:?+]?=",
        r"^\s*undefine\b",
        r"^[^\t#=]*\bprivate\s[^=]*=",
    ],
    "4.0": [r"^[^\t#=]*!=", r"^[^\t#=]*::=", r"\$[({](?:file|guile)\s", r"^\s*-?load\s", r"--output-sync"],
    "4.2": [r"\.SHELLSTATUS"],
    "4.3": [r"^[^\t#=]*&:"],
    "4.4": [r"\$[({](?:let|intcmp)\s", r"^\.(?:NOTINTERMEDIATE|WAIT)\b", r"^[^\t#=]*:::="],
}
"""What came with each later version, as GNU make's NEWS has it."""


@pytest.mark.parametrize("path", MAKEFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_makefile_uses_nothing_that_macos_s_make_does_not_know(path: Path) -> None:
    text = path.read_text()
    found = [
        f"make {version}: {match[0]!r}"
        for version, patterns in NEWER_THAN_3_81.items()
        for pattern in patterns
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]
    assert found == []
