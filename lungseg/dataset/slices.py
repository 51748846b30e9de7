"""Prepared slices, and the rows of the tables that list them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lungseg.system.tables import decimals

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """A row of `manifest.csv`: a slice that `prepare` wrote.

    `split` needs the columns without a default; the others may be missing in a manifest.

    Attributes:
        case: its name, the stem of its files.
        source: the case it is an augmented copy of; its own name for an original.
        augmentation: how a copy was drawn; empty for an original.
        group: the patient, if known.
        image: its image file, relative to the manifest.
        mask: its mask file, relative to the manifest.
        source_image: path of the raw image or volume in the folder of images.
        source_mask: name of the raw mask.
        source_height: pixels before resizing.
        source_width: pixels before resizing.
        lung_fraction: lung area as a fraction of the slice.
        mean_grey: mean grey value, 0 to 255.
        sha256: hash of its pixels.
        likeness: what `dataset.likeness` found; empty in a manifest of version 0.1.
    """

    case: str
    source: str
    augmentation: str = ""
    group: str = ""
    image: str
    mask: str
    source_image: str = ""
    source_mask: str = ""
    source_height: int = 0
    source_width: int = 0
    lung_fraction: float = decimals(6)
    mean_grey: float = decimals(3, default=0.0)
    sha256: str
    likeness: str = ""

    @property
    def is_copy(self) -> bool:
        """Whether it is an augmented copy."""
        return self.case != self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    """A row of `split.csv`: a slice and its part; paths are relative to the data set.

    `grouped_by` is `name` or `likeness`: whether the patient is known, or a group of slices that
    look alike stands for one. It is empty in a table of version 0.1.
    """

    part: str
    case: str
    source: str
    group: str
    grouped_by: str = ""
    image: str
    mask: str
    lung_fraction: float = decimals(6)
    sha256: str
    likeness: str = ""


@dataclass(frozen=True, slots=True)
class SeenRow:
    """A row of a run's `data.csv`: a slice of its data set, which `evaluate` must recognise."""

    part: str
    case: str
    source: str
    group: str
    lung_fraction: float
    sha256: str
    likeness: str = ""
    grouped_by: str = ""


@dataclass(frozen=True)
class Slice:
    """One prepared slice, its patient and its files.

    Attributes:
        case: its name, the stem of its files.
        source: the case it is an augmented copy of; its own name for an original.
        group: the patient, or a name that stands for one; a group stays in one part.
        image: its image file.
        mask: its mask file.
        lung_fraction: lung area as a fraction of the slice.
        sha256: hash of its pixels.
        likeness: what `dataset.likeness` found.
        named: whether the patient is known; otherwise the group holds slices that look alike.
    """

    case: str
    source: str
    group: str
    image: Path
    mask: Path
    lung_fraction: float
    sha256: str
    likeness: str
    named: bool = True

    @property
    def is_copy(self) -> bool:
        """Whether it is an augmented copy."""
        return self.case != self.source

    @property
    def grouped_by(self) -> str:
        """`name` or `likeness`, as the tables have it."""
        return "name" if self.named else "likeness"


def is_named(row: SplitRow | SeenRow, cases: Collection[str]) -> bool:
    """Whether the patient of a slice is known, by a row of a table that lists `cases`.

    Version 0.1 did not write it, but named a group of slices that look alike after one of them.
    """
    return row.grouped_by == "name" if row.grouped_by else row.group not in cases


def pixel_hash(pixels: NDArray[Any]) -> str:
    """Return the SHA-256 of an image's pixels, by which `sha256` in the tables goes."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def mix_sources(own: list[Slice], added: list[Slice], share: float) -> list[Slice]:
    """Repeat `own` until `added` makes up at most `share` of the list."""
    if not own or not added:
        return own + added
    times = math.ceil(len(added) * (1 - share) / (share * len(own)))
    return own * max(1, times) + added


def balance_patients(slices: Sequence[Slice], strength: float) -> list[Slice]:
    """Repeat the slices of patients that have few.

    Args:
        slices: the slices to train on.
        strength: 0 changes nothing. With 1 each patient has as many as the one with most. Between
            them, a patient with `n` slices of at most `m` has `n (m / n) ** strength`.

    Returns:
        The slices, each as often as the others of the patient, or once more.
    """
    if not strength:
        return list(slices)
    patients: dict[str, list[Slice]] = {}
    for each in slices:
        patients.setdefault(each.group, []).append(each)
    most = max(map(len, patients.values()), default=0)
    shown: list[Slice] = []
    for own in patients.values():
        wanted = round(len(own) * (most / len(own)) ** strength)
        shown += [own[k * len(own) // wanted] for k in range(wanted)]
    return shown
