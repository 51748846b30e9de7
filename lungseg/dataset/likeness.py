"""How alike two slices look, however the images are flipped, turned, shrunk or moved.

A slice is described by two views. The *frame* view lies around the centre of the image. A flip, a
turn or another grey window keeps it, and so does the next slice of a scan. The *body* view lies
around the centroid of what is bright and is scaled to its spread, so it also survives shrinking and
moving. Each view is sampled on rings, and each ring is stored as the Fourier series of its grey
values along the ring. A turned image shifts the phases and a mirrored one conjugates the series. So
the correlation of two views at every angle, mirrored or not, is one short Fourier transform per
pair, and the largest one counts.

The idea is that of Fourier-Mellin registration (Reddy and Chatterji, IEEE Trans. Image Processing
5:1266, 1996), without its step for the translation. docs/likeness.md has what was measured.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

VIEWS, RINGS, HARMONICS = 2, 16, 17
SIDE = 96  # pixels of a view before it is sampled on rings
SHARP, SMOOTH = 0.5, 3.0  # standard deviations in these pixels: details in between count
REACH = 1.7  # radius of the body view per standard deviation of what is bright
ANGLES = 128  # at which two views are correlated
# The body view is scaled and centred, so other patients correlate more there than in the frame.
BODY_PENALTY = 0.1
NUMBERS = 2 * HARMONICS - 1  # of a ring; the harmonic 0 is real
STEPS, LOUDEST = 7, 0.6  # a number has 4 bits: -7 to 7, where 7 is 0.6 of the largest or more
LENGTH = VIEWS * RINGS * NUMBERS // 2  # bytes
_WEIGHTS = np.array([1.0] + [2.0] * (HARMONICS - 1), np.float32)  # harmonic k stands for -k, too
_AT_ONCE = 1024  # pairs whose correlations are in memory at a time: some 30 MB


def describe(pixels: NDArray[np.uint8]) -> str:
    """Return the likeness of a slice `(H, W)` or `(H, W, 3)` as 704 letters for a table."""
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    frame = ((width - 1) / 2, (height - 1) / 2, min(height, width) / 2)
    series = np.stack([_rings(grey, *circle) for circle in (frame, _body_circle(grey))])
    series /= np.sqrt(np.maximum(np.abs(series), 1e-9))  # many weak details tell more than one edge
    numbers = np.concatenate([series.real, series.imag[..., 1:]], axis=-1)
    loudest = LOUDEST * np.abs(numbers).max(axis=(1, 2), keepdims=True)
    steps = np.rint(numbers / np.maximum(loudest, 1e-3) * STEPS).clip(-STEPS, STEPS)
    high, low = (steps.ravel().reshape(-1, 2) + STEPS).astype(np.uint8).T
    return base64.b64encode((high << 4 | low).tobytes()).decode()


def _body_circle(grey: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Return centre (x, y) and radius of the circle around what is bright."""
    small = cv2.resize(grey, (128, 128), interpolation=cv2.INTER_AREA)
    _, bright = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    moments = cv2.moments(bright, binaryImage=True)
    area = moments["m00"]
    if not area:
        return ((grey.shape[1] - 1) / 2, (grey.shape[0] - 1) / 2, min(grey.shape) / 2)
    across, down = grey.shape[1] / 128, grey.shape[0] / 128
    spread = np.sqrt((moments["mu20"] * across**2 + moments["mu02"] * down**2) / area)
    x, y = moments["m10"] / area, moments["m01"] / area
    return ((x + 0.5) * across - 0.5, (y + 0.5) * down - 0.5, max(REACH * float(spread), 1.0))


