"""Which series of a folder is the CT, and what its UIDs and its patient are."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import dcmread
from pydicom.dataset import FileDataset

from lungseg.errors import DataError
from lungseg.imaging.dicom.frames import frame_headers, read_frames
from lungseg.imaging.dicom.headers import SERIES_UID, read_header
from lungseg.imaging.dicom.scattered import scattered_series
from lungseg.imaging.dicom.series import (
    element_of,
    patient_id,
    pick_series,
    read_dicom,
    series_in,
    series_uid,
    source_files,
)
from tests.support.dicom_files import Change, write_enhanced, write_series
from tests.support.volumes import phantom_arrays

HU, _ = phantom_arrays(6, 16)


def of_kind(modality: str, axes: tuple[float, ...] = (1, 0, 0, 0, 1, 0)) -> Change:
    def change(ct: FileDataset, index: int) -> None:
        ct.Modality, ct.ImageOrientationPatient = modality, list(axes)
        ct.ImagePositionPatient = [float(x) for x in 2.5 * index * np.cross(axes[:3], axes[3:])]

    return change


CORONAL = (1, 0, 0, 0, 0, -1)
STEEP = (1, 0, 0, 0, 0.8, 0.6)  # the cosine to the body's axis is 0.8
FLATTER = (1, 0, 0, 0, 0.85, 0.52678269)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ((2, of_kind("CT", CORONAL)), (6, of_kind("MR"))),  # a CT, whatever its plane
        ((2, of_kind("", CORONAL)), (6, of_kind("MR"))),
        ((2, of_kind("CT")), (6, of_kind("CT", CORONAL))),  # axial, whatever its size
        ((2, of_kind("CT", FLATTER)), (6, of_kind("CT", STEEP))),
        ((6, of_kind("CT")), (5, of_kind("CT"))),
        ((6, of_kind("MR")), (5, of_kind("MR"))),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_series_is_picked_by_kind_then_plane_then_size(
    better: tuple[int, Change], worse: tuple[int, Change], first: bool, tmp_path: Path
) -> None:
    for name, (count, change) in (("b" if first else "d", better), ("c", worse)):
        write_series(tmp_path, HU[:count], change, prefix=name)
    picked, [finding] = pick_series(tmp_path, None, tmp_path, ())
    assert {path.name[0] for path in picked} == {"b" if first else "d"}
    uid = str(dcmread(picked[0]).SeriesInstanceUID)
    assert (finding.code, finding.severity) == ("several_series", "warning")
    assert finding.detail.startswith("2 series: ")
    assert f"{uid} ({better[0]} slices)" in finding.detail
    assert f"took {uid} (infer" in finding.detail
    [other] = {*series_in(tmp_path)} - {uid}
    assert {p.name[0] for p in pick_series(tmp_path, other, tmp_path, ())[0]} == {"c"}


def test_the_files_of_a_series_may_be_given(tmp_path: Path) -> None:
    one, two = (write_series(tmp_path / name, HU[:2]) for name in "ab")
    uid = str(dcmread(one[0]).SeriesInstanceUID)
    for folder, files in ((tmp_path / "a", ()), (tmp_path, one)):
        assert series_uid(folder, files) == uid
        assert patient_id(folder, files) == "SECRET-ID"
        assert pick_series(folder, uid, folder, files)[1] == []
        assert source_files(folder, uid, files) == one
    assert source_files(two[1]) == [two[1]]
    assert pick_series(tmp_path, None, tmp_path, one)[1] == []
    picked, [finding] = pick_series(tmp_path, None, tmp_path, [*one, *two])
    assert picked == [*one, *two]
    assert finding.code == "scattered_series"
    assert finding.detail == "one series of 4 files in 2 folders: a, b"
    with pytest.raises(DataError, match=f"has no series 1.2; it has: {uid}."):
        pick_series(tmp_path, "1.2", tmp_path, one)
    for call in (series_uid, patient_id):
        assert call(tmp_path) == ""
    (tmp_path / "text.dcm").write_text("text")
    assert series_uid(tmp_path, [tmp_path / "text.dcm"]) == ""
    assert element_of(one[0], SERIES_UID) == uid
    assert element_of(one[0], "0018|9999") == ""


def test_the_patient_is_that_of_the_first_series_that_names_one(tmp_path: Path) -> None:
    def nobody(ct: FileDataset, index: int) -> None:
        ct.PatientID = ""

    write_series(tmp_path, HU[:1], nobody, prefix="a")
    assert patient_id(tmp_path) == ""
    write_series(tmp_path, HU[:1], prefix="b")
    assert patient_id(tmp_path) == "SECRET-ID"


def raised(step: float, index: int = 2) -> Change:
    """Return a change that puts one slice at a distance above the one before."""

    def change(ct: FileDataset, number: int) -> None:
        if number >= index:
            ct.ImagePositionPatient = [-20.0, 10.0, 5.0 + 2.5 * (number - 1) + step]

    return change


def test_slices_are_at_one_position_up_to_a_micrometre(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU[[0, 1, 1, 2]], raised(0.0009))
    image, findings = read_dicom(tmp_path / "a")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU[:3])
    assert [finding.code for finding in findings] == ["repeated_slices"]
    assert findings[0].detail.startswith("1 slices are copies")
    write_series(tmp_path / "b", HU[[0, 1, 1, 2]], raised(0.0011))
    with pytest.raises(DataError, match="unevenly spaced"):
        read_dicom(tmp_path / "b")


def test_two_slices_at_one_position_are_named_and_more_are_counted(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", HU[:2], raised(0.0, 1))
    with pytest.raises(DataError, match=rf"({paths[0].name}|{paths[1].name}) and .* different"):
        read_dicom(tmp_path / "a")

    def one_place(ct: FileDataset, index: int) -> None:
        ct.ImagePositionPatient = [1, 2, 3]

    write_series(tmp_path / "b", HU[:3], one_place)
    with pytest.raises(DataError, match="all 3 slices have the same ImagePositionPatient"):
        read_dicom(tmp_path / "b")


def test_copies_of_a_slice_are_counted_from_one(tmp_path: Path) -> None:
    write_series(tmp_path, HU[[0, 0, 1, 1, 1, 2]])
    [finding] = read_dicom(tmp_path)[1]
    assert finding.detail == (
        "3 slices have the same pixels as the slice before; copies? (2, 4, 5)"
    )


def test_frames_of_two_files_are_rescaled_each_by_its_own_first(tmp_path: Path) -> None:
    def rescale(slope: float) -> Change:
        def change(frame: FileDataset, index: int) -> None:
            item = frame.PixelValueTransformationSequence[0]
            item.RescaleSlope, item.RescaleIntercept = slope + index, -1000 - index

        return change

    one = write_enhanced(tmp_path / "one.dcm", HU[:2], rescale(1))
    two = write_enhanced(tmp_path / "two.dcm", HU[2:4], rescale(0.5), first=2)
    headers = [each for path in (one, two) for each in frame_headers(read_header(path))]
    assert [(each.path, each.frame) for each in headers] == [(one, 0), (one, 1), (two, 0), (two, 1)]
    assert [each.height for each in headers] == [5, 7.5, 10, 12.5]
    found = sitk.GetArrayFromImage(read_frames([headers[k] for k in (0, 2, 1, 3)]))
    stored = HU.astype(float) + 1024
    for values, plane, slope, intercept in (
        (found[0], 0, 1, -1000), (found[1], 2, 0.5, -1000),
        (found[2], 1, 2, -1001), (found[3], 3, 1.5, -1001),
    ):  # fmt: skip
        np.testing.assert_array_equal(values, stored[plane] * slope + intercept)


def test_a_frame_keeps_its_direction_spacing_and_place(tmp_path: Path) -> None:
    def tilt(frame: FileDataset, index: int) -> None:
        item = frame.PlaneOrientationSequence[0]
        item.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        place = [-30.0 - 4.0 * index, 10.0, 5.0]
        frame.PlanePositionSequence[0].ImagePositionPatient = place

    path = write_enhanced(tmp_path / "a.dcm", HU[:3], tilt)
    image = read_frames(frame_headers(read_header(path)))
    assert image.GetSpacing() == pytest.approx((0.8, 0.9, 4.0))
    assert image.GetOrigin() == pytest.approx((-30, 10, 5))
    # Columns of the matrix: along the rows, along the columns, across the slices.
    assert image.GetDirection() == (0, 0, -1, 1, 0, 0, 0, -1, 0)
    two = read_frames(frame_headers(read_header(path))[:2])
    assert two.GetSpacing() == pytest.approx((0.8, 0.9, 4.0))
    one = read_frames(frame_headers(read_header(path))[:1])
    assert one.GetSpacing() == pytest.approx((0.8, 0.9, 1.0))


def test_a_series_in_two_folders_is_one_if_no_position_is_taken_twice(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", HU)
    (tmp_path / "b").mkdir()
    upper = [path.rename(tmp_path / "b" / path.name) for path in paths[3:]]
    lower = paths[:3]
    found, findings = scattered_series([{"1": lower, "2": upper[:1]}, {"1": upper}])
    assert found == {"1": [*lower, *upper]}
    assert findings == []
    # A slice at a position of the other folder, and a folder that leaves a gap.
    for second in ([*upper, paths[2]], upper[1:]):
        found, [finding] = scattered_series([{"1": lower}, {"1": second}])
        assert found == {}
        assert (finding.code, finding.path) == ("several_folders", tmp_path / "a")
        assert finding.detail.startswith(f"2 folders have its series UID ({second[0].parent} is")
    assert (
        "slices at the same positions"
        in scattered_series([{"1": lower}, {"1": lower}])[1][0].detail
    )


@pytest.mark.parametrize(("frames", "many"), [(None, None), (1, None), (2, 2)])
def test_a_plain_slice_may_say_that_it_has_one_frame(
    frames: int | None, many: int | None, tmp_path: Path
) -> None:
    def count(ct: FileDataset, index: int) -> None:
        if frames is not None:
            ct.NumberOfFrames = frames
            ct.PixelData = ct.PixelData * frames

    write_series(tmp_path, HU[:2], count)
    assert [read_header(path).frames for path in sorted(tmp_path.iterdir())] == [many, many]
