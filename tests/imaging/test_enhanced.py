"""Enhanced multi-frame CT is read frame by frame: position, spacing and rescale of each."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from lungseg.errors import DataError
from lungseg.imaging.dicom.segmentation import write_dicom_seg
from lungseg.imaging.dicom.series import read_dicom
from lungseg.imaging.volume_files import read_ct
from tests.support.dicom_files import Change, write_enhanced, write_series
from tests.support.volumes import phantom_arrays

HU, _ = phantom_arrays(8)


def assert_right(image: sitk.Image, hu: np.ndarray = HU) -> None:
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), hu)
    assert image.GetSpacing() == pytest.approx((0.8, 0.9, 2.5))
    assert image.GetOrigin() == pytest.approx((-20.0, 10.0, 5.0))
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def put(sequence: str, index: int | None = None, **elements: object) -> Change:
    """Return a change of elements of a sequence, in one frame or in all."""

    def change(frame: Dataset, number: int) -> None:
        if index is None or number == index:
            for name, value in elements.items():
                setattr(frame[sequence][0], name, value)

    return change


def test_the_frames_of_a_file_are_a_volume(tmp_path: Path) -> None:
    ct = read_ct(write_enhanced(tmp_path / "ct.dcm", HU))
    assert_right(ct.image)
    assert ct.findings == []


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_frames_lie_where_they_say_not_in_their_order(tmp_path: Path, syntax: str | None) -> None:
    order = np.random.default_rng(1).permutation(len(HU))

    def place(frame: Dataset, index: int) -> None:
        height = 5.0 + 2.5 * float(order[index])
        frame.PlanePositionSequence[0].ImagePositionPatient = [-20.0, 10.0, height]

    path = write_enhanced(tmp_path / "ct.dcm", HU[order], place)
    if syntax:
        ct = dcmread(path)
        ct.compress(syntax)
        ct.save_as(path)
    assert_right(read_ct(path).image)


def test_what_all_frames_share_may_be_in_the_shared_group(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", HU)
    ct = dcmread(path)
    shared = Dataset()
    for frame in ct.PerFrameFunctionalGroupsSequence:
        for name in list(frame.dir("Sequence")):
            if name != "PlanePositionSequence":
                setattr(shared, name, frame[name].value)
                delattr(frame, name)
    ct.SharedFunctionalGroupsSequence = [shared]
    ct.save_as(path)
    assert_right(read_ct(path).image)


def test_each_frame_is_rescaled_by_its_own_numbers(tmp_path: Path) -> None:
    def rescale(frame: Dataset, index: int) -> None:
        item = frame.PixelValueTransformationSequence[0]
        item.RescaleSlope, item.RescaleIntercept = 1 + 0.5 * (index == 5), -1024 - 10 * index

    image = read_ct(write_enhanced(tmp_path / "ct.dcm", HU, rescale)).image
    stored = HU.astype(float) + 1024
    stored[5] *= 1.5
    expected = stored - 1024 - 10 * np.arange(8)[:, None, None]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)


def test_a_series_in_several_files_is_one_volume(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "a.dcm", HU[5:], first=5)
    write_enhanced(tmp_path / "ct" / "b.dcm", HU[:5])
    image, findings = read_dicom(tmp_path / "ct")
    assert_right(image)
    assert findings == []


def test_files_of_a_series_that_overlap_are_used_once(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "a.dcm", HU[4:], first=4)
    write_enhanced(tmp_path / "ct" / "b.dcm", HU[:6])
    image, findings = read_dicom(tmp_path / "ct")
    assert_right(image)
    assert [finding.code for finding in findings] == ["repeated_slices"]


def test_files_of_a_series_may_have_other_rescales(tmp_path: Path) -> None:
    double = put("PixelValueTransformationSequence", RescaleSlope=0.5, RescaleIntercept=-1024)
    write_enhanced(tmp_path / "ct" / "a.dcm", (HU[5:] + 1024) * 2 - 1024, double, first=5)
    write_enhanced(tmp_path / "ct" / "b.dcm", HU[:5])
    assert_right(read_dicom(tmp_path / "ct")[0])


def test_series_are_ranked_by_their_slices_not_by_their_files(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "IM1.dcm", HU)
    write_series(tmp_path / "ct", HU[:3])
    image, findings = read_dicom(tmp_path / "ct")
    assert_right(image)
    assert [finding.code for finding in findings] == ["several_series"]
    assert "(8 slices)" in findings[0].detail


def test_a_single_frame_is_a_slice(tmp_path: Path) -> None:
    ct = read_ct(write_enhanced(tmp_path / "ct.dcm", HU[:1]))
    assert_right(ct.image, HU[:1])
    assert [finding.code for finding in ct.findings] == ["slice_thickness"]


def test_frames_of_a_localizer_are_left_out(tmp_path: Path) -> None:
    def localizer(frame: Dataset, index: int) -> None:
        if index == 7:
            frame.CTImageFrameTypeSequence = [Dataset()]
            kind = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
            frame.CTImageFrameTypeSequence[0].FrameType = kind

    ct = read_ct(write_enhanced(tmp_path / "ct.dcm", HU, localizer))
    assert_right(ct.image, HU[:7])
    assert "ct.dcm (frame 8)" in ct.findings[0].detail


def drop_position(frame: Dataset, index: int) -> None:
    del frame.PlanePositionSequence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("PixelMeasuresSequence", 3, PixelSpacing=[1.4, 1.4]), "differ in PixelSpacing"),
        (put("PixelMeasuresSequence", PixelSpacing=None), "no PixelSpacing"),
        (put("PlanePositionSequence", 2, ImagePositionPatient=[-20, 10, 7.5]), "frame 2.*frame 3"),
        (put("PlanePositionSequence", 4, ImagePositionPatient=[-20, 10, 15.7]), "unevenly spaced"),
        (put("PlaneOrientationSequence", 4, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), "differ"),
        (drop_position, "no ImagePositionPatient"),
    ],
)
def test_frames_that_form_no_volume_are_refused(tmp_path: Path, change: Change, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_ct(write_enhanced(tmp_path / "ct.dcm", HU, change))


@pytest.mark.parametrize("kept", [0, 5])
def test_a_file_that_does_not_say_where_its_frames_lie_is_refused(
    tmp_path: Path, kept: int
) -> None:
    path = write_enhanced(tmp_path / "ct.dcm", HU)
    ct = dcmread(path)
    ct.PerFrameFunctionalGroupsSequence = ct.PerFrameFunctionalGroupsSequence[:kept]
    ct.save_as(path)
    with pytest.raises(DataError, match=f"holds 8 frames, but says where {kept} of them lie"):
        read_ct(path)


def test_no_dicom_seg_is_written_of_frames(tmp_path: Path) -> None:
    ct = read_ct(write_enhanced(tmp_path / "ct.dcm", HU))
    labels = sitk.Cast(ct.canonical < -500, sitk.sitkUInt8)
    remarks = write_dicom_seg(tmp_path / "ct.dcm", ct, labels, tmp_path / "seg.dcm")
    assert "one slice per file" in remarks[0]
    assert not (tmp_path / "seg.dcm").exists()
