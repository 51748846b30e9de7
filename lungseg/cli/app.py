"""The command line: the program's entry, its errors and exit codes."""

# No `from __future__ import annotations`: Typer reads the annotations at run time.
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungseg import __version__
from lungseg.errors import ExitCode, LungsegError
from lungseg.system import console
from lungseg.system.interrupted import message

if TYPE_CHECKING:
    from lungseg.config.schema import Config


# In the order in which the help lists them. Each is a module beside this one.
COMMANDS = (
    "prepare", "split", "train", "evaluate", "infer", "inspect", "export",
    "config", "phantom", "label", "convert", "models",
)  # fmt: skip

app = typer.Typer(
    name="lungseg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: drawing it with rich would double the time to the first line.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@contextmanager
def shell(quiet: bool, verbose: bool, debug: bool, json: bool = False) -> Iterator[None]:
    """Print messages while a command runs; turn errors into one paragraph and an exit code.

    With `json`, an error is also the JSON document that the command writes: `error` and
    `exit_code`.
    """
    with console.show(quiet, verbose):
        try:
            yield
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as problem:
            if debug and not isinstance(problem, KeyboardInterrupt):
                traceback.print_exc()
            said, code = _explain(problem)
            console.error(said)
            if json:
                console.emit_json({"error": said, "exit_code": int(code)})
            raise typer.Exit(code) from None


def _explain(problem: BaseException) -> tuple[str, ExitCode]:
    """Return what is said about an error, and the exit code."""
    if isinstance(problem, LungsegError):
        return str(problem), problem.exit_code
    if isinstance(problem, KeyboardInterrupt):
        return message(sys.argv[1:]), ExitCode.INTERRUPTED
    if isinstance(problem, OSError):
        # Not a bug: a full disk, a folder without write permission, a file that was removed.
        what = f"{problem.filename or 'the output'}: {problem.strerror or problem}."
        return what, ExitCode.DATA
    return (
        f"this is a bug in lungseg {__version__}: {type(problem).__name__}: {problem}. "
        "Run the command again with --debug and report what it prints.",
        ExitCode.BUG,
    )


def read_config(path: Path | None, settings: list[str] | None, seed: int | None) -> "Config":
    """Read the config of a command: the file, then the overrides in order, then the seed."""
    from lungseg.config.loading import load_config

    overrides = list(settings or [])
    if seed is not None:
        overrides.append(f"seed={seed}")
    return load_config(path, overrides)


def _version(asked: bool) -> None:
    if asked:
        console.emit_text(f"lungseg {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, evaluate and run lung segmentation on chest CT.

    In order: prepare, split, train, evaluate, infer. These read one YAML config.
    Every command has an example in its --help.
    """


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def program(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the program with the command that its arguments begin with, or with all commands.

    A command need not wait until the modules of the others are imported.
    """
    named = [word for word in arguments[:1] if word in COMMANDS]
    for name in named or COMMANDS:
        import_module(f"lungseg.cli.{name}")
    return app


def main() -> None:
    """Run the program."""
    # SIGTERM ends the program as Ctrl-C does: staged output is removed, finished work is kept.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        program(sys.argv[1:])()
    except BrokenPipeError:
        # The program that read our output has ended. Python must not fail again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except SystemExit as end:
        # Click turns Ctrl-C outside of a command, while arguments are read, into this.
        if end.__context__ is not None and isinstance(end.__context__.__cause__, KeyboardInterrupt):
            raise end.__context__.__cause__ from None
        if "tensorflow" in sys.modules:
            # TensorFlow's reading threads may wait for Python's lock while Python waits for these
            # threads to end. After an error in the middle of an epoch the process would hang.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
