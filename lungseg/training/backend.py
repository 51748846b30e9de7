"""Import TensorFlow and set it up for this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.system import console
from lungseg.system.environment import cores
from lungseg.system.privacy import private_import


@dataclass(frozen=True)
class Execution:
    """One way to run TensorFlow.

    Attributes:
        threads: CPU threads of one operation, and the number of operations that run in parallel.
        onednn: use the CPU kernels of oneDNN.
        jit_compile: compile the training step with XLA.
        mixed_precision: compute in float16 and keep weights, losses and metrics in float32. For
            GPUs only.
        seconds_per_slice: measured training time per slice, None if it was not measured.
    """

    threads: int
    onednn: bool
    jit_compile: bool
    mixed_precision: bool
    seconds_per_slice: float | None = None

    def __str__(self) -> str:
        """Return a short description for messages."""
        switches = [
            ("oneDNN", self.onednn),
            ("XLA", self.jit_compile),
            ("mixed precision", self.mixed_precision),
        ]
        words = [f"{self.threads} threads"]
        words += [f"{name} {'on' if is_on else 'off'}" for name, is_on in switches]
        if self.seconds_per_slice is not None:
            words.append(f"{self.seconds_per_slice:.3g} s per slice")
        return ", ".join(words)


def configured(config: Config) -> Execution:
    """Return the execution that the config asks for. Threads 0 means every core."""
    settings = config.train
    return Execution(
        settings.threads or cores(),
        settings.onednn,
        settings.jit_compile,
        settings.mixed_precision,
    )


def start_tensorflow(execution: Execution) -> Any:
    """Import TensorFlow without its log messages and set it up.

    oneDNN can only be switched before TensorFlow is imported, and the number of threads only
    before its first operation. Later calls change only the precision.

    Args:
        execution: the settings to apply.

    Returns:
        The module `tensorflow`.

    Raises:
        UsageError: if TensorFlow is not installed.
    """
    running = "tensorflow" in sys.modules
    if not running:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = str(int(execution.onednn))
    tensorflow = import_tensorflow()
    import keras

    try:
        # Limit both. If only one is set to 1, two operations may still run in parallel.
        tensorflow.config.threading.set_intra_op_parallelism_threads(execution.threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(execution.threads)
    except RuntimeError:
        console.detail("TensorFlow has already started, so its number of threads does not change")
    policy = "mixed_float16" if execution.mixed_precision else "float32"
    keras.mixed_precision.set_global_policy(policy)
    return tensorflow


def require_tensorflow() -> None:
    """Check that TensorFlow and Keras are installed, which takes no time.

    Raises:
        UsageError: if one is not; the message says how to install them.
    """
    for package, name in (("tensorflow", "TensorFlow"), ("keras", "Keras")):
        try:
            found = package in sys.modules or find_spec(package) is not None
        except ImportError:
            found = False
        if not found:
            raise UsageError(
                f"This needs {name}, which is not installed: only train, inspect and export do. "
                "Install all of lungseg, in its checkout: pip install . (for an NVIDIA GPU see "
                "Install in README.md)."
            )


def import_tensorflow() -> Any:
    """Import TensorFlow without its log messages and leave its settings as they are.

    Returns:
        The module `tensorflow`.

    Raises:
        UsageError: if TensorFlow or Keras is not installed, or cannot be imported.
    """
    require_tensorflow()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console.note("loading TensorFlow ...")
    try:
        with _silenced_stderr(), private_import("keras"):
            import tensorflow
    except ImportError as problem:
        raise UsageError(f"TensorFlow is installed, but cannot be imported: {problem}") from None
    return tensorflow


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Discard what C++ code writes to file descriptor 2.

    At import, TensorFlow writes notes about oneDNN there, whatever its log level is.
    """
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
