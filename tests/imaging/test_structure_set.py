"""An RTSTRUCT holds the outlines of each side, and other readers find the mask in them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from pydicom import dcmread

from lungseg.config.schema import DataConfig
from lungseg.imaging.dicom.structure_set import write_structure_set
from lungseg.imaging.structures import read_structures
from lungseg.imaging.volume_files import read_ct
from lungseg.imaging.volumes import Ct
from tests.support.dicom_files import Change, nothing, write_series
from tests.support.volumes import image_of

SHAPE = (6, 48, 56)
SIDES = {"Lung_L": 1, "Lung_R": 2, "Lung": 3}
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.8, -0.6, 0, 0.6, 0.8, 0),
}


def turned(orientation: tuple[float, ...]) -> Change:
    """Return the change that turns a series, slice by slice along its own normal."""

    def change(ct: Any, index: int) -> None:
        normal = np.cross(orientation[:3], orientation[3:])
        ct.ImageOrientationPatient = list(orientation)
        ct.ImagePositionPatient = [round(x, 6) for x in (-20, 10, 5) + 2.5 * index * normal]

    return change


def lungs() -> NDArray[np.uint8]:
    """Return two lungs with holes, an island, single pixels and a part at the border."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    labels = np.zeros(SHAPE, np.uint8)
    for label, middle in ((1, 14), (2, 42)):
        away = np.hypot((rows - 22) / 1.6, columns - middle)
        labels[1:5, (away < 11) & ~((away > 3) & (away < 6))] = label
    labels[2, 20:23, 6:9] = 0
    labels[3, 45, 3] = labels[3, 46, 4] = 1
    labels[4, 44:48, 50:56] = 3
    return labels


def hounsfield() -> NDArray[np.int16]:
    """Return a CT of them: lung in soft tissue in air."""
    hu = np.where(lungs() > 0, -850, 40).astype(np.int16)
    hu[:, :, 28] = -1000
    return hu


def written(
    folder: Path, change: Change = nothing, *, sides: bool = True
) -> tuple[Path, Ct, NDArray[np.uint8]]:
    """Write a series and the RTSTRUCT of `lungs`, and return it, the CT and the labels on it."""
    write_series(folder / "case", hounsfield(), change)
    ct = read_ct(folder / "case")
    labels = lungs() if sides else (lungs() > 0).astype(np.uint8)
    image = image_of(labels)
    image.CopyInformation(ct.image)
    canonical = sitk.DICOMOrient(image, "LPS")
    path = folder / "rs" / "case.dcm"
    assert write_structure_set(folder / "case", ct, canonical, path, sides=sides) == []
    return path, ct, labels


def filled(path: Path, series: Path, name: str) -> dict[float, NDArray[np.bool_]]:
    """Draw a structure by pydicom and Matplotlib, in the slices that it refers to.

    Each pixel is placed in the patient by the equation of DICOM PS3.3, C.7.6.2.1.1, and tested
    there. Returns the mask of each slice by its InstanceNumber.
    """
    slices = {dcmread(file).SOPInstanceUID: dcmread(file) for file in series.iterdir()}
    dataset = dcmread(path)
    [number] = [r.ROINumber for r in dataset.StructureSetROISequence if r.ROIName == name]
    [roi] = [r for r in dataset.ROIContourSequence if r.ReferencedROINumber == number]
    found = {ct.InstanceNumber: np.zeros(SHAPE[1:], bool) for ct in slices.values()}
    for contour in roi.ContourSequence:
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        assert contour.NumberOfContourPoints == len(contour.ContourData) // 3
        ct = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        x, y = np.array(ct.ImageOrientationPatient, float).reshape(2, 3)
        rows, columns = np.mgrid[: ct.Rows, : ct.Columns]
        down, across = map(float, ct.PixelSpacing)
        place = np.array(ct.ImagePositionPatient, float)
        points = np.array(contour.ContourData, float).reshape(-1, 3) - place
        assert np.abs(points @ np.cross(x, y)).max() < 1e-3  # it lies in its slice
        centres = columns.ravel()[:, None] * across * x + rows.ravel()[:, None] * down * y
        plane = np.array([x, y]).T
        outline = np.vstack([points, points[:1]]) @ plane
        inside = Outline(outline, closed=True).contains_points(centres @ plane)
        assert not (found[ct.InstanceNumber] & inside.reshape(SHAPE[1:])).any()
        found[ct.InstanceNumber] |= inside.reshape(SHAPE[1:])
    return found


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_another_implementation_finds_each_side_with_its_holes(
    orientation: str, tmp_path: Path
) -> None:
    path, _, labels = written(tmp_path, turned(ORIENTATIONS[orientation]))
    for name, label in SIDES.items():
        found = filled(path, tmp_path / "case", name)
        drawn = np.stack([found[number] for number in sorted(found)])
        np.testing.assert_array_equal(drawn, labels == label, err_msg=name)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_our_own_reader_finds_the_mask(orientation: str, tmp_path: Path) -> None:
    path, ct, labels = written(tmp_path, turned(ORIENTATIONS[orientation]))
    volume, findings = read_structures(path, ct.image, DataConfig())
    assert findings[0].detail == "lung: Lung_L, Lung_R, Lung"
    assert findings[1:] == []
    back = sitk.GetArrayFromImage(sitk.Resample(volume.image, ct.image, sitk.Transform(), 1, 0))
    np.testing.assert_array_equal(back[1:5] > 0, labels[1:5] > 0)


