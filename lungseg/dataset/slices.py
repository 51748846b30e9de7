"""Prepared slices, one row of a manifest each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

PARTS = ("train", "valid", "test")


SPLIT_COLUMNS = (
    "part", "case", "source", "group", "image", "mask", "lung_fraction", "sha256", "phash",
)  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """One prepared slice and where it belongs.

    Attributes:
        case: its name, the stem of its files.
        source: the case it is an augmented copy of; its own name for an original.
        group: the patient, or what stands for one; a group is never divided.
        image: its image file.
        mask: its mask file.
        lung_fraction: lung area as a share of the slice.
        sha256: hash of its pixels.
        phash: perceptual hash.
    """

    case: str
    source: str
    group: str
    image: Path
    mask: Path
    lung_fraction: float
    sha256: str
    phash: str

    @property
    def is_copy(self) -> bool:
        """Whether it is an augmented copy."""
        return self.case != self.source


def mix_sources(own: list[Slice], added: list[Slice], share: float) -> list[Slice]:
    """Return the slices of an epoch: its own as often as `added` must be to be `share` at most."""
    if not own or not added:
        return own + added
    times = math.ceil(len(added) * (1 - share) / (share * len(own)))
    return own * max(1, times) + added
