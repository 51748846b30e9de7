"""Everything a person sees: notes, warnings, tables, progress.

Messages go to standard error, so that standard output holds results alone. No other module
prints. Rich is imported on first use, which keeps the program quick to start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
import json
import os
import sys
import time

T = TypeVar("T")


SECONDS_BETWEEN_LOG_LINES = 20.0


@dataclass
class Verbosity:
    """How much is said; set once by the command line."""

    quiet: bool = False
    verbose: bool = False


verbosity = Verbosity()


@lru_cache(maxsize=1)
def _stderr() -> Console:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # Cut off at the 80 columns assumed for a file or a pipe, a table says nothing.
        console = Console(stderr=True, highlight=False, width=140)
    return console


def note(message: str) -> None:
    """Say what is being done; silent with `-q`."""
    if not verbosity.quiet:
        _stderr().print(message, markup=False, soft_wrap=True)


def detail(message: str) -> None:
    """Say what only `-v` asks for."""
    if verbosity.verbose:
        _stderr().print(message, style="dim", markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """Say what a person should look at; never silenced."""
    _stderr().print(f"warning: {message}", style="yellow", markup=False, soft_wrap=True)


def error(message: str) -> None:
    """Say why the program stops."""
    _stderr().print(f"error: {message}", style="bold red", markup=False, soft_wrap=True)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], footer: str = ""
) -> None:
    """Print a table; silent with `-q`. The first column is text, the others are numbers."""
    if verbosity.quiet:
        return
    from rich.table import Table

    view = Table(title=title, title_justify="left", caption=footer or None, caption_justify="left")
    for index, column in enumerate(columns):
        view.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        view.add_row(*[str(cell) for cell in row])
    _stderr().print(view, markup=False)


def emit_json(document: object) -> None:
    """Write the one JSON document of `--json` to standard output."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def emit_text(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(text + "\n")


def track(items: Iterable[T], total: int, label: str, unit: str = "img") -> Iterator[T]:
    """Yield `items`, showing how many are done, the rate and the time left."""
    with progress(total, label, unit) as bar:
        for item in items:
            yield item
            bar.advance()


class Bar:
    """A running count of finished pieces of work."""

    def __init__(self, total: int, label: str, unit: str, view: Progress | None) -> None:
        """Start counting; without a `view` a line is logged now and then."""
        self.total, self.label, self.unit, self.view = total, label, unit, view
        self.done = 0
        self.extra = ""
        self.started = self.logged = time.monotonic()
        self.task = view.add_task(label, total=total, rate="", extra="") if view else None

    def advance(self, count: int = 1, extra: str | None = None) -> None:
        """Count `count` more pieces as done; `extra` is shown at the end of the line."""
        self.done += count
        if extra is not None:
            self.extra = extra
        now = time.monotonic()
        rate = self.done / max(now - self.started, 1e-6)
        if self.view is not None and self.task is not None:
            self.view.update(
                self.task, advance=count, rate=f"{rate:.1f} {self.unit}/s", extra=self.extra
            )
        elif now - self.logged >= SECONDS_BETWEEN_LOG_LINES:
            self.logged = now
            left = (self.total - self.done) / max(rate, 1e-6)
            note(
                f"{self.label}: {self.done}/{self.total}, {rate:.1f} {self.unit}/s, "
                f"{left:.0f} s left {self.extra}".rstrip()
            )


@contextmanager
def progress(total: int, label: str, unit: str = "img") -> Iterator[Bar]:
    """Show a progress bar on a terminal, a line now and then elsewhere, nothing with `-q`."""
    if verbosity.quiet or not _stderr().is_terminal:
        yield Bar(total, label, unit, None)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeLeft(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[extra]}", style="dim"),
    ]
    with Progress(*columns, console=_stderr(), transient=False) as view:
        yield Bar(total, label, unit, view)
