"""Measurements of a segmented CT volume: of both lungs, and of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.rows import LungMeasures, Measures
from lungseg.inference.sides import LEFT, RIGHT, Sides


def measure(ct: Any, lungs: Any, sides: Sides) -> Measures:
    """Measure the lungs of a volume: millilitres, density, and whether lung is cut off.

    Args:
        ct: SimpleITK image in HU.
        lungs: the lungs on the same grid, above 0.
        sides: their sides. The measures of a side that is not known are None.
    """
    hu = sitk.GetArrayViewFromImage(ct)
    lung = sitk.GetArrayViewFromImage(lungs) > 0
    labels = sitk.GetArrayViewFromImage(sides.labels)
    voxel_ml = float(np.prod(ct.GetSpacing())) / 1000
    left, right = (
        _measure_values(hu[labels == side], voxel_ml) if sides.knows(side) else LungMeasures()
        for side in (LEFT, RIGHT)
    )
    faces = (lung[0], lung[-1], lung[:, 0], lung[:, -1], lung[:, :, 0], lung[:, :, -1])
    return Measures(
        lung=_measure_values(hu[lung], voxel_ml),
        left=left,
        right=right,
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
