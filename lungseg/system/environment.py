"""The machine: cores, threads, hardware, and versions of packages."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lungseg import __version__
from lungseg.errors import UsageError

# The packages whose versions a run records.
PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "onnxruntime",
    "albumentations",
    "opencv-python-headless",
)


def describe_hardware() -> dict[str, Any]:
    """Return architecture, processor and number of cores."""
    return {"machine": platform.machine(), "processor": _processor(), "cores": cores()}


def describe_software() -> dict[str, str]:
    """Return the versions of lungseg, Python and `PACKAGES`."""
    return {"lungseg": __version__, "python": platform.python_version(), **_versions()}


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        for name in (package, f"{package}-cpu"):
            try:
                versions[package] = version(name)
                break
            except ImportError:  # PackageNotFoundError: this build is not installed
                continue
    return versions


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a package that only an extra of this program installs.

    Args:
        module: name of the package.
        extra: the extra that installs it.
        purpose: the option, config key or file that needs it; the error begins with this text.

    Raises:
        UsageError: if it is not installed; the message gives the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError:
        raise _not_installed(module, extra, purpose) from None


def check_installed(module: str, extra: str, purpose: str) -> None:
    """Check, as `require` does, that a package is there, without the time to import it."""
    if find_spec(module) is None:
        raise _not_installed(module, extra, purpose)


def _not_installed(module: str, extra: str, purpose: str) -> UsageError:
    return UsageError(f'{purpose} needs {module}: pip install "lungseg[{extra}]".')


def this_command() -> list[str]:
    """Return the command line that the user typed."""
    return ["lungseg", *sys.argv[1:]]


Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = 0
) -> Iterator[Result]:
    """Apply `function` to each item in threads and yield the results in the order of the items.

    Decoding, resizing and ONNX Runtime release Python's lock, so threads can use every core. They
    are used instead of processes, because a forked process that dies does not report why. At most
    four items per thread are in progress, so memory does not grow with the number of items. If an
    item fails, its error is raised and items that have not begun are left out.

    Args:
        function: called with one item; must be safe to call from several threads.
        items: read as they are needed.
        threads: number of threads. 0 means every core.
    """
    threads = threads or cores()
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items. The last list may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
