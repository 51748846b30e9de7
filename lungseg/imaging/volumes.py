"""CT and label volumes on their grids in space."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.imaging.findings import Finding

# Two geometries are the same if they differ by less than this fraction of a pixel.
GEOMETRY_TOLERANCE = 1e-2

# A small difference of spacing or axes grows with the distance from the origin. Headers that round
# the spacing to 3 digits move the far corner of a slice of 512 pixels by up to a tenth of a pixel.
CORNER_TOLERANCE = 0.1


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """Labels on a grid in space, oriented so that axes run to the patient's left, back and head.

    Attributes:
        image: SimpleITK image of uint8.
        sparse: whether slices without label may have been left out, as DICOM-SEG does.
    """

    image: Any
    sparse: bool = False

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels `(D, H, W)`."""
        return np.asarray(sitk.GetArrayFromImage(self.image))

    def with_labels(self, labels: NDArray[np.uint8]) -> LabelVolume:
        """Return other labels on the same grid."""
        image = sitk.GetImageFromArray(labels)
        image.CopyInformation(self.image)
        return LabelVolume(image, self.sparse)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, ordered (z, y, x)."""
        x, y, z = self.image.GetSpacing()
        return (float(z), float(y), float(x))

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return float(np.prod(self.spacing)) / 1000


@dataclass(frozen=True, eq=False)
class Ct:
    """A CT volume in HU.

    Attributes:
        name: name of the case.
        image: SimpleITK image with the input's own geometry.
        suffix: suffix of the file to write its mask to.
        findings: what a person should know about it.

    Examples:
        >>> scan = lungseg.read_ct("scan")  # a DICOM folder
        >>> scan.name, scan.hu.shape
        ('scan', (12, 64, 64))
        >>> scan.image.GetSpacing()  # SimpleITK has the order (x, y, z)
        (5.0, 5.0, 20.0)
    """

    name: str
    image: Any = field(repr=False)
    suffix: str
    findings: list[Finding]

    @property
    def hu(self) -> NDArray[Any]:
        """A copy of the voxels in HU, `(z, y, x)`, in the file's own order."""
        return np.asarray(sitk.GetArrayFromImage(self.image))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, ordered (z, y, x)."""
        x, y, z = self.image.GetSpacing()
        return (float(z), float(y), float(x))

    @cached_property
    def canonical(self) -> Any:
        """The image with axes to the patient's left, back and head."""
        # Most CT is oriented like this already; then there is no second copy of it.
        return self.image if self._orientation() == "LPS" else sitk.DICOMOrient(self.image, "LPS")

    def _orientation(self) -> str:
        direction = self.image.GetDirection()
        return str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction))

    def restore(self, labels: NDArray[np.uint8]) -> Any:
        """Turn labels on the canonical grid, `(D, H, W)`, into the input's geometry."""
        image = sitk.GetImageFromArray(labels)
        image.CopyInformation(self.canonical)
        if self.canonical is not self.image:
            image = sitk.DICOMOrient(image, self._orientation())
        # The geometry may differ by rounding in the last digit, but a mask must match its image
        # exactly.
        image.CopyInformation(self.image)
        return image


def match_grids(
    prediction: LabelVolume, truth: LabelVolume
) -> tuple[LabelVolume, LabelVolume, list[str]]:
    """Bring two volumes onto one grid if that changes no label.

    A DICOM-SEG leaves out slices without labels. They are put back as empty slices if the other
    volume has the same spacing, axes and voxel positions. Nothing else is ever resampled.

    Returns:
        Both volumes, and a line for each way in which their geometries still differ.
    """
    if prediction.sparse and _on_grid_of(prediction.image, truth.image):
        prediction = LabelVolume(resample_labels(prediction.image, truth.image))
    elif truth.sparse and _on_grid_of(truth.image, prediction.image):
        truth = LabelVolume(resample_labels(truth.image, prediction.image))
    return prediction, truth, geometry_differences(prediction.image, truth.image)


def resample_labels(image: Any, grid: Any) -> Any:
    """Return labels on another image's grid, by nearest neighbour; 0 outside of the image."""
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)


def outside_of(scan: Any, image: Any) -> NDArray[np.bool_]:
    """Return which voxels of an image, `(D, H, W)`, have their centre outside of a scan."""
    inside = sitk.Image(scan.GetSize(), sitk.sitkUInt8) + 1
    inside.CopyInformation(scan)
    return np.asarray(sitk.GetArrayFromImage(resample_labels(inside, image)) == 0)


def _on_grid_of(image: Any, grid: Any) -> bool:
    """Whether each voxel of `image` is a voxel of `grid`."""
    if not np.allclose(image.GetSpacing(), grid.GetSpacing(), rtol=GEOMETRY_TOLERANCE):
        return False
    corners, found = _corners(image), _corners_on(image, grid)
    first = np.rint(found[0])
    together = bool(np.abs(found - first - corners).max() < CORNER_TOLERANCE)
    whole = np.allclose(found[0], first, atol=GEOMETRY_TOLERANCE)
    inside = first.min() >= 0 and bool(np.all(first + corners[-1] < grid.GetSize()))
    return together and whole and inside


def _corners(image: Any) -> NDArray[np.float64]:
    """Return the indices `(8, 3)` of the voxels at the corners, from the first to the last."""
    return np.array(list(product(*((0.0, side - 1.0) for side in image.GetSize()))))


def _corners_on(image: Any, grid: Any) -> NDArray[np.float64]:
    """Return where the corners of an image lie on a grid, as its indices `(8, 3)`."""
    points = corner_points(image).tolist()
    return np.array([grid.TransformPhysicalPointToContinuousIndex(point) for point in points])


def corner_points(image: Any) -> NDArray[np.float64]:
    """Return where the voxels at the corners of an image lie, in mm, `(8, 3)` as (x, y, z)."""
    points = (image.TransformContinuousIndexToPhysicalPoint(each) for each in _corners(image))
    return np.array(list(points))


def geometry_differences(image: Any, other: Any) -> list[str]:
    """Return a line for each way in which two images' geometries differ, with both values."""
    lines = []
    for what, get, tolerance in (
        ("size", "GetSize", 0.0),
        ("spacing", "GetSpacing", GEOMETRY_TOLERANCE * min(other.GetSpacing())),
        ("origin", "GetOrigin", GEOMETRY_TOLERANCE * min(other.GetSpacing())),
        ("direction", "GetDirection", GEOMETRY_TOLERANCE),
    ):
        value, other_value = (np.array(getattr(each, get)()) for each in (image, other))
        if not np.allclose(value, other_value, rtol=0, atol=tolerance):
            lines.append(f"{what} {_short(value)} against {_short(other_value)}")
    if not lines:
        apart = np.abs(_corners_on(image, other) - _corners(image)).max()
        if apart > CORNER_TOLERANCE:
            spacings = " and ".join(_short(np.array(each.GetSpacing())) for each in (image, other))
            lines.append(f"corners up to {apart:.2g} voxels apart (spacing {spacings})")
    return lines


def _short(numbers: NDArray[Any]) -> str:
    return "(" + ", ".join(f"{n:.4g}" for n in numbers) + ")"
