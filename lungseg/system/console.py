"""Messages, tables and progress.

Messages go to the logger `lungseg`: `note` has the level INFO, `detail` DEBUG, `warn` WARNING and
`error` ERROR. A Python program sees them if it configures logging; otherwise it sees nothing. The
command line calls `show`, which prints them to standard error, so that standard output holds
results alone. Tables and progress bars are drawn only while `show` is active. Rich is imported
when something is printed, which keeps the program quick to start.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

T = TypeVar("T")
SECONDS_BETWEEN_LOG_LINES = 20.0
logger = logging.getLogger("lungseg")
# Without a handler Python itself would print the warnings of a library.
logger.addHandler(logging.NullHandler())


def note(message: str) -> None:
    """Log what is being done; the command line prints it unless `-q` is given."""
    logger.info(message, stacklevel=2)


def detail(message: str) -> None:
    """Log a detail; the command line prints it if `-v` is given."""
    logger.debug(message, stacklevel=2)


def warn(message: str) -> None:
    """Log what a person should look at; the command line always prints it."""
    logger.warning(message, stacklevel=2)


def error(message: str) -> None:
    """Log why the program stops; the command line always prints it."""
    logger.error(message, stacklevel=2)


class TerminalHandler(logging.Handler):
    """Prints the messages of the logger `lungseg` to standard error, in colour on a terminal.

    Attributes:
        quiet: leave out notes, tables and progress.
        verbose: print details as well.
    """

    LOOKS: tuple[tuple[int, str, str], ...] = (
        (logging.ERROR, "error: ", "bold red"),
        (logging.WARNING, "warning: ", "yellow"),
        (logging.INFO, "", ""),
        (logging.DEBUG, "", "dim"),
    )

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        """Set what is printed, as `-q` and `-v` do."""
        super().__init__()
        self.quiet, self.verbose = quiet, verbose

    @cached_property
    def console(self) -> Console:
        """The console on standard error."""
        return _console(stderr=True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is wanted."""
        if record.levelno >= logging.WARNING:
            return True
        return self.verbose if record.levelno < logging.INFO else not self.quiet

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        prefix, style = next(look[1:] for look in self.LOOKS if record.levelno >= look[0])
        if not _may_be_terminal():
            # As Rich prints it. Importing Rich takes a tenth of the time of a slice.
            sys.stderr.write((prefix + record.getMessage()).translate(CONTROLS) + "\n")
            sys.stderr.flush()
            return
        self.console.print(prefix + record.getMessage(), style=style or None, soft_wrap=True)


# Bell, backspace, vertical tab, form feed and carriage return, which Rich leaves out.
CONTROLS = dict.fromkeys((7, 8, 11, 12, 13))


def _may_be_terminal() -> bool:
    """Whether standard error may be a terminal; if not, Rich is not needed for messages."""
    forced = any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
    return forced or sys.stderr is None or sys.stderr.isatty()


def _console(stderr: bool) -> Console:
    from rich.console import Console

    # Names hold brackets and colons: a message is printed as it is.
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    console = Console(stderr=stderr, **plain)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # Rich would cut tables off at the 80 columns that it assumes for a file or a pipe.
        console = Console(stderr=stderr, width=140, **plain)
    return console


@contextmanager
def show(quiet: bool = False, verbose: bool = False) -> Iterator[None]:
    """Print messages, tables and progress while the block runs, as the command line does."""
    level, propagates = logger.level, logger.propagate
    handler = _install(quiet, verbose)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


def show_always() -> None:
    """Print messages from now on, in processes that have no command line, such as Dask workers."""
    with _installing:
        if not any(isinstance(handler, TerminalHandler) for handler in logger.handlers):
            _install(quiet=False, verbose=False)


_installing = Lock()


def _install(quiet: bool, verbose: bool) -> TerminalHandler:
    handler = TerminalHandler(quiet, verbose)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    # A library that configures the root logger must not print everything a second time.
    logger.propagate = False
    return handler


def _shown() -> TerminalHandler | None:
    """Return the handler of `show`; None if nothing is to be drawn."""
    handlers = (h for h in logger.handlers if isinstance(h, TerminalHandler) and not h.quiet)
    return next(handlers, None)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], footer: str = ""
) -> None:
    """Print a table, unless `-q` is given. The first column is text, the others are numbers."""
    handler = _shown()
    if handler is not None:
        handler.console.print(_table(title, columns, rows, footer))


def _table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], footer: str
) -> Table:
    from rich.table import Table

    view = Table(title=title, title_justify="left", caption=footer or None, caption_justify="left")
    for index, column in enumerate(columns):
        view.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        view.add_row(*[str(cell) for cell in row])
    return view


def emit_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table that is the result of a command to standard output."""
    _console(stderr=False).print(_table(title, columns, rows, ""))


def emit_json(document: object) -> None:
    """Write the one JSON document of `--json` to standard output."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def emit_markdown(text: str) -> None:
    """Write Markdown to standard output: laid out on a terminal, otherwise as it is."""
    view = _console(stderr=False)
    if not view.is_terminal:
        emit_text(text)
        return
    from rich.markdown import Markdown

    view.print(Markdown(text))


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
        """Start counting; if there is no `view`, a line is logged from time to time."""
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
    """Count pieces of work, drawn as a bar by the command line on a terminal.

    Without a terminal, and in a Python program, a line is logged from time to time instead.
    """
    handler = _shown()
    if handler is None or not _may_be_terminal() or not handler.console.is_terminal:
        yield Bar(total, label, unit, None)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns: list[Any] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeLeft(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[extra]}", style="dim", markup=False),
    ]
    with Progress(*columns, console=handler.console, transient=False) as view:
        yield Bar(total, label, unit, view)
