"""Whether values are HU, judged by where air, fat and soft tissue lie in their histogram.

The lowest value alone says little: padding of -2000 or -1024 lies below any scale. In HU every CT
of a chest has voxels of air or lung, few between lung and fat, and many of fat and soft tissue.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.errors import DataError
from lungseg.imaging.findings import Finding

MAX_AIR_HU = -500.0  # every chest CT holds air, at least in the lungs

# In HU. Noise and partial volumes widen the bands.
BELOW_AIR = (-np.inf, -1250.0)
AIR = (-1100.0, -700.0)  # air around the patient, airways, lung
SURE_AIR = (-1100.0, -850.0)
LUNG = (-950.0, -600.0)
BETWEEN = (-550.0, -250.0)  # neither lung nor fat
FAT = (-150.0, -50.0)
SOFT = (0.0, 120.0)
ABOVE = (200.0, np.inf)  # contrast, bone and metal, fewer than fat and soft tissue

SIGN = 32768  # from here on, 16 bits with a sign are negative
MIN_VALUES, MIN_DIFFERENT = 1000, 16  # fewer say nothing
SAMPLE = 1_000_000
MOST_OF_ONE_VALUE = 0.02  # padding, and air that was cut off at -1024
PADDING_GAP = 0.02  # fraction of the range of the other values
BANDS = (BELOW_AIR, AIR, SURE_AIR, LUNG, BETWEEN, FAT, SOFT, ABOVE)


@dataclass(frozen=True)
class Reading:
    """What values may mean: HU are `slope` x value + `intercept`.

    Attributes:
        name: what the values are, as a formula.
        slope: by which values are multiplied.
        intercept: is added after that.
        wrapped: whether values from 32768 are negative numbers that lost their sign.
    """

    name: str
    slope: float = 1.0
    intercept: float = 0.0
    wrapped: bool = False

    def to_hu(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values in HU: int32 if they are whole numbers, otherwise float32."""
        whole = values.dtype.kind in "iu" and self.slope % 1 == 0
        kind: Any = np.int32 if whole else np.float32
        numbers = values.astype(kind)
        if self.wrapped:
            numbers[numbers >= SIGN] -= 2 * SIGN
        return np.asarray(numbers * kind(self.slope) + kind(self.intercept))


AS_HU = Reading("HU")
PLUS_1024 = Reading("HU + 1024", intercept=-1024)
READINGS = (
    PLUS_1024,
    Reading("HU - 1024", intercept=1024),
    Reading("HU + 32768", intercept=-32768),
    Reading("HU - 32768", intercept=32768),
    Reading("HU modulo 65536", wrapped=True),
    Reading("HU x 2", 1 / 2),
    Reading("HU x 10", 1 / 10),
    Reading("HU x 16", 1 / 16),
    Reading("(HU + 1024) x 16", 1 / 16, -1024),
    Reading("HU / 2", 2),
    Reading("HU / 1000", 1000),
    Reading("(HU + 1000) / 1000", 1000, -1000),
)


@dataclass(frozen=True)
class Tissues:
    """Shares of the values in the bands of HU; padding is left out."""

    below_air: float
    air: float
    sure_air: float
    lung: float
    between: float
    fat: float
    soft: float
    above: float

    @property
    def are_right(self) -> bool:
        """Whether air and soft tissue lie where they must."""
        return (
            self.below_air < 0.05
            and self.air > 0.01
            and self.soft > 0.02
            and _per_100(self.soft, SOFT) > 1.5 * _per_100(self.between, BETWEEN)
        )

    @property
    def are_surely_right(self) -> bool:
        """Whether fat lies where it must as well, and nothing where it must not."""
        return (
            self.are_right
            and self.sure_air > 0.01
            and self.above < self.fat + self.soft
            and self.fat > 0.005
            and _per_100(self.fat, FAT) > 1.2 * _per_100(self.between, BETWEEN)
        )

    @property
    def are_possible(self) -> bool:
        """Whether the values are those of lungs alone, or of a body without air."""
        tissue = self.fat + self.soft
        lungs_alone = self.lung > 0.5 and self.between < 0.2 and self.above < 0.05
        airless = self.fat > 0.02 and self.soft > 0.1 and tissue > max(0.4, self.above)
        return self.below_air < 0.05 and (lungs_alone or airless)


