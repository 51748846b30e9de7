"""A phantom's chest as an array whose lungs are known, and what makes it sick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from lungseg.inference.sides import LEFT, RIGHT
from lungseg.phantom.drawing import FIELD_OF_VIEW_MM, make_volume
from lungseg.phantom.patient import make_patient
from tests.support.volumes import LUNG_HEIGHT_MM, image_of

SIDE = 128
SLICES = 20
TISSUE, GAS, FLUID = 40, -1000, 12


@dataclass(frozen=True)
class Chest:
    """A CT and its lungs. Slices go from the feet to the head, columns to the patient's left.

    Attributes:
        hu: int16 `(D, H, W)`.
        lungs: uint8 of the same shape, 1 in the left and 2 in the right lung.
        spacing: mm, ordered (x, y, z).
    """

    hu: np.ndarray
    lungs: np.ndarray
    spacing: tuple[float, float, float]

    @property
    def ct(self) -> sitk.Image:
        """The CT."""
        return image_of(self.hu, self.spacing)

    @property
    def mask(self) -> sitk.Image:
        """The lungs without their sides."""
        return image_of((self.lungs > 0).astype(np.uint8), self.spacing)

    def ml(self, where: np.ndarray) -> float:
        """Return the volume of voxels."""
        return float(np.count_nonzero(where) * np.prod(self.spacing) / 1000)

    def of(self, side: int) -> np.ndarray:
        """Return where one lung is."""
        return np.asarray(self.lungs == side)

    def noisy(self, where: np.ndarray, value: float) -> Chest:
        """Fill voxels with a value and the noise of a CT; lung is left as it is labelled."""
        noise = np.random.default_rng(0).normal(value, 15, self.hu.shape)
        return replace(self, hu=np.where(where, noise, self.hu).astype(np.int16))

    def without_lung(self, where: np.ndarray, value: float = TISSUE) -> Chest:
        """Fill voxels, which are no lung then."""
        filled = self.noisy(where, value)
        return replace(filled, lungs=np.where(where, 0, self.lungs).astype(np.uint8))

    def opaque(self, side: int) -> Chest:
        """Fill one lung with tissue, as after its removal."""
        return self.without_lung(ndimage.binary_dilation(self.of(side), iterations=2))

    def part(self, *slices: slice) -> Chest:
        """Return a part of the picture, `(z, y, x)`."""
        return replace(self, hu=self.hu[slices], lungs=self.lungs[slices])

    def emphysema(self, *sides: int) -> Chest:
        """Thin the tissue of lungs to a fifth; their vessels stay."""
        thin = np.isin(self.lungs, sides) & (self.hu < -600)
        hu = np.where(thin, -1000 + (self.hu + 1000.0) * 0.2, self.hu)
        return replace(self, hu=hu.astype(np.int16))

    def in_three_pieces(self, side: int) -> Chest:
        """Cut one lung twice, by bands of tissue."""
        slices = np.flatnonzero(self.of(side).any(axis=(1, 2)))
        bands = slices[[len(slices) // 3, 2 * len(slices) // 3]]
        where = self.of(side)
        where[np.setdiff1d(np.arange(len(self.hu)), bands)] = False
        return self.without_lung(where)

    def scaled(self, factor: float) -> Chest:
        """Return a smaller animal."""
        x, y, z = self.spacing
        return replace(self, spacing=(factor * x, factor * y, factor * z))

    def ball(
        self, centre: Sequence[float], radius_mm: float, flat: Sequence[float] = (1, 1, 1)
    ) -> np.ndarray:
        """Return a ball around a voxel `(z, y, x)`, flattened by factors per axis."""
        distance = np.zeros(self.hu.shape)
        axes = np.ogrid[tuple(slice(0, n) for n in self.hu.shape)]
        for axis, middle, mm, factor in zip(axes, centre, self.spacing[::-1], flat, strict=True):
            distance = distance + ((axis - middle) * mm / factor) ** 2
        return np.asarray(distance <= radius_mm**2)


def chest(seed: int = 0, slices: int = SLICES) -> Chest:
    """Return the chest of a phantom without lesions, upright in the middle of the picture."""
    patient = replace(
        make_patient(seed), lesions=(), effusion=(0.0, 0.0), shift=(0.0, 0.0), tilt=0.0
    )
    pairs = list(make_volume(patient, slices, SIDE))[::-1]
    lungs = np.stack([mask for _, mask in pairs])
    lungs[:, :, : SIDE // 2] *= RIGHT
    lungs[:, :, SIDE // 2 :] *= LEFT
    pixel = FIELD_OF_VIEW_MM / SIDE
    return Chest(np.stack([hu for hu, _ in pairs]), lungs, (pixel, pixel, LUNG_HEIGHT_MM / slices))
