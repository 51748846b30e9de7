"""The machine: cores, threads, hardware, and the versions of packages."""

from __future__ import annotations

import os
import platform
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lungseg import __version__
from lungseg.errors import UsageError

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
    """Return the versions of this program, Python and the packages that matter."""
    return {"lungseg": __version__, "python": platform.python_version(), **_versions()}


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        for name in (package, f"{package}-cpu"):
            try:
                versions[package] = version(name)
                break
            except ImportError:  # PackageNotFoundError: the other build is installed
                continue
    return versions


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a package that only an extra of this program installs.

    Args:
        module: name of the package.
        extra: the extra that brings it.
        purpose: what needs it, as the error begins: an option, a key of the config, or a file.

    Raises:
        UsageError: if it is not installed; the message gives the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError:
        raise UsageError(f'{purpose} needs {module}: pip install "lungseg[{extra}]".') from None


def this_command() -> list[str]:
    """Return the command line as it was given."""
    return ["lungseg", *sys.argv[1:]]


Item = TypeVar("Item")


Result = TypeVar("Result")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = 0
) -> Iterator[Result]:
    """Apply `function` to each item in threads and yield the results in the items' order.

    Decoding, resizing and ONNX Runtime release Python's lock, so threads use every core without
    the forks whose deaths hide their cause. At most four items a thread are in flight, so memory
    does not grow with the number of items. The first error is raised; what has not begun is not.
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
    """Yield lists of `size` items, the last one perhaps shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