def test_names_and_colours_tell_the_sides_apart(tmp_path: Path) -> None:
    dataset = dcmread(written(tmp_path)[0])
    rois = {int(roi.ROINumber): roi for roi in dataset.StructureSetROISequence}
    assert {n: (r.ROIName, r.ROIGenerationAlgorithm) for n, r in rois.items()} == {
        1: ("Lung_L", "AUTOMATIC"),
        2: ("Lung_R", "AUTOMATIC"),
        3: ("Lung", "AUTOMATIC"),
    }
    colours = [tuple(roi.ROIDisplayColor) for roi in dataset.ROIContourSequence]
    assert len(set(colours)) == 3
    meanings = [
        observed.RTROIIdentificationCodeSequence[0].CodeMeaning
        for observed in dataset.RTROIObservationsSequence
    ]
    assert meanings == ["Left lung", "Right lung", "Lung"]
    assert [o.ReferencedROINumber for o in dataset.RTROIObservationsSequence] == [1, 2, 3]
    dataset = dcmread(written(tmp_path / "whole", sides=False)[0])
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["Lungs"]


def test_a_side_without_lung_has_a_name_and_no_contour(tmp_path: Path) -> None:
    write_series(tmp_path / "case", hounsfield())
    ct = read_ct(tmp_path / "case")
    image = image_of(np.where(lungs() == 2, 2, 0).astype(np.uint8))
    image.CopyInformation(ct.image)
    path = tmp_path / "rs.dcm"
    assert write_structure_set(tmp_path / "case", ct, image, path, sides=True) == []
    dataset = dcmread(path)
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["Lung_L", "Lung_R"]
    assert ["ContourSequence" in roi for roi in dataset.ROIContourSequence] == [False, True]


def test_it_repeats_the_patient_and_refers_to_study_series_and_slices(tmp_path: Path) -> None:
    def of_person(ct: Any, index: int) -> None:
        ct.SpecificCharacterSet, ct.PatientName = "ISO_IR 192", "Müller^Zoë"
        ct.PatientAge, ct.StudyDate = "061Y", "20240229"

    path, _, _ = written(tmp_path, of_person)
    dataset = dcmread(path)
    series = [dcmread(file) for file in (tmp_path / "case").iterdir()]
    same = ("PatientName", "PatientID", "PatientAge", "StudyInstanceUID", "StudyDate")
    for name in (*same, "FrameOfReferenceUID"):
        assert getattr(dataset, name) == getattr(series[0], name), name
    assert dataset.SeriesInstanceUID != series[0].SeriesInstanceUID
    [frame] = dataset.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == series[0].FrameOfReferenceUID
    [study] = frame.RTReferencedStudySequence
    assert study.ReferencedSOPInstanceUID == series[0].StudyInstanceUID
    [referenced] = study.RTReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == series[0].SeriesInstanceUID
    slices = [image.ReferencedSOPInstanceUID for image in referenced.ContourImageSequence]
    assert sorted(slices) == sorted(ct.SOPInstanceUID for ct in series)
    uids = {roi.ReferencedFrameOfReferenceUID for roi in dataset.StructureSetROISequence}
    assert uids == {series[0].FrameOfReferenceUID}
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert dataset.ApprovalStatus == "UNAPPROVED"


@pytest.mark.parametrize("missing", ["PatientID", "FrameOfReferenceUID", "StudyInstanceUID"])
def test_a_stripped_header_is_named_and_nothing_is_written(missing: str, tmp_path: Path) -> None:
    def strip(ct: Any, index: int) -> None:
        delattr(ct, missing)

    write_series(tmp_path / "case", hounsfield(), strip)
    ct = read_ct(tmp_path / "case")
    path = tmp_path / "rs" / "case.dcm"
    remarks = write_structure_set(tmp_path / "case", ct, ct.canonical < 0, path)
    assert remarks == [f"no RTSTRUCT: the series has no {missing}"]
    assert not path.parent.exists()
    empty = sitk.Cast(ct.canonical > 500, sitk.sitkUInt8)
    assert write_structure_set(tmp_path / "case", ct, empty, path) == [
        "no RTSTRUCT: no lung was found"
    ]
