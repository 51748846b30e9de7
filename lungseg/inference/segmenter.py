"""A trained network for Python programs: arrays and scans in, masks out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.loading import check_config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.framing import SQUARE
from lungseg.imaging.hounsfield import AS_HU, MAX_AIR_HU, find_reading, no_reading
from lungseg.imaging.pixels import apply_window, as_array, labels_of, with_channels
from lungseg.imaging.volume_files import ct_from_image, read_ct
from lungseg.imaging.volumes import Ct
from lungseg.inference.predictor import Predictor, model_paths
from lungseg.inference.slices import predict_slices
from lungseg.inference.volumes import Segmentation, segment_ct
from lungseg.system.shipped import SHIPPED, as_run


class Segmenter:
    """Segments lungs with a trained network, on ONNX Runtime.

    The networks of a run of folds predict together.

    Examples:
        >>> lungs = lungseg.Segmenter()  # the shipped network
        >>> lungs = lungseg.Segmenter("demo/run")  # a run folder, or its model.onnx
        >>> hu = np.load("ct.npy")  # (slices, rows, columns)
        >>> mask = lungs.segment(hu)
        >>> mask.shape == hu.shape, mask.dtype
        (True, dtype('uint8'))
        >>> result = lungs.segment_volume("scan", sides=True)  # a DICOM folder
        >>> left, right = result.mask == 1, result.mask == 2
    """

    def __init__(
        self,
        model: str | Path = SHIPPED,
        *,
        device: str = "auto",
        threads: int = 0,
        flips: bool = False,
    ) -> None:
        """Load a network.

        Args:
            model: a run folder, a folder of folds, or an ONNX file with `model.json` beside it; by
                default the shipped network.
            device: `cpu`, `gpu`, or `auto`, which uses a GPU if there is one.
            threads: number of CPU threads; 0 uses every core.
            flips: average each prediction with that of the mirrored slice. This takes twice the
                time.

        Raises:
            UsageError: if the model is missing, the device is unknown, or there is no GPU for
                `gpu`.
            DataError: if the model is damaged.
        """
        path = as_run(model)
        if not path.exists():
            raise UsageError(f"{path}: there is no such run folder or model file.")
        infer = {"device": device, "threads": threads, "flips": flips}
        self._config = check_config({"infer": infer}, "Segmenter")
        run, file = (path, None) if path.is_dir() else (None, path)
        self._predictor = Predictor(model_paths(run, file), threads, device, flips)

    def segment(
        self, ct: NDArray[Any], *, spacing: tuple[float, float] = SQUARE
    ) -> NDArray[np.uint8]:
        """Segment axial slices of an array. The mask is the network's, without clean-up.

        Args:
            ct: a slice `(H, W)` or a volume `(D, H, W)`: HU as signed integers or floats, or the
                grey values that the network was trained on as uint8. The patient's front is up.
            spacing: height and width of a pixel in mm; only their ratio counts.

        Returns:
            uint8 of the same shape: 0 background, 1 lung. Networks with more classes return the
            class indices.

        Raises:
            UsageError: if the shape is another one, the meaning of the type is unclear, or
                `spacing` is no pair of positive numbers.
            DataError: if values are not finite or not in HU.

        Examples:
            >>> lungs = lungseg.Segmenter("demo/run")
            >>> lungs.segment(np.load("ct.npy")[6]).shape  # one slice
            (64, 64)
        """
        ct = _check_array(ct)
        masks = [labels_of(probabilities) for probabilities in self._predict(ct, spacing)]
        return np.stack(masks).reshape(ct.shape)

    def probability(
        self, ct: NDArray[Any], *, spacing: tuple[float, float] = SQUARE
    ) -> NDArray[np.float32]:
        """Return the probability of lung, float32 from 0 to 1, for an array as in `segment`.

        Examples:
            >>> lungs = lungseg.Segmenter("demo/run")
            >>> p = lungs.probability(np.load("ct.npy"))
            >>> p.dtype, bool(((p >= 0) & (p <= 1)).all())
            (dtype('float32'), True)
        """
        ct = _check_array(ct)
        maps = [np.clip(1 - classes[..., 0], 0, 1) for classes in self._predict(ct, spacing)]
        return np.stack(maps).reshape(ct.shape)

    def segment_volume(self, ct: Ct | str | Path | Any, *, sides: bool = False) -> Segmentation:
        """Segment a scan, clean the mask up and measure it, as `lungseg infer` does.

        Args:
            ct: a scan: a `Ct`, a SimpleITK image in HU, or the path of a DICOM folder, file or zip,
                NIfTI, MHA, MHD or NRRD file.
            sides: label the left lung 1, the right lung 2, and lung of unknown side 3.

        Raises:
            DataError: if the scan cannot be read, is no volume, or is not in HU.

        Examples:
            >>> result = lungseg.Segmenter("demo/run").segment_volume(lungseg.read_ct("scan.mha"))
            >>> result.image.GetSpacing()  # the scan's own geometry
            (5.0, 5.0, 20.0)
        """
        if isinstance(ct, (str, Path)):
            ct = read_ct(ct)
        elif not isinstance(ct, Ct):
            if not hasattr(ct, "GetDirection"):
                raise UsageError(
                    f"segment_volume: expected a path, a Ct or a SimpleITK image, got "
                    f"{type(ct).__name__}. An array has no geometry: use segment for it."
                )
            ct = ct_from_image(ct)
        infer = self._config.infer.model_copy(update={"sides": sides})
        return segment_ct(self._predictor, ct, self._config.model_copy(update={"infer": infer}))

    def _predict(
        self, ct: NDArray[Any], spacing: tuple[float, float]
    ) -> Iterator[NDArray[np.float32]]:
        data = self._predictor.data
        greys: Iterable[NDArray[Any]] = ct if ct.ndim == 3 else ct[None]
        if ct.dtype != np.uint8:
            greys = (apply_window(one, data.window) for one in greys)
        slices = (with_channels(grey, data.channels) for grey in greys)
        return predict_slices(
            self._predictor, slices, self._config.infer, _check_spacing(spacing), volume=True
        )


def _check_spacing(spacing: Sequence[float]) -> tuple[float, float]:
    height, width = (float(side) for side in spacing) if len(spacing) == 2 else (0.0, 0.0)
    if not (0 < height < math.inf and 0 < width < math.inf):
        raise UsageError(f"spacing: expected two numbers of mm above 0, not {spacing!r}.")
    return height, width


def _check_array(ct: NDArray[Any]) -> NDArray[Any]:
    """Return an array of slices; raise an error if its shape or values have no clear meaning."""
    ct = as_array(ct, "the array")
    if ct.ndim not in (2, 3) or not ct.size:
        raise UsageError(
            f"expected a slice (H, W) or a volume (D, H, W), got an array of shape {ct.shape}. "
            "For a file or a SimpleITK image use segment_volume."
        )
    if ct.dtype == np.uint8 and ct.ndim == 3 and ct.shape[-1] in (3, 4):
        raise UsageError(
            f"an array of shape {ct.shape} looks like a colour picture: give one channel (H, W)."
        )
    if ct.dtype == np.uint8:
        return ct
    if ct.dtype.kind not in "if" or ct.dtype == np.int8:
        offset = " Subtract the offset first, for example ct.astype(int) - 1024."
        raise UsageError(
            f"expected HU as signed integers or floats, or grey values as uint8, got {ct.dtype}."
            + (offset if ct.dtype.kind == "u" else "")
        )
    if not np.isfinite(ct).all():
        raise DataError("the array", f"{int((~np.isfinite(ct)).sum())} values are NaN or infinite.")
    if ct.min() > MAX_AIR_HU:
        raise DataError(
            "the array",
            f"air should be near -1000 HU, but the lowest value is {ct.min():g}. Give HU, or grey "
            "values as uint8.",
        )
    if find_reading(ct, AS_HU) is not AS_HU:
        raise no_reading("the array")
    return ct
