"""TensorFlow set up for this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.system import console
from lungseg.system.environment import cores


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
