"""A trained network on ONNX Runtime, and what is made of its class probabilities."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import mirrored, one_sided
from lungseg.config.schema import DataConfig, InferConfig
from lungseg.dataset.reading import fold_folders
from lungseg.errors import DataError, UsageError
from lungseg.imaging.pixels import resize_image, to_batch
from lungseg.inference.certainty import Usual
from lungseg.inference.network_file import Ends, cut_ends
from lungseg.inference.origins import sha256_of_models
from lungseg.inference.tiling import OVERLAP, gaussian_weights, tiles
from lungseg.system.environment import cores
from lungseg.system.privacy import private_import
from lungseg.system.tables import read_json

with private_import("onnxruntime"):
    import onnxruntime

CPU = "CPUExecutionProvider"
GPU_PROVIDERS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider")


def model_paths(run: Path | None, model: Path | None) -> list[Path]:
    """Return the ONNX files of a run folder, or the one given.

    A folder of folds (`lungseg train --fold all`) holds one network per fold. They predict
    together.

    Raises:
        UsageError: if both are given, or a path does not exist.
    """
    if run is not None and model is not None:
        raise UsageError(
            "Give the trained model: either a run folder (run) or an ONNX file (model)."
        )
    if model is not None:
        if not model.is_file():
            raise UsageError(f"{model}: there is no such model file.")
        return [model]
    assert run is not None
    if not run.is_dir():
        raise UsageError(f"{run}: there is no such run folder. lungseg train makes one.")
    folders = fold_folders(run) or [run]
    for folder in folders:
        if not (folder / "model.onnx").is_file():
            raise UsageError(
                f"{folder / 'model.onnx'}: the run has no exported model. If its training was "
                f"stopped, continue it: {_command('train', '--resume', '--run', folder)}. If it "
                f"ended, write the model: {_command('export', '--run', folder)}"
            )
    return [folder / "model.onnx" for folder in folders]


def _command(*words: object) -> str:
    return shlex.join(["lungseg", *map(str, words)])


@dataclass(frozen=True)
class _Network:
    """An ONNX file in ONNX Runtime, and the ends of it that are computed here."""

    path: Path
    session: Any
    ends: Ends

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the class probabilities `(B, H, W, C)` of a batch, which stays as it is."""
        scaled = self.ends.begin(batch)
        scores = self.session.run(None, {self.session.get_inputs()[0].name: scaled})[0]
        found = self.ends.finish(np.asarray(scores, dtype=np.float32))
        if found.shape[:-1] != batch.shape[:-1]:
            raise DataError(
                self.path,
                f"takes slices as {batch.shape[:-1]} and gives classes as {found.shape[:-1]}: "
                "a network must give each pixel of each slice its classes.",
            )
        return found


