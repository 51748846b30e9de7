"""Pictures of a case with truth and prediction outlined, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.evaluation.cases import ClassIndices
from lungseg.imaging.framing import SQUARE
from lungseg.imaging.pixels import apply_window
from lungseg.reporting.overlays import two_outlines
from lungseg.reporting.pictures import WINDOWS, draw_directions, draw_one, spread
from lungseg.reporting.report import DrawnCase

# At most so many slices of a volume, and the longer side of a picture in pixels.
AXIAL, CORONAL, SIDE = 120, 40, 320
IMAGE_SIDE = 512


def draw_pair(
    image: NDArray[np.uint8] | None, truth: ClassIndices, prediction: ClassIndices
) -> DrawnCase:
    """Draw a slice.

    Args:
        image: `(H, W)` or `(H, W, 3)`; None for black.
        truth: class indices `(H, W)`.
        prediction: class indices `(H, W)`.
    """
    ground = np.zeros(truth.shape, np.uint8) if image is None else image
    outlines = {"truth": truth, "prediction": prediction}
    views = draw_one(ground, outlines, SQUARE, IMAGE_SIDE)
    return DrawnCase(two_outlines(image, truth, prediction), views)


def draw_volume_pair(
    hu: NDArray[Any] | None,
    truth: ClassIndices,
    prediction: ClassIndices,
    spacing: Sequence[float] | None,
) -> DrawnCase:
    """Draw a volume; its one picture is that of the slice with the most wrong pixels.

    If none is wrong, it is that of the slice with the most in the truth.

    Args:
        hu: the CT `(D, H, W)` with axes to the head, back and left; None for black.
        truth: class indices of the same shape.
        prediction: class indices of the same shape.
        spacing: voxel size in mm, ordered (z, y, x); None if it is not known.
    """
    wrong, true = (mask.sum(axis=(1, 2)) for mask in (truth != prediction, truth > 0))
    worst = int(wrong.argmax() if wrong.any() else true.argmax())
    # A view without memory of its own.
    ground = np.broadcast_to(np.uint8(0), truth.shape) if hu is None else hu
    depth, rows, _ = truth.shape
    views = draw_directions(
        ground,
        lambda at: {"truth": truth[at], "prediction": prediction[at]},
        spacing or (1.0, 1.0, 1.0),
        (_with(worst + 1, spread(1, depth, AXIAL)), spread(1, rows, CORONAL)),
        SIDE,
        in_hu=hu is not None,
    )
    image = None if hu is None else apply_window(hu[worst], WINDOWS["lung"])
    return DrawnCase(two_outlines(image, truth[worst], prediction[worst]), views, worst + 1)


def _with(number: int, numbers: Sequence[int]) -> list[int]:
    return sorted({number, *numbers})
