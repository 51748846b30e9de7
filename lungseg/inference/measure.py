"""Measurements of a segmented CT volume: of both lungs, of each, and of their thirds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.inference.rows import LungMeasures, Measures, PartMeasures
from lungseg.inference.sides import LEFT, RIGHT, Sides

# Gattinoni et al., 2001, https://doi.org/10.1164/ajrccm.164.9.2103121: lung from -500 HU is poorly
# aerated, lung from -100 to 100 HU is not aerated. What is brighter is contrast or bone.
POORLY_AERATED_HU, NOT_AERATED_HU, ABOVE_LUNG_HU = -500, -100, 100


def measure(ct: Any, lungs: Any, sides: Sides) -> Measures:
    """Measure the lungs of a volume, as docs/measures.md defines it.

    Args:
        ct: SimpleITK image in HU, whose axes run to the patient's left, back and head.
        lungs: mask on the same grid, above 0 in the lungs.
        sides: their sides. The measures of a side that is not known are None.
    """
    hu, lung = sitk.GetArrayViewFromImage(ct), sitk.GetArrayViewFromImage(lungs)
    voxel_ml = float(np.prod(ct.GetSpacing())) / 1000
    faces = (lung[0], lung[-1], lung[:, 0], lung[:, -1], lung[:, :, 0], lung[:, :, -1])
    labels = sitk.GetArrayViewFromImage(sides.labels)
    # Only the voxels of the lungs are copied, slice by slice.
    found = []
    for planes in zip(hu, labels, lung, strict=True):
        held = planes[2] > 0
        found.append((planes[0][held], planes[1][held]))
    counts = np.array([len(values) for values, _ in found])
    values, side_of = (np.concatenate(each) for each in zip(*found, strict=True))

    def of_side(side: int) -> LungMeasures:
        its_counts = np.array([np.count_nonzero(labels == side) for _, labels in found])
        return _measure_lung(values[side_of == side], its_counts, voxel_ml)

    left, right = (of_side(side) if sides.knows(side) else LungMeasures() for side in (LEFT, RIGHT))
    return Measures(
        lung=_measure_lung(values, counts, voxel_ml),
        left=left,
        right=right,
        slices_with_lung=int(np.count_nonzero(counts)),
        touches_border=any(bool(face.any()) for face in faces),
    )


def _measure_lung(values: NDArray[Any], counts: NDArray[np.intp], voxel_ml: float) -> LungMeasures:
    """Measure one lung, or both together, and its thirds.

    Args:
        values: HU `(N,)`, slice by slice from the feet.
        counts: number of the lung's voxels in each slice.
        voxel_ml: volume of a voxel in mL.
    """
    measured: dict[str, Any] = asdict(_measure_values(values, voxel_ml))
    if len(values):
        percentiles = np.percentile(values, (5, 15, 50, 95))
        names = ("p5_hu", "p15_hu", "p50_hu", "p95_hu")
        measured |= {n: round(float(p), 1) for n, p in zip(names, percentiles, strict=True)}
        thirds = _thirds(values, counts)
        measured |= {name: _measure_values(third, voxel_ml) for name, third in thirds.items()}
    return LungMeasures(**measured)


def _thirds(values: NDArray[Any], counts: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Divide a lung's values into its lower, middle and upper third by height.

    A slice belongs to the third that holds its centre.

    Args:
        values: HU `(N,)`, slice by slice from the feet.
        counts: number of the lung's voxels in each slice.

    Returns:
        The values by third; nothing if the height is unknown or has fewer than three slices.
    """
    held = np.flatnonzero(counts)
    first, height = held[0], held[-1] - held[0] + 1
    if counts[0] or counts[-1] or height < 3:
        return {}
    third = ((np.arange(height) + 0.5) * 3 / height).astype(int)
    sizes = np.bincount(third, weights=counts[first : first + height], minlength=3).astype(int)
    # The values lie slice by slice, so each third is one piece of them.
    parts = np.split(values, np.cumsum(sizes)[:2])
    return dict(zip(("lower", "middle", "upper"), parts, strict=True))


def _measure_values(hu: NDArray[Any], voxel_ml: float) -> PartMeasures:
    """Measure the HU values `(N,)` of voxels."""
    volume = round(len(hu) * voxel_ml, 2)
    if not len(hu):
        return PartMeasures(volume)

    def share(inside: NDArray[np.bool_]) -> float:
        return round(float(np.mean(inside)), 4)

    low, between, high = POORLY_AERATED_HU, NOT_AERATED_HU, ABOVE_LUNG_HU
    return PartMeasures(
        volume,
        mean_hu=round(float(hu.mean()), 1),
        below_950_share=share(hu < -950),
        below_910_share=share(hu < -910),
        infiltrated_share=share((hu >= low) & (hu < between)),
        collapsed_share=share((hu >= between) & (hu <= high)),
    )
