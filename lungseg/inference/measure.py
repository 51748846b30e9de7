"""Numbers of a segmented CT volume: millilitres, density, and whether all of it was seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.inference.sides import LEFT, RIGHT

PERCENTILES = (5, 15, 50, 95)


MEASURES = ("volume_ml", "mean_hu", *(f"p{p}_hu" for p in PERCENTILES))


MEASURE_COLUMNS = (
    *(f"{side}_{name}" for side in ("lung", "left", "right") for name in MEASURES),
    "slices_with_lung",
    "touches_border",
)


def measure(ct: Any, sides: Any) -> dict[str, float | int | bool | str]:
    """Measure the lungs of a volume.

    Args:
        ct: SimpleITK image in HU.
        sides: labels of the same grid, left lung 1, right lung 2.

    Returns:
        For both lungs together (`lung_`) and each (`left_`, `right_`): volume in mL, mean HU, and
        HU percentiles; the 15th is the lung density index Perc15 (Parr et al., 2008). Empty text
        where there is no lung. `lung_voxels`; `slices_with_lung`; `touches_border`, whether lung
        reaches the edge of the image, so that some of it was not seen.
    """
    hu, labels = sitk.GetArrayViewFromImage(ct), sitk.GetArrayViewFromImage(sides)
    millilitres = float(np.prod(ct.GetSpacing())) / 1000
    found: dict[str, float | int | bool | str] = {}
    for name, mask in (
        ("lung", labels > 0),
        ("left", labels == LEFT),
        ("right", labels == RIGHT),
    ):
        values = hu[mask]
        found[f"{name}_volume_ml"] = round(len(values) * millilitres, 2)
        found[f"{name}_mean_hu"] = round(float(values.mean()), 1) if len(values) else ""
        for p in PERCENTILES:
            percentile = round(float(np.percentile(values, p)), 1) if len(values) else ""
            found[f"{name}_p{p}_hu"] = percentile
    lung = labels > 0
    found["lung_voxels"] = int(np.count_nonzero(lung))
    found["slices_with_lung"] = int(lung.any(axis=(1, 2)).sum())
    faces = (lung[0], lung[-1], lung[:, 0], lung[:, -1], lung[:, :, 0], lung[:, :, -1])
    found["touches_border"] = any(bool(face.any()) for face in faces)
    return found
