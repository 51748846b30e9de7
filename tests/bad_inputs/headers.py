"""Headers of DICOM and NIfTI that lack geometry, contradict themselves, or are of a rare form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from tests.bad_inputs.dicom import series, without
from tests.bad_inputs.kinds import DONE, infer, prepare
from tests.bad_inputs.samples import hu, lungs, volume
from tests.support.dicom_files import write_enhanced, write_series
from tests.support.nifti_files import Nifti


def nifti(folder: Path, name: str = "bad.nii", **fields: Any) -> None:
    """Write the phantom as NIfTI with other values in some fields of its header."""
    Nifti(**fields).write(folder / name)


@infer("bad")
def dicom_without_pixel_spacing(folder: Path) -> None:
    """A series without PixelSpacing."""
    series(folder, without("PixelSpacing"))


@infer("bad")
def dicom_mixed_pixel_spacing(folder: Path) -> None:
    """A series whose slices differ in PixelSpacing."""

    def change(ct: Any, index: int) -> None:
        if index >= 3:
            ct.PixelSpacing = [1.4, 1.4]

    series(folder, change)


@infer("bad")
def dicom_partly_without_rescale(folder: Path) -> None:
    """A series of which some slices have no rescale slope and intercept."""

    def change(ct: Any, index: int) -> None:
        if index == 3:
            del ct.RescaleSlope, ct.RescaleIntercept

    series(folder, change)


@infer("bad", DONE, "no ImageOrientationPatient")
def dicom_without_orientation(folder: Path) -> None:
    """A series without ImageOrientationPatient: read as axial, with a warning."""
    series(folder, without("ImageOrientationPatient"))


@infer("bad")
def dicom_coronal_without_orientation(folder: Path) -> None:
    """A series of coronal slices without ImageOrientationPatient."""

    def change(ct: Any, index: int) -> None:
        del ct.ImageOrientationPatient
        ct.ImagePositionPatient = [0, 2.5 * index, 0]

    series(folder, change)


@infer("bad", DONE, "SliceThickness of 2.5 mm")
def dicom_single_slice(folder: Path) -> None:
    """A single slice: its thickness is taken as its height, with a warning."""
    write_series(folder / "bad", hu()[2:3])


@infer("bad")
def dicom_single_slice_without_thickness(folder: Path) -> None:
    """A single slice without SliceThickness."""
    write_series(folder / "bad", hu()[2:3], without("SliceThickness"))


@infer("bad")
def dicom_shifted_block(folder: Path) -> None:
    """A series with a block of slices that are shifted sideways."""

    def change(ct: Any, index: int) -> None:
        ct.ImagePositionPatient = [6.0 * (index >= 3), 0, 2.5 * index]

    series(folder, change)


@infer("bad", DONE)
def dicom_rounded_positions(folder: Path) -> None:
    """A series of thin slices whose positions are rounded to 0.1 mm: read."""

    def change(ct: Any, index: int) -> None:
        ct.ImagePositionPatient = [0, 0, round(0.625 * index, 1)]

    series(folder, change)


@infer("bad", DONE, "left out")
def dicom_with_localizer(folder: Path) -> None:
    """A series with its localizer among the slices: left out, with a warning."""

    def change(ct: Any, index: int) -> None:
        if index == 5:
            ct.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            ct.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    series(folder, change)


@infer("bad.dcm", DONE)
def enhanced(folder: Path) -> None:
    """An enhanced CT, whose slices are frames of one file: read."""
    write_enhanced(folder / "bad.dcm", hu())


@infer("bad.dcm")
def enhanced_without_positions(folder: Path) -> None:
    """An enhanced CT that does not say where its frames lie."""

    def change(frame: Any, index: int) -> None:
        del frame.PlanePositionSequence

    write_enhanced(folder / "bad.dcm", hu(), change)


@infer("bad.nii", DONE, "two geometries")
def qform_against_sform(folder: Path) -> None:
    """A NIfTI whose qform and sform disagree: the qform is used, with a warning."""
    nifti(folder, sform_offset=(30.0, 50.0, -270.0))


@infer("bad.nii", DONE, "two voxel sizes")
def voxel_size_not_set(folder: Path) -> None:
    """A NIfTI whose sform gives other voxel sizes than pixdim, 1 mm each: with a warning."""
    nifti(folder, axes=np.eye(3).tolist(), codes=(0, 1))


@infer("bad.nii")
def two_voxel_sizes(folder: Path) -> None:
    """A NIfTI whose sform and pixdim give different voxel sizes, both set."""
    nifti(folder, sizes=(1.6, 1.8, 5.0))


@infer("bad.nii", DONE, "straightened")
def rounded_axes(folder: Path) -> None:
    """A NIfTI whose axes are rounded, 0.02 degrees from perpendicular: straightened."""
    nifti(folder, axes=((-0.8, 0.0003, 0), (0, -0.9, 0), (0, 0, 2.5)), codes=(0, 1))


@infer("bad.nii")
def sheared_axes(folder: Path) -> None:
    """A NIfTI whose axes are sheared by one degree."""
    nifti(folder, axes=((-0.8, 0, 0), (0, -0.9, 0.0436), (0, 0, 2.5)), codes=(0, 1))


@infer("bad.nii.gz", DONE)
def nifti_2(folder: Path) -> None:
    """A NIfTI-2 file: read."""
    nifti(folder, "bad.nii.gz", version=2)


@infer("bad.nii", DONE)
def gzip_named_nii(folder: Path) -> None:
    """A compressed NIfTI named .nii: read."""
    nifti(folder, "packed.nii.gz")
    (folder / "packed.nii.gz").rename(folder / "bad.nii")


@infer("bad.nii", DONE)
def slope_of_zero(folder: Path) -> None:
    """A NIfTI with scl_slope 0 and an intercept: read unscaled."""
    nifti(folder, scaling=(0, -1024))


@infer("bad.mha", DONE, "no geometry had been set")
def identity_affine(folder: Path) -> None:
    """A volume with voxels of 1 mm from (0, 0, 0), as without a geometry: with a warning."""
    sitk.WriteImage(sitk.GetImageFromArray(hu()), str(folder / "bad.mha"))


@prepare(DONE, "")
def labels_nearly_whole(folder: Path) -> None:
    """A label volume with 0.9999999 in place of 1: read as 1."""
    for name, image in (
        ("images", volume()),
        ("masks", volume(lungs().astype(np.float32) * np.float32(0.9999999))),
    ):
        (folder / name).mkdir()
        sitk.WriteImage(image, str(folder / name / "bad.nii.gz"))
