"""Random augmentation of slices: image and mask get the same transform, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import is_lung, mirrored, one_sided
from lungseg.config.training import TransformsConfig
from lungseg.errors import UsageError
from lungseg.system.privacy import private_import

if TYPE_CHECKING:
    from albumentations import Compose


def build_pipeline(transforms: TransformsConfig, swap: Sequence[int]) -> Compose:
    """Build the albumentations pipeline of a config section; `swap` as in `transforms.build`."""
    with private_import("albumentations"):
        from lungseg.dataset.transforms import build
    return build(transforms, swap)


def mirrored_classes(transforms: TransformsConfig, classes: Sequence[str]) -> list[int]:
    """Return the index of each class in a mirrored slice.

    Raises:
        UsageError: if a transform would make labels wrong.
    """
    other = [name for name in classes[1:] if not is_lung(name)]
    if transforms.lesion.p and len(classes) > 2 and other:
        raise UsageError(
            f"augment: a lesion makes lung opaque without a change of its label, but "
            f"{', '.join(other)} may be what such an image shows. Set lesion.p to 0."
        )
    if (transforms.hflip or transforms.vflip) and (single := one_sided(classes)):
        raise UsageError(
            f"augment: a flip exchanges left and right, but there is no class for the other side "
            f"of {', '.join(single)}. Set hflip and vflip to 0."
        )
    return mirrored(classes)


class Augmenter:
    """A pipeline that several threads may call, each call with its own seed."""

    def __init__(
        self, transforms: TransformsConfig, classes: Sequence[str] = ("background", "lung")
    ) -> None:
        """Keep the config; each `Compose` holds random state, so it serves one call at a time.

        Args:
            transforms: a section of `augment`.
            classes: names of the classes, background first. After a flip, those that differ only
                in left and right are exchanged.

        Raises:
            UsageError: if a transform would make the labels of these classes wrong.
        """
        self._transforms, self._swap = transforms, mirrored_classes(transforms, classes)
        # One list for all threads, because Python sees TensorFlow's threads as new at every call.
        self._idle: list[Compose] = []

    def __call__(
        self, image: NDArray[np.uint8], labels: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Apply one random transform to a slice `(H, W)` or `(H, W, 3)` and its labels `(H, W)`.

        Args:
            image: the slice.
            labels: its labels.
            seed: 0 to 2**32 - 1, as `draw_seed` returns it.
        """
        try:
            compose = self._idle.pop()  # atomic, so it needs no lock
        except IndexError:
            compose = build_pipeline(self._transforms, self._swap)
        if compose.transforms:
            compose.set_random_seed(seed)
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
