"""Lungs of a CT by classical means: a threshold, connected parts, closing.

Good where lungs are healthy. Consolidation and tumours are missed, and smaller airways are
included, so the result is no ground truth.
"""

from __future__ import annotations

from typing import Any

import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.schema import InferConfig
from lungseg.inference.postprocess import tidy

LUNG_BELOW_HU = -320
AIRWAY_BELOW_HU = -930
AIRWAYS_ML = (10, 150)
# Lung has a median of -900 to -700 HU, bowel gas -1000 if its blurred edge is left out.
GAS_BELOW_HU = -900
# A larger part is lung, even with emphysema.
MAX_GAS_ML = 1000
MIN_LUNG_ML = 25
# Wide enough to include the vessels that a threshold leaves out.
CLOSING_MM = 6.0


def label_lungs(hu: Any) -> Any:
    """Return the lungs of a CT.

    Args:
        hu: SimpleITK image in HU, whose axes run to the patient's left, back and head.

    Returns:
        SimpleITK image on the same grid, uint8, 0 or 1.
    """
    dark = sitk.Cast(hu < LUNG_BELOW_HU, sitk.sitkUInt8)
    # Air around the patient touches the sides of the image; lungs may touch its top and bottom.
    width, height, _ = dark.GetSize()
    outside = sitk.Image(dark.GetSize(), sitk.sitkUInt8)
    outside.CopyInformation(dark)
    outside[0:1, :, :] = outside[width - 1 : width, :, :] = 1
    outside[:, 0:1, :] = outside[:, height - 1 : height, :] = 1
    air = sitk.BinaryReconstructionByDilation(outside * dark, dark)
    airways = find_airways(hu, dark - air)
    one_or_two = InferConfig(components=2, min_component_ml=MIN_LUNG_ML, fill_holes=False)
    inside, _ = tidy(drop_bowel(hu, dark - air), one_or_two)
    radius = [max(1, round(CLOSING_MM / side)) for side in hu.GetSpacing()[:2]]
    closed = sitk.BinaryMorphologicalClosing(inside, [*radius, 0])
    filled = sitk.BinaryFillhole(closed, fullyConnected=False)
    kept, _ = tidy(filled * (1 - airways), one_or_two)
    return kept


def drop_bowel(hu: Any, dark: Any) -> Any:
    """Return a uint8 mask without the connected parts that are small and as dark as gas."""
    parts = sitk.ConnectedComponent(dark)
    within = sitk.Mask(parts, sitk.BinaryErode(dark, [1, 1, 0]))
    statistics = sitk.LabelIntensityStatisticsImageFilter()
    statistics.Execute(within, hu)
    gas = {
        label: 0
        for label in statistics.GetLabels()
        if statistics.GetMedian(label) < GAS_BELOW_HU
        and statistics.GetPhysicalSize(label) / 1000 < MAX_GAS_ML
    }
    return sitk.Cast(sitk.ChangeLabel(parts, gas) > 0, sitk.sitkUInt8)


def find_airways(hu: Any, dark: Any) -> Any:
    """Return a uint8 mask of trachea and main bronchi; empty if they cannot be separated from lung.

    Their air is darker than lung. Of the dark connected parts with the volume of an airway, the
    one that reaches highest is taken.
    """
    air = sitk.Cast(sitk.Median(hu, [1, 1, 1]) < AIRWAY_BELOW_HU, sitk.sitkUInt8) * dark
    parts = sitk.ConnectedComponent(air)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(parts)
    airways = [
        (shape.GetBoundingBox(label)[2] + shape.GetBoundingBox(label)[5], label)
        for label in shape.GetLabels()
        if AIRWAYS_ML[0] <= shape.GetPhysicalSize(label) / 1000 <= AIRWAYS_ML[1]
    ]
    if not airways:
        return dark * 0
    _, label = max(airways)
    # The wall and its blurred edge are removed with the air.
    return sitk.BinaryDilate(sitk.Cast(parts == label, sitk.sitkUInt8), [3, 3, 0])
