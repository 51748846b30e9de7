"""The scores of one case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.errors import UsageError
from lungseg.evaluation import metrics
from lungseg.evaluation.metrics import PixelSize
from lungseg.evaluation.surfaces import boundary_iou, surface_distances
from lungseg.imaging.pixels import as_array
from lungseg.system.tables import to_record

# Class indices of any integer type, `(H, W)` or `(D, H, W)`.
ClassIndices = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class of one case, in the order of the tables.

    Attributes:
        dice: Dice similarity; `lungseg.evaluation.metrics` defines it and the next four scores.
        iou: intersection over union.
        precision: positive predictive value.
        recall: sensitivity.
        specificity: true negative rate.
        hd95: robust Hausdorff distance in `distance_unit`.
        assd: average symmetric surface distance in `distance_unit`.
        nsd: normalised surface Dice by column name, one for each tolerance: `nsd_1`, `nsd_2.5`.
        boundary_iou: IoU of the boundary bands.
        volume_difference: prediction minus truth in `volume_unit`.
        volume_unit: mL, mm2 or pixels.
        distance_unit: mm or pixels.
        truth_pixels: number of pixels of the class in the truth.
        predicted_pixels: number of pixels of the class in the prediction.
        flag: `both_empty`, `truth_empty`, `prediction_empty`, `not_comparable`, or nothing.
        truth_sha256: `metrics.mask_hash` of the truth, which has to agree for `--against`.
    """

    dice: float
    iou: float
    precision: float
    recall: float
    specificity: float
    hd95: float
    assd: float
    nsd: Mapping[str, float]
    boundary_iou: float
    volume_difference: float
    volume_unit: str
    distance_unit: str
    truth_pixels: int
    predicted_pixels: int
    flag: str
    truth_sha256: str

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The scores by column name; units, sizes and the flag are no scores."""
        record = to_record(self)
        return {name: value for name, value in record.items() if isinstance(value, float)}


@dataclass(frozen=True)
class ProbabilityScores:
    """The original's loss and metrics, of probabilities over all classes; see `metrics`."""

    categorical_crossentropy: float
    dice_coef_multiclass: float
    original_sensitivity: float
    original_specificity: float


@dataclass(frozen=True, kw_only=True)
class CaseScore:
    """The scores of one case, one class and one method: a row of `per_case.csv`.

    Attributes:
        case: name of the case.
        group: its patient.
        class_name: the class, or the lung classes joined (`lungseg.config.classes.joined`).
        method: `model`, or the name of a baseline.
        pixel_accuracy: share of pixels whose class is right, over all classes; None if the method
            does not say a class for each pixel.
        probabilities: scores of the probabilities; None if there are no probabilities.
        entropy: relative entropy of the mean prediction of the image and the mirrored image; None
            if it was not asked for.
        scores: scores of the class.
        fold: number of the fold in a cross-validation.
        seen_in_training: whether the network was trained on the case's patient; None for masks of
            unknown origin.
    """

    case: str
    group: str
    class_name: str = field(metadata={"column": "class"})
    method: str
    pixel_accuracy: float | None
    probabilities: ProbabilityScores | None = None
    entropy: float | None = None
    scores: ClassScores
    fold: int | None = None
    seen_in_training: bool | None = None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """All scores by column name, as far as they are known."""
        probabilities, accuracy = self.probabilities, self.pixel_accuracy
        return {
            **self.scores.metrics,
            **(to_record(probabilities) if probabilities else {}),
            **({} if accuracy is None else {"pixel_accuracy": accuracy}),
        }


PROBABILITY_METRICS = tuple(each.name for each in fields(ProbabilityScores))
# Scores of all classes together.
CASE_METRICS = (*PROBABILITY_METRICS, "pixel_accuracy")
LOWER_IS_BETTER = frozenset({"hd95", "assd", "categorical_crossentropy"})


def score_classes(
    truth: ClassIndices,
    prediction: ClassIndices,
    classes: Sequence[str],
    pixel_size: PixelSize,
    tolerances: Sequence[float],
) -> dict[str, ClassScores]:
    """Score every class but the background.

    Args:
        truth: class indices `(H, W)` or `(D, H, W)`.
        prediction: class indices of the same shape.
        classes: names by index, background first.
        pixel_size: size of a pixel, if it is known.
        tolerances: tolerances of the normalised surface Dice, in `pixel_size.unit`.

    Returns:
        The scores of each class by its name.
    """
    return {
        name: _score_class(truth == index, prediction == index, pixel_size, tolerances)
        for index, name in enumerate(classes)
        if index > 0
    }


