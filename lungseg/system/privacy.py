"""Import packages that otherwise ask a server or write below the home folder.

- ONNX Runtime sends telemetry to its maker and writes a device number to a cache.
- albumentations looks for a newer version on the internet.
- Keras writes `~/.keras/keras.json`, and reads settings from it that change a network.
- Matplotlib writes a list of the fonts to a cache.
- MLflow sends telemetry to its maker.

Each has an environment variable against it that counts at the time of the import only.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

Package = Literal["albumentations", "keras", "matplotlib", "mlflow", "onnxruntime"]

_environment = threading.RLock()


@contextmanager
def private_import(package: Package) -> Iterator[None]:
    """Import a package in this block so that it asks no server and leaves nothing behind.

    All variables are set, because a package may import another: Keras imports Matplotlib. They are
    set for the block only, because the environment is the host program's.
    """
    if package in sys.modules:
        yield
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        private = {
            "ORT_DISABLE_TELEMETRY": "1",
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "KERAS_HOME": os.devnull,  # a folder in which no file can be made or read
            "MPLCONFIGDIR": folder,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with environment(private):
            yield


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables in this block, and put back what they were."""
    with _environment:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
