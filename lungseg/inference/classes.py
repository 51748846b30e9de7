"""The masks of networks with several classes: each class is tidied by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.classes import is_in_lung, is_lung
from lungseg.config.schema import InferConfig
from lungseg.inference.body import Body
from lungseg.inference.postprocess import tidy


def tidy_classes(
    labels: Any, classes: Sequence[str], settings: InferConfig, body: Body
) -> tuple[Any, list[str]]:
    """Tidy each class by itself.

    Of classes that are lung by their name, and of a single class, parts are dropped. Other classes,
    such as airways, nodules or infection, may be air, small and many, so only their holes are
    filled. No class takes voxels from another.

    Args:
        labels: SimpleITK image of class indices.
        classes: their names, background first.
        settings: which of the steps are taken, and their limits.
        body: of the CT on the same grid.
    """
    if len(classes) == 2:
        return tidy(labels, settings, body)
    only_holes = settings.model_copy(
        update={"drop_air": False, "components": 0, "min_component_ml": 0.0}
    )
    values = sitk.GetArrayFromImage(labels)
    kept, filled, steps = np.zeros_like(values), np.zeros_like(values), []
    for index, name in enumerate(classes[1:], 1):
        mask, its_steps = tidy(labels == index, settings if is_lung(name) else only_holes, body)
        tidied = sitk.GetArrayViewFromImage(mask) > 0
        kept[tidied & (values == index)] = index
        filled[tidied & (filled == 0)] = index
        steps += [f"{name}: {step}" for step in its_steps]
    image = sitk.GetImageFromArray(np.where(kept > 0, kept, filled))
    image.CopyInformation(labels)
    return image, steps


def lung_of(labels: Any, classes: Sequence[str]) -> Any:
    """Return a mask of the classes in the lung by their name, or of all if no class is."""
    if len(classes) == 2:
        return labels
    lung = [is_in_lung(name) for name in classes[1:]]
    if all(lung) or not any(lung):
        return sitk.Cast(labels > 0, sitk.sitkUInt8)
    image = sitk.GetImageFromArray(
        np.array([False, *lung], np.uint8)[sitk.GetArrayViewFromImage(labels)]
    )
    image.CopyInformation(labels)
    return image
