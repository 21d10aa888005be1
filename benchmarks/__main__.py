"""`make bench`: every measurement, printed and written to `benchmarks/RESULTS.md`.

    python -m benchmarks [cold] [copy] [path] [growth] [queue] [batch] [cost]

Parts that are named are measured and replace their sections of the file; the others stay as they were.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import batch, cold_start, copy, cost, growth, overhead, queue

__all__ = ["main", "merge", "sections"]

RESULTS = Path(__file__).with_name("RESULTS.md")
HEADER = """# Results

Written by `make bench`; `make bench PARTS="cold cost"` renews some sections. Ratios are of paired runs on one machine
and can be compared between machines; plain times and speeds cannot. A figure is a median with its extremes;
**missed** says by the median that a target is not reached. Nothing here ran on AWS. What the figures decide is in
[scale](../docs/scale.md).
"""
QUIET = 0.5
"""Others' load for each core from which on the file says that the machine was shared."""

Say = Callable[[str], None]


PARTS: Mapping[str, tuple[str, Callable[[Say], list[str]]]] = {
    "cold": ("Cold start, memory and warm invocations", lambda say: cold_start.report(cold_start.measure(say=say))),
    "copy": ("Copy of a video", lambda say: copy.report(*copy.measure(say=say))),
    "path": ("Submit to completed", lambda say: overhead.report(overhead.measure(say=say))),
    "growth": ("Growth", lambda say: growth.report(growth.measure(say=say))),
    "queue": ("Queue", lambda say: queue.report(queue.measure(say=say))),
    "batch": ("Batch", lambda say: batch.report(batch.measure(say=say))),
    "cost": ("Cost", lambda say: cost.report(cost.measure(say))),
}
"""Each part's title and what measures it, in the order of the file."""


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    wanted = parser.parse_args().parts or list(PARTS)
    if unknown := [part for part in wanted if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}, only {', '.join(PARTS)}")
    for part, (title, measure) in PARTS.items():
        if part not in wanted:
            continue
        before = _facts()
        _say(f"\n## {title}\n")
        lines = [before, "", *measure(lambda text: _say(f"… {text}"))]
        _say("\n".join(lines))
        # after each part, so that one that fails costs no other
        current = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else ""
        RESULTS.write_text(merge(current, title, lines), encoding="utf-8")
    return 0


def merge(text: str, title: str, lines: list[str]) -> str:
    """The file with this section in place of the one of the same title, in the order of `PARTS`."""
    known = {**sections(text), title: "\n".join(lines)}
    ordered = [(name, known[name]) for name, _ in PARTS.values() if name in known]
    return HEADER + "".join(f"\n## {name}\n\n{content.strip()}\n" for name, content in ordered)


def sections(text: str) -> dict[str, str]:
    """The sections of the file by title."""
    parts = (part.partition("\n") for part in text.split("\n## ")[1:])
    return {title.strip(): content.strip() for title, _, content in parts}


def _facts() -> str:
    """What a reader must know of the machine, and whether it was shared."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    shared = f"shared: load {load:.1f} before it began" if load > QUIET * cores else "quiet before it began"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{cores} cores, {platform.system()} {platform.machine()}, {python}"
    return f"_{time.strftime('%Y-%m-%d')}, {machine}; {shared}._"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
