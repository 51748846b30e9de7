"""Colours of a mask and the class of each; the colours between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import ClassColours, several
from lungseg.imaging.pixels import Labels


@dataclass(frozen=True)
class Palette:
    """Colours `(N, 3)`, 0..255, and the class index of each `(N,)`."""

    colours: NDArray[np.float64]
    classes: Labels

    @classmethod
    def of(cls, rgb_map: Mapping[str, ClassColours]) -> Palette:
        """Return the colours of an `rgb_map`."""
        pairs = [(each, i) for i, c in enumerate(rgb_map.values()) for each in several(c)]
        return cls(
            np.array([colour for colour, _ in pairs], np.float64),
            np.array([index for _, index in pairs], np.uint8),
        )

    def with_greys(self, classes: Mapping[int, int]) -> Palette:
        """Return the palette with more greys, given with the class index of each."""
        greys = np.array(list(classes), np.float64)[:, None].repeat(3, axis=1)
        indices = np.array(list(classes.values()), np.uint8)
        return Palette(
            np.concatenate([self.colours, greys]), np.concatenate([self.classes, indices])
        )

    def nearest(self, colours: NDArray[np.int64]) -> tuple[Labels, NDArray[np.float64]]:
        """Return the class whose colour is nearest to each of `colours`, and the distance to it."""
        distances = np.linalg.norm(colours[:, None] - self.colours[None], axis=2)
        return self.classes[distances.argmin(axis=1)], distances.min(axis=1)

    def distance_to_blends(self, colours: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each colour's distance to the nearest segment between two of the palette's."""
        best = np.full(len(colours), np.inf)
        for first in range(len(self.colours)):
            for second in range(first + 1, len(self.colours)):
                start, along = self.colours[first], self.colours[second] - self.colours[first]
                along_segment = np.clip((colours - start) @ along / (along @ along), 0, 1)
                gap = np.linalg.norm(colours - (start + along_segment[:, None] * along), axis=1)
                best = np.minimum(best, gap)
        return best
