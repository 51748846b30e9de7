"""The scores of `lungseg evaluate`, in NumPy, and their units.

The docstring of each function defines its score.

Masks are boolean arrays of one class, `(H, W)` or `(D, H, W)`. TP, FP, FN and TN count pixels.

Every score follows one rule for empty masks. If both masks are empty, the score is perfect (1). If
only one is empty, the score is the worst (0). Such cases are flagged and never left out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PixelSize:
    """The size of a pixel, and the units that follow from it.

    Attributes:
        spacing: pixel size in mm along each axis. If it is None, the size is not known and all
            distances are in pixels.
    """

    spacing: tuple[float, ...] | None = None

    @property
    def unit(self) -> str:
        """Unit of distances."""
        return "pixels" if self.spacing is None else "mm"

    def volume_unit(self, dimensions: int) -> str:
        """Unit of volumes: mL; mm2 for a single slice; pixels if the pixel size is not known."""
        if self.spacing is None:
            return "pixels"
        return "mL" if dimensions == 3 else "mm2"

    def volume_of(self, pixels: float, dimensions: int) -> float:
        """Volume (of a single slice: area) of a number of pixels, in `volume_unit`."""
        if self.spacing is None:
            return float(pixels)
        return float(pixels * np.prod(self.spacing) / (1000 if dimensions == 3 else 1))


@dataclass(frozen=True)
class Counts:
    """The number of true and false positive and negative pixels of one class."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def flag(self) -> str:
        """`both_empty`, `truth_empty`, `prediction_empty`, or nothing."""
        if self.tp + self.fn == 0:
            return "both_empty" if self.fp == 0 else "truth_empty"
        return "prediction_empty" if self.tp + self.fp == 0 else ""


def count(truth: Mask, prediction: Mask) -> Counts:
    """Count the pixels of two masks of one shape."""
    tp = int(np.count_nonzero(truth & prediction))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return Counts(tp, fp, fn, truth.size - tp - fp - fn)


def _ratio(part: int, whole: int, counts: Counts) -> float:
    """Divide; if `whole` is 0, apply the rule for empty masks."""
    if whole:
        return part / whole
    return 1.0 if counts.flag == "both_empty" else 0.0


def mask_hash(mask: Mask) -> str:
    """Return the first 16 digits of a hash of a mask's shape and pixels."""
    digest = hashlib.sha256(f"{mask.shape}".encode())
    digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()[:16]


def dice(counts: Counts) -> float:
    """Dice similarity `2 TP / (2 TP + FP + FN)`, the same as F1 (Dice, 1945)."""
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, counts)


def iou(counts: Counts) -> float:
    """Intersection over union `TP / (TP + FP + FN)` (Jaccard, 1912)."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn, counts)


def precision(counts: Counts) -> float:
    """Positive predictive value `TP / (TP + FP)`."""
    return _ratio(counts.tp, counts.tp + counts.fp, counts)


def recall(counts: Counts) -> float:
    """Sensitivity `TP / (TP + FN)`. If only the truth is empty, it is 0, by the rule above."""
    return _ratio(counts.tp, counts.tp + counts.fn, counts)


def specificity(counts: Counts) -> float:
    """True negative rate `TN / (TN + FP)`; 1 if no pixel is negative."""
    negatives = counts.tn + counts.fp
    return counts.tn / negatives if negatives else 1.0


def pixel_accuracy(truth: NDArray[np.integer[Any]], prediction: NDArray[np.integer[Any]]) -> float:
    """Share of pixels whose class is right, background included."""
    return float(np.mean(truth == prediction))


def categorical_crossentropy(truth: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> float:
    """Mean over pixels of -log p(true class), with p at least 1e-7. It is the original's loss.

    Args:
        truth: class indices `(H, W)`.
        probabilities: `(H, W, C)`.
    """
    chosen = np.take_along_axis(probabilities, truth[..., None].astype(np.intp), axis=-1)
    return float(-np.log(np.clip(chosen, 1e-7, 1.0)).mean(dtype=np.float64))


def dice_coef_multiclass(truth: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> float:
    """The original's metric: `(2 sum(t p) + 1) / (sum(t) + sum(p) + 1)` over pixels and classes.

    The truth is one-hot, so both sums equal the number of pixels, and the metric is the mean
    probability of the true class. It is close to pixel accuracy, because background fills most of
    a slice.
    """
    chosen = np.take_along_axis(probabilities, truth[..., None].astype(np.intp), axis=-1)
    overlap = float(chosen.sum(dtype=np.float64))
    total = truth.size + float(probabilities.sum(dtype=np.float64))
    return (2 * overlap + 1) / (total + 1)


def original_sensitivity(truth: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> float:
    """The original's `sensitivity`: rounded true positives over positives, all classes together.

    With two classes it is pixel accuracy: the share of pixels with p(true class) above 1/2.
    """
    chosen = np.take_along_axis(probabilities, truth[..., None].astype(np.intp), axis=-1)
    return float(np.rint(chosen).sum(dtype=np.float64) / truth.size)


def original_specificity(truth: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> float:
    """The original's `specificity`: rounded true negatives over negatives, all classes together.

    With two classes it is pixel accuracy as well.
    """
    absent = np.arange(probabilities.shape[-1]) != truth[..., None]
    negatives = np.rint(1 - probabilities) * absent
    return float(negatives.sum(dtype=np.float64) / absent.sum())
