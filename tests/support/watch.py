"""Run a command and return its exit code, its output and its peak memory.

Example:
    python -m tests.support.watch lungseg infer --run runs/lung ct/ -o masks
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Linux starts a child's peak memory at that of the process it was forked from, so a large parent
# would hide it. Therefore a small process starts the command. It also sets the limits.
_SMALL_PARENT = """
import resource, subprocess, sys
report, file_bytes = sys.argv[1], int(sys.argv[2])
if file_bytes:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
code = subprocess.call(sys.argv[3:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
with open(report, "w") as stream:
    stream.write(str(peak))
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True)
class Watched:
    """How a command ended.

    Attributes:
        code: its exit code; 128 and the signal's number after one.
        said: standard output and standard error together.
        peak_mib: the most memory it held, MiB.
    """

    code: int
    said: str
    peak_mib: float


def watch(
    command: Sequence[str],
    cwd: Path | None = None,
    timeout: float = 600,
    file_bytes: int = 0,
    env: Mapping[str, str] | None = None,
) -> Watched:
    """Run a command to its end.

    Args:
        command: program and arguments.
        cwd: folder to run it in.
        timeout: seconds, after which it is killed with all its children.
        file_bytes: no file may grow beyond this many bytes, as on a full disk; 0 for no limit.
        env: environment variables to add.

    Raises:
        TimeoutError: the command did not end in time; the message names it.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "peak"
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _SMALL_PARENT, str(report), str(file_bytes), *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            text = said.decode(errors="replace")[-2000:]
            raise TimeoutError(f"{command}: no end after {timeout:.0f} s. {text}") from None
        peak = int(report.read_text()) / 1024 if report.exists() else 0.0
    return Watched(process.returncode, said.decode(errors="replace"), peak)


if __name__ == "__main__":
    seen = watch(sys.argv[1:])
    sys.stdout.write(seen.said)
    sys.stderr.write(f"exit code {seen.code}, peak memory {seen.peak_mib:.0f} MiB\n")
    sys.exit(seen.code)
