"""How TensorFlow runs: threads, oneDNN, XLA, mixed precision; chosen here and nowhere else.

oneDNN has to be switched before TensorFlow is imported, so this module is what imports it first.
What is fastest differs from network to network and from machine to machine (oneDNN trains the 9 x 9
kernels of the original several times faster, XLA less; on one machine oneDNN took minutes to
predict with them), so with `train.tune: auto` each combination is measured, in a process of its
own, and the result is kept for the next run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungseg import console
from lungseg.config import Config
from lungseg.configfile import check_config
from lungseg.errors import UsageError
from lungseg.files import write_json
from lungseg.provenance import describe_hardware, describe_software
from lungseg.workers import cores

# Trainings of fewer slices than this are over before a calibration pays.
LONG_RUN_SLICES = 2000
CALIBRATION_LIMIT_S = 180.0


@dataclass(frozen=True)
class Execution:
    """One way to run TensorFlow.

    Attributes:
        threads: on the CPU, of one operation, and operations side by side.
        onednn: use oneDNN's kernels, on the CPU.
        jit_compile: compile the training step with XLA.
        mixed_precision: compute in float16, keep weights, losses and metrics in float32; GPU only.
        seconds_per_slice: of training, where measured.
    """

    threads: int
    onednn: bool
    jit_compile: bool
    mixed_precision: bool
    seconds_per_slice: float | None = None

    def __str__(self) -> str:
        """Say it in a few words."""
        switches = [
            ("oneDNN", self.onednn),
            ("XLA", self.jit_compile),
            ("mixed precision", self.mixed_precision),
        ]
        words = [f"{self.threads} threads", *(f"{n} {'on' if v else 'off'}" for n, v in switches)]
        if self.seconds_per_slice is not None:
            words.append(f"{self.seconds_per_slice:.3g} s a slice")
        return ", ".join(words)


def configured(config: Config) -> Execution:
    """Return what the config asks for."""
    settings = config.train
    return Execution(
        settings.threads or cores(),
        settings.onednn,
        settings.jit_compile,
        settings.mixed_precision,
    )


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
            [sys.executable, "-m", "lungseg.execution"],
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


def start_tensorflow(execution: Execution) -> Any:
    """Import TensorFlow, quietly, set up to run in one way.

    Raises:
        UsageError: where it is not installed.
    """
    running = "tensorflow" in sys.modules
    if not running:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(execution.onednn))
    tensorflow = import_tensorflow()
    import keras

    try:
        # Both: else two operations, of one thread each, run side by side.
        tensorflow.config.threading.set_intra_op_parallelism_threads(execution.threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(execution.threads)
    except RuntimeError:
        console.detail("TensorFlow is running already; its threads stay as they are")
    policy = "mixed_float16" if execution.mixed_precision else "float32"
    keras.mixed_precision.set_global_policy(policy)
    return tensorflow


def import_tensorflow() -> Any:
    """Import TensorFlow, quietly, as it is set up by the environment.

    Raises:
        UsageError: where it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console.note("loading TensorFlow ...")
    try:
        with _silenced_stderr():
            import tensorflow
    except ImportError:
        raise UsageError(
            "This needs TensorFlow, which is not installed: pip install tensorflow-cpu, "
            'or for an NVIDIA GPU pip install "lungseg[gpu]".'
        ) from None
    return tensorflow


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Drop what C++ code writes to file descriptor 2.

    TensorFlow logs notes on oneDNN there as it is imported, whatever its log level is set to.
    """
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


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
    from lungseg.fitting import compile_model

    model = compile_model(config, 1, execution)
    sys.stdout.write(f"{seconds_per_slice(model, config)}\n")


if __name__ == "__main__":
    _measure_here()
