"""Volumes: which arrays, headers, zips and grids are accepted, up to the last one that is."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.errors import DataError
from lungseg.imaging import nifti, volume_files
from lungseg.imaging.nifti import check_content, check_header, claims_much, for_itk
from lungseg.imaging.nifti_header import read_header
from lungseg.imaging.volume_files import ct_from_image, read_ct, read_label_volume, write_volume
from lungseg.imaging.volumes import (
    Ct,
    LabelVolume,
    corner_points,
    geometry_differences,
    match_grids,
    outside_of,
)
from tests.support.nifti_files import Nifti
from tests.support.volumes import image_of, phantom_arrays

MOST = 10**9
AIR = np.full((2, 3, 4), -1000, np.int16)


def write(path: Path, values: Any, spacing: tuple[float, ...] = (2.0, 3.0, 4.0)) -> Path:
    sitk.WriteImage(image_of(np.asarray(values), spacing), str(path))
    return path


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (255, None),
        (256, "has values from 0 to 256"),
        (-1, "has values from -1 to 0"),
        (1.0009, None),
        (1.0011, "has fractions from 0 to 1.0011"),
        (-0.0009, None),
    ],
)
def test_a_label_is_a_whole_number_of_8_bits(
    value: float, said: str | None, tmp_path: Path
) -> None:
    values = np.zeros((2, 3, 4), np.float32)
    values[1, 2, 3] = value
    path = write(tmp_path / "a.mha", values)
    if said:
        with pytest.raises(DataError, match=said):
            read_label_volume(path)
        return
    found = read_label_volume(path)
    assert found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.labels, np.rint(values))
    assert (found.spacing, found.sparse) == ((4.0, 3.0, 2.0), False)
    assert found.voxel_ml == pytest.approx(0.024)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (sitk.Image([2, 3], sitk.sitkInt16), "found 2 dimensions and 1 values"),
        (sitk.Image([2, 3, 4, 5], sitk.sitkInt16), "found 4 dimensions and 1 values"),
        (sitk.Image([2, 3, 4], sitk.sitkVectorInt16, 2), "found 3 dimensions and 2 values"),
        (sitk.Image([2, 3, 4], sitk.sitkComplexFloat32), "expected one number per voxel, found c"),
        (sitk.Image([8193, 1, 1], sitk.sitkInt16) - 1000, r"\(8193, 1, 1\) voxels are more"),
    ],
)
def test_a_ct_has_three_dimensions_and_one_value_per_voxel(image: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ct_from_image(image)


def test_a_side_may_have_8192_voxels() -> None:
    image = sitk.Image([8192, 1, 1], sitk.sitkInt16) - 1000
    ct = ct_from_image(image, "long")
    assert (ct.name, ct.suffix, ct.image.GetSize()) == ("long", ".nii.gz", (8192, 1, 1))
    assert ct_from_image(image).name == "scan"


def test_voxels_that_are_not_finite_are_counted() -> None:
    values = AIR.astype(np.float32)
    values[0, 0, :2], values[1, 2, 3] = np.nan, -np.inf
    with pytest.raises(DataError, match="the SimpleITK image: 3 voxels are NaN or infinite"):
        ct_from_image(image_of(values))


@pytest.mark.parametrize(
    ("change", "is_set"),
    [
        ("nothing", False),
        ("spacing", True),
        ("origin", True),
        ("turned", True),
        ("as NIfTI", False),
    ],
)
def test_no_geometry_is_that_of_an_empty_header(change: str, is_set: bool, tmp_path: Path) -> None:
    image = image_of(AIR)
    if change == "spacing":
        image.SetSpacing((1, 1, 2))
    elif change == "origin":
        image.SetOrigin((0, 0, 1))
    elif change == "turned":
        image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
    elif change == "as NIfTI":
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "A.mha"))
    ct = read_ct(tmp_path / "A.mha")
    assert [finding.code for finding in ct.findings] == ["identity_affine"] * (not is_set)
    assert (ct.name, ct.suffix) == ("A", ".mha")
    assert read_ct(tmp_path / "A.mha", name="b").name == "b"


def test_the_mask_of_an_mhd_is_one_file(tmp_path: Path) -> None:
    assert read_ct(write(tmp_path / "a.mhd", AIR)).suffix == ".mha"
    assert read_ct(write(tmp_path / "a.b.nrrd", AIR)).suffix == ".nrrd"
    assert read_ct(tmp_path / "a.b.nrrd").name == "a.b"


def packed(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/a", content)
    return path


@pytest.mark.parametrize("limit", ["MAX_UNPACKED_BYTES", "MAX_ZIP_RATIO"])
@pytest.mark.parametrize("more", [0, 1])
def test_a_zip_unpacks_to_at_most_so_much(
    limit: str, more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "a.zip", b"x" * 5000)
    most = 5000 - more
    share = (most + 0.5) / path.stat().st_size
    monkeypatch.setattr(volume_files, limit, share if limit == "MAX_ZIP_RATIO" else most)
    said = "would unpack to" if more else "holds no DICOM images"
    with pytest.raises(DataError, match=said):
        read_ct(path)


def test_a_volume_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    image = image_of(AIR, (2, 3, 4))
    write_volume(image, tmp_path / "A.NII.GZ")
    assert [path.name for path in tmp_path.iterdir()] == ["A.NII.GZ"]
    np.testing.assert_array_equal(read_ct(tmp_path / "A.NII.GZ").hu, AIR)
    with pytest.raises(DataError, match=r"a\.mha: cannot be written: there is no such folder"):
        write_volume(image, tmp_path / "no" / "a.mha")
    with pytest.raises(DataError, match=r"a\.xyz: cannot be written: "):
        write_volume(image, tmp_path / "a.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["A.NII.GZ"]


SHAPE = phantom_arrays(6)[0].shape


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_may_have_as_many_voxels_as_are_allowed(version: int, tmp_path: Path) -> None:
    path = Nifti(version=version).write(tmp_path / "a.nii")
    voxels = math.prod(SHAPE)
    assert check_header(path, voxels) == []
    with pytest.raises(DataError, match=f"the header gives {voxels:,} voxels, more than a CT"):
        check_header(path, voxels - 1)


def test_a_file_may_be_as_small_as_a_hundredth_of_its_voxels(tmp_path: Path) -> None:
    path = Nifti().write(tmp_path / "a.nii")
    content = path.read_bytes()
    least = math.prod(SHAPE) * 2 // 100  # 491.52 bytes
    for size, claims in ((least, True), (least + 1, False)):
        path.write_bytes(content[:size])
        assert claims_much(path) is claims


def test_the_last_byte_of_the_voxels_counts(tmp_path: Path) -> None:
    path = Nifti().write(tmp_path / "a.nii")
    content = path.read_bytes()
    check_content(path)
    path.write_bytes(content[:-1])
    present = math.prod(SHAPE) * 2 - 1
    with pytest.raises(DataError, match=f"voxels of 16 bits, but only {present:,} bytes"):
        check_content(path)
    path.write_bytes(content + b"more")
    check_content(path)


def test_voxels_are_checked_beyond_the_first_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nifti, "CHUNK_BYTES", 1 << 10)
    hu = phantom_arrays(6)[0].astype(np.float32)
    check_content(Nifti(hu=hu).write(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(read_ct(Nifti(hu=hu, version=2).write(tmp_path / "b.nii")).hu, hu)
    hu[-1, -1, -1] = np.nan
    with pytest.raises(DataError, match="some voxels are NaN"):
        check_content(Nifti(hu=hu).write(tmp_path / "a.nii.gz"))


def test_a_copy_for_itk_has_the_last_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti, "CHUNK_BYTES", math.prod(SHAPE) * 2 - 1)
    hu = phantom_arrays(6)[0]
    (tmp_path / "copy").mkdir()
    path, findings = for_itk(Nifti(hu=hu, version=2).write(tmp_path / "a.nii"), tmp_path / "copy")
    assert path.parent == tmp_path / "copy"
    assert path.stat().st_size == 352 + math.prod(SHAPE) * 2
    assert path.read_bytes()[352:] == hu.tobytes()
    assert findings == []


@pytest.mark.parametrize(
    ("off", "says"),
    [(0.39, False), (0.41, True)],  # half of the smallest side, 0.8 mm
)
def test_two_geometries_may_differ_by_half_a_voxel(off: float, says: bool, tmp_path: Path) -> None:
    content = bytearray(Nifti(sform_offset=(20.0, 30.0 + off, -300.0)).write(tmp_path / "a.nii")
                        .read_bytes())  # fmt: skip
    content[92:96] = np.float32(0.1).tobytes()  # the time between volumes, which is no side
    (tmp_path / "a.nii").write_bytes(content)
    codes = [finding.code for finding in check_header(tmp_path / "a.nii", MOST)]
    assert codes == ["two_geometries"] * says


@pytest.mark.parametrize("quaternion", [(0.5, 0.5, 0.5), (0.1, -0.4, 0.7), (1.0, 0.0, 0.0)])
@pytest.mark.parametrize("flip", [1, -1])
def test_a_qform_is_the_rotation_of_its_quaternion(
    quaternion: tuple[float, ...], flip: int, tmp_path: Path
) -> None:
    path = Nifti(quaternion=quaternion).write(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[76:80] = np.float32(flip).tobytes()
    path.write_bytes(content)
    with path.open("rb") as stream:
        header = read_header(path, stream)
    vector = np.array(quaternion)
    # Rodrigues' formula: a quaternion (cos(t / 2), sin(t / 2) n) turns by t about n.
    scalar = math.sqrt(max(0.0, 1 - float(vector @ vector)))
    for column, (axis, side) in enumerate(zip(np.eye(3), (0.8, 0.9, 2.5 * flip), strict=True)):
        across = np.cross(vector, axis)
        turned = axis + 2 * scalar * across + 2 * np.cross(vector, across)
        np.testing.assert_allclose(header.qform[:, column], turned * side, atol=1e-6)
    np.testing.assert_allclose(header.qform[:, 3], (20, 30, -300))


def grid(
    spacing: Any = (0.5, 1.0, 2.0), origin: Any = (1.0, 2.0, 3.0), size: Any = (4, 5, 6)
) -> Any:
    return image_of(np.zeros(size[::-1], np.uint8), spacing, origin)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (grid(), ""),
        (grid(size=(4, 5, 7)), "size (4, 5, 6) against (4, 5, 7)"),
        # A hundredth of the smallest side of the other grid, 0.5 mm.
        (grid(origin=(1.004, 2.0, 3.0)), ""),
        (grid(origin=(1.006, 2.0, 3.0)), "origin (1, 2, 3) against (1.006, 2, 3)"),
        (grid(spacing=(0.5, 1.004, 2.0)), ""),
        (grid(spacing=(0.5, 1.006, 2.0)), "spacing (0.5, 1, 2) against (0.5, 1.006, 2)"),
    ],
)
def test_grids_are_the_same_up_to_a_hundredth_of_a_pixel(other: Any, what: str) -> None:
    assert "; ".join(geometry_differences(grid(), other)) == what


def test_directions_are_the_same_up_to_a_hundredth() -> None:
    for sine, differ in ((0.009, False), (0.011, True)):
        image, cosine = grid(), math.sqrt(1 - sine**2)
        image.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
        assert [line.split()[0] for line in geometry_differences(image, grid())] == (
            ["direction"] * differ
        )


@pytest.mark.parametrize(("apart", "differ"), [(0.09, False), (0.11, True)])
def test_the_last_voxels_may_be_a_tenth_of_a_voxel_apart(apart: float, differ: bool) -> None:
    size = (41, 3, 3)
    other = grid((0.5 * (1 + apart / 40), 1.0, 2.0), size=size)  # 40 steps to the last
    lines = geometry_differences(grid(size=size), other)
    assert [line.split()[0] for line in lines] == ["corners"] * differ
    sparse = LabelVolume(grid((0.5 * (1 + apart / 40), 1.0, 2.0), size=(41, 3, 2)), sparse=True)
    filled = match_grids(sparse, LabelVolume(grid(size=size)))[0]
    assert filled.labels.shape[0] == (2 if differ else 3)


def test_corners_lie_where_the_geometry_puts_the_outer_voxels() -> None:
    found = corner_points(grid())
    expected = [(x, y, z) for x in (1, 2.5) for y in (2, 6) for z in (3, 13)]
    assert sorted(map(tuple, found.tolist())) == expected


def placed(first: int, count: int, shift: float = 0.0) -> LabelVolume:
    """Return slices of ones on the grid of `grid()`, without the others."""
    image = image_of(
        np.ones((count, 5, 4), np.uint8), (0.5, 1.0, 2.0), (1, 2 + shift, 3 + 2 * first)
    )
    return LabelVolume(image, sparse=True)


@pytest.mark.parametrize(
    ("first", "count", "shift", "fits"),
    [(0, 6, 0, True), (2, 3, 0, True), (5, 1, 0, True), (5, 2, 0, False), (-1, 2, 0, False),
     (2, 3, 0.009, True), (2, 3, 0.05, False), (2, 3, 1.0, False)],
)  # fmt: skip
@pytest.mark.parametrize("swap", [False, True])
def test_slices_that_were_left_out_are_put_back_where_they_lie(
    first: int, count: int, shift: float, fits: bool, swap: bool
) -> None:
    sparse, whole = placed(first, count, shift), LabelVolume(grid())
    one, other, lines = match_grids(whole, sparse) if swap else match_grids(sparse, whole)
    filled, kept = (other, one) if swap else (one, other)
    assert kept is whole
    if not fits:
        assert filled is sparse
        assert lines
        return
    assert lines == []
    assert filled.labels.any(axis=(1, 2)).tolist() == [first <= k < first + count for k in range(6)]
    dense = LabelVolume(sparse.image)
    assert match_grids(dense, whole)[0] is dense


def test_voxels_outside_of_a_scan_are_those_whose_centre_is() -> None:
    image = image_of(np.zeros((8, 5, 6), np.uint8), (0.5, 1.0, 2.0), (0.5, 2.0, 1.0))
    expected = np.ones((8, 5, 6), bool)
    expected[1:7, :, 1:5] = False  # one slice and one column on each side are beyond
    np.testing.assert_array_equal(outside_of(grid(), image), expected)


def test_a_mask_goes_back_into_the_order_of_its_scan() -> None:
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = image_of(values, (2, 3, 4), (5, 6, 7))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    ct = Ct("a", image, ".mha", [])
    assert ct.spacing == (4.0, 3.0, 2.0)
    labels = sitk.GetArrayFromImage(ct.canonical).astype(np.uint8)
    back = ct.restore(labels)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), values)
    assert back.GetDirection() == image.GetDirection()
    assert back.GetOrigin() == image.GetOrigin()
    straight = Ct("a", image_of(values, (2, 3, 4)), ".mha", [])
    assert straight.canonical is straight.image
    sparse = LabelVolume(image, sparse=True)
    assert sparse.with_labels(values.astype(np.uint8)).sparse