def _score_class(
    truth: metrics.Mask,
    prediction: metrics.Mask,
    pixel_size: PixelSize,
    tolerances: Sequence[float],
) -> ClassScores:
    dimensions = truth.ndim
    spacing = pixel_size.spacing or (1.0,) * dimensions
    counts = metrics.count(truth, prediction)
    distances = surface_distances(truth, prediction, spacing)
    return ClassScores(
        dice=metrics.dice(counts),
        iou=metrics.iou(counts),
        precision=metrics.precision(counts),
        recall=metrics.recall(counts),
        specificity=metrics.specificity(counts),
        hd95=distances.hd95(),
        assd=distances.assd(),
        nsd={f"nsd_{tolerance:g}": distances.nsd(tolerance) for tolerance in tolerances},
        boundary_iou=boundary_iou(truth, prediction, spacing),
        volume_difference=pixel_size.volume_of(counts.fp - counts.fn, dimensions),
        volume_unit=pixel_size.volume_unit(dimensions),
        distance_unit=pixel_size.unit,
        truth_pixels=counts.tp + counts.fn,
        predicted_pixels=counts.tp + counts.fp,
        flag=counts.flag,
        truth_sha256=metrics.mask_hash(truth),
    )


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
        spacing: pixel size in mm along each axis, for a volume ordered (z, y, x). If it is None,
            distances are in pixels.
        tolerances: tolerances of the normalised surface Dice, in mm, or in pixels if `spacing` is
            None.

    Returns:
        `dice`, `iou`, `precision`, `recall`, `specificity`, `hd95`, `assd`, one score such as
        `nsd_1` per tolerance, `boundary_iou`, `volume_difference` (mask minus truth, in mL; mm2 for
        a slice; pixels if `spacing` is None) and `pixel_accuracy`. If both masks are empty, Dice is
        1 and HD95 is 0. If only one is empty, Dice is 0 and HD95 is the image diagonal.

    Raises:
        UsageError: if the masks differ in shape, are masked arrays, or hold probabilities or labels
            below 0, or if `spacing` does not fit.

    Examples:
        >>> truth = np.zeros((4, 4), dtype=np.uint8)
        >>> truth[1:3, 1:3] = 1
        >>> scores = lungseg.score(truth, np.roll(truth, 1, axis=1), spacing=(0.5, 0.5))
        >>> scores["dice"], scores["hd95"]
        (0.5, 0.5)
    """
    true, guess = _lung(truth, "truth"), _lung(mask, "mask")
    if true.shape != guess.shape:
        raise UsageError(f"truth has the shape {true.shape}, mask {guess.shape}: they must agree.")
    if spacing is not None and not (_are_positive(spacing) and len(spacing) == true.ndim):
        raise UsageError(
            f"spacing: expected a positive size in mm for each of {true.ndim} axes, got "
            f"{spacing!r}."
        )
    if not _are_positive(tolerances):
        raise UsageError(f"tolerances: expected positive numbers, got {tolerances!r}.")
    pixel_size = PixelSize(None if spacing is None else tuple(float(size) for size in spacing))
    lung = score_classes(true, guess, ("background", "lung"), pixel_size, tolerances)["lung"]
    return {**lung.metrics, "pixel_accuracy": metrics.pixel_accuracy(true, guess)}


def _are_positive(values: Sequence[float]) -> bool:
    """Whether these are numbers in a sequence, all above 0 and finite."""
    numbers = np.asarray(values)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf":
        return numbers.shape == (0,)
    return bool(np.isfinite(numbers).all() and (numbers > 0).all())


def _lung(labels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return labels as 0 and 1; raise `UsageError` if they are no mask."""
    labels = as_array(labels, name)
    if labels.ndim not in (2, 3) or not labels.size:
        raise UsageError(f"{name}: expected (H, W) or (D, H, W), got the shape {labels.shape}.")
    if labels.dtype.kind not in ("b", "u", "i") and not (
        labels.dtype.kind == "f"
        and np.isfinite(labels).all()
        and np.array_equal(labels, np.rint(labels))
    ):
        raise UsageError(
            f"{name}: expected bool or whole numbers, got {labels.dtype} with other values. Turn "
            "probabilities into a mask first, for example by p > 0.5."
        )
    if labels.dtype.kind in "if" and labels.min() < 0:
        raise UsageError(f"{name}: expected labels of 0 and above, got {labels.min():g}.")
    return (labels > 0).astype(np.uint8)


def score_probabilities(
    truth: NDArray[np.uint8], probabilities: NDArray[np.float32]
) -> ProbabilityScores:
    """Score probabilities `(H, W, C)` by the original's loss and metrics."""
    return ProbabilityScores(
        categorical_crossentropy=metrics.categorical_crossentropy(truth, probabilities),
        dice_coef_multiclass=metrics.dice_coef_multiclass(truth, probabilities),
        original_sensitivity=metrics.original_sensitivity(truth, probabilities),
        original_specificity=metrics.original_specificity(truth, probabilities),
    )
