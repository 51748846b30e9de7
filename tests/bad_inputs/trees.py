"""Trees of PATIENT/STUDY/SERIES folders with files in the wrong place or names that collide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from lungseg.imaging.pixels import encode_png
from tests.bad_inputs.kinds import DONE, SOME_FAILED, infer, prepare
from tests.bad_inputs.samples import hu, lungs, phantom, png, volume
from tests.support.dicom_files import Change, write_series


def tree(folder: Path, *patients: str) -> list[Path]:
    """Write a series for each patient and return the folders of the series."""
    places = [folder / "tree" / patient / "STUDY" / "SERIES" for patient in patients]
    for place in places:
        write_series(place, hu())
    return places


def of_patient(name: str, first: int = 0, **also: str) -> Change:
    """Return a change that gives slices to another patient, from the position of a slice on."""

    def change(ct: Any, index: int) -> None:
        ct.PatientID, ct.PatientName = name, name
        ct.ImagePositionPatient = [-20.0, 10.0, 5.0 + 2.5 * (first + index)]
        for keyword, value in also.items():
            setattr(ct, keyword, value)

    return change


@infer("tree", DONE, "series")
def tree_of_mixed_patients(folder: Path) -> None:
    """A tree with the series of two patients in one folder: the larger is read, with a warning."""
    [first, _] = tree(folder, "PAT1", "PAT2")
    write_series(first, hu()[:3], of_patient("OTHER"), prefix="other")


@infer("tree", SOME_FAILED, "PAT1")
def tree_of_patients_in_one_series(folder: Path) -> None:
    """A tree with slices of two patients in one folder, under one SeriesInstanceUID."""
    [first, _] = tree(folder, "PAT1", "PAT2")
    for path in first.iterdir():
        path.unlink()
    for name, top in (("A", 0), ("B", 6)):
        change = of_patient(name, top, SeriesInstanceUID="1.2.3")
        write_series(first, hu(), change, prefix=name)


@infer("tree", SOME_FAILED, "PAT1")
def tree_of_patients_at_one_place(folder: Path) -> None:
    """The same, with slices of both patients at the same positions."""
    [first, _] = tree(folder, "PAT1", "PAT2")
    for path in first.iterdir():
        path.unlink()
    for name, values in (("A", hu()), ("B", hu()[::-1])):
        write_series(first, values, of_patient(name, SeriesInstanceUID="1.2.3"), prefix=name)


@infer("tree", DONE, "left out")
def tree_with_localizer(folder: Path) -> None:
    """A tree with a localizer in a series folder: left out, with a warning."""

    def one_series(ct: Any, index: int) -> None:
        ct.SeriesInstanceUID = "1.2.3"

    def localizer(ct: Any, index: int) -> None:
        one_series(ct, index)
        ct.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        ct.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    place = folder / "tree" / "PAT1" / "STUDY" / "SERIES"
    write_series(place, hu(), one_series)
    write_series(place, hu()[:1], localizer, prefix="scout")


@infer("tree", DONE)
def tree_of_names_that_collide(folder: Path) -> None:
    """A tree whose folders give two inputs one name, a_b/c and a/b_c: both are read."""
    for name in ("a_b/c.png", "a/b_c.png"):
        (folder / "tree" / name).parent.mkdir(parents=True)
        (folder / "tree" / name).write_bytes(png())


@infer("tree", SOME_FAILED, "PAT2")
def tree_with_damaged_series(folder: Path) -> None:
    """A tree with a series that lacks a slice: the others are read."""
    _, second = tree(folder, "PAT1", "PAT2")
    sorted(second.iterdir())[2].unlink()


@prepare(DONE, "orphan")
def tree_of_masks_without_a_patient(folder: Path) -> None:
    """Trees of images and masks, with a mask that lies in another patient's folder: reported."""
    good = encode_png(phantom()[1] * np.uint8(255))
    for patient, mask in (("P1", "P1"), ("P2", "P3")):
        for kind, place, content in (("images", patient, png()), ("masks", mask, good)):
            (folder / kind / place).mkdir(parents=True)
            (folder / kind / place / "a.png").write_bytes(content)


@prepare(DONE, "")
def tree_of_volumes_and_series(folder: Path) -> None:
    """Trees of images and masks, one CT as DICOM series, one as NIfTI: read."""
    write_series(folder / "images" / "P1" / "CT", hu())
    (folder / "masks" / "P1").mkdir(parents=True)
    labels = volume(lungs())
    labels.SetSpacing((0.8, 0.9, 2.5))
    labels.SetOrigin((-20.0, 10.0, 5.0))
    sitk.WriteImage(labels, str(folder / "masks" / "P1" / "CT.nii.gz"))
    for kind, image in (("images", volume()), ("masks", volume(lungs()))):
        (folder / kind / "P2").mkdir()
        sitk.WriteImage(image, str(folder / kind / "P2" / "ct.nii.gz"))
