"""Augmentation pipelines built from the config, on albumentations and nothing else.

Image and mask go through one `Compose` in one call, so a draw moves both together. Every call is
seeded: the same seed gives the same result, whichever thread it runs in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config import TransformsConfig

# Set before the import: without it albumentations asks the network for a newer version.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations as A  # noqa: N812 - its documented name

BLUR_PIXELS = 3.0  # standard deviation at limit 1


class RandomWindow(A.ImageOnlyTransform):  # type: ignore[misc]
    """Show the slice through another grey window: both ends move by up to `limit` of the range.

    A narrower window clips lungs to black or bone to white, as other sites' images have it; a wider
    one lifts black to grey; what is clipped already stays so. Defined for uint8.
    """

    def __init__(self, limit: float = 0.2, p: float = 0.5) -> None:
        """Take the largest shift of an end, as a share of the grey range."""
        super().__init__(p=p)
        self.limit = limit

    def get_params(self) -> dict[str, Any]:
        """Draw the two ends; at least a fifth of the range stays between them."""
        low = self.py_random.uniform(-self.limit, self.limit)
        high = 1 + self.py_random.uniform(-0.5 * self.limit, self.limit)
        return {"low": low, "high": max(high, low + 0.2)}

    def apply(self, img: NDArray[np.uint8], low: float, high: float, **_: Any) -> Any:
        """Map grey values through a table of 256."""
        table = (np.arange(256) / 255 - low) / (high - low) * 255
        return cv2.LUT(img, np.clip(np.rint(table), 0, 255).astype(np.uint8)).reshape(img.shape)


class RandomLesion(A.ImageOnlyTransform):  # type: ignore[misc]
    """Make part of a lung opaque, as consolidation or a tumour does; the label stays lung.

    Classical methods lose such lung, and so does a network that has seen healthy lungs alone. One
    soft-edged ellipse at a random lung pixel takes on the grey of the surrounding tissue, wholly or
    in part. Without lung in the mask nothing happens. Defined for uint8.
    """

    def __init__(self, limit: float = 0.2, p: float = 0.5) -> None:
        """Take the largest half axis of the ellipse, as a share of the image's longer side."""
        super().__init__(p=p)
        self.limit = limit

    @property
    def targets_as_params(self) -> list[str]:
        """Ask for the labels, which say where lung is."""
        return ["image", "mask"]

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Draw the ellipse and compute its opacity, float32 `(H, W)`, and its grey."""
        image, lung = data["image"], data["mask"] > 0
        inside = np.flatnonzero(lung)
        if not len(inside):
            return {"opacity": None, "grey": 0.0}
        rng = self.random_generator
        y, x = divmod(int(rng.choice(inside)), lung.shape[1])
        half_axes = rng.uniform(0.15, 1.0, 2) * self.limit * max(lung.shape)
        angle = rng.uniform(0, np.pi)
        rows = np.arange(lung.shape[0], dtype=np.float32)[:, None] - y
        columns = np.arange(lung.shape[1], dtype=np.float32)[None] - x
        along = (columns * np.cos(angle) + rows * np.sin(angle)) / half_axes[0]
        across = (rows * np.cos(angle) - columns * np.sin(angle)) / half_axes[1]
        edge = rng.uniform(0.1, 1.0)
        opacity = np.clip((1 - np.hypot(along, across)) / edge, 0, 1) * rng.uniform(0.3, 1.0)
        grey = image if image.ndim == 2 else image.mean(axis=-1)
        bright = grey[grey > grey.mean()]
        tissue = float(np.median(bright)) if bright.size else 255.0
        return {
            "opacity": (opacity * lung).astype(np.float32),
            "grey": tissue * rng.uniform(0.85, 1.1),
        }

    def apply(
        self, img: NDArray[np.uint8], opacity: NDArray[np.float32] | None, grey: float, **_: Any
    ) -> Any:
        """Blend the grey over the image."""
        if opacity is None:
            return img
        share = opacity if img.ndim == 2 else opacity[..., None]
        return np.clip(np.rint(img + (grey - img) * share), 0, 255).astype(np.uint8)


def build(transforms: TransformsConfig) -> A.Compose:
    """Build the pipeline of a config section; what has probability 0 is left out."""
    t = transforms
    border = {"border_mode": cv2.BORDER_CONSTANT, "fill": 0, "fill_mask": 0}
    nearest = {"interpolation": cv2.INTER_LINEAR, "mask_interpolation": cv2.INTER_NEAREST}
    steps: Sequence[A.BasicTransform] = [
        A.HorizontalFlip(p=t.hflip),
        A.VerticalFlip(p=t.vflip),
        A.RandomRotate90(p=t.rotate90),
        A.Affine(
            rotate=(-t.affine.rotate, t.affine.rotate),
            scale=(1 - t.affine.scale, 1 + t.affine.scale),
            translate_percent=(-t.affine.shift, t.affine.shift),
            p=t.affine.p,
            **nearest,
            **border,
        ),
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
        RandomWindow(limit=t.window.limit, p=t.window.p),
        A.RandomGamma(
            gamma_limit=(max(1, 100 * (1 - t.gamma.limit)), 100 * (1 + t.gamma.limit)), p=t.gamma.p
        ),
        A.GaussianBlur(
            blur_limit=0, sigma_limit=(0.1, max(0.1, BLUR_PIXELS * t.blur.limit)), p=t.blur.p
        ),
        A.GaussNoise(std_range=(0.0, t.noise.limit), p=t.noise.p),
    ]
    return A.Compose([step for step in steps if step.p > 0])


class Augmenter:
    """A pipeline that may be called from several threads, each call with its own seed."""

    def __init__(self, transforms: TransformsConfig) -> None:
        """Keep the config; a `Compose` holds random state, so each serves one call at a time."""
        self._transforms = transforms
        # Not one a thread: to Python, TensorFlow's threads are new ones at every call.
        self._idle: list[A.Compose] = []

    def __call__(
        self, image: NDArray[np.uint8], labels: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Augment a slice `(H, W)` or `(H, W, 3)` and its labels `(H, W)` by one draw."""
        try:
            compose = self._idle.pop()  # as safe between threads as a lock would make it
        except IndexError:
            compose = build(self._transforms)
        if compose.transforms:
            compose.set_random_seed(seed % 2**32)
            moved = compose(image=image, mask=labels)
            image, labels = moved["image"], moved["mask"]
        self._idle.append(compose)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def draw_seed(seed: int, *position: int) -> int:
    """Derive a seed for one draw from the config's seed and the draw's position."""
    return int(np.random.SeedSequence([seed, *position]).generate_state(1)[0])
