"""How certain a network is of its masks, and what is usual for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The least that is usual if the model does not say. Well trained networks have more.
MIN_CERTAINTY = 0.95
# A mask is uncertain if its certainty is so much below what is usual.
BELOW_USUAL = 0.03
PERCENTILE = 5


class Certainty:
    """How certain a network is of its mask: soft Dice of the mask and the probability of lung.

    With the mask M, 0 or 1, and the probability p of each pixel it is 2 sum(M p) / (sum(M) +
    sum(p)). It is 1 if every probability is 0 or 1. It needs no truth.
    """

    def __init__(self) -> None:
        """Start without any slice."""
        self._both = self._sum = self._mask = 0.0

    def add(self, probabilities: NDArray[np.float32], mask: NDArray[Any]) -> None:
        """Add a slice.

        Args:
            probabilities: of the classes, `(H, W, C)`; class 0 is background.
            mask: the network's mask `(H, W)`, above 0 in the lungs.
        """
        background = probabilities[..., 0]
        inside = mask > 0
        size = float(np.count_nonzero(inside))
        self._both += size - float(background[inside].sum(dtype=np.float64))
        self._sum += background.size - float(background.sum(dtype=np.float64)) + size
        self._mask += size

    def include(self, other: Certainty) -> None:
        """Add the slices of another certainty."""
        self._both += other._both
        self._sum += other._sum
        self._mask += other._mask

    @property
    def value(self) -> float | None:
        """The certainty, 0 to 1; None if no slice holds lung."""
        return round(2 * self._both / self._sum, 4) if self._mask else None


@dataclass(frozen=True)
class Usual:
    """What certainty is usual for a network. A briefly trained one is less certain of good masks.

    Attributes:
        together: of all validation slices together, as of a volume.
        slice: the 5th percentile of those in which the network finds lung, as of an image.
        slices: their number.
    """

    together: float = MIN_CERTAINTY + BELOW_USUAL
    slice: float = MIN_CERTAINTY + BELOW_USUAL
    slices: int = 0

    @classmethod
    def of(cls, predicted: Iterable[NDArray[np.float32]]) -> Usual | None:
        """Measure it on predictions `(H, W, C)`; None if no lung is found in any."""
        everything, values = Certainty(), []
        for probabilities in predicted:
            mask = probabilities.argmax(axis=-1)
            one = Certainty()
            for each in (everything, one):
                each.add(probabilities, mask)
            if one.value is not None:
                values.append(one.value)
        if everything.value is None:
            return None
        return cls(everything.value, float(np.percentile(values, PERCENTILE)), len(values))

    def least(self, *, image: bool = False) -> float:
        """Return the least certainty that is not low, of a volume or of an image."""
        return (self.slice if image else self.together) - BELOW_USUAL
