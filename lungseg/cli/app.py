"""The command line: the program's entry, its errors and exit codes."""

# No `from __future__ import annotations`: Typer reads the annotations at run time.
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungseg import __version__
from lungseg.errors import ExitCode, LungsegError
from lungseg.system import console

if TYPE_CHECKING:
    from lungseg.config.schema import Config


app = typer.Typer(
    name="lungseg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: drawing it with rich would double the time to the first line.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@contextmanager
def shell(quiet: bool, verbose: bool, debug: bool) -> Iterator[None]:
    """Print messages while a command runs; turn errors into one paragraph and an exit code."""
    with console.show(quiet, verbose), _exit_code(debug):
        yield


@contextmanager
def _exit_code(debug: bool) -> Iterator[None]:
    try:
        yield
    except LungsegError as problem:
        if debug:
            traceback.print_exc()
        console.error(str(problem))
        raise typer.Exit(problem.exit_code) from None
    except KeyboardInterrupt:
        console.error(
            "interrupted. Every file already written is complete. This command goes on:\n"
            f"  {command_that_goes_on(sys.argv[1:])}"
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except OSError as problem:
        # Not a bug: a full disk, a folder without write permission, a file that was removed.
        if debug:
            traceback.print_exc()
        console.error(f"{problem.filename or 'the output'}: {problem.strerror or problem}.")
        raise typer.Exit(ExitCode.DATA) from None
    except Exception as problem:
        if debug:
            traceback.print_exc()
        console.error(
            f"this is a bug in lungseg {__version__}: {type(problem).__name__}: {problem}. "
            "Run the command again with --debug and report what it prints."
        )
        raise typer.Exit(ExitCode.BUG) from None


def command_that_goes_on(arguments: list[str]) -> str:
    """Return the command that goes on where a command with these arguments was interrupted.

    `train` and `infer` go on with what is written. The other commands have written nothing yet.
    """
    if arguments[:1] in (["train"], ["infer"]):
        arguments = [each for each in arguments if each not in ("--overwrite", "--resume")]
        arguments.append("--resume")
    return shlex.join(["lungseg", *arguments])


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


def main() -> None:
    """Run the program."""
    # SIGTERM ends the program as Ctrl-C does: staged output is removed, finished work is kept.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except BrokenPipeError:
        # The program that read our output has ended. Python must not fail again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except SystemExit as end:
        if "tensorflow" in sys.modules:
            # TensorFlow's reading threads may wait for Python's lock while Python waits for these
            # threads to end. After an error in the middle of an epoch the process would hang.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
