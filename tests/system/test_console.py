"""Messages: printed by the command line alone, once, in the right stream."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lungseg.config.schema import Config
from lungseg.imaging.folders import Input
from lungseg.inference import cases
from lungseg.system import console


@pytest.fixture(autouse=True)
def _no_handler_is_left() -> Iterator[None]:
    before = list(console.logger.handlers)
    yield
    left = [handler for handler in console.logger.handlers if handler not in before]
    for handler in left:
        console.logger.removeHandler(handler)
    console.logger.setLevel(logging.NOTSET)
    console.logger.propagate = True


def say_all() -> None:
    console.detail("a detail")
    console.note("a note")
    console.table("a table", ["name", "number"], [["one", 1]])
    console.warn("a warning")
    console.error("an error")


@pytest.mark.parametrize(
    ("quiet", "verbose", "printed"),
    [
        (False, False, {"note", "table", "warning", "error"}),
        (False, True, {"detail", "note", "table", "warning", "error"}),
        (True, False, {"warning", "error"}),
        (True, True, {"detail", "warning", "error"}),
    ],
)
def test_the_command_line_prints_what_was_asked_for(
    quiet: bool, verbose: bool, printed: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.show(quiet, verbose):
        say_all()
    out, err = capsys.readouterr()
    assert out == ""
    for word in ("detail", "note", "table", "warning", "error"):
        assert err.count(f"a {word}" if word != "error" else "error: an error") == (word in printed)
    assert "warning: a warning\n" in err


def test_nothing_is_printed_without_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with console.show():
        pass
    say_all()
    with console.progress(3, "work") as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


def test_a_message_is_printed_once_and_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a library does that calls logging.basicConfig.
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler()])
    with console.show():
        console.warn("[red]100%[/red] %s {name} " + "x" * 200)
    assert capsys.readouterr().err == "warning: [red]100%[/red] %s {name} " + "x" * 200 + "\n"


def test_messages_of_threads_are_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with console.show(), ThreadPoolExecutor(8) as pool:
        list(pool.map(console.note, (f"note {number:03d}" for number in range(200))))
    lines = capsys.readouterr().err.splitlines()
    assert sorted(lines) == [f"note {number:03d}" for number in range(200)]


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "SECONDS_BETWEEN_LOG_LINES", 0.0)
    with console.show(), console.progress(2, "work", "case") as bar:
        bar.advance()
    assert "work: 1/2, " in capsys.readouterr().err
    with console.show(quiet=True), console.progress(2, "work", "case") as bar:
        bar.advance()
    assert capsys.readouterr().err == ""


def test_a_worker_of_a_cluster_prints_its_messages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "segment_case", lambda *_: console.warn("no lung"))
    job: Any = (Input(Path("ct.mha"), "ct", True), [], Path("out"), Config())
    cases._work(cases._this_process(), *job)  # in the process that asked for it
    assert capsys.readouterr().err == ""
    for _ in range(2):
        cases._work(("another machine", 1), *job)
    assert capsys.readouterr().err == "warning: no lung\n" * 2


def test_names_are_printed_as_they_are_everywhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    name = "a:b:c [/x] [red]d"
    with console.show():
        console.warn(name)
        console.table(f"title {name}", ["case"], [[f"cell {name}"]], f"footer {name}")
        with console.progress(1, f"bar {name}") as bar:
            bar.advance(1, f"extra {name}")
    printed = capsys.readouterr().err
    for what in ("warning:", "title", "cell", "footer", "bar", "extra"):
        assert f"{what} {name}" in printed, what


def test_the_level_that_a_program_has_set_comes_back() -> None:
    console.logger.setLevel(logging.ERROR)
    with console.show():
        assert console.logger.isEnabledFor(logging.DEBUG)
    assert console.logger.level == logging.ERROR


@pytest.mark.parametrize("speak", [console.detail, console.note, console.warn, console.error])
def test_a_message_names_the_line_that_sent_it(
    speak: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "lungseg")
    speak("a message")
    (record,) = caplog.records
    assert Path(record.pathname).name == "test_console.py"


def test_lines_of_progress_are_apart(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lungseg")
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with console.progress(50, "work") as bar:
        for _ in range(50):
            now += 1
            bar.advance()
    assert [message.split(",")[0] for message in caplog.messages] == ["work: 20/50", "work: 40/50"]
