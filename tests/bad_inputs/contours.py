"""RTSTRUCT files as masks of DICOM series, which `prepare` meets."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread

from lungseg.imaging.volume_files import read_ct
from tests.bad_inputs.kinds import SOME_FAILED, prepare
from tests.bad_inputs.samples import hu, lungs
from tests.support.dicom_files import write_series
from tests.support.rtstructs import outlines, write_rtstruct


def series_with_contours(folder: Path, structure: str = "Lungs") -> Path:
    """Write a good series, and one called `bad` with its contours; return the file of these."""
    for name in ("good", "bad"):
        slices = write_series(folder / "images" / name, hu())
        shapes = outlines(read_ct(folder / "images" / name).image, lungs())
        called = structure if name == "bad" else "Lungs"
        path = write_rtstruct(folder / "masks" / f"{name}.dcm", {called: shapes}, slices[0])
    return path


@prepare(SOME_FAILED, "bad.dcm: the contours of Lungs lie in the frame of reference 1.2.3")
def contours_of_another_frame(folder: Path) -> None:
    """An RTSTRUCT whose frame of reference is not that of the CT."""
    path = series_with_contours(folder)
    dataset = dcmread(path)
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
    dataset.save_as(path)


@prepare(SOME_FAILED, "bad.dcm: this is not a usable RTSTRUCT")
def contours_cut_short(folder: Path) -> None:
    """An RTSTRUCT that ends in the middle."""
    path = series_with_contours(folder)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@prepare(SOME_FAILED, "bad.dcm: has the structures Heart, none of which is lung")
def contours_of_no_lung(folder: Path) -> None:
    """An RTSTRUCT in which no structure is called lung."""
    series_with_contours(folder, structure="Heart")
