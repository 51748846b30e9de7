"""Prediction with ONNX Runtime; TensorFlow is never imported here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from lungseg.config import DataConfig
from lungseg.errors import DataError, UsageError
from lungseg.files import read_json
from lungseg.workers import cores


def model_path(run: Path | None, model: Path | None) -> Path:
    """Return the ONNX file of a run folder, or the one given.

    Raises:
        UsageError: where neither or both are given, or the path does not exist.
    """
    if (run is None) == (model is None):
        raise UsageError(
            "Give the trained model by --run RUN or by --model FILE.onnx, one of them."
        )
    if model is not None:
        if not model.is_file():
            raise UsageError(f"{model}: there is no such model file (--model).")
        return model
    assert run is not None
    if not run.is_dir():
        raise UsageError(f"{run}: there is no such run folder (--run); lungseg train makes one.")
    path = run / "model.onnx"
    if not path.is_file():
        raise UsageError(
            f"{path}: the run has no exported model. If its training was stopped, go on with "
            "lungseg train --resume; else write it with lungseg export."
        )
    return path


class Predictor:
    """A trained network, ready to predict.

    Attributes:
        path: the ONNX file.
        data: what the network expects of a slice, and the colours of its classes.
        provider: ONNX Runtime's execution provider.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Load an ONNX file and the `model.json` beside it.

        Raises:
            DataError: where either is damaged, or they do not belong together.
        """
        self.path = path
        self.data = _read_description(path.with_name("model.json"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as problem:  # ONNX Runtime's own errors share no public base class
            reason = str(problem).splitlines()[0]
            raise DataError(f"{path}: this is not a usable ONNX model: {reason}") from None
        self.provider = self._session.get_providers()[0]
        self._input = self._session.get_inputs()[0].name
        self._check_shapes()

    def _check_shapes(self) -> None:
        expected = [*self.data.image_size, self.data.channels]
        found = self._session.get_inputs()[0].shape
        classes = self._session.get_outputs()[0].shape[-1:]
        if found[1:] != expected or classes != [len(self.data.rgb_map)]:
            raise DataError(
                f"{self.path}: takes {found[1:]} and gives {classes} classes, but model.json "
                f"beside it says {expected} and {len(self.data.rgb_map)}: they belong to different "
                "models."
            )

    def probabilities(self, slices: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Predict class probabilities.

        Args:
            slices: prepared slices of the network's size and channels.

        Returns:
            float32 `(B, H, W, C)`.
        """
        batch = np.stack(slices).astype(np.float32)
        if batch.ndim == 3:
            batch = batch[..., None]
        return np.asarray(self._session.run(None, {self._input: batch})[0])


def to_labels(probabilities: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Turn probabilities `(H, W, C)` into class indices at `size` (height, width).

    Probabilities are interpolated, then the most probable class is taken: edges come out smoother
    than from enlarged labels, and no value appears that is no class.
    """
    height, width = size
    if probabilities.shape[:2] != size:
        shrinks = height < probabilities.shape[0]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        layers = [
            cv2.resize(
                np.ascontiguousarray(probabilities[..., c]), (width, height), interpolation=method
            )
            for c in range(probabilities.shape[-1])
        ]
        probabilities = np.stack(layers, axis=-1)
    return np.asarray(probabilities.argmax(axis=-1), dtype=np.uint8)


def _read_description(path: Path) -> DataConfig:
    if not path.exists():
        raise DataError(f"{path}: expected beside the ONNX file; lungseg train writes both.")
    document: Any = read_json(path)
    try:
        given = document["input"]
        return DataConfig(
            image_size=given["size"],
            channels=given["channels"],
            window=given["window"],
            unsigned_16bit=given["unsigned_16bit"],
            rgb_map=document["rgb_map"],
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise DataError(f"{path}: is not what lungseg train writes: {problem!r}.") from None
