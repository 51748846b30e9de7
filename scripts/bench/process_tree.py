"""Measure a command with all the processes it starts: time, processor time and memory. Linux only.

`tests.support.watch` returns the largest process's memory. Here the memory of all processes is
added up, because nnU-Net divides its work among several.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Seconds between two looks at the memory.
PAUSE = 0.25


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: of the processor, user and system, all processes together.
        peak_mib: the most memory that its processes held at one time, MiB. Memory that several
            processes share is counted once.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float


def measure(
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 6 * 3600,
) -> Measured:
    """Run a command to its end.

    The memory is looked at four times a second. A peak between two looks is missed, unless one
    process alone has it: Linux itself keeps the peak of each process.

    Args:
        command: program and arguments.
        log: file for its standard output and standard error.
        env: environment variables to add.
        timeout: seconds, after which it is killed with all its processes.

    Raises:
        RuntimeError: if its exit code is not 0 or its time is over; the message has the log's end.
    """
    before = os.times()
    start = time.perf_counter()
    peak = 0
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        while process.poll() is None:
            peak = max(peak, held_bytes(process.pid))
            if time.perf_counter() - start > timeout:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(PAUSE)
    seconds = time.perf_counter() - start
    after = os.times()
    if process.returncode:
        end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}. {end}")
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return Measured(seconds, used, peak / 2**20)


def held_bytes(root: int) -> int:
    """Return the memory that a process and its descendants hold, or the peak of the largest one.

    The greater of the two is returned. Processes that end meanwhile are left out.
    """
    tree = descendants(root)
    now = sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in tree)
    largest = max((_kib(f"/proc/{pid}/status", "VmHWM:") for pid in tree), default=0)
    return 1024 * max(now, largest)


def descendants(root: int) -> list[int]:
    """Return the numbers of a process and of all processes below it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended
                continue
            # The name, in parentheses, may hold spaces. The state and the parent follow it.
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    tree, new = [root], [root]
    while new:
        new = [child for pid in new for child in children.get(pid, [])]
        tree += new
    return tree


def _kib(path: str, key: str) -> int:
    """Return the value of a line such as `VmHWM:  1234 kB`; 0 if there is none."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # the process has ended
        return 0
    _, found, rest = text.partition(key)
    return int(rest.split()[0]) if found else 0
