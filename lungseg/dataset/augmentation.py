"""Random augmentation of slices: image and mask get the same transform, drawn from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lungseg.config.training import TransformsConfig
from lungseg.system.privacy import private_import

if TYPE_CHECKING:
    from albumentations import Compose


def build_pipeline(transforms: TransformsConfig) -> Compose:
    """Build the albumentations pipeline of a config section."""
    with private_import("albumentations"):
        from lungseg.dataset.transforms import build
    return build(transforms)


class Augmenter:
    """A pipeline that several threads may call, each call with its own seed."""

    def __init__(self, transforms: TransformsConfig) -> None:
        """Keep the config; each `Compose` holds random state, so it serves one call at a time."""
        self._transforms = transforms
        # One list for all threads, because Python sees TensorFlow's threads as new at every call.
        self._idle: list[Compose] = []

    def __call__(
        self, image: NDArray[np.uint8], labels: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Apply one random transform to a slice `(H, W)` or `(H, W, 3)` and its labels `(H, W)`."""
        try:
            compose = self._idle.pop()  # atomic, so it needs no lock
        except IndexError:
            compose = build_pipeline(self._transforms)
        if compose.transforms:
            compose.set_random_seed(seed % 2**32)
            moved = compose(image=image, mask=labels)
            image, labels = moved["image"], moved["mask"]
        self._idle.append(compose)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def draw_seed(seed: int, *position: int) -> int:
    """Derive a seed for one draw from the config's seed and the draw's position."""
    return int(np.random.SeedSequence([seed, *position]).generate_state(1)[0])


def soft_tissue(image: NDArray[np.uint8]) -> float:
    """Return the grey of soft tissue: the median of the pixels brighter than the mean."""
    bright = image[image > image.mean()]
    return float(np.median(bright)) if bright.size else 255.0
