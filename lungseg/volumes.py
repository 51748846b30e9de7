"""Volumes through SimpleITK: CT in HU, and labels; DICOM-SEG through highdicom.

Inside, a volume's axes run to the patient's left, back and head ("LPS"), so a slice is axial and
looks as in every viewer; the way back gives the input's own geometry.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.dicom import read_dicom, read_files, reason_of
from lungseg.errors import DataError, UsageError
from lungseg.files import partial_path, require_regular
from lungseg.images import Finding, volume_suffix
from lungseg.nifti import check_nifti

HIGHEST_AIR_HU = -500.0  # a chest CT has air, in the lungs if nowhere else
MAX_UNPACKED_BYTES = 8 << 30
MAX_ZIP_RATIO = 100  # CT shrinks to a half or a third, empty slices to a hundredth
MAX_GZIP_RATIO = 1032  # of deflate, the densest there can be
MAX_VOXELS = 2**31  # 8,192 slices of 512 x 512
MAX_SIDE = 8192  # voxels; slices are padded to squares
# Two geometries are the same if they differ by less than this share of a pixel.
GEOMETRY_TOLERANCE = 1e-2


@dataclass(frozen=True)
class LabelVolume:
    """Labels on a grid in space, oriented so that axes run to the patient's left, back and head.

    Attributes:
        image: SimpleITK image of unsigned integers.
        sparse: whether slices without label may have been left out, as DICOM-SEG does.
    """

    image: Any
    sparse: bool = False

    @property
    def labels(self) -> NDArray[np.integer[Any]]:
        """Class indices `(D, H, W)`."""
        return np.asarray(sitk.GetArrayFromImage(self.image))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, ordered (z, y, x)."""
        x, y, z = self.image.GetSpacing()
        return (float(z), float(y), float(x))


def read_label_volume(path: Path) -> LabelVolume:
    """Read a label volume.

    Raises:
        DataError: where it cannot be read, is not three-dimensional, or holds no whole numbers.
        UsageError: for a DICOM-SEG without highdicom installed.
    """
    if volume_suffix(path) == ".dcm":
        return _read_dicom_seg(path)
    image = _require_volume(path, _read_file(path)[0])
    values = sitk.GetArrayViewFromImage(image)
    if not np.array_equal(values, np.rint(values)) or values.min() < 0 or values.max() > 255:
        raise DataError(
            f"{path}: a label volume holds whole numbers from 0 to 255, but this one has values "
            f"from {values.min():g} to {values.max():g}."
        )
    return LabelVolume(sitk.DICOMOrient(sitk.Cast(image, sitk.sitkUInt8), "LPS"))


@dataclass(frozen=True)
class Ct:
    """A CT volume in HU.

    Attributes:
        name: of the case.
        image: SimpleITK image with the input's own geometry.
        suffix: of the file to write its mask to.
        findings: what a person should know.
    """

    name: str
    image: Any
    suffix: str
    findings: list[Finding]

    def canonical(self) -> Any:
        """Return the image with axes to the left, back and head."""
        # Most CT lies so already: no second copy of it then.
        return self.image if self._orientation() == "LPS" else sitk.DICOMOrient(self.image, "LPS")

    def _orientation(self) -> str:
        direction = self.image.GetDirection()
        return str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction))

    def restore(self, labels: NDArray[np.uint8]) -> Any:
        """Turn labels on the canonical grid, `(D, H, W)`, into the input's geometry."""
        found = sitk.GetImageFromArray(labels)
        found.CopyInformation(self.canonical())
        found = sitk.DICOMOrient(found, self._orientation())
        # Equal but for rounding in the last digit; a mask must match its image exactly.
        found.CopyInformation(self.image)
        return found


def read_ct(path: Path, name: str, series_uid: str | None = None) -> Ct:
    """Read a CT volume: a DICOM folder, file or zip, NIfTI, MHA, MHD or NRRD.

    Raises:
        DataError: where it cannot be read, is no volume, or is not in HU.
    """
    if path.is_dir():
        image, findings = read_dicom(path, series_uid)
        return _checked(path, Ct(name, image, ".nii.gz", findings))
    suffix = volume_suffix(path)
    if suffix == ".zip":
        with tempfile.TemporaryDirectory() as unpacked:
            image, findings = read_dicom(_unpack(path, Path(unpacked)), series_uid, path)
        return _checked(path, Ct(name, image, ".nii.gz", findings))
    if suffix == ".dcm":
        image, findings = read_files([path], path)
        return _checked(path, Ct(name, image, ".nii.gz", findings))
    image, findings = _read_file(path)
    return _checked(path, Ct(name, image, ".mha" if suffix == ".mhd" else str(suffix), findings))


def write_volume(image: Any, path: Path) -> None:
    """Write a volume beside its place, then rename it: whole or not at all.

    Raises:
        DataError: where it cannot be written.
    """
    partial = partial_path(path)
    try:
        sitk.WriteImage(image, str(partial), useCompression=True)
        partial.replace(path)
    except (RuntimeError, OSError) as problem:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {problem}") from None


