"""What the slices of a DICOM series must share is checked in all of them; nothing is made up."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import FileDataset

from lungseg.errors import DataError
from lungseg.imaging.dicom.series import read_dicom
from lungseg.imaging.findings import Finding
from lungseg.imaging.volume_files import read_ct
from tests.support.dicom_files import Change, write_series
from tests.support.volumes import phantom_arrays

HU, _ = phantom_arrays(8)
Chosen = Callable[[int], bool]


def put(chosen: Chosen, **elements: object) -> Change:
    """Return a change that gives elements of the chosen slices new values, or takes them away."""

    def change(ct: FileDataset, index: int) -> None:
        for name, value in elements.items():
            if not chosen(index):
                continue
            if value is None:
                delattr(ct, name)
            else:
                setattr(ct, name, value)

    return change


def every(index: int) -> bool:
    return True


def third(index: int) -> bool:
    return index == 3


def upper(index: int) -> bool:
    return index >= 5


def at(place: Callable[[int], tuple[float, float, float]]) -> Change:
    """Return a change that puts each slice to a position."""

    def change(ct: FileDataset, index: int) -> None:
        ct.ImagePositionPatient = list(place(index))

    return change


def read(folder: Path, change: Change, hu: np.ndarray = HU) -> tuple[sitk.Image, list[Finding]]:
    write_series(folder / "ct", hu, change)
    return read_dicom(folder / "ct")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put(every, PixelSpacing=None), "the slices have no PixelSpacing"),
        (put(third, PixelSpacing=None), r"of 8 slices lack PixelSpacing"),
        (put(every, PixelSpacing=[0, 0]), "gives pixels no size"),
        (put(every, PixelSpacing=""), "the slices have no PixelSpacing"),
        (put(lambda i: i == 0, PixelSpacing=[1.4, 1.4]), r"differ in PixelSpacing \(0.9 x 0.8"),
        (put(upper, PixelSpacing=[1.4, 1.4]), r"differ in PixelSpacing"),
        (put(third, PixelSpacing=[0.8, 0.9]), r"0.8 x 0.9, 0.9 x 0.8"),
        (put(third, PixelSpacing=[0.9, 0.802]), "differ in PixelSpacing"),
        (put(third, ImageOrientationPatient=None), "of 8 slices lack ImageOrientationPatient"),
        (put(every, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "no two perpendicular"),
        (put(upper, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]), "Turned against the others"),
        (put(every, ImagePositionPatient=None), "the slices have no ImagePositionPatient"),
        (put(third, ImagePositionPatient=None), "of 8 slices lack ImagePositionPatient"),
        (put(every, ImagePositionPatient=[0, 0, 0]), "all 8 slices have the same ImagePosition"),
        (put(upper, RescaleSlope=None, RescaleIntercept=None), "of 8 slices lack RescaleSlope"),
        (put(third, RescaleIntercept=None), "lack RescaleSlope and RescaleIntercept"),
        (put(third, RescaleSlope=0), "RescaleSlope is 0"),
    ],
)
def test_a_value_that_must_agree_is_checked_in_all_slices(
    tmp_path: Path, change: Change, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path, change)
    assert caught.value.path == tmp_path / "ct"


def test_a_slice_that_differs_is_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", HU, put(third, PixelSpacing=[1.4, 1.4]))
    with pytest.raises(DataError, match=f"odd: {paths[3].name}"):
        read_dicom(tmp_path / "ct")


def test_spacings_that_differ_by_rounding_are_equal(tmp_path: Path) -> None:
    image, findings = read(tmp_path, put(third, PixelSpacing=[0.90004, 0.79996]))
    assert image.GetSize() == (64, 64, 8)
    assert findings == []


def test_slices_without_orientation_are_taken_as_axial_and_it_is_said(tmp_path: Path) -> None:
    image, findings = read(tmp_path, put(every, ImageOrientationPatient=None))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert [(f.code, f.severity) for f in findings] == [("no_orientation", "warning")]


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_without_orientation_that_cannot_be_axial_are_refused(
    tmp_path: Path, axis: int
) -> None:
    def change(ct: FileDataset, index: int) -> None:
        del ct.ImageOrientationPatient
        ct.ImagePositionPatient = [2.5 * index if axis == k else 7.0 for k in range(3)]

    with pytest.raises(DataError, match=r"no ImageOrientationPatient.*not axial"):
        read(tmp_path, change)


def test_rescale_that_differs_between_slices_is_used_for_each(tmp_path: Path) -> None:
    def change(ct: FileDataset, index: int) -> None:
        if index >= 4:  # half steps, which the type of the first slice cannot hold
            ct.RescaleSlope, ct.RescaleIntercept = 0.5, -1023.5
            ct.PixelData = ((HU[index].astype(np.int16) + 1024) * 2).tobytes()

    image, _ = read(tmp_path, change)
    expected = HU.astype(float)
    expected[4:] += 0.5
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)


@pytest.mark.parametrize("thickness", [12.0, 0.625])
def test_a_single_slice_is_as_high_as_it_is_thick_and_it_is_said(
    tmp_path: Path, thickness: float
) -> None:
    change = put(every, SliceThickness=thickness)
    image, findings = read(tmp_path, change, HU[:1])
    assert image.GetSpacing() == pytest.approx((0.8, 0.9, thickness))
    assert [(f.code, f.severity) for f in findings] == [("slice_thickness", "warning")]
    file = next((tmp_path / "ct").iterdir())
    assert read_ct(file).spacing == pytest.approx((thickness, 0.9, 0.8))


@pytest.mark.parametrize("thickness", [None, 0, ""])
def test_a_single_slice_without_thickness_has_no_height(tmp_path: Path, thickness: object) -> None:
    with pytest.raises(DataError, match="single slice without SliceThickness"):
        read(tmp_path, put(every, SliceThickness=thickness), HU[:1])


def test_a_single_slice_without_position_is_said(tmp_path: Path) -> None:
    image, findings = read(tmp_path, put(every, ImagePositionPatient=None), HU[:1])
    assert image.GetOrigin() == (0, 0, 0)
    assert [f.code for f in findings] == ["no_position", "slice_thickness"]


@pytest.mark.parametrize("step", [0.625, 1.25, 0.75])
def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even(tmp_path: Path, step: float) -> None:
    def place(index: int) -> tuple[float, float, float]:
        return round(-20.04 + 0.003 * index, 1), 10.0, round(5.03 + step * index, 1)

    image, findings = read(tmp_path, at(place))
    assert image.GetSpacing()[2] == pytest.approx(step, abs=0.1 / 7)
    assert findings == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda i: (0, 0, 2.5 * i + 0.3 * (i == 4)), "unevenly spaced"),
        (lambda i: (0, 0, 0.4 * i + 0.15 * (i == 4)), "unevenly spaced"),
        (lambda i: (0, 0, 0.5 * (i + (i > 3))), "1 missing"),
        (lambda i: (0, 0, 5.0 * (i + 2 * (i > 5))), "2 missing"),
        (lambda i: (0, 4.0 * (2 <= i < 5), 2.5 * i), "shifted against each other: .* 4 mm beside"),
        (lambda i: (6.0 * (i >= 4), 0, 2.5 * i), "shifted against each other: .* 6 mm beside"),
        (lambda i: (0.5 * (i == 7), 0, 2.5 * i), "shifted against each other: .* 0.5 mm beside"),
        (lambda i: (0, round(0.4 * i, 1), round(2.5 * i, 1)), "gantry tilt of 9.1 degrees"),
        (lambda i: (-0.06 * i, 0, 1.25 * i), "gantry tilt of 2.7 degrees"),
    ],
)
def test_slices_off_the_grid_are_refused_for_what_they_are(
    tmp_path: Path, place: Callable[[int], tuple[float, float, float]], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, at(place))


def test_steps_that_are_each_near_the_usual_one_may_lead_off_the_grid(tmp_path: Path) -> None:
    def place(index: int) -> tuple[float, float, float]:
        return 0, 0, 2.42 * index + 0.16 * max(0, index - 12)

    with pytest.raises(DataError, match="unevenly spaced"):
        read(tmp_path, at(place), np.concatenate([HU] * 3))


def scout(ct: FileDataset, image_type: str = "AXIAL", lateral: bool = False) -> None:
    """Make a slice a localizer, from the front or from the side."""
    ct.ImageType = ["ORIGINAL", "PRIMARY", image_type]
    ct.ImageOrientationPatient = [0, 1, 0, 0, 0, -1] if lateral else [1, 0, 0, 0, 0, -1]
    ct.ImagePositionPatient = [0, -100.0, 90.0]
    ct.Rows, ct.Columns, ct.PixelSpacing = 32, 64, [2.0, 0.5]
    ct.PixelData = ct.PixelData[: 32 * 64 * 2]


@pytest.mark.parametrize(
    ("scouts", "image_type"), [((7,), "LOCALIZER"), ((7,), "AXIAL"), ((6, 7), "AXIAL")]
)
def test_localizers_in_a_series_are_left_out_and_named(
    tmp_path: Path, scouts: tuple[int, ...], image_type: str
) -> None:
    def change(ct: FileDataset, index: int) -> None:
        if index in scouts:
            scout(ct, image_type, lateral=index == 6)

    paths = write_series(tmp_path / "ct", HU, change)
    image, findings = read_dicom(tmp_path / "ct")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU[: scouts[0]])
    assert [(f.code, f.severity) for f in findings] == [("localizer", "left_out")]
    assert all(paths[index].name in findings[0].detail for index in scouts)


def test_a_localizer_in_the_plane_of_the_slices_is_left_out_by_its_type(tmp_path: Path) -> None:
    change = put(lambda i: i == 7, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    image, findings = read(tmp_path, change)
    assert image.GetSize()[2] == 7
    assert [f.code for f in findings] == ["localizer"]


@pytest.mark.parametrize(("slices", "turned"), [(8, 4), (5, 2), (8, 3)])
def test_much_of_a_series_in_another_plane_is_no_localizer(
    tmp_path: Path, slices: int, turned: int
) -> None:
    def change(ct: FileDataset, index: int) -> None:
        if index >= slices - turned:
            ct.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    with pytest.raises(DataError, match="differ in orientation"):
        read(tmp_path, change, HU[:slices])


def test_a_series_that_begins_with_its_localizer_is_still_the_axial_one(tmp_path: Path) -> None:
    def change(ct: FileDataset, index: int) -> None:
        if index == 0:
            scout(ct, "LOCALIZER")
            ct.ImagePositionPatient = [0, -100.0, -100.0]  # the first along both normals

    write_series(tmp_path / "ct", HU, change, prefix="a")
    write_series(tmp_path / "ct", HU[:3], prefix="b")
    image, findings = read_dicom(tmp_path / "ct")
    assert image.GetSize()[2] == 7
    assert [f.code for f in findings] == ["several_series", "localizer"]


@pytest.mark.parametrize("chosen", [third, upper])
def test_slices_of_two_patients_are_no_volume(chosen: Chosen, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of 2 patients: .* differ in PatientID") as caught:
        read(tmp_path, put(chosen, PatientID="OTHER"))
    assert "SECRET" not in str(caught.value)
    assert "OTHER" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        put(every, PatientID="OTHER"),
        put(every, PatientID=""),
        put(third, PatientID=None),  # an anonymiser that forgot some
        put(third, PatientName="Other spelling"),
    ],
)
def test_one_patient_may_lack_an_identity_in_some_slices(change: Change, tmp_path: Path) -> None:
    image, _ = read(tmp_path, change)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)


def test_a_localizer_of_another_patient_is_left_out(tmp_path: Path) -> None:
    def change(ct: FileDataset, index: int) -> None:
        if index == 7:
            ct.PatientID, ct.ImageType = "OTHER", ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    image, findings = read(tmp_path, change)
    assert (image.GetSize()[2], [f.code for f in findings]) == (7, ["localizer"])
