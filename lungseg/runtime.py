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
from lungseg.layout import fold_folders
from lungseg.workers import cores

GPU_PROVIDERS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider")


def model_paths(run: Path | None, model: Path | None) -> list[Path]:
    """Return the ONNX files of a run folder, or the one given.

    A folder of folds (`lungseg train --fold all`) has one for each fold; they predict together.

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
        return [model]
    assert run is not None
    if not run.is_dir():
        raise UsageError(f"{run}: there is no such run folder (--run); lungseg train makes one.")
    folders = fold_folders(run) or [run]
    for folder in folders:
        if not (folder / "model.onnx").is_file():
            raise UsageError(
                f"{folder / 'model.onnx'}: the run has no exported model. If its training was "
                "stopped, go on with lungseg train --resume; else write it with lungseg export."
            )
    return [folder / "model.onnx" for folder in folders]


class Predictor:
    """A trained network, or several that predict together, ready to predict.

    Attributes:
        path: the ONNX file, the first of several.
        data: what the network expects of a slice, and the colours of its classes.
        provider: ONNX Runtime's execution provider.
    """

    def __init__(self, paths: Path | Sequence[Path], threads: int = 0, device: str = "cpu") -> None:
        """Load ONNX files and the `model.json` beside each.

        Args:
            paths: one file, or several of one kind: their probabilities are averaged.
            threads: of the CPU; 0 takes every core.
            device: `cpu`, `gpu`, or `auto`, which takes a GPU where there is one.

        Raises:
            UsageError: for `gpu` where ONNX Runtime finds none.
            DataError: where a file is damaged, or they do not belong together.
        """
        files = [paths] if isinstance(paths, Path) else list(paths)
        self.path = files[0]
        self.data = _read_description(self.path.with_name("model.json"))
        for path in files[1:]:
            if _read_description(path.with_name("model.json")) != self.data:
                raise DataError(
                    f"{path}: expects other slices or classes than {self.path}; they cannot "
                    "predict together."
                )
        providers = _providers(device)
        self._sessions = [self._open(path, threads, providers) for path in files]
        self.provider = self._sessions[0].get_providers()[0]

    def __len__(self) -> int:
        """Return the number of networks that predict together."""
        return len(self._sessions)

    def _open(self, path: Path, threads: int, providers: list[str]) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as problem:  # ONNX Runtime's own errors share no public base class
            reason = str(problem).splitlines()[0]
            raise DataError(f"{path}: this is not a usable ONNX model: {reason}") from None
        expected = [*self.data.image_size, self.data.channels]
        found = session.get_inputs()[0].shape
        classes = session.get_outputs()[0].shape[-1:]
        if found[1:] != expected or classes != [len(self.data.rgb_map)]:
            raise DataError(
                f"{path}: takes {found[1:]} and gives {classes} classes, but model.json "
                f"beside it says {expected} and {len(self.data.rgb_map)}: they belong to different "
                "models."
            )
        return session

    def probabilities(self, slices: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Predict class probabilities, the mean over the networks.

        Args:
            slices: prepared slices of the network's size and channels.

        Returns:
            float32 `(B, H, W, C)`.
        """
        batch = np.stack(slices).astype(np.float32)
        if batch.ndim == 3:
            batch = batch[..., None]
        total, *others = (
            np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0])
            for session in self._sessions
        )
        for found in others:
            total += found
        if others:
            total /= np.float32(len(self))
        return total


def _providers(device: str) -> list[str]:
    """Return ONNX Runtime's execution providers for a device, the CPU's always last."""
    found = [p for p in onnxruntime.get_available_providers() if p in GPU_PROVIDERS]
    if device == "gpu" and not found:
        raise UsageError(
            "infer.device is gpu, but this ONNX Runtime has no GPU provider: install "
            "onnxruntime-gpu in place of onnxruntime, or set infer.device=cpu."
        )
    return [*(found if device != "cpu" else []), "CPUExecutionProvider"]


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
