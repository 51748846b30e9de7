"""A DICOM series is read in HU and in order, and what would make its volume wrong is an error."""

import math
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from lungseg.errors import DataError
from lungseg.imaging.dicom.series import read_dicom, series_in
from lungseg.imaging.volume_files import read_ct
from tests.support.dicom_files import Change, write_series
from tests.support.volumes import phantom_arrays

HU, _ = phantom_arrays(6)


def test_a_series_comes_back_in_hu_in_order_with_its_geometry(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", HU)
    image, findings = read_dicom(tmp_path / "ct")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)
    assert image.GetSpacing() == pytest.approx((0.8, 0.9, 2.5))
    assert image.GetOrigin() == pytest.approx((-20.0, 10.0, 5.0))
    assert findings == []


def test_the_order_of_file_names_does_not_matter(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", HU)
    assert [path.name for path in paths] != sorted(path.name for path in paths)


def test_of_several_series_the_largest_ct_is_taken_and_said(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", HU, prefix="a")

    def scout(ct: FileDataset, index: int) -> None:
        ct.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        ct.ImagePositionPatient = [0, 3.0 * index, 0]

    write_series(tmp_path / "ct", np.concatenate([HU, HU]), scout, prefix="b", step=3.0)
    image, findings = read_dicom(tmp_path / "ct")
    assert image.GetSize()[2] == 6
    assert [finding.code for finding in findings] == ["several_series"]
    other = next(uid for uid, files in series_in(tmp_path / "ct").items() if len(files) == 12)
    assert other in findings[0].detail
    picked, _ = read_dicom(tmp_path / "ct", other)
    assert picked.GetSize()[2] == 12
    with pytest.raises(DataError, match=r"has no series 1\.2\.3"):
        read_dicom(tmp_path / "ct", "1.2.3")


def defect(name: str) -> tuple[Change, str]:
    def missing_slice(ct: FileDataset, index: int) -> None:
        if index >= 3:
            ct.ImagePositionPatient = [-20.0, 10.0, 5.0 + 2.5 * (index + 1)]

    def uneven(ct: FileDataset, index: int) -> None:
        if index == 3:
            ct.ImagePositionPatient = [-20.0, 10.0, 5.0 + 2.5 * index + 0.7]

    def tilt(ct: FileDataset, index: int) -> None:
        ct.ImagePositionPatient = [-20.0, 10.0 + 0.4 * index, 5.0 + 2.5 * index]

    def size(ct: FileDataset, index: int) -> None:
        if index == 2:
            ct.Rows, ct.PixelData = 32, ct.PixelData[: 32 * 64 * 2]

    def orientation(ct: FileDataset, index: int) -> None:
        if index == 2:
            ct.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]

    def modality(ct: FileDataset, index: int) -> None:
        ct.Modality = "MR"

    def phases(ct: FileDataset, index: int) -> None:
        if index == 3:
            ct.ImagePositionPatient = [-20.0, 10.0, 5.0 + 2.5 * 2]

    return {
        "missing slice": (missing_slice, r"5 mm between .*\(1 missing\)"),
        "uneven spacing": (uneven, "unevenly spaced"),
        "gantry tilt": (tilt, r"gantry tilt of 9\.\d degrees"),
        "sizes": (size, "differ in size: 5 of 64 x 64, 1 of 64 x 32"),
        "orientations": (orientation, "differ in orientation"),
        "not CT": (modality, "expected CT, found Modality MR"),
        "two slices at one place": (phases, "different slices at one position"),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["missing slice", "uneven spacing", "gantry tilt", "sizes", "orientations", "not CT",
     "two slices at one place"],
)  # fmt: skip
def test_what_makes_a_volume_wrong_is_an_error(tmp_path: Path, name: str) -> None:
    change, said = defect(name)
    write_series(tmp_path / "ct", HU, change)
    with pytest.raises(DataError, match=said) as caught:
        read_dicom(tmp_path / "ct")
    assert str(tmp_path / "ct") in str(caught.value)


@pytest.mark.parametrize("along", ["x", "y"])
@pytest.mark.parametrize(
    ("degrees", "is_read"), [(0.4, True), (-0.4, True), (0.6, False), (-0.6, False)]
)
def test_a_gantry_may_be_tilted_by_half_a_degree(
    degrees: float, is_read: bool, along: str, tmp_path: Path
) -> None:
    def tilt(ct: FileDataset, index: int) -> None:
        shift = round(2.5 * index * math.tan(math.radians(degrees)), 6)
        x, y = (shift, 0.0) if along == "x" else (0.0, shift)
        ct.ImagePositionPatient = [-20.0 + x, 10.0 + y, 5.0 + 2.5 * index]

    write_series(tmp_path / "ct", HU, tilt)
    if is_read:
        assert read_dicom(tmp_path / "ct")[0].GetSize()[2] == 6
        return
    with pytest.raises(DataError, match=r"gantry tilt of 0\.6 degrees"):
        read_dicom(tmp_path / "ct")


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.06, None), (-0.06, None), (0.2, "unevenly spaced"), (-0.2, "unevenly spaced"),
     (0.4, "unevenly spaced"), (0.6, "1 missing"), (1.6, "2 missing")],
)  # fmt: skip
def test_distances_between_slices_may_differ_by_two_tenths_of_a_mm(
    share: float, said: str | None, tmp_path: Path
) -> None:
    def gap(ct: FileDataset, index: int) -> None:
        after = 2.5 * share if index >= 3 else 0.0
        ct.ImagePositionPatient = [-20.0, 10.0, 5.0 + 2.5 * index + after]

    write_series(tmp_path / "ct", HU, gap)
    if said is None:
        assert read_dicom(tmp_path / "ct")[0].GetSize()[2] == 6
        return
    with pytest.raises(DataError, match=rf"usually 2\.5 mm apart.*{said}"):
        read_dicom(tmp_path / "ct")


