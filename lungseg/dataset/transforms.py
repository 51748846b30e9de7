"""Random transforms of slices, built with albumentations.

Import this module through `lungseg.dataset.augmentation`, which sets an environment variable first.
Without it, albumentations looks for a newer version on the internet when it is imported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import albumentations as A  # noqa: N812 - its documented name
import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.training import TransformsConfig
from lungseg.dataset.augmentation import soft_tissue

BLUR_PIXELS = 3.0  # standard deviation at limit 1
FRINGES = 0.4  # fraction of lesions that lie along the wall of the chest


class _Mirrored:
    """A flip after which a class is that of the other side, as `swap[index]` says."""

    swap: NDArray[np.uint8]

    def apply_to_mask(self, mask: NDArray[np.uint8], *args: Any, **params: Any) -> Any:
        """Flip the labels and exchange the sides."""
        return self.swap[super().apply_to_mask(mask, *args, **params)]  # type: ignore[misc]


class LeftRightFlip(_Mirrored, A.HorizontalFlip):  # type: ignore[misc]
    """Flip a slice left to right."""


class UpDownFlip(_Mirrored, A.VerticalFlip):  # type: ignore[misc]
    """Flip a slice upside down. It is a mirror image, too: a turned slice keeps its sides."""


class RandomCrop(A.DualTransform):  # type: ignore[misc]
    """Enlarge a random part of a slice to its size, as CTs of the heart or of one lung show it.

    albumentations has such crops only for a size that is known beforehand.
    """

    def __init__(self, limit: float, p: float) -> None:
        """Set the largest share of each side that is cut off."""
        super().__init__(p=p)
        self.limit = limit

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the part: rows and columns, with the proportions of the slice."""
        kept = 1 - self.random_generator.uniform(0, self.limit)
        spans = []
        for whole in params["shape"][:2]:
            side = max(1, round(whole * kept))
            first = int(self.random_generator.integers(0, whole - side + 1))
            spans.append(slice(first, first + side))
        return {"part": tuple(spans)}

    def apply(self, img: NDArray[np.uint8], *, part: Any, **params: Any) -> NDArray[np.uint8]:
        """Enlarge the part of the image."""
        size = img.shape[1::-1]
        return np.asarray(cv2.resize(img[part], size, interpolation=cv2.INTER_LINEAR), np.uint8)

    def apply_to_mask(
        self, mask: NDArray[np.uint8], *, part: Any, **params: Any
    ) -> NDArray[np.uint8]:
        """Enlarge the part of the labels."""
        size = mask.shape[1::-1]
        return np.asarray(cv2.resize(mask[part], size, interpolation=cv2.INTER_NEAREST), np.uint8)


