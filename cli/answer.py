"""What a command gives back, and how it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class RefusedError(Exception):
    """A command that cannot be carried out as given. The message says what to change."""


class NoAnswerError(RefusedError):
    """The API gave no answer, or one that asks to try again later. `retry_after` in seconds, if the answer said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a command: in words, and as data for `--json`."""

    text: str
    data: Mapping[str, Any]


def checked(value: str, pattern: re.Pattern[str], rule: str) -> str:
    """The value, if all of it matches. Raises `RefusedError` with the rule."""
    if not pattern.fullmatch(value):
        raise RefusedError(f"{value!r}: {rule}")
    return value


def printable(text: str) -> str:
    """The text with `?` in place of control characters, which could change a terminal; line ends stay."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines, their columns aligned by two spaces."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
