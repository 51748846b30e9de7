"""Labels of other tools: which class each of them is.

A label is a whole number above 0 in a volume, or a grey value that fills areas of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import is_lung
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.pixels import Labels
from lungseg.system.wording import some_of

if TYPE_CHECKING:
    # Its module imports SimpleITK, which folders of plain images do not need.
    from lungseg.imaging.volumes import LabelVolume

# Left and right, five lobes, and infection of either.
MOST_LABELS = 8
# In the lung masks of the LUNA16 challenge, 3 and 4 are the lungs and 5 is the trachea.
LUNA16_TRACHEA, LUNA16 = 5, {3, 4, 5}
# In many data sets this label marks what is to be ignored.
IGNORED = 255
# A part of the lungs is neither as dense as this (bone, contrast medium) ...
DENSE_HU = 150.0
# ... nor both small and as empty as the air in the trachea, which is below the lungs by this much.
AIR_HU, BELOW_LUNG_HU, SMALL_PART = -950.0, 40.0, 0.05
# ... nor both large and without air, as the heart and fluid are. Smaller ones may be tumours.
AERATED_HU, SOLID, LARGE_ML = -300.0, 0.95, 100.0
# Of the voxels of a lung mask, a larger share than this has air. In healthy lungs it is above 0.9.
LEAST_AERATED = 0.7
MOST_SHOWN = 12
# A slice of a volume that has this label everywhere is not labelled. No lung fills a whole slice.
UNLABELLED = 255


def classes_of(
    found: Mapping[int, str],
    classes: Sequence[str],
    wanted: Mapping[str, Sequence[int]],
    path: Path | None,
    noun: str = "label",
) -> tuple[dict[int, int], Finding]:
    """Return the class index of each label that a mask holds.

    Args:
        found: the labels, each with its size for the message.
        classes: names of the classes, background first.
        wanted: `data.labels`. Labels that it does not name are background. Without any, all
            labels are the only foreground class.
        path: the mask's file.
        noun: what a label is called in this file.

    Raises:
        DataError: if it cannot be said which labels belong to which class.
    """
    if wanted:
        index = {
            each: list(classes).index(name) for name, codes in wanted.items() for each in codes
        }
        if not any(label in index for label in found):
            raise DataError(
                path, f"holds the {_listed(found, noun)}, none of which data.labels names."
            )
        assigned = {label: index.get(label, 0) for label in found}
        detail = "; ".join(
            f"{noun} {label} ({size}) is {classes[assigned[label]]}"
            for label, size in found.items()
        )
        return assigned, Finding("labels_mapped", "repaired", detail, path)
    if len(classes) > 2:
        raise DataError(
            path,
            f"holds the {_listed(found, noun)}, but data.rgb_map has {len(classes)} classes. "
            f"Name the labels of each class, for example data.labels: "
            f"{{{classes[1]}: [1], {classes[2]}: [2]}}.",
        )
    if len(found) > MOST_LABELS:
        raise _other_anatomy(found, classes, path, noun, "That is more than lungs alone have")
    if LUNA16_TRACHEA in found and len(found) > 1 and set(found) <= LUNA16:
        reason = "In LUNA16's masks 3 and 4 are the lungs and 5 is the trachea"
        raise _other_anatomy(found, classes, path, noun, reason)
    if IGNORED in found and len(found) > 1 and sorted(found)[-2] <= MOST_LABELS:
        reason = f"Label {IGNORED} beside such small ones often marks what is to be ignored"
        raise _other_anatomy(found, classes, path, noun, reason)
    listed = ", ".join(f"{label} ({size})" for label, size in found.items())
    detail = f"{noun}s taken together as {classes[1]}: {listed}"
    return dict.fromkeys(found, 1), Finding("labels_merged", "repaired", detail, path)


def _listed(found: Mapping[int, str], noun: str) -> str:
    return f"{noun}{'s' if len(found) > 1 else ''} {some_of(list(found), MOST_SHOWN)}"


def _other_anatomy(
    found: Mapping[int, str], classes: Sequence[str], path: Path | None, noun: str, reason: str
) -> DataError:
    return DataError(
        path,
        f"holds the {_listed(found, noun)}. {reason}. Name those that are {classes[1]}, for "
        f"example data.labels: {{{classes[1]}: [3, 4]}}.",
    )


def without_unlabelled(mask: LabelVolume) -> tuple[LabelVolume, Any | None]:
    """Return a mask with 0 in the slices that are not labelled, and where these are.

    Returns:
        The mask; and a SimpleITK image of 0 and 1 on its grid, None if all slices are labelled.
    """
    labels = mask.labels
    whole = (labels == UNLABELLED).all(axis=(1, 2))
    if not whole.any():
        return mask, None
    where = np.zeros(labels.shape, np.uint8)
    where[whole] = 1
    labelled = np.where(where > 0, 0, labels).astype(np.uint8)
    return mask.with_labels(labelled), mask.with_labels(where).image


def map_labels(
    mask: LabelVolume, data: DataConfig, path: Path, *, own: bool = False
) -> tuple[LabelVolume, list[Finding]]:
    """Turn labels into class indices as `data.labels` says.

    Args:
        mask: the labels of the file.
        data: without `data.labels`, nothing is changed.
        path: the file.
        own: whether the file may already hold class indices, as this program writes them. Labels
            that are all below the number of classes then stay.

    Raises:
        DataError: if `data.labels` names none of the labels.
    """
    labels = mask.labels
    found = _sizes(labels, mask.voxel_ml)
    if not data.labels or not found or (own and max(found) < len(data.rgb_map)):
        return mask, []
    assigned, finding = classes_of(found, list(data.rgb_map), data.labels, path)
    return mask.with_labels(_assign(labels, assigned)), [finding]


def merge_labels(
    mask: LabelVolume, data: DataConfig, path: Path, hu: NDArray[Any] | None = None
) -> tuple[LabelVolume, list[Finding]]:
    """Fit labels to the classes.

    With a single foreground class, all labels are that class: a mask of left and right lung is a
    mask of lung. That is reported.

    Args:
        mask: the labels, after `map_labels`.
        data: gives the classes.
        path: the file.
        hu: the CT `(D, H, W)` on the same grid. With it, labels that are not as lung is are
            refused.

    Raises:
        DataError: if a label is above the classes and there are several foreground classes, or if
            some of the labels are not lung.
    """
    labels = mask.labels
    if labels.max(initial=0) < len(data.rgb_map):
        return mask, []
    found, classes = _sizes(labels, mask.voxel_ml), list(data.rgb_map)
    assigned, finding = classes_of(found, classes, {}, path)
    reason = ""
    if hu is not None and len(found) > 1:
        reason = _unlike_lung(labels, hu, list(found), mask.voxel_ml)
    if reason:
        raise _other_anatomy(found, classes, path, "label", reason)
    return mask.with_labels(_assign(labels, assigned)), [finding]


def _sizes(labels: Labels, voxel_ml: float) -> dict[int, str]:
    """Return the labels present, in order, each with its volume as text."""
    counts = np.bincount(labels.ravel(), minlength=256)
    present = [int(label) for label in np.flatnonzero(counts) if label]
    return {label: f"{counts[label] * voxel_ml:.1f} mL" for label in present}


def _assign(labels: Labels, assigned: Mapping[int, int]) -> Labels:
    table = np.zeros(256, np.uint8)
    table[list(assigned)] = list(assigned.values())
    return table[labels]


def look_for_air(
    labels: Labels, hu: NDArray[Any], classes: Sequence[str], path: Path
) -> list[Finding]:
    """Return a finding if the lungs of a mask have little air in their CT.

    Then the mask may be that of another structure or patient, or lie in the wrong place.

    Args:
        labels: class indices `(D, H, W)`.
        hu: the CT on the same grid.
        classes: their names, background first. Those that are not lung by their name do not count.
        path: the mask's file.
    """
    lung = np.array([index > 0 and is_lung(name) for index, name in enumerate(classes)])
    values = hu[lung[labels]]
    share = float((values < AERATED_HU).mean()) if values.size else 1.0
    if share >= LEAST_AERATED:
        return []
    detail = (
        f"only {share:.0%} of the mask's voxels are below {AERATED_HU:.0f} HU, as lung with air "
        "is; is this the mask of these lungs?"
    )
    return [Finding("mask_without_air", "warning", detail, path)]


def _unlike_lung(labels: Labels, hu: NDArray[Any], found: Sequence[int], voxel_ml: float) -> str:
    """Return how a label differs from lung, as a sentence without its full stop; or no text."""
    values = {label: hu[labels == label] for label in found}
    of_all = float(np.median(np.concatenate(list(values.values()))))
    total = sum(each.size for each in values.values())
    for label, each in values.items():
        median = float(np.median(each))
        if median > DENSE_HU:
            return f"Label {label} has a median of {median:.0f} HU, as bone or contrast medium has"
        ml, solid = each.size * voxel_ml, float((each > AERATED_HU).mean())
        if ml > LARGE_ML and solid > SOLID:
            return f"Label {label} has {ml:.0f} mL without air, as the heart or fluid has"
        small = each.size < SMALL_PART * total
        if small and median < min(AIR_HU, of_all - BELOW_LUNG_HU):
            return f"Label {label} has a median of {median:.0f} HU, as the air in the trachea has"
    return ""