class RandomWindow(A.ImageOnlyTransform):  # type: ignore[misc]
    """Show the slice through another grey window: both ends move by up to `limit` of the range.

    A narrower window clips lungs to black or bone to white, as images of other sites have it. A
    wider window shows black as grey, or only metal as white. Values already clipped cannot be
    recovered. The lower end never rises above soft tissue. A share of the windows, `mediastinal`,
    is narrow and around soft tissue, whatever the limit. Defined for uint8.
    """

    def __init__(self, limit: float, mediastinal: float, p: float) -> None:
        """Set the largest shift of an end, as a fraction of the grey range, and the share."""
        super().__init__(p=p)
        self.limit = limit
        self.mediastinal = mediastinal

    @property
    def targets_as_params(self) -> list[str]:
        """Request the image, from which the grey of soft tissue is measured."""
        return ["image"]

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the two ends; between those of a wide window stays at least a fifth of the range."""
        soft = soft_tissue(data["image"]) / 255
        if self.py_random.random() < self.mediastinal:
            low = soft * self.py_random.uniform(0.6, 0.9)
            return {"low": low, "high": max(soft * self.py_random.uniform(1.05, 1.5), low + 0.1)}
        darkest = min(self.limit, 0.6 * soft)
        low = self.py_random.uniform(-self.limit, darkest)
        # The upper end may move far, because the range of a 12-bit scanner reaches 3071 HU.
        wider = self.py_random.choice([1.0, 1.0, 4.0])
        high = 1 + self.py_random.uniform(-0.5 * self.limit, wider * self.limit)
        return {"low": low, "high": max(high, low + 0.2)}

    def apply(self, img: NDArray[np.uint8], low: float, high: float, **_: Any) -> Any:
        """Map grey values through a table of 256."""
        table = (np.arange(256) / 255 - low) / (high - low) * 255
        return cv2.LUT(img, np.clip(np.rint(table), 0, 255).astype(np.uint8)).reshape(img.shape)


class RandomLesion(A.ImageOnlyTransform):  # type: ignore[misc]
    """Make part of a lung opaque, as disease does; the label stays lung.

    Classical methods miss such lung, and so does a network that has seen only healthy lungs. A
    lesion is either one to three masses, which are ragged ellipses at random lung pixels, or a
    fringe along the chest wall, mostly at the back, like dependent atelectasis or thickened pleura.
    It takes on the grey of the surrounding tissue, fully or in part. Without lung in the mask
    nothing happens. Defined for uint8.
    """

    def __init__(self, limit: float, p: float) -> None:
        """Set the largest radius of a mass, as a fraction of sqrt(lung area)."""
        super().__init__(p=p)
        self.limit = limit

    @property
    def targets_as_params(self) -> list[str]:
        """Request the image and the labels, which show where lung is."""
        return ["image", "mask"]

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the opacity of a lesion and its grey values, both float32 `(H, W)`."""
        image, lung = data["image"], (data["mask"] > 0).astype(np.float32)
        if not lung.any():
            return {"opacity": None, "grey": None}
        rng = self.random_generator
        # The size scales with the lung area: at bases and apices, a lesion of fixed size would
        # cover the whole lung, and the label would teach that the tissue around it is lung.
        reach = self.limit * float(np.sqrt(lung.sum()))
        if rng.random() < FRINGES:
            opacity = _fringe(lung, reach / 2, rng)
        else:
            masses = [_mass(lung, reach, rng) for _ in range(rng.integers(1, 4))]
            opacity = np.maximum.reduce(masses)
        opacity = opacity * lung * rng.choice([1.0, rng.uniform(0.3, 1.0)])
        tissue = soft_tissue(image)
        texture = rng.uniform(0, 0.15) * _smooth_noise(lung.shape, max(lung.shape) // 8, rng)
        return {"opacity": opacity, "grey": tissue * (rng.uniform(0.85, 1.1) + texture)}

    def apply(
        self,
        img: NDArray[np.uint8],
        opacity: NDArray[np.float32] | None,
        grey: NDArray[np.float32],
        **_: Any,
    ) -> Any:
        """Blend the lesion over the image."""
        if opacity is None:
            return img
        if img.ndim == 3:
            opacity, grey = opacity[..., None], grey[..., None]
        return np.clip(np.rint(img + (grey - img) * opacity), 0, 255).astype(np.uint8)


def _smooth_noise(
    shape: tuple[int, ...], cells: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return smooth noise `(H, W)` in -1..1, of `cells` by `cells` random values."""
    cells = max(2, cells)
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    fine = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine, np.float32)


def _mass(lung: NDArray[np.float32], reach: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the opacity of a ragged ellipse at a random lung pixel, 0..1."""
    y, x = divmod(int(rng.choice(np.flatnonzero(lung))), lung.shape[1])
    half_axes = rng.uniform(0.15, 1.0, 2) * reach
    angle = rng.uniform(0, np.pi)
    rows = np.arange(lung.shape[0], dtype=np.float32)[:, None] - y
    columns = np.arange(lung.shape[1], dtype=np.float32)[None] - x
    along = (columns * np.cos(angle) + rows * np.sin(angle)) / half_axes[0]
    across = (rows * np.cos(angle) - columns * np.sin(angle)) / half_axes[1]
    ragged = rng.uniform(0, 0.6) * _smooth_noise(lung.shape, int(rng.integers(8, 48)), rng)
    edge = rng.uniform(0.05, 1.0)
    opacity = np.clip((1 - np.hypot(along, across) + ragged) / edge, 0, 1)
    return np.asarray(opacity, np.float32)


def _fringe(
    lung: NDArray[np.float32], reach: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the opacity, 0..1, of a band along the lung's wall whose depth varies."""
    angle = rng.normal(np.pi / 2, 0.4) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)
    depth = rng.uniform(0.05, 1.0) * reach
    noise = _smooth_noise(lung.shape, int(rng.integers(6, 40)), rng)
    depths = depth * np.clip(0.5 + noise * rng.uniform(0.3, 1.0), 0, None)
    rows, columns = np.indices(lung.shape, dtype=np.float32)
    ahead = cv2.remap(
        lung,
        columns + np.float32(np.cos(angle)) * depths,
        rows + np.float32(np.sin(angle)) * depths,
        cv2.INTER_LINEAR,
    )
    return np.asarray(1 - ahead, np.float32)


def build(transforms: TransformsConfig, swap: Sequence[int]) -> A.Compose:
    """Build the pipeline of a config section, without the steps of probability 0.

    Args:
        transforms: the section.
        swap: the index of each class in a mirrored slice.
    """
    t = transforms
    flips = LeftRightFlip(p=t.hflip), UpDownFlip(p=t.vflip)
    for flip in flips:
        flip.swap = np.array(swap, np.uint8)
    border = {"border_mode": cv2.BORDER_CONSTANT, "fill": 0, "fill_mask": 0}
    slant = math.degrees(math.atan(t.shear.limit))
    nearest = {"interpolation": cv2.INTER_LINEAR, "mask_interpolation": cv2.INTER_NEAREST}
    steps: Sequence[A.BasicTransform] = [
        *flips,
        A.RandomRotate90(p=t.rotate90),
        RandomCrop(t.crop.limit, p=t.crop.p),
        A.Affine(
            rotate=(-t.affine.rotate, t.affine.rotate),
            scale=(1 - t.affine.scale, 1 + t.affine.scale),
            translate_percent=(-t.affine.shift, t.affine.shift),
            p=t.affine.p,
            **nearest,
            **border,
        ),
        A.Affine(shear=(-slant, slant), p=t.shear.p, **nearest, **border),
        A.ElasticTransform(
            alpha=t.elastic.alpha, sigma=t.elastic.sigma, p=t.elastic.p, **nearest, **border
        ),
        A.OpticalDistortion(
            distort_limit=(-t.barrel.limit, t.barrel.limit), p=t.barrel.p, **nearest, **border
        ),
        A.GridDistortion(
            distort_limit=(-t.grid.limit, t.grid.limit), p=t.grid.p, **nearest, **border
        ),
        RandomLesion(limit=t.lesion.limit, p=t.lesion.p),
        RandomWindow(t.window.limit, t.window.mediastinal, p=t.window.p),
        A.RandomGamma(
            gamma_limit=(max(1, 100 * (1 - t.gamma.limit)), 100 * (1 + t.gamma.limit)), p=t.gamma.p
        ),
        A.RandomBrightnessContrast(
            brightness_limit=(-t.brightness.limit, t.brightness.limit),
            contrast_limit=(-t.brightness.contrast, t.brightness.contrast),
            p=t.brightness.p,
        ),
        A.GaussianBlur(
            blur_limit=0, sigma_limit=(0.1, max(0.1, BLUR_PIXELS * t.blur.limit)), p=t.blur.p
        ),
        # With this lightness the kernel is the original's: 1 + 8 k in the middle, -k around it.
        A.Sharpen(alpha=(0.0, t.sharpen.limit), lightness=(1.0, 1.0), p=t.sharpen.p),
        A.GaussNoise(std_range=(0.0, t.noise.limit), p=t.noise.p),
    ]
    return A.Compose([step for step in steps if step.p > 0])
