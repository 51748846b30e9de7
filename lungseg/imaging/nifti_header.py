"""The header of a NIfTI file, of version 1 or 2."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lungseg.errors import DataError

# Of NIfTI-1 and NIfTI-2, https://nifti.nimh.nih.gov: header size, then formats and places of the
# dimensions, data type, bits per voxel, voxel sizes, start of the voxels, slope and intercept,
# qform and sform codes, quaternion and offset of the qform, rows of the sform, units.
HEADERS = {
    348: (("8h", 40), ("h", 70), ("h", 72), ("8f", 76), ("f", 108), ("2f", 112), ("hh", 252),
          ("6f", 256), ("12f", 280), ("b", 123)),
    540: (("8q", 16), ("h", 12), ("h", 14), ("8d", 104), ("q", 168), ("2d", 176), ("ii", 344),
          ("6d", 352), ("12d", 400), ("i", 500)),
}  # fmt: skip

START = 352  # of the voxels behind a header that `as_nifti1` returns


@dataclass(frozen=True)
class Header:
    """The fields of a NIfTI header that matter here."""

    order: str
    version: int
    dimensions: tuple[int, ...]
    kind: int
    bits: int
    sizes: tuple[float, ...]
    start: float
    scaling: tuple[float, float]
    codes: tuple[int, int]
    quaternion: tuple[float, ...]
    rows: tuple[float, ...]
    units: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return self.dimensions[1 : 1 + max(0, min(self.dimensions[0], 7))]

    @property
    def header_bytes(self) -> int:
        """Bytes of the header itself, without extensions."""
        return 348 if self.version == 1 else 540

    @property
    def data_bytes(self) -> int:
        """Bytes of the voxels."""
        return math.prod(self.shape) * self.bits // 8

    @property
    def sform(self) -> NDArray[np.float64]:
        """The second of the header's geometries, `(3, 4)`: axes of the voxels, and the offset."""
        return np.array(self.rows, dtype=np.float64).reshape(3, 4)

    @property
    def qform(self) -> NDArray[np.float64]:
        """The first of the header's geometries, `(3, 4)`; nifti1.h has the formula."""
        b, c, d = self.quaternion[:3]
        a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
        turn = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        flip = np.array([1, 1, -1 if self.sizes[0] < 0 else 1])
        return np.column_stack([turn * flip * self.sizes[1:4], self.quaternion[3:]])

    def corners(self, form: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where a geometry `(3, 4)` puts the corner voxels, `(8, 3)` in mm."""
        sides = [side - 1 for side in (*self.shape, 1, 1)[:3]]
        ends = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * sides
        return np.asarray(ends @ form[:, :3].T + form[:, 3])


def read_header(path: Path, stream: IO[bytes]) -> Header:
    """Read the header at the beginning of a file.

    Raises:
        DataError: if there is none.
    """
    content = stream.read(540)
    order = next((o for o in "<>" if _header_size(content, o) in HEADERS), None)
    if order is None:
        raise DataError(path, "this is not a NIfTI file.")
    size = _header_size(content, order)
    try:
        dimensions, kind, bits, sizes, start, scaling, codes, quaternion, rows, units = (
            struct.unpack_from(order + form, content, place) for form, place in HEADERS[size]
        )
    except struct.error:
        raise DataError(path, "the header is cut short.") from None
    return Header(
        order, 1 if size == 348 else 2, dimensions, kind[0], bits[0], sizes, start[0],
        (scaling[0], scaling[1]), (codes[0], codes[1]), quaternion, rows, units[0],
    )  # fmt: skip


def as_nifti1(header: Header) -> bytes:
    """Return a NIfTI-1 header and its empty list of extensions."""
    content = bytearray(START)
    fields = (
        header.dimensions, (header.kind,), (header.bits,), header.sizes, (START,), header.scaling,
        header.codes, header.quaternion, header.rows, (header.units,),
    )  # fmt: skip
    struct.pack_into(f"{header.order}i", content, 0, 348)
    for (form, place), values in zip(HEADERS[348], fields, strict=True):
        struct.pack_into(header.order + form, content, place, *values)
    content[344:348] = b"n+1\0"
    return bytes(content)


def _header_size(header: bytes, order: str) -> int:
    return int(struct.unpack_from(f"{order}i", header)[0]) if len(header) >= 4 else 0
