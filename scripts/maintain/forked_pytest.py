"""Run pytest in a copy of the tree, in a process that has the slow libraries imported already.

Python's fork server imports TensorFlow and others once; each run is a fork of it, which saves ten
seconds or more per run.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# Libraries that lungseg and its tests import. None of them starts a thread when it is imported,
# so that a fork is safe.
LIBRARIES = (
    "tensorflow",
    "keras",
    "albumentations",
    "SimpleITK",
    "scipy.ndimage",
    "matplotlib.pyplot",
    "onnxruntime",
    "highdicom",
    "hypothesis",
    "jinja2",
    "pytest",
)
OURS = ("lungseg", "scripts", "tests")
KILLED = 124


def run_pytest(copy: Path, arguments: Sequence[str], timeout: float) -> int:
    """Run pytest in a copy of the tree, with that copy's packages.

    Args:
        copy: The root of the copy.
        arguments: Arguments of pytest.
        timeout: The run and its children are killed after this many seconds.

    Returns:
        pytest's exit status, or `KILLED` after the timeout.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LIBRARIES))
    process = context.Process(target=_run, args=(str(copy), ["-p", "no:cacheprovider", *arguments]))
    process.start()
    assert process.pid is not None
    try:
        process.join(timeout)
        return KILLED if process.exitcode is None else process.exitcode
    finally:  # after Ctrl+C, too, the tests and their children must end
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def _run(copy: str, arguments: list[str]) -> None:
    """Run pytest and end this process, which is a fork."""
    os.setsid()
    os.chdir(copy)
    for name in list(sys.modules):
        if name.partition(".")[0] in OURS:
            del sys.modules[name]
    sys.path.insert(0, copy)
    # Python tells a changed file by its size and second, which two changes may share.
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": copy, "PYTHONDONTWRITEBYTECODE": "1"}
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    import pytest

    os._exit(int(pytest.main(arguments)))
