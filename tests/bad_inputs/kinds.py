"""What a kind of bad input is, and the decorators that make one of a function.

The function writes the input. Its docstring describes the input. Its decorator gives the command
that reads the input, the exit code that is expected, and the text that the messages must contain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.phantoms import SIDE

MODEL = "../run/model.onnx"
DONE, USAGE, DATA, SOME_FAILED = 0, 2, 3, 4
Make = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """A kind of bad input.

    Attributes:
        name: name of its folder.
        what: one sentence, shown in docs/robustness.md.
        command: arguments of lungseg, run in the folder; output goes to `out` there.
        exit_code: exit code that is expected.
        says: text that the messages must contain, for a failure the name of the file.
        make: function that writes the input to a folder.
    """

    name: str
    what: str
    command: tuple[str, ...]
    exit_code: int
    says: str
    make: Make


def kind(*command: str, exit_code: int, says: str = "") -> Callable[[Make], Kind]:
    """Return a decorator that makes a kind of a function."""

    def of(make: Make) -> Kind:
        what = str(make.__doc__).strip().splitlines()[0]
        name = str(getattr(make, "__name__", ""))
        return Kind(name, what, command, exit_code, says, make)

    return of


def infer(path: str, exit_code: int = DATA, says: str | None = None) -> Callable[[Make], Kind]:
    """Return a decorator for a kind met by `lungseg infer`."""
    command = ("infer", "--model", MODEL, "-o", "out", "--", path)
    expected = path if says is None and exit_code else says or ""
    return kind(*command, exit_code=exit_code, says=expected)


def prepare(exit_code: int = SOME_FAILED, says: str = "bad") -> Callable[[Make], Kind]:
    """Return a decorator for a kind met by `lungseg prepare` in images/ and masks/."""
    size = f"data.image_size=[{SIDE}, {SIDE}]"
    command = ("prepare", "--images", "images", "--masks", "masks", "-o", "out", "-s", size)
    return kind(*command, exit_code=exit_code, says=says)


def config(says: str = "bad.yaml", exit_code: int = USAGE) -> Callable[[Make], Kind]:
    """Return a decorator for a kind met by every command that reads a config."""
    command = ("split", "-c", "bad.yaml", "--input", "none", "-o", "out")
    return kind(*command, exit_code=exit_code, says=says)


def model(says: str = "model.onnx", exit_code: int = DATA) -> Callable[[Make], Kind]:
    """Return a decorator for a bad ONNX file; model.json beside it is that of a good one."""
    command = ("infer", "--model", "model.onnx", "good.png", "-o", "out")
    return kind(*command, exit_code=exit_code, says=says)


def split(says: str = "manifest.csv", exit_code: int = DATA) -> Callable[[Make], Kind]:
    """Return a decorator for a kind met by `lungseg split` in prepared/."""
    return kind("split", "--input", "prepared", "-o", "out", exit_code=exit_code, says=says)


def score(exit_code: int, says: str) -> Callable[[Make], Kind]:
    """Return a decorator for a kind met by `lungseg evaluate --pred --truth`."""
    command = ("evaluate", "--pred", "pred", "--truth", "truth", "-o", "out")
    return kind(*command, exit_code=exit_code, says=says)
