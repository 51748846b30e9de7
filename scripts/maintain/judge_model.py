"""Compare masks of lungs with labels, in the voxels of the CTs.

The numbers are computed here, apart from `lungseg evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.imaging.labels import UNLABELLED
from lungseg.imaging.volumes import geometry_differences


@dataclass(frozen=True)
class Judged:
    """Counts of one CT.

    Attributes:
        case: its name.
        patient: whose it is.
        slices: number of slices that are labelled.
        slices_without_lung: number of those without lung.
        lung_ml: lung in the label, in mL.
        found_ml: lung in the mask, in mL.
        both_ml: lung in both, in mL.
        false_ml: lung of the mask in slices without lung, in mL.
    """

    case: str
    patient: str
    slices: int
    slices_without_lung: int
    lung_ml: float
    found_ml: float
    both_ml: float
    false_ml: float


def count(case: str, patient: str, truth: sitk.Image, mask: sitk.Image) -> Judged:
    """Count the lung of a mask and its label, which lie on one grid.

    Args:
        case: its name.
        patient: whose it is.
        truth: 0 is background, 255 an unlabelled slice, and all other labels are lung.
        mask: every label above 0 is lung.

    Raises:
        ValueError: if the grids differ.
    """
    if geometry_differences(truth, mask):
        raise ValueError(f"{case}: mask and label lie on different grids.")
    voxel = float(np.prod(truth.GetSpacing())) / 1000
    labels: NDArray[Any] = sitk.GetArrayFromImage(truth)
    known = (labels != UNLABELLED).all(axis=(1, 2))
    lung, found = labels[known] > 0, sitk.GetArrayFromImage(mask)[known] > 0
    empty = ~lung.any(axis=(1, 2))
    return Judged(
        case=case,
        patient=patient,
        slices=int(known.sum()),
        slices_without_lung=int(empty.sum()),
        lung_ml=round(lung.sum() * voxel, 2),
        found_ml=round(found.sum() * voxel, 2),
        both_ml=round((lung & found).sum() * voxel, 2),
        false_ml=round(found[empty].sum() * voxel, 3),
    )


def judge(masks: Path, truth: Path, patients: Mapping[str, str]) -> list[Judged]:
    """Compare the masks of CTs with their labels.

    Args:
        masks: folder of the masks, `CASE.nii.gz`.
        truth: folder of the labels, named alike.
        patients: the CTs to compare, and whose they are.
    """
    return [
        count(case, patient, *(sitk.ReadImage(str(f / f"{case}.nii.gz")) for f in (truth, masks)))
        for case, patient in patients.items()
    ]


def by_patient(cases: Iterable[Judged]) -> list[dict[str, Any]]:
    """Add up the CTs of each patient.

    Returns:
        A row per patient. `dice` is that of all voxels together; it is None if neither mask nor
        label has lung. `false_ml` is what the masks mark in slices without lung, in mL a slice;
        None if there is no such slice. `kind` is `volume` if a CT has several slices.
    """
    gathered: dict[str, list[Judged]] = {}
    for each in cases:
        gathered.setdefault(each.patient, []).append(each)
    return [_add_up(patient, its) for patient, its in gathered.items()]


def _add_up(patient: str, cases: Sequence[Judged]) -> dict[str, Any]:
    lung, found, both, false = (
        sum(getattr(each, name) for each in cases)
        for name in ("lung_ml", "found_ml", "both_ml", "false_ml")
    )
    empty = sum(each.slices_without_lung for each in cases)
    return {
        "patient": patient,
        "kind": "volume" if max(each.slices for each in cases) > 1 else "slices",
        "slices": sum(each.slices for each in cases),
        "slices_without_lung": empty,
        "lung_ml": round(lung, 1),
        "found_ml": round(found, 1),
        "dice": round(2 * both / (lung + found), 4) if lung + found else None,
        "false_ml": round(false / empty, 3) if empty else None,
    }