def _unpack(path: Path, target: Path) -> Path:
    """Unpack a zip of DICOM files flat, under names of our own, and return the folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            size = sum(member.file_size for member in members)
            most = min(MAX_UNPACKED_BYTES, MAX_ZIP_RATIO * path.stat().st_size)
            if size > most:
                raise DataError(f"{path}: would unpack to {size:,} bytes, more than a CT can be.")
            for index, member in enumerate(members):
                with archive.open(member) as packed, (target / f"{index:06d}.dcm").open("wb") as to:
                    shutil.copyfileobj(packed, to)
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError) as problem:
        raise DataError(f"{path}: the zip file cannot be read: {problem}") from None
    return target


def _read_file(path: Path) -> tuple[Any, list[Finding]]:
    """Read a volume file whose header agrees with its size."""
    size = require_regular(path)
    suffix = volume_suffix(path)
    findings = check_nifti(path, MAX_VOXELS) if suffix in (".nii", ".nii.gz") else []
    reader = sitk.ImageFileReader()
    try:
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        voxels = math.prod(reader.GetSize())
        # Checked before memory is taken for them; the voxels of an MHD lie in another file.
        if voxels > MAX_VOXELS or (suffix != ".mhd" and voxels > size * MAX_GZIP_RATIO):
            raise DataError(
                f"{path}: its header says {voxels:,} voxels, which a file of {size:,} bytes cannot "
                "hold: it is damaged."
            )
        return reader.Execute(), findings
    except (RuntimeError, ValueError) as problem:  # ValueError: a name that is no UTF-8
        raise DataError(f"{path}: the volume cannot be read: {reason_of(problem)}") from None


def _require_volume(path: Path, image: Any) -> Any:
    """Return the image if it has three dimensions and one value a voxel."""
    dimensions, values = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if (dimensions, values) != (3, 1):
        raise DataError(
            f"{path}: expected a volume of three dimensions with one value a voxel, found "
            f"{dimensions} dimensions and {values} values."
        )
    return image


def _checked(path: Path, ct: Ct) -> Ct:
    """Check that a volume has three dimensions and is in HU."""
    image = _require_volume(path, ct.image)
    if max(image.GetSize()) > MAX_SIDE:
        raise DataError(f"{path}: {image.GetSize()} voxels are more than a CT can have.")
    values = sitk.GetArrayViewFromImage(image)
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise DataError(f"{path}: {count} voxels are NaN or infinite.")
    lowest = float(values.min())
    if lowest > HIGHEST_AIR_HU:
        raise DataError(
            f"{path}: air should be near -1000 HU, but the lowest value is {lowest:g}: this volume "
            "is not in Hounsfield units. Apply its rescale slope and intercept first."
        )
    return ct


def _read_dicom_seg(path: Path) -> LabelVolume:
    try:
        import highdicom
    except ImportError:
        raise UsageError(
            f'{path}: reading DICOM-SEG needs highdicom: pip install "lungseg[dicom]".'
        ) from None
    try:
        segmentation = highdicom.seg.segread(str(path))
        volume = segmentation.get_volume(
            combine_segments=True, skip_overlap_checks=True, allow_missing_positions=True
        )
    except Exception as problem:  # highdicom and pydicom raise many kinds for a damaged file
        raise DataError(f"{path}: this is not a usable DICOM-SEG: {problem}") from None
    if volume is None:
        raise DataError(f"{path}: its frames do not form a volume of evenly spaced slices.")
    # highdicom orders axes (slice, row, column); SimpleITK names them (column, row, slice).
    image = sitk.GetImageFromArray(np.asarray(volume.array, dtype=np.uint8))
    affine = np.asarray(volume.affine)[:, [2, 1, 0, 3]]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return LabelVolume(sitk.DICOMOrient(image, "LPS"), sparse=True)


def match(
    prediction: LabelVolume, truth: LabelVolume
) -> tuple[LabelVolume, LabelVolume, list[str]]:
    """Bring two volumes onto one grid where that changes no label.

    A DICOM-SEG leaves out slices without label; on the other's grid, if that has the same spacing,
    axes and voxel positions, they are put back as empty. Nothing else is ever resampled.

    Returns:
        Both volumes, and a line for each way in which their geometries still differ.
    """
    if prediction.sparse and _on_grid_of(prediction.image, truth.image):
        prediction = LabelVolume(_placed(prediction.image, truth.image))
    elif truth.sparse and _on_grid_of(truth.image, prediction.image):
        truth = LabelVolume(_placed(truth.image, prediction.image))
    return prediction, truth, differences(prediction.image, truth.image)


def _placed(image: Any, grid: Any) -> Any:
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)


def _on_grid_of(image: Any, grid: Any) -> bool:
    """Whether each voxel of `image` is a voxel of `grid`."""
    if not np.allclose(image.GetSpacing(), grid.GetSpacing(), rtol=GEOMETRY_TOLERANCE):
        return False
    if not np.allclose(image.GetDirection(), grid.GetDirection(), atol=GEOMETRY_TOLERANCE):
        return False
    first = np.array(grid.TransformPhysicalPointToContinuousIndex(image.GetOrigin()))
    last = first + np.array(image.GetSize()) - 1
    whole = np.allclose(first, np.rint(first), atol=GEOMETRY_TOLERANCE)
    inside = first.min() > -0.5 and bool(np.all(last < np.array(grid.GetSize()) - 0.5))
    return whole and inside


def differences(image: Any, other: Any) -> list[str]:
    """Return a line for each way in which two images' geometries differ, both values in it."""
    found = []
    for what, get, tolerance in (
        ("size", "GetSize", 0.0),
        ("spacing", "GetSpacing", GEOMETRY_TOLERANCE * min(other.GetSpacing())),
        ("origin", "GetOrigin", GEOMETRY_TOLERANCE * min(other.GetSpacing())),
        ("direction", "GetDirection", GEOMETRY_TOLERANCE),
    ):
        one, two = np.array(getattr(image, get)()), np.array(getattr(other, get)())
        if not np.allclose(one, two, rtol=0, atol=tolerance):
            found.append(f"{what} {_short(one)} against {_short(two)}")
    return found


def _short(numbers: NDArray[Any]) -> str:
    return "(" + ", ".join(f"{n:.4g}" for n in numbers) + ")"
