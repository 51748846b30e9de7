"""Trivial baselines that need no training, and what of a case each of them can be scored on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import joined, lung_classes
from lungseg.evaluation.cases import ClassIndices, ClassScores, score_classes
from lungseg.evaluation.metrics import PixelSize, pixel_accuracy


def grey_threshold(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the dark regions inside the body as lung.

    Otsu's threshold separates dark from bright. Dark components are kept if they do not touch the
    border and cover at least 0.1% of the slice; their holes are filled.
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


@dataclass(frozen=True)
class MethodScores:
    """The scores of one class by one method.

    Attributes:
        method: `model`, `all_background` or `grey_threshold`.
        class_name: a class, or the `joined` classes that are scored as one.
        pixel_accuracy: share of pixels whose class is right, over all classes; None if the classes
            were joined, or if the method does not tell them apart.
        scores: scores of the class.
    """

    method: str
    class_name: str
    pixel_accuracy: float | None
    scores: ClassScores


def score_methods(
    truth: ClassIndices,
    prediction: ClassIndices,
    image: NDArray[np.uint8] | None,
    classes: Sequence[str],
    pixel_size: PixelSize,
    tolerances: Sequence[float],
) -> Iterator[MethodScores]:
    """Score a network and the baselines, each on what it says.

    The network and `all_background` say a class for each pixel. They are scored on every class and,
    if several classes are the lung, on these joined. `grey_threshold` finds the lung, but knows
    neither sides nor disease nor other organs. It is scored on the lung classes joined, and not at
    all if no class is lung by its name.

    Args:
        truth: class indices `(H, W)` or `(D, H, W)`.
        prediction: the network's class indices, of the same shape.
        image: grey or RGB slice that the threshold is applied to; None if there is none.
        classes: names by index, background first.
        pixel_size: size of a pixel, if it is known.
        tolerances: tolerances of the normalised surface Dice, in `pixel_size.unit`.
    """
    lung = lung_classes(classes)
    name = joined(lung)
    of_lung = np.isin(np.arange(len(classes)), [classes.index(each) for each in lung])

    def of_joined(method: str, mask: NDArray[np.bool_], accuracy: float | None) -> MethodScores:
        masks = of_lung[truth].astype(np.uint8), mask.astype(np.uint8)
        scored = score_classes(*masks, ("background", name), pixel_size, tolerances)
        return MethodScores(method, name, accuracy, scored[name])

    for method, mask in (("model", prediction), ("all_background", np.zeros_like(truth))):
        accuracy = pixel_accuracy(truth, mask)
        by_class = score_classes(truth, mask, classes, pixel_size, tolerances)
        for class_name, scores in by_class.items():
            yield MethodScores(method, class_name, accuracy, scores)
        if len(lung) > 1:
            yield of_joined(method, of_lung[mask], None)
    if image is not None and lung:
        mask = grey_threshold(image)
        alone = len(classes) == 2
        yield of_joined("grey_threshold", mask > 0, pixel_accuracy(truth, mask) if alone else None)
