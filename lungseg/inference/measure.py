"""Measurements of a segmented CT volume: millilitres, density, and whether lung is cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.rows import LungMeasures, Measures
from lungseg.inference.sides import LEFT, RIGHT


def measure(ct: Any, sides: Any) -> Measures:
    """Measure the lungs of a volume.

    Args:
        ct: SimpleITK image in HU.
        sides: labels on the same grid, left lung 1, right lung 2.
    """
    hu = sitk.GetArrayViewFromImage(ct)
    labels = sitk.GetArrayViewFromImage(sides)
    voxel_ml = float(np.prod(ct.GetSpacing())) / 1000
    lung = labels > 0
    faces = (lung[0], lung[-1], lung[:, 0], lung[:, -1], lung[:, :, 0], lung[:, :, -1])
    return Measures(
        lung=_measure_values(hu[lung], voxel_ml),
        left=_measure_values(hu[labels == LEFT], voxel_ml),
        right=_measure_values(hu[labels == RIGHT], voxel_ml),
        slices_with_lung=int(lung.any(axis=(1, 2)).sum()),
        touches_border=any(bool(face.any()) for face in faces),
    )


def _measure_values(hu: NDArray[Any], voxel_ml: float) -> LungMeasures:
    """Measure the HU values `(N,)` of one lung's voxels."""
    volume = round(len(hu) * voxel_ml, 2)
    if not len(hu):
        return LungMeasures(volume)
    mean = round(float(hu.mean()), 1)
    percentiles = (round(float(np.percentile(hu, p)), 1) for p in (5, 15, 50, 95))
    return LungMeasures(volume, mean, *percentiles)
