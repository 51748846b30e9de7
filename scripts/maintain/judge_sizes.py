"""Score a network on CTs whose slices are shown smaller or larger than they are.

A wide field of view shows a patient small, and a child smaller. A CT of the heart shows a part of
the chest large.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.imaging.labels import UNLABELLED
from lungseg.imaging.pixels import apply_window
from lungseg.inference.segmenter import Segmenter
from lungseg.system.tables import read_json

# 1 is the slice as it is.
FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)


def resized(image: NDArray[Any], factor: float, fill: int, how: int) -> NDArray[Any]:
    """Return a slice with its middle where it was and all else nearer to it, or farther.

    Args:
        image: `(H, W)`.
        factor: below 1, `fill` is put around the smaller slice; above 1, its border is cut off.
        fill: value of what is outside.
        how: OpenCV's interpolation.
    """
    height, width = image.shape
    if factor < 1:
        small = cv2.resize(
            image, (round(width * factor), round(height * factor)), interpolation=how
        )
        out = np.full_like(image, fill)
        y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
        out[y : y + small.shape[0], x : x + small.shape[1]] = small
        return out
    part_height, part_width = round(height / factor), round(width / factor)
    y, x = (height - part_height) // 2, (width - part_width) // 2
    part = image[y : y + part_height, x : x + part_width]
    return np.asarray(cv2.resize(part, (width, height), interpolation=how))


def judge_sizes(run: Path, labels: Path, patients: Mapping[str, str]) -> dict[str, Any]:
    """Return the lung Dice of the network's own masks per factor and patient, all voxels together.

    Args:
        run: the run folder.
        labels: folder with `images/` and `masks/`, `CASE.nii.gz` in each.
        patients: the CTs, and whose they are.
    """
    segmenter = Segmenter(run)
    # As grey values, because a part of a slice may not look like HU.
    window = tuple(read_json(run / "model.json")["input"]["window"])
    sums: dict[tuple[float, str], Any] = defaultdict(lambda: np.zeros(2, int))
    for case, patient in patients.items():
        hu, truth = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(labels / kind / f"{case}.nii.gz")))
            for kind in ("images", "masks")
        )
        known = (truth != UNLABELLED).all(axis=(1, 2))
        for factor in FACTORS:
            for slice_hu, slice_truth in zip(hu[known], truth[known], strict=True):
                shown = resized(apply_window(slice_hu, window), factor, 0, cv2.INTER_AREA)
                lung = resized((slice_truth > 0).astype(np.uint8), factor, 0, cv2.INTER_NEAREST) > 0
                found = segmenter.segment(shown) > 0
                both, total = (lung & found).sum(), lung.sum() + found.sum()
                sums[factor, patient] += (both, total)
    return {
        f"{factor:g}": {
            patient: round(float(2 * sums[factor, patient][0] / sums[factor, patient][1]), 4)
            for patient in dict.fromkeys(patients.values())
            if sums[factor, patient][1]
        }
        for factor in FACTORS
    }


def describe_sizes(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a table in Markdown: a row per factor."""
    rows = [(float(factor), sorted(dice.values())) for factor, dice in found.items()]
    return [
        "| shown at | patients | Dice, median | lowest |",
        "|---|---|---|---|",
        *(_row(factor, dice) for factor, dice in rows),
    ]


def together(parts: Iterable[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Put the patients of several folds together."""
    whole: dict[str, dict[str, float]] = {}
    for part in parts:
        for factor, dice in part.items():
            whole.setdefault(factor, {}).update(dice)
    return whole


def _row(factor: float, dice: Sequence[float]) -> str:
    return f"| {factor:.0%} | {len(dice)} | {np.median(dice):.4f} | {min(dice):.4f} |"