def test_of_several_gaps_the_widest_is_named(tmp_path: Path) -> None:
    def gaps(ct: FileDataset, index: int) -> None:
        after = 2.5 * (index >= 1) + 10.0 * (index >= 3) + 5.0 * (index >= 5)
        ct.ImagePositionPatient = [-20.0, 10.0, 5.0 + 2.5 * index + after]

    paths = write_series(tmp_path / "ct", np.concatenate([HU, HU]), gaps)
    between = f"12.5 mm between {paths[2].name} and {paths[3].name} (4 missing)"
    with pytest.raises(DataError, match=re.escape(between)):
        read_dicom(tmp_path / "ct")


def test_what_can_be_put_right_is_a_finding(tmp_path: Path) -> None:
    def no_modality(ct: FileDataset, index: int) -> None:
        del ct.Modality

    paths = write_series(tmp_path / "ct", HU, no_modality)
    again = dcmread(paths[2])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    again.save_as(tmp_path / "ct" / "again.dcm")
    image, findings = read_dicom(tmp_path / "ct")
    assert image.GetSize()[2] == 6
    codes = {finding.code: finding.severity for finding in findings}
    assert codes == {"no_modality": "warning", "repeated_slices": "repaired"}


def test_a_copied_slice_is_pointed_out(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", HU[[0, 1, 1, 2]])
    _, findings = read_dicom(tmp_path / "ct")
    assert [finding.code for finding in findings] == ["identical_slices"]
    assert "(3)" in findings[0].detail


def test_single_files_and_zips_are_volumes(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct", HU)
    one = read_ct(paths[0], name="one")
    assert one.image.GetSize() == (64, 64, 1)
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        for path in paths:
            archive.write(path, f"deep/../../{path.name}")
    zipped = read_ct(tmp_path / "ct.zip", name="zipped")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(zipped.image), HU)
    (tmp_path / "bad.zip").write_bytes(b"PK broken")
    with pytest.raises(DataError, match=r"bad\.zip: the zip file cannot be read"):
        read_ct(tmp_path / "bad.zip", name="bad")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write_series(tmp_path / "ct", HU[:1])[0]
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=path.name):
        read_ct(path, name="cut")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no DICOM"):
        read_dicom(tmp_path / "empty")


def test_a_folder_without_dicom_names_the_folders_in_it_that_hold_some(tmp_path: Path) -> None:
    for name in ("s2", "s10"):
        write_series(tmp_path / "P" / "study" / name, HU[:2])
    (tmp_path / "P" / "study" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    for name in (".hidden", "text"):
        (tmp_path / "P" / name).mkdir()
    (tmp_path / "P" / "text" / "a.dcm").write_bytes(b"text")
    (tmp_path / "P" / ".hidden" / "a.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(DataError) as caught:
        read_ct(tmp_path / "P")
    assert caught.value.what == (
        "holds no DICOM images. There are DICOM files in study/s2, study/s10: read one of these."
    )
    for name in ("s11", "s12"):
        write_series(tmp_path / "P" / "study" / name, HU[:2])
    with pytest.raises(DataError, match=r"in study/s2, study/s10, study/s11 and 1 more: read"):
        read_ct(tmp_path / "P")
    (tmp_path / "P" / "text" / "b").write_bytes(b"\0" * 128 + b"DICM")  # DICOM, but no image
    with pytest.raises(DataError, match=r"holds no DICOM images\.$"):
        read_ct(tmp_path / "P" / "text")