class Predictor:
    """A trained network, or several that predict together, ready to predict.

    Attributes:
        path: the ONNX file, the first of several.
        data: size, window and channels of the slices it takes, and the colours of its classes.
        provider: ONNX Runtime's execution provider.
        workers: number of threads in which slices are best predicted at the same time.
        one_sided: names of classes without a class for the other side. Slices must not be
            mirrored if there are any.
    """

    def __init__(
        self,
        paths: Path | Sequence[Path],
        threads: int = 0,
        device: str = "cpu",
        flips: bool = False,
    ) -> None:
        """Load ONNX files and the `model.json` beside each.

        Args:
            paths: one file, or several with the same input and classes, whose probabilities are
                averaged.
            threads: number of CPU threads; 0 uses every core.
            device: `cpu`, `gpu`, or `auto`, which uses a GPU if there is one.
            flips: average each prediction with that of the mirrored slice. This takes twice the
                time.

        Raises:
            UsageError: if `device` is `gpu` and ONNX Runtime has no GPU provider, or if `flips` is
                set and a class has no class for the other side.
            DataError: if a file is damaged, or the networks do not belong together.
        """
        files = [paths] if isinstance(paths, Path) else list(paths)
        self.path = files[0]
        self._files = files
        self._flips = flips
        self.data = _read_description(self.path.with_name("model.json"))
        self.one_sided = one_sided(list(self.data.rgb_map))
        if flips and self.one_sided:
            raise UsageError(
                f"{self.path}: flips mirror a slice, but there is no class for the other side of "
                f"{', '.join(self.one_sided)}. Set infer.flips to false."
            )
        for path in files[1:]:
            if _read_description(path.with_name("model.json")) != self.data:
                raise DataError(
                    path,
                    f"expects other slices or classes than {self.path}; they cannot "
                    "predict together.",
                )
        providers = _providers(device)
        self._networks = [self._open(path, threads or cores(), providers) for path in files]
        self.provider = self._networks[0].session.get_providers()[0]
        self.workers = (threads or cores()) if self.provider == CPU else 1

    @cached_property
    def name(self) -> str:
        """Name of the network for results: `shipped`, or that of the run folder or ONNX file.

        A path would tell about the machine, so it is the name alone.
        """
        if self.path.name != "model.onnx":
            return self.path.name
        folder = self.path.resolve().parent
        return folder.parent.name if len(self) > 1 else folder.name

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the files of all networks."""
        return sha256_of_models(self._files)

    @cached_property
    def usual_certainty(self) -> Usual | None:
        """What certainty is usual for the network; None if the model does not say.

        Networks that predict together are as certain as the least certain one, or less.
        """
        found = [_read_usual(path.with_name("model.json")) for path in self._files]
        known = [usual for usual in found if usual is not None]
        if len(known) < len(found):
            return None
        together, one = (min(getattr(u, name) for u in known) for name in ("together", "slice"))
        return Usual(together, one, sum(u.slices for u in known))

    def __len__(self) -> int:
        """Return the number of networks that predict together."""
        return len(self._networks)

    def _open(self, path: Path, threads: int, providers: list[str]) -> _Network:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A thread that waits for work must not take the core from the other slices.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        expected = [*self.data.image_size, self.data.channels]
        if cut := cut_ends(path):
            content, ends = cut
            with contextlib.suppress(Exception):  # such as weights in a file of their own
                session = onnxruntime.InferenceSession(content, options, providers=providers)
                scores = session.get_outputs()[0].shape
                classes = scores[1] if ends.channels_first else scores[-1]
                given = session.get_inputs()[0].shape
                any_number = not isinstance(given[0], int)
                if any_number and (given[1:], classes) == (expected, len(self.data.rgb_map)):
                    return _Network(path, session, ends)
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as problem:  # ONNX Runtime's own errors share no public base class
            reason = str(problem).splitlines()[0]
            raise DataError(path, f"this is not a usable ONNX model: {reason}") from None
        given = session.get_inputs()[0].shape
        if given and isinstance(given[0], int):
            raise DataError(
                path,
                f"takes exactly {given[0]} slices at a time. Export it with a first axis of any "
                "length.",
            )
        classes = session.get_outputs()[0].shape[-1:]
        if given[1:] != expected or classes != [len(self.data.rgb_map)]:
            raise DataError(
                path,
                f"takes {given[1:]} and gives {classes} classes, but model.json "
                f"beside it says {expected} and {len(self.data.rgb_map)}: they belong to different "
                "models.",
            )
        return _Network(path, session, Ends())

    def probabilities(self, slices: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Predict class probabilities: the mean over the networks, and over the mirrored slice.

        Args:
            slices: prepared slices of the network's size and channels, uint8.

        Returns:
            float32 `(B, H, W, C)`.
        """
        batch = to_batch(slices)
        probabilities = self._run(batch)
        if self._flips:
            flipped = self.turned_back(self._run(batch[:, :, ::-1]))
            return np.asarray((probabilities + flipped) / 2, dtype=np.float32)
        return probabilities

    def turned_back(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn the prediction `(B, H, W, C)` of mirrored slices into one of the slices.

        What is the left lung in a slice is the right one in its mirror image.
        """
        return np.asarray(probabilities[:, :, ::-1, mirrored(list(self.data.rgb_map))])

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict a batch `(B, H, W, C)`: the mean over the networks."""
        batch = np.ascontiguousarray(batch)
        total, *others = (network.run(batch) for network in self._networks)
        for other in others:
            total += other
        return np.asarray(total / len(self), dtype=np.float32) if others else total

    def tiled(
        self,
        image: NDArray[np.uint8],
        tile: tuple[int, int] | None = None,
        overlap: float = OVERLAP,
    ) -> NDArray[np.float32]:
        """Predict a large image tile by tile, without shrinking it as a whole.

        Near its edge a tile's prediction is worse, because the network does not see beyond.
        Gaussian weights (sigma an eighth of a side, as in nnU-Net: Isensee et al., 2021) blend the
        tiles so that no seam shows. One tile is predicted at a time, so memory grows by the result
        alone.

        Args:
            image: uint8 `(H, W)` or `(H, W, 3)`, both sides at least those of a tile.
            tile: height and width of a tile in pixels; None for the network's. Tiles of another
                size are resized for the network, and their probabilities back.
            overlap: tiles overlap by at least this share of their side, 0 to below 1.

        Returns:
            float32 `(H, W, C)`.
        """
        size = tile or self.data.image_size
        weight = gaussian_weights(size)[..., None]
        total = np.zeros((*image.shape[:2], len(self.data.rgb_map)), dtype=np.float32)
        weights = np.zeros((*image.shape[:2], 1), dtype=np.float32)
        for rows, columns in tiles((image.shape[0], image.shape[1]), size, overlap):
            part = np.ascontiguousarray(image[rows, columns])
            found = self.probabilities([resize_image(part, self.data.image_size)])[0]
            total[rows, columns] += weight * at_size(found, size)
            weights[rows, columns] += weight
        total /= weights
        return total


def _providers(device: str) -> list[str]:
    """Return ONNX Runtime's execution providers for a device; the CPU's is always the last."""
    gpu = [name for name in onnxruntime.get_available_providers() if name in GPU_PROVIDERS]
    if device == "gpu" and not gpu:
        raise UsageError(
            "infer.device is gpu, but this ONNX Runtime has no GPU provider: install "
            "onnxruntime-gpu in place of onnxruntime, or set infer.device=cpu."
        )
    return [*(gpu if device != "cpu" else []), CPU]


def at_size(probabilities: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate probabilities `(H, W, C)` to `size` (height, width).

    Labels are taken afterwards, as the most probable class. Edges are then smoother than those of
    enlarged labels, and every pixel still holds the index of a class.
    """
    if probabilities.shape[:2] == size:
        return probabilities
    classes = range(probabilities.shape[-1])
    layers = [resize_image(np.ascontiguousarray(probabilities[..., c]), size) for c in classes]
    return np.stack(layers, axis=-1)


def foreground_map(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the probability of any class but background as uint8, 255 for certain."""
    return np.asarray(np.rint((1 - probabilities[..., 0]) * 255), dtype=np.uint8)


def _read_description(path: Path) -> DataConfig:
    if not path.exists():
        raise DataError(path, "expected beside the ONNX file; lungseg train writes both.")
    document: Any = read_json(path)
    try:
        given = document["input"]
        return DataConfig(
            image_size=given["size"],
            channels=given["channels"],
            window=given["window"],
            unsigned_16bit=given["unsigned_16bit"],
            # Networks of version 0.1 say nothing.
            square_pixels=given.get("square_pixels", False),
            rgb_map=document["rgb_map"],
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise DataError(path, f"is not what lungseg train writes: {problem!r}.") from None


def _read_usual(path: Path) -> Usual | None:
    given = read_json(path).get("certainty")
    try:
        return None if given is None else Usual(**given)
    except TypeError as problem:
        raise DataError(path, f"is not what lungseg train writes: {problem!r}.") from None


def check_sides(predictor: Predictor, settings: InferConfig) -> None:
    """Check that the masks of volumes can have labels of sides.

    Raises:
        UsageError: if `infer.sides` is asked of a network with several classes.
    """
    classes = list(predictor.data.rgb_map)[1:]
    if settings.sides and len(classes) > 1:
        raise UsageError(
            f"infer.sides labels the sides of a network with one class, but this one has the "
            f"classes {', '.join(classes)}, and its masks hold these. Set infer.sides to false."
        )
