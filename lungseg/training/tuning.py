"""Measure the fastest way to run TensorFlow on this machine, and remember it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.system import console
from lungseg.system.environment import describe_hardware, describe_software
from lungseg.system.tables import write_json
from lungseg.training.backend import Execution, configured, start_tensorflow

# A calibration takes longer than it saves if the training takes fewer slices than this.
MIN_SLICES_TO_CALIBRATE = 2000

# Time limit per candidate, in seconds.
MAX_CALIBRATION_S = 180.0


def choose(config: Config, slices_to_see: int) -> Execution:
    """Return how to run a training: as configured or, with `train.tune: auto`, the fastest way.

    Args:
        config: the whole config.
        slices_to_see: the number of slices of all epochs. A short training is not calibrated.
    """
    as_configured = configured(config)
    if config.train.tune == "none":
        return as_configured
    key = _key(config)
    remembered = _read_cache().get(key)
    if remembered is not None:
        console.note(f"tuned before on this machine: {Execution(**remembered)}")
        return Execution(**remembered)
    if slices_to_see < MIN_SLICES_TO_CALIBRATE:
        console.note(
            f"train.tune: a training of {slices_to_see} slices is too short to calibrate; "
            "it runs as configured"
        )
        return as_configured
    measured = calibrate(config)
    if not measured:
        console.warn("no setting could be measured; the training uses the configured settings")
        return as_configured
    best = min(measured, key=lambda execution: execution.seconds_per_slice or np.inf)
    for execution in measured:
        console.note(f"tune: {execution}{'  chosen' if execution is best else ''}")
    _write_cache(key, best)
    return best


def calibrate(config: Config) -> list[Execution]:
    """Measure a few training steps with each sensible setting, each in a separate process.

    With a GPU the settings differ in XLA and mixed precision, without one in oneDNN and XLA.

    Returns:
        The settings that could be measured, with their seconds per slice.
    """
    base = configured(config)
    candidates = [
        Execution(base.threads, onednn, xla, base.mixed_precision)
        for onednn in (True, False)
        for xla in (False, True)
    ]
    if _has_gpu():
        candidates = [
            Execution(base.threads, base.onednn, xla, mixed)
            for xla in (False, True)
            for mixed in (False, True)
        ]
    measured = []
    for candidate in console.track(candidates, len(candidates), "calibrate"):
        seconds = _measure_in_process(config, candidate)
        if seconds is not None:
            measured.append(replace(candidate, seconds_per_slice=seconds))
    return measured


def _measure_in_process(config: Config, execution: Execution) -> float | None:
    """Measure in a new process, because oneDNN and XLA cannot be changed in a running one.

    Returns:
        Seconds per slice, or None if the process failed or took too long.
    """
    job = {"config": config.model_dump(mode="json"), "execution": asdict(execution)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lungseg.training.tuning"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=MAX_CALIBRATION_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        console.note(f"tune: {execution}: took more than {MAX_CALIBRATION_S:.0f} s, left out")
        return None
    except subprocess.CalledProcessError as problem:
        reason = (problem.stderr or "").strip().splitlines()[-1:] or ["no reason given"]
        console.detail(f"tune: {execution}: failed: {reason[0]}")
        return None
    return float(done.stdout.split()[-1])


def seconds_per_slice(model: Any, config: Config, steps: int = 3) -> float:
    """Train a compiled model on noise and return the time of the fastest step.

    Args:
        model: a compiled `keras.Model`. Its weights change.
        config: the whole config.
        steps: number of measured steps, after one that is not measured.

    Returns:
        Seconds per slice.
    """
    rng = np.random.default_rng(0)
    size = (config.train.batch_size, *config.data.image_size)
    images = rng.uniform(0, 255, (*size, config.data.channels)).astype(np.float32)
    labels = rng.integers(0, config.num_classes, size).astype(np.uint8)
    model.train_on_batch(images, labels)
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / config.train.batch_size


def _has_gpu() -> bool:
    # Look for the driver. To ask TensorFlow would import it before oneDNN is switched.
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))


def _key(config: Config) -> str:
    """Return a hash of what the speed depends on: machine, versions, network, slice, batch."""
    settings = config.train
    facts = {
        "hardware": describe_hardware(),
        "software": describe_software(),
        "model": config.model.model_dump(mode="json"),
        "slice": [*config.data.image_size, config.data.channels],
        "train": [settings.batch_size, settings.loss, settings.threads, settings.deterministic],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "lungseg" / "tune.json"


def _read_cache() -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(_cache().read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write_cache(key: str, execution: Execution) -> None:
    try:
        _cache().parent.mkdir(parents=True, exist_ok=True)
        write_json(_cache(), {**_read_cache(), key: asdict(execution)})
    except OSError as problem:
        console.detail(f"{_cache()}: the calibration could not be saved: {problem}")


def _measure_job() -> None:
    """Read a job from standard input and print its seconds per slice."""
    job = json.load(sys.stdin)
    execution = Execution(**job["execution"])
    config = check_config(job["config"], "calibration")
    start_tensorflow(execution)
    from lungseg.training.compiling import compile_model

    model = compile_model(config, 1, execution)
    sys.stdout.write(f"{seconds_per_slice(model, config)}\n")


if __name__ == "__main__":
    _measure_job()
