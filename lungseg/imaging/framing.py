"""How a slice of any size and pixel shape lies in the square pixels of a network, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import DataConfig

SQUARE = (1.0, 1.0)  # height and width of a pixel
Values = TypeVar("Values", bound=np.generic)


@dataclass(frozen=True)
class Framing:
    """Where a slice lies in a frame of another size, which is 0 around it.

    Attributes:
        size: height and width of the slice in pixels.
        content: height and width to which the slice is resized.
        frame: height and width of the frame, at least those of the content.
    """

    size: tuple[int, int]
    content: tuple[int, int]
    frame: tuple[int, int]

    @property
    def _window(self) -> tuple[slice, slice]:
        rows, columns = (
            slice((outer - inner) // 2, (outer - inner) // 2 + inner)
            for inner, outer in zip(self.content, self.frame, strict=True)
        )
        return rows, columns

    def place(self, content: NDArray[Values]) -> NDArray[Values]:
        """Put a slice `(H, W, ...)` of the size of the content into the frame."""
        if self.content == self.frame:
            return content
        framed = np.zeros((*self.frame, *content.shape[2:]), content.dtype)
        framed[self._window] = content
        return framed

    def cut(self, framed: NDArray[Values]) -> NDArray[Values]:
        """Cut the content out of a frame `(H, W, ...)`."""
        return framed[self._window]


def frame_slice(
    size: tuple[int, int],
    data: DataConfig,
    spacing: tuple[float, float] = SQUARE,
    *,
    volume: bool = False,
) -> Framing:
    """Return where a slice lies in the input of a network.

    Args:
        size: height and width of the slice in pixels.
        data: `image_size` is the input's. With `square_pixels` nothing is stretched. Without it,
            everything is as in version 0.1: the pixel shape is ignored, a plain image fills the
            whole input, and a slice of a volume is padded to as many rows as columns.
        spacing: height and width of a pixel of the slice, in mm.
        volume: whether the slice is one of a volume.
    """
    height, width = float(size[0]), float(size[1])
    frame = data.image_size
    if data.square_pixels:
        height, width = height * spacing[0], width * spacing[1]
        scale = min(frame[0] / height, frame[1] / width)
        content = height * scale, width * scale
    elif volume:
        side = max(size)
        content = height / side * frame[0], width / side * frame[1]
    else:
        content = float(frame[0]), float(frame[1])
    return Framing(size, (max(1, round(content[0])), max(1, round(content[1]))), frame)


def square_size(size: tuple[int, int], spacing: tuple[float, float]) -> tuple[int, int]:
    """Return the size of a slice in square pixels, at the same number of pixels."""
    ratio = math.sqrt(spacing[0] / spacing[1])
    return max(1, round(size[0] * ratio)), max(1, round(size[1] / ratio))
