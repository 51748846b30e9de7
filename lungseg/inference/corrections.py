"""Corrections of a CT's labels by hand, from a small text file.

Example:
    ```yaml
    steps:
      - why: tumour at the left wall
        add: {slices: [41, 47], polygon: [[301, 220], [344, 231], [330, 268]], hu: [-300, 200]}
      - why: gas in the stomach
        remove: {slices: [1, 12], box: [290, 200, 400, 310]}
      - why: breathing artefact
        leave_out: {slices: [60, 61]}
    ```
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator, model_validator

from lungseg.config.fields import Positive, Section
from lungseg.config.strict_yaml import parse_yaml
from lungseg.errors import DataError, UsageError
from lungseg.imaging.labels import UNLABELLED

Point = tuple[float, float]


class Slices(Section):
    """A range of slices.

    Attributes:
        slices: the first and the last, counted from the feet and from 1.
    """

    slices: tuple[Positive, Positive]

    @field_validator("slices")
    @classmethod
    def _in_order(cls, slices: tuple[int, int]) -> tuple[int, int]:
        if slices[0] > slices[1]:
            raise ValueError(f"the first slice comes first, not {list(slices)}")
        return slices


class Region(Slices):
    """A region in a range of slices, the same in each.

    Attributes:
        polygon: its corners, (x, y) in pixels: x grows towards the patient's left, y towards the
            back, and the first pixel is 0.
        box: x and y of two opposite corners, which belong to it.
        hu: only voxels from the one HU to the other.
    """

    polygon: Annotated[list[Point], Field(min_length=3)] | None = None
    box: tuple[float, float, float, float] | None = None
    hu: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> Region:
        if (self.polygon is None) == (self.box is None):
            raise ValueError("a region has a polygon or a box")
        return self

    def corners(self) -> list[Point]:
        """Return the corners of the polygon or the box."""
        if self.polygon is not None:
            return self.polygon
        assert self.box is not None
        x1, y1, x2, y2 = self.box
        return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


class Step(Section):
    """One correction: exactly one of the three, and why.

    Attributes:
        why: the reason, for readers.
        add: what becomes lung.
        remove: what is no lung.
        leave_out: slices that cannot be labelled well.
    """

    why: Annotated[str, Field(min_length=1)]
    add: Region | None = None
    remove: Region | None = None
    leave_out: Slices | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Step:
        if sum(each is not None for each in (self.add, self.remove, self.leave_out)) != 1:
            raise ValueError("a step has one of add, remove and leave_out")
        return self


class Corrections(Section):
    """The corrections of one CT, in the order in which they are applied."""

    steps: Annotated[list[Step], Field(min_length=1)]


def read_corrections(path: Path) -> Corrections:
    """Read a file of corrections.

    Raises:
        UsageError: if it cannot be read, or is not of this form.
    """
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"), str(path))
        return Corrections.model_validate({} if document is None else document)
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{path}: the corrections cannot be read: {problem}.") from None
    except ValidationError as problem:
        lines = []
        for error in problem.errors(include_url=False):
            where = ".".join(map(str, error["loc"])) or "file"
            lines.append(f"  {where}: {error['msg'].removeprefix('Value error, ')}")
        raise UsageError(f"{path}: these corrections are not right:\n" + "\n".join(lines)) from None


def correct(
    labels: NDArray[np.uint8], hu: NDArray[Any], corrections: Corrections, path: Path
) -> list[str]:
    """Apply corrections to the labels of a CT, in place.

    Args:
        labels: `(D, H, W)`, 0 or 1, on the canonical grid (axes to the left, back and head).
        hu: the CT `(D, H, W)`.
        corrections: what to change.
        path: their file, for the error.

    Returns:
        A sentence for each step.

    Raises:
        DataError: if a step lies outside of the CT, or changes nothing.
    """
    said = []
    for number, step in enumerate(corrections.steps, 1):
        region = step.add or step.remove or step.leave_out
        assert region is not None
        first, last = region.slices
        if last > len(labels):
            raise DataError(
                path, f"step {number} goes to slice {last}, but the CT has {len(labels)} slices."
            )
        part = labels[first - 1 : last]
        if not isinstance(region, Region):
            part[:] = UNLABELLED
            said.append(f"slices {first} to {last} are not labelled: {step.why}")
            continue
        inside = np.broadcast_to(_drawn(region.corners(), part.shape[1:]), part.shape)
        if region.hu is not None:
            values = hu[first - 1 : last]
            inside = inside & (values >= region.hu[0]) & (values <= region.hu[1])
        wanted = 1 if step.add else 0
        changed = inside & (part != wanted) & (part != UNLABELLED)
        if not changed.any():
            raise DataError(
                path, f"step {number} ({step.why}) changes no voxel. Is it for this CT?"
            )
        part[changed] = wanted
        verb = "added" if step.add else "removed"
        said.append(
            f"slices {first} to {last}: {np.count_nonzero(changed)} voxels {verb}: {step.why}"
        )
    return said


def _drawn(corners: list[Point], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels `(H, W)` in a polygon, its outline included."""
    mask = np.zeros(shape, np.uint8)
    points = np.rint(np.array(corners)).astype(np.int32)
    cv2.fillPoly(mask, [points], 1)
    return mask > 0
