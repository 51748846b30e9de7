"""The scores of one case, beside those of trivial baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.errors import UsageError
from lungseg.evaluation import metrics
from lungseg.evaluation.surfaces import boundary_iou, surface_distances


def all_background(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask without any lung."""
    return np.zeros(image.shape[:2], dtype=np.uint8)


def grey_threshold(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the dark regions inside the body as lung.

    Otsu's threshold, dark components that do not touch the border and cover at least 0.1% of the
    slice, their holes filled.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark = (bright == 0).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=4)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    keep = stats[:, cv2.CC_STAT_AREA] >= 0.001 * dark.size
    keep[np.unique(border)] = False
    keep[0] = False
    lung = keep[parts].astype(np.uint8)
    contours, _ = cv2.findContours(lung, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(lung, contours, -1, 1, cv2.FILLED)
    return np.asarray(lung)


BASELINES = {"all_background": all_background, "grey_threshold": grey_threshold}


Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Scale:
    """What a pixel measures.

    Attributes:
        spacing: pixel size in mm along each axis; None where it is not known, and then distances
            are in pixels and nothing is said in mm.
    """

    spacing: tuple[float, ...] | None = None

    @property
    def unit(self) -> str:
        """Unit of distances."""
        return "pixels" if self.spacing is None else "mm"

    def volume_unit(self, dimensions: int) -> str:
        """Unit of volumes: mL, or for a single slice mm2, or pixels."""
        if self.spacing is None:
            return "pixels"
        return "mL" if dimensions == 3 else "mm2"

    def volume_of(self, pixels: float, dimensions: int) -> float:
        """Volume (or area) of so many pixels, in `volume_unit`."""
        if self.spacing is None:
            return float(pixels)
        return float(pixels * np.prod(self.spacing) / (1000 if dimensions == 3 else 1))


def nsd_name(tolerance: float) -> str:
    """Column of a normalised surface Dice: `nsd_1`, `nsd_2.5`."""
    return f"nsd_{tolerance:g}"


def class_metrics(tolerances: Sequence[float]) -> tuple[str, ...]:
    """Names of the scores of a class, in the order of the tables."""
    surfaces = ("hd95", "assd", *(nsd_name(t) for t in tolerances), "boundary_iou")
    return (*metrics.CLASS_METRICS, *surfaces, "volume_difference")


PROBABILITY_METRICS = (
    "categorical_crossentropy",
    "dice_coef_multiclass",
    "original_sensitivity",
    "original_specificity",
)


LOWER_IS_BETTER = frozenset({"hd95", "assd", "categorical_crossentropy"})


def score_classes(
    truth: Labels,
    prediction: Labels,
    classes: Sequence[str],
    scale: Scale,
    tolerances: Sequence[float],
) -> list[dict[str, Any]]:
    """Score every class but the background.

    Args:
        truth: class indices `(H, W)` or `(D, H, W)`.
        prediction: class indices of the same shape.
        classes: names by index, background first.
        scale: pixel size, where known.
        tolerances: of the normalised surface Dice, in `scale.unit`.

    Returns:
        A row a class: `class`, the scores of `class_metrics`, sizes, units and `flag`.
        `volume_difference` is prediction minus truth.
    """
    dimensions = truth.ndim
    spacing = scale.spacing or (1.0,) * dimensions
    rows = []
    for index, name in enumerate(classes):
        if index == 0:
            continue
        true, guess = truth == index, prediction == index
        counts = metrics.count(true, guess)
        distances = surface_distances(true, guess, spacing)
        rows.append(
            {
                "class": name,
                **{key: metric(counts) for key, metric in metrics.CLASS_METRICS.items()},
                "hd95": distances.hd95(),
                "assd": distances.assd(),
                **{nsd_name(t): distances.nsd(t) for t in tolerances},
                "boundary_iou": boundary_iou(true, guess, spacing),
                "volume_difference": scale.volume_of(counts.fp - counts.fn, dimensions),
                "volume_unit": scale.volume_unit(dimensions),
                "distance_unit": scale.unit,
                "truth_pixels": counts.tp + counts.fn,
                "predicted_pixels": counts.tp + counts.fp,
                "flag": counts.flag,
            }
        )
    return rows


def score(
    truth: NDArray[Any],
    mask: NDArray[Any],
    *,
    spacing: Sequence[float] | None = None,
    tolerances: Sequence[float] = (1, 2),
) -> dict[str, float]:
    """Score a lung mask against a true one, by the rules of `lungseg evaluate`.

    Args:
        truth: `(H, W)` or `(D, H, W)`, bool or whole numbers; all labels above 0 count as lung.
        mask: the mask to score, of the same shape.
        spacing: pixel size in mm along each axis, for a volume ordered (z, y, x); distances are in
            pixels if absent.
        tolerances: of the normalised surface Dice, in mm, or in pixels without `spacing`.

    Returns:
        `dice`, `iou`, `precision`, `recall`, `specificity`, `hd95`, `assd`, `nsd_1` and so on for
        each tolerance, `boundary_iou`, `volume_difference` (mask minus truth: mL, mm2 for a slice,
        pixels without `spacing`) and `pixel_accuracy`. If both masks are empty, Dice is 1 and
        HD95 0; if one is, Dice is 0 and HD95 the image diagonal.

    Raises:
        UsageError: for masks of different shapes, probabilities, or a spacing that does not fit.

    Example:
        >>> truth = np.zeros((4, 4), dtype=np.uint8)
        >>> truth[1:3, 1:3] = 1
        >>> scores = lungseg.score(truth, np.roll(truth, 1, axis=1), spacing=(0.5, 0.5))
        >>> scores["dice"], scores["hd95"]
        (0.5, 0.5)
    """
    true, guess = _lung(truth, "truth"), _lung(mask, "mask")
    if true.shape != guess.shape:
        raise UsageError(f"truth has the shape {true.shape}, mask {guess.shape}: they must agree.")
    if spacing is not None and (len(spacing) != true.ndim or min(spacing) <= 0):
        raise UsageError(
            f"spacing: expected a positive size in mm for each of {true.ndim} axes, got "
            f"{tuple(spacing)}."
        )
    if any(tolerance <= 0 for tolerance in tolerances):
        raise UsageError(f"tolerances: expected positive numbers, got {tuple(tolerances)}.")
    scale = Scale(None if spacing is None else tuple(float(size) for size in spacing))
    (row,) = score_classes(true, guess, ("background", "lung"), scale, tolerances)
    scores = {name: float(row[name]) for name in class_metrics(tolerances)}
    return {**scores, "pixel_accuracy": metrics.pixel_accuracy(true, guess)}


def _lung(labels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return labels as 0 and 1; raise `UsageError` if they are no mask."""
    labels = np.asarray(labels)
    if labels.ndim not in (2, 3) or not labels.size:
        raise UsageError(f"{name}: expected (H, W) or (D, H, W), got the shape {labels.shape}.")
    if labels.dtype.kind not in "bui" and not (
        labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels))
    ):
        raise UsageError(
            f"{name}: expected bool or whole numbers, got {labels.dtype} with other values. Turn "
            "probabilities into a mask first, for example by p > 0.5."
        )
    return (labels > 0).astype(np.uint8)


def score_probabilities(
    truth: NDArray[np.uint8], probabilities: NDArray[np.float32]
) -> Mapping[str, float]:
    """Score probabilities `(H, W, C)` by the original's loss and metrics."""
    return {
        "categorical_crossentropy": metrics.categorical_crossentropy(truth, probabilities),
        "dice_coef_multiclass": metrics.dice_coef_multiclass(truth, probabilities),
        "original_sensitivity": metrics.original_sensitivity(truth, probabilities),
        "original_specificity": metrics.original_specificity(truth, probabilities),
    }
