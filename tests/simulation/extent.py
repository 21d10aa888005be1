"""How much of the simulation a run explores, and its statistics."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """Numbers are of one scenario, but for `histories`."""

    all: bool
    """Every crash point with every way of calling back, and other histories in each run."""
    pairs: int
    """Pairs of crash points."""
    limit: int
    """Every schedule where there are at most so many, else"""
    schedules: int
    """so many of them."""
    with_fault: int
    """Schedules in which something goes wrong besides."""
    histories: int


SAMPLE = Extent(all=False, pairs=12, limit=40, schedules=15, with_fault=4, histories=60)
ALL = Extent(all=True, pairs=200, limit=1000, schedules=300, with_fault=50, histories=1000)


@dataclass(frozen=True)
class Statistics:
    """What one test explored; `tests/conftest.py` prints the sums of a run."""

    properties: list[tuple[str, object]]

    def add(self, what: str, number: int) -> None:
        self.properties.append(("explored", (what, number)))