def _per_100(share: float, band: tuple[float, float]) -> float:
    """Return the mean share per 100 HU of a band."""
    return 100 * share / (band[1] - band[0])


def tissues_of(values: NDArray[Any], counts: NDArray[Any]) -> Tissues:
    """Return the shares of the tissues among distinct values in HU, given how often each is."""
    order = np.argsort(values)
    values, counts = values[order], counts[order]
    for _ in range(3):  # padding outside the field of view, around the volume, of resampling
        if len(values) > 3 and values[1] - values[0] > PADDING_GAP * (values[-1] - values[1]):
            values, counts = values[1:], counts[1:]
    total = counts.sum()
    counts = np.minimum(counts, MOST_OF_ONE_VALUE * total) / total
    # Several paddings may be left below air. Air itself is spread over many values.
    counts = np.where(values < BELOW_AIR[1], np.minimum(counts, MOST_OF_ONE_VALUE / 10), counts)

    def share(band: tuple[float, float]) -> float:
        return float(counts[(values >= band[0]) & (values < band[1])].sum() / counts.sum())

    return Tissues(*(share(b) for b in BANDS))


def find_reading(values: NDArray[Any], given: Reading | None) -> Reading | None:
    """Return what values mean.

    Args:
        values: of a slice or a volume.
        given: what they should mean; None if they may also be grey values.

    Returns:
        `given` if it puts air and soft tissue right, or if the values are too few or too even to
        tell. If it does not, the one other reading that puts air, fat and soft tissue right; None
        if there is no such reading, or more than one.
    """
    step = max(1, values.size // SAMPLE) | 1  # odd, so that it meets all columns
    found, counts = np.unique(values.ravel()[::step], return_counts=True)
    if counts.sum() < MIN_VALUES or len(found) < MIN_DIFFERENT or _is_ramp(found, counts):
        return given
    as_given = None if given is None else tissues_of(given.to_hu(found), counts)
    if as_given is not None and as_given.are_right:
        return given
    right = [
        reading
        for reading in READINGS
        if (found[-1] >= SIGN or not reading.wrapped)
        and tissues_of(reading.to_hu(found), counts).are_surely_right
    ]
    if len(right) == 1:
        return right[0]
    if as_given is None:
        return None
    # A slice may lie beside the patient. A volume of air alone is one whose scale is wrong.
    beside = values.ndim == 2 and as_given.air > 0.95
    return given if beside or as_given.are_possible else None


def are_tissues_in_place(hu: NDArray[Any]) -> bool | None:
    """Whether air, fat and soft tissue of a volume lie where they do in HU.

    Returns:
        None if the values are too few or too even to tell.
    """
    found, counts = np.unique(hu, return_counts=True)
    if counts.sum() < MIN_VALUES or len(found) < MIN_DIFFERENT or _is_ramp(found, counts):
        return None
    return tissues_of(found, counts).are_surely_right


def _is_ramp(values: NDArray[Any], counts: NDArray[Any]) -> bool:
    """Whether values are spread evenly, as in a test pattern, so that there are no tissues."""
    shares, _ = np.histogram(values, bins=16, weights=counts)
    return bool(shares.max() < 1.5 * shares.mean())


def converted(reading: Reading, path: Path | None) -> Finding:
    """Say that values were converted to HU."""
    detail = (
        f"the values are {reading.name}, because only so do air, fat and soft tissue lie where "
        "they do in HU; converted to HU"
    )
    return Finding("hu_converted", "repaired", detail, path)


def no_reading(path: Path | str | None) -> DataError:
    """Return the error about values that are not HU."""
    return DataError(
        path,
        "air, fat and soft tissue do not lie where they do in Hounsfield units (-1000, -100 and "
        "50), and no usual scale puts them there, such as HU + 1024 or HU x 2. Apply its rescale "
        "slope and intercept first, once.",
    )
