"""What a command prints while it runs: lines for people or for programs, and bars on a terminal."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from cli.answer import printable

WIDTH = 24
REDRAW_SECONDS = 0.1
CLEAR_LINES = "\x1b[{}A\r\x1b[J"


@dataclass(slots=True)
class Bar:
    """One bar: how much is done of the total, and what is being done."""

    bars: Bars
    name: str
    total: float
    done: float = 0
    what: str = ""
    began: float = field(default_factory=time.monotonic)

    def show(self, done: float, what: str) -> None:
        self.done, self.what = done, what
        self.bars.draw(at_once=done >= self.total)

    def line(self) -> str:
        filled = int(WIDTH * min(1.0, self.done / self.total)) if self.total else WIDTH
        bar = "━" * filled + "─" * (WIDTH - filled)
        return printable(f"{self.name}  {bar}  {self.what}  {time.monotonic() - self.began:.0f} s")


class Bars:
    """The bars of a command, below the lines that it prints. None are drawn without a terminal."""

    def __init__(self, terminal: TextIO | None) -> None:
        self._terminal = terminal
        self._bars: list[Bar] = []
        self._shown = 0
        self._drawn_at = 0.0

    def add(self, name: str, total: float) -> Bar:
        """Another bar."""
        self._bars.append(Bar(self, name, total))
        return self._bars[-1]

    def draw(self, *, at_once: bool = True) -> None:
        """Draw each bar in place of the one before, at most every `REDRAW_SECONDS` unless at once."""
        if self._terminal is None or (not at_once and time.monotonic() < self._drawn_at + REDRAW_SECONDS):
            return
        self.clear()
        columns = shutil.get_terminal_size().columns - 1
        self._terminal.write("".join(f"{bar.line()[:columns]}\n" for bar in self._bars))
        self._terminal.flush()
        self._shown, self._drawn_at = len(self._bars), time.monotonic()

    def clear(self) -> None:
        """Remove the bars from the terminal."""
        if self._terminal is not None and self._shown:
            self._terminal.write(CLEAR_LINES.format(self._shown))
            self._shown = 0


class Screen:
    """Standard output and standard error of a command.

    Bars are drawn on a terminal only, and never among the lines of `--json`.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._bars = Bars(None)

    def line(self, text: str, data: Mapping[str, Any]) -> None:
        """A line of the answer: in words, or as one line of JSON."""
        self._print(json.dumps(data) if self.as_json else printable(text), sys.stdout)

    def remark(self, text: str) -> None:
        """A line that is not part of the answer: on standard error."""
        self._print(printable(text), sys.stderr)

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Bars while a command runs; the last state stays."""
        self._bars = Bars(sys.stdout if sys.stdout.isatty() and not self.as_json else None)
        try:
            yield self._bars
        finally:
            self._bars = Bars(None)

    def _print(self, text: str, stream: TextIO) -> None:
        self._bars.clear()
        print(text, file=stream, flush=True)
        self._bars.draw()
