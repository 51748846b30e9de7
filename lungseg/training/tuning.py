"""The fastest way to run TensorFlow here, measured and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.system import console
from lungseg.system.environment import describe_hardware, describe_software
from lungseg.system.tables import write_json
from lungseg.training.backend import Execution, configured, start_tensorflow

# Trainings of fewer slices than this are over before a calibration pays.
LONG_RUN_SLICES = 2000


CALIBRATION_LIMIT_S = 180.0


def choose(config: Config, slices_to_see: int) -> Execution:
    """Return how to run a training: as configured, or the fastest way with `train.tune: auto`.

    Args:
        config: the whole config.
        slices_to_see: slices the training will take in all; a short one is not calibrated.
    """
    chosen = configured(config)
    if config.train.tune == "none":
        return chosen
    key = _key(config)
    known = _read_cache().get(key)
    if known is not None:
        console.note(f"tuned before on this machine: {Execution(**known)}")
        return Execution(**known)
    if slices_to_see < LONG_RUN_SLICES:
        console.note(f"train.tune: {slices_to_see} slices are too few to calibrate for; as set")
        return chosen
    tried = calibrate(config)
    if not tried:
        console.warn("no setting could be measured; training goes on as configured")
        return chosen
    best = min(tried, key=lambda execution: execution.seconds_per_slice or np.inf)
    for execution in tried:
        console.note(f"tune: {execution}{'  chosen' if execution is best else ''}")
    _write_cache(key, best)
    return best


def calibrate(config: Config) -> list[Execution]:
    """Measure a few training steps in each way that makes sense here, each in its own process."""
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
    found = []
    for candidate in console.track(candidates, len(candidates), "calibrate"):
        seconds = _measure_apart(config, candidate)
        if seconds is not None:
            found.append(Execution(**{**asdict(candidate), "seconds_per_slice": seconds}))
    return found


def _measure_apart(config: Config, execution: Execution) -> float | None:
    """Measure in a process of its own, as oneDNN and XLA cannot be changed in a running one."""
    job = {"config": config.model_dump(mode="json"), "execution": asdict(execution)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lungseg.training.tuning"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=CALIBRATION_LIMIT_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        console.note(f"tune: {execution}: not done in {CALIBRATION_LIMIT_S:.0f} s, left out")
        return None
    except subprocess.CalledProcessError as problem:
        reason = (problem.stderr or "").strip().splitlines()[-1:] or ["no reason given"]
        console.detail(f"tune: {execution}: failed: {reason[0]}")
        return None
    return float(done.stdout.split()[-1])


def seconds_per_slice(model: Any, config: Config, steps: int = 3) -> float:
    """Train a compiled model on noise for some steps and return the time of the fastest."""
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
    # A look at the driver: asking TensorFlow would import it before oneDNN is chosen.
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))


def _key(config: Config) -> str:
    """Name what the speed depends on: machine, versions, network, slice, batch, loss."""
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
        console.detail(f"{_cache()}: the calibration could not be kept: {problem}")


def _measure_here() -> None:
    """Read a job from standard input and print the seconds a slice takes."""
    job = json.load(sys.stdin)
    execution = Execution(**job["execution"])
    config = check_config(job["config"], "calibration")
    start_tensorflow(execution)
    from lungseg.training.compiling import compile_model

    model = compile_model(config, 1, execution)
    sys.stdout.write(f"{seconds_per_slice(model, config)}\n")


if __name__ == "__main__":
    _measure_here()
