"""What a command says while it runs: lines for people or for programs, and bars where somebody looks on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cli.answer import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

__all__ = ["Bar", "Bars", "Screen"]


class Bar:
    """One bar, or nothing where no bars are drawn."""

    def __init__(self, progress: Progress | None, number: TaskID | None) -> None:
        self._progress, self._number = progress, number

    def show(self, done: float, what: str | None = None) -> None:
        """How much is done, of the total, and what is being done."""
        if self._progress is not None and self._number is not None:
            fields: dict[str, Any] = {} if what is None else {"what": printable(what)}
            self._progress.update(self._number, completed=done, **fields)

    def stop(self) -> None:
        """Stop its clock: nothing more will happen."""
        if self._progress is not None and self._number is not None:
            self._progress.stop_task(self._number)


class Bars:
    """The bars of a command."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def add(self, name: str, total: float, what: str = "") -> Bar:
        """Another bar."""
        if self._progress is None:
            return Bar(None, None)
        return Bar(self._progress, self._progress.add_task(printable(name), total=total, what=what))


class Screen:
    """Standard output and standard error of a command.

    Bars are drawn on a terminal only, and never among the lines of `--json`: what is piped on has none.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._progress: Progress | None = None

    def line(self, text: str, data: Mapping[str, Any]) -> None:
        """A line of the answer: in words, or as one line of JSON."""
        if self.as_json:
            print(json.dumps(data), flush=True)
        else:
            self._print(printable(text), sys.stdout)

    def remark(self, text: str) -> None:
        """A line that is not part of the answer: on standard error."""
        self._print(printable(text), sys.stderr)

    @contextmanager
    def stages(self) -> Iterator[Bars]:
        """Bars of things that go through stages."""
        with self._drawn(_stage_columns) as bars:
            yield bars

    @contextmanager
    def transfers(self) -> Iterator[Bars]:
        """Bars of files that are copied; totals are bytes."""
        with self._drawn(_transfer_columns) as bars:
            yield bars

    def _print(self, text: str, where: Any) -> None:
        # a line above the bars, where both go to the same terminal
        if self._progress is not None and where.isatty():
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=where, flush=True)

    @contextmanager
    def _drawn(self, columns: Any) -> Iterator[Bars]:
        if self.as_json or not sys.stdout.isatty():
            yield Bars(None)
            return
        from rich.console import Console
        from rich.progress import Progress

        console = Console(file=sys.stdout)
        with Progress(*columns(), console=console, redirect_stdout=False, redirect_stderr=False) as progress:
            self._progress = progress
            try:
                yield Bars(progress)
            finally:
                self._progress = None


def _stage_columns() -> list[ProgressColumn]:
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

    return [
        SpinnerColumn(finished_text="●"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[what]}", markup=False),
        TimeElapsedColumn(),
    ]


def _transfer_columns() -> list[ProgressColumn]:
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    return [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    ]
