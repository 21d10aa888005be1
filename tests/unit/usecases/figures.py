"""What was explored, counted by the tests and printed when they are done."""

from dataclasses import dataclass

__all__ = ["Figures"]


@dataclass(frozen=True)
class Figures:
    """The counts of one test. `campaign` multiplies how much is sampled: 1 in `make test`."""

    campaign: int
    properties: list[tuple[str, object]]

    def add(self, what: str, number: int) -> None:
        """Count something that was explored; it is printed with everybody else's at the end of the run."""
        self.properties.append(("explored", (what, number)))
