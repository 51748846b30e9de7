"""Where a run comes from: data, versions, hardware, command."""

from __future__ import annotations

import datetime
import hashlib
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lungseg import __version__
from lungseg.config import Config
from lungseg.files import write_csv
from lungseg.slices import PARTS, SPLIT_COLUMNS, Slice
from lungseg.workers import cores

PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "onnxruntime",
    "albumentations",
    "opencv-python-headless",
)


def write_data_list(path: Path, parts: dict[str, list[Slice]]) -> None:
    """List what was trained on, so that `evaluate` can tell a slice it has seen."""
    columns = [c for c in SPLIT_COLUMNS if c not in ("image", "mask")]
    rows = [{"part": part, **vars(s)} for part in PARTS for s in parts.get(part, ())]
    write_csv(path, columns, [{key: row[key] for key in columns} for row in rows])


def describe_run(
    config: Config, parts: dict[str, list[Slice]], command: Sequence[str]
) -> dict[str, Any]:
    """Return how a run began, for `run.json`: versions, seed, hashes of the data, machine."""
    digests = {
        part: hashlib.sha256("".join(sorted(s.sha256 for s in slices)).encode()).hexdigest()
        for part, slices in parts.items()
    }
    return {
        "lungseg": __version__,
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join(command),
        "seed": config.seed,
        "slices": {part: len(slices) for part, slices in parts.items()},
        "data_sha256": digests,
        "versions": describe_software(),
        "hardware": {**describe_hardware(), "devices": _devices()},
    }


def describe_hardware() -> dict[str, Any]:
    """Return architecture, processor and number of cores."""
    return {"machine": platform.machine(), "processor": _processor(), "cores": cores()}


def describe_software() -> dict[str, str]:
    """Return the versions of this program, Python and the packages that matter."""
    return {"lungseg": __version__, "python": platform.python_version(), **_versions()}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        for name in (package, f"{package}-cpu"):
            try:
                found[package] = version(name)
                break
            except ImportError:  # PackageNotFoundError: the other build is installed
                continue
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _devices() -> list[str]:
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices()]


def this_command() -> list[str]:
    """Return the command line as it was given."""
    return ["lungseg", *sys.argv[1:]]
