"""Geometry that a NIfTI header gives twice, askew, or not at all; versions that ITK cannot read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.errors import DataError
from lungseg.imaging.volume_files import read_ct, read_label_volume
from tests.support.nifti_files import SIZES, Nifti
from tests.support.volumes import phantom_arrays

HU, _ = phantom_arrays(6)
DIRECTION = (1, 0, 0, 0, 1, 0, 0, 0, 1)  # of ITK, for axes that run left, back and head


def assert_right(image: sitk.Image, sizes: Sequence[float] = SIZES) -> None:
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)
    assert image.GetSpacing() == pytest.approx(sizes)
    assert image.GetOrigin() == pytest.approx((-20.0, -30.0, -300.0))
    assert image.GetDirection() == pytest.approx(DIRECTION, abs=1e-3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_both_versions_and_byte_orders_are_read(
    tmp_path: Path, name: str, version: int, order: Literal["<", ">"]
) -> None:
    ct = read_ct(Nifti(version=version, order=order).write(tmp_path / name))
    assert_right(ct.image)
    assert (ct.findings, ct.suffix) == ([], name[1:])


@pytest.mark.parametrize("version", [1, 2])
def test_a_compressed_file_without_gz_in_its_name_is_read(tmp_path: Path, version: int) -> None:
    path = Nifti(version=version).write(tmp_path / "a.nii.gz").rename(tmp_path / "a.nii")
    ct = read_ct(path)
    assert_right(ct.image)
    assert (ct.findings, ct.suffix) == ([], ".nii")


def test_a_plain_file_named_gz_is_read(tmp_path: Path) -> None:
    assert_right(read_ct(Nifti().write(tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")).image)


def test_a_label_volume_of_version_2_is_read(tmp_path: Path) -> None:
    labels = (HU < -500).astype(np.int16)
    path = Nifti(hu=labels, version=2).write(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(read_label_volume(path).labels, labels)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
def test_a_slope_that_is_no_number_means_unscaled(
    tmp_path: Path, slope: float, version: int
) -> None:
    ct = read_ct(Nifti(scaling=(slope, -1024.0), version=version).write(tmp_path / "a.nii"))
    assert_right(ct.image)
    assert ct.findings == []


def test_a_slope_and_an_intercept_are_used(tmp_path: Path) -> None:
    stored = ((HU + 1024) // 2).astype(np.int16)
    ct = read_ct(Nifti(hu=stored, scaling=(2, -1024), version=2).write(tmp_path / "a.nii"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ct.image), stored * 2.0 - 1024)


EXCHANGED = ((0.8, 0, 0), (0, -0.9, 0), (0, 0, 2.5))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sform_offset": (30.0, 50.0, -270.0)}, "up to 37.42 mm"),
        ({"axes": EXCHANGED}, "up to 100.8 mm"),
        ({"sform_offset": (20.0, 30.0, -301.0)}, "up to 1 mm"),
        ({"quaternion": (0, 0, 0)}, "two geometries"),
    ],
)
def test_a_qform_and_an_sform_that_disagree_are_named(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    ct = read_ct(replace(Nifti(), **change).write(tmp_path / "a.nii"))
    [finding] = ct.findings
    assert (finding.code, finding.severity) == ("two_geometries", "warning")
    assert said in finding.detail


def test_a_qform_and_an_sform_that_differ_by_rounding_agree(tmp_path: Path) -> None:
    change = Nifti(sform_offset=(20.0004, 30.0, -300.0), quaternion=(0, 0, 0.999999))
    assert read_ct(change.write(tmp_path / "a.nii")).findings == []


ONES = ((-1.0, 0, 0), (0, -1.0, 0), (0, 0, 1.0))


@pytest.mark.parametrize("codes", [(0, 1), (0, 2), (1, 2)])
def test_of_two_voxel_sizes_the_one_that_was_set_is_used(
    tmp_path: Path, codes: tuple[int, int]
) -> None:
    changes: list[dict[str, Any]] = [{"axes": ONES}, {"sizes": (1.0, 1.0, 1.0)}]
    for change in changes:
        ct = read_ct(replace(Nifti(codes=codes), **change).write(tmp_path / "a.nii"))
        assert_right(ct.image)
        [finding] = ct.findings
        assert (finding.code, finding.severity) == ("two_geometries", "warning")
        assert "0.8 x 0.9 x 2.5 mm, which is used" in finding.detail


@pytest.mark.parametrize("codes", [(0, 1), (1, 1)])
@pytest.mark.parametrize("sizes", [(0.8, 0.9, 5.0), (8.0, 9.0, 25.0)])
def test_two_voxel_sizes_that_were_both_set_are_refused(
    tmp_path: Path, sizes: tuple[float, ...], codes: tuple[int, int]
) -> None:
    with pytest.raises(DataError, match="gives two voxel sizes: pixdim"):
        read_ct(Nifti(sizes=sizes, codes=codes).write(tmp_path / "a.nii"))


@pytest.mark.parametrize("seed", range(3))
def test_axes_off_by_rounding_are_straightened_and_it_is_said(tmp_path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-1e-3, 1e-3, (3, 3))
    bent = np.array(Nifti().axes) + noise
    ct = read_ct(Nifti(codes=(0, 1), axes=bent.tolist()).write(tmp_path / "a.nii"))
    assert_right(ct.image, tuple(np.linalg.norm(bent, axis=0)))
    [finding] = ct.findings
    assert (finding.code, finding.severity) == ("axes_straightened", "repaired")
    # The loss that is stated is that of the farthest corner.
    flip, ends = np.diag([-1, -1, 1]), np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, 8).T
    ends = ends * (np.array(HU.shape[::-1]) - 1)
    meant = ends @ bent.T @ flip
    axes = np.array(ct.image.GetDirection()).reshape(3, 3) * ct.image.GetSpacing()
    moved = np.linalg.norm(ends @ axes.T - meant, axis=1).max()
    assert f"by more than {moved:.2g} mm" in finding.detail
    assert moved < 0.15


@pytest.mark.parametrize("degrees", [0.5, 1.0, 15.0])
@pytest.mark.parametrize(("row", "column"), [(1, 2), (0, 1), (2, 0)])
def test_sheared_axes_are_refused_with_a_remedy(
    tmp_path: Path, degrees: float, row: int, column: int
) -> None:
    axes = np.array(Nifti().axes)
    axes[row, column] = np.tan(np.radians(degrees)) * SIZES[column]
    with pytest.raises(DataError, match=f"sheared by {degrees:g} degrees.* dcm2niix"):
        read_ct(Nifti(codes=(0, 1), axes=axes.tolist(), sizes=tuple(np.linalg.norm(axes, axis=0)))
                .write(tmp_path / "a.nii"))  # fmt: skip


@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd"])
def test_a_geometry_that_was_never_set_is_pointed_out(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(HU)
    sitk.WriteImage(image, tmp_path / f"a{suffix}")
    findings = read_ct(tmp_path / f"a{suffix}").findings
    assert [(f.code, f.severity) for f in findings] == [("identity_affine", "warning")]
    image.SetSpacing((1, 1, 1.5))
    sitk.WriteImage(image, tmp_path / f"b{suffix}")
    assert read_ct(tmp_path / f"b{suffix}").findings == []


def test_an_identity_as_nibabel_writes_it_is_pointed_out(tmp_path: Path) -> None:
    identity = Nifti(sizes=(1, 1, 1), axes=np.eye(3).tolist(), codes=(0, 2), sform_offset=(0, 0, 0))
    findings = read_ct(identity.write(tmp_path / "a.nii")).findings
    assert [finding.code for finding in findings] == ["identity_affine"]


def test_labels_of_nearly_whole_numbers_are_whole(tmp_path: Path) -> None:
    labels = (HU < -500).astype(np.float32)
    path = Nifti(hu=labels * np.float32(0.9999999)).write(tmp_path / "a.nii")
    np.testing.assert_array_equal(read_label_volume(path).labels, labels)
    for off in (1.0005, 0.9995):
        path = Nifti(hu=labels * np.float32(off)).write(tmp_path / "a.nii")
        np.testing.assert_array_equal(read_label_volume(path).labels, labels)
    with pytest.raises(DataError, match="whole numbers from 0 to 255"):
        read_label_volume(Nifti(hu=labels * np.float32(0.9)).write(tmp_path / "b.nii"))