def _rings(grey: NDArray[np.uint8], x: float, y: float, radius: float) -> NDArray[np.complex64]:
    """Return the Fourier series `(RINGS, HARMONICS)` of the grey values on rings in a circle."""
    scale = SIDE / 2 / radius
    if scale < 0.66:  # averages pixels first, as sampling alone would alias
        height, width = grey.shape
        smaller = max(8, round(width * scale * 1.5)), max(8, round(height * scale * 1.5))
        shrunk = smaller[0] / width, smaller[1] / height
        grey = np.asarray(cv2.resize(grey, smaller, interpolation=cv2.INTER_AREA), np.uint8)
        x, y = (x + 0.5) * shrunk[0] - 0.5, (y + 0.5) * shrunk[1] - 0.5
        scales = scale / shrunk[0], scale / shrunk[1]
    else:
        scales = scale, scale
    middle = (SIDE - 1) / 2
    onto = np.array(
        [[scales[0], 0, middle - scales[0] * x], [0, scales[1], middle - scales[1] * y]]
    )
    view = cv2.warpAffine(grey, onto, (SIDE, SIDE), flags=cv2.INTER_LINEAR).astype(np.float32)
    details = cv2.GaussianBlur(view, (0, 0), SHARP) - cv2.GaussianBlur(view, (0, 0), SMOOTH)
    size = (RINGS, ANGLES)
    polar = cv2.warpPolar(details, size, (middle, middle), SIDE / 2, cv2.INTER_LINEAR).T
    longer = np.sqrt((np.arange(RINGS, dtype=np.float32) + 0.5) / RINGS)  # by their circumference
    return np.fft.rfft(polar * longer[:, None], axis=1)[:, :HARMONICS].astype(np.complex64)


@dataclass(frozen=True)
class Looks:
    """The likenesses of a list of slices.

    Attributes:
        numbers: int8 `(N, VIEWS, RINGS, NUMBERS)`: the real parts of the harmonics, then the
            imaginary ones. They are 0 if a likeness is unknown.
    """

    numbers: NDArray[np.int8]

    @classmethod
    def read(cls, texts: Sequence[str]) -> Looks:
        """Read what `describe` returned; an empty text is an unknown likeness.

        Raises:
            ValueError: if a text is damaged.
        """
        unknown = bytes([STEPS << 4 | STEPS]) * LENGTH
        content = b"".join(_decode(text) if text else unknown for text in texts)
        packed = np.frombuffer(content, np.uint8)
        steps = np.stack([packed >> 4, packed & 15], axis=-1).astype(np.int8) - np.int8(STEPS)
        return cls(steps.reshape(len(texts), VIEWS, RINGS, NUMBERS))

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.numbers)

    def series(self, chosen: slice | NDArray[np.intp]) -> NDArray[np.complex64]:
        """Return the Fourier series of some slices, `(P, VIEWS, RINGS, HARMONICS)`.

        Each view has the norm 1, or 0 if the likeness is unknown or the slice is blank.
        """
        numbers = self.numbers[chosen]
        series = numbers[..., :HARMONICS].astype(np.complex64)
        series[..., 1:].imag = numbers[..., HARMONICS:]
        energy = (np.abs(series) ** 2 * _WEIGHTS).sum(axis=(2, 3), keepdims=True)
        return np.asarray(series / np.sqrt(np.maximum(energy, 1e-9)), np.complex64)

    def powers(self) -> NDArray[np.float32]:
        """Return the powers of the harmonics, `(VIEWS, N, RINGS * HARMONICS)`.

        No turn and no flip changes them, so they find the pairs that are worth correlating.
        """
        powers = np.empty((VIEWS, len(self), RINGS * HARMONICS), np.float32)
        for start in range(0, len(self), _AT_ONCE):
            chunk = slice(start, start + _AT_ONCE)
            series = self.series(chunk)
            powers[:, chunk] = (np.abs(series) ** 2).swapaxes(0, 1).reshape(VIEWS, len(series), -1)
        return powers

    def similarities(
        self, rows: NDArray[np.intp], other: Looks, columns: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return the similarity of pairs of slices, in 0..1.

        It is `(1 + r) / 2`, where `r` is the largest correlation at any angle, mirrored or not, in
        one of the views. Slices without anything in common have about 0.55.

        Args:
            rows: indices into this list, `(P,)`.
            other: another list, or this one.
            columns: indices into the other list, `(P,)`.
        """
        found = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _AT_ONCE):
            chunk = slice(start, start + _AT_ONCE)
            one, two = self.series(rows[chunk]), other.series(columns[chunk])
            turned = np.einsum("nvrk,nvrk->nvk", one, two.conj())
            mirrored = np.einsum("nvrk,nvrk->nvk", one, two)
            both = np.fft.irfft(np.stack([turned, mirrored]), ANGLES, axis=-1)
            correlation = both.max(axis=(0, -1)) * ANGLES
            correlation[:, 1] -= BODY_PENALTY
            found[chunk] = (1 + np.minimum(correlation.max(axis=1), 1)) / 2
        return found


def _decode(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is no base64 text") from None
    if len(content) != LENGTH:
        raise ValueError(f"it has {len(content)} bytes instead of {LENGTH}")
    return content
