"""CT and label volumes on their grids in space."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.imaging.findings import Finding

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


@dataclass(frozen=True)
class Ct:
    """A CT volume in HU.

    Attributes:
        name: of the case.
        image: SimpleITK image with the input's own geometry.
        suffix: of the file to write its mask to.
        findings: what a person should know.

    Example:
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
