"""Checks of NIfTI files that ITK's reader does not make.

ITK pads a file that was cut short with zeros, turns NaN into 0, assumes 1 mm for voxels without a
size, and assumes an orientation if none is given. It reports none of this.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from lungseg.errors import DataError
from lungseg.imaging.findings import Finding

# Of NIfTI-1 and NIfTI-2, https://nifti.nimh.nih.gov: header size, then formats and places of the
# dimensions, data type, bits per voxel, voxel sizes, start of the voxels, qform and sform codes.
HEADERS = {
    348: (("8h", 40), ("h", 70), ("h", 72), ("8f", 76), ("f", 108), ("hh", 252)),
    540: (("8q", 16), ("h", 12), ("h", 14), ("8d", 104), ("q", 168), ("ii", 344)),
}

FLOATS = {16: "f4", 64: "f8"}  # the codes of data types that can be NaN
CHUNK_BYTES = 1 << 22
MAX_EXTENSIONS_BYTES = 1 << 30


def check_nifti(path: Path, max_voxels: int) -> list[Finding]:
    """Check a NIfTI file's header against its content.

    Args:
        path: `.nii` or `.nii.gz`.
        max_voxels: a header with more voxels counts as damaged.

    Returns:
        A finding if the file gives no orientation.

    Raises:
        DataError: if the header is damaged or gives voxels no size, if the content is damaged or
            cut short, or if values are not finite.
    """
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            return _check(path, cast("IO[bytes]", stream), max_voxels)
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise DataError(path, f"the compressed file is damaged or cut short: {problem}.") from None
    except OSError as problem:
        raise DataError(path, f"cannot be read: {problem.strerror or problem}.") from None


def _check(path: Path, stream: IO[bytes], max_voxels: int) -> list[Finding]:
    header = stream.read(540)
    order = next((o for o in "<>" if _header_size(header, o) in HEADERS), None)
    if order is None:
        raise DataError(path, "this is not a NIfTI file.")
    try:
        dimensions, kind, bits, sizes, start, codes = (
            struct.unpack_from(order + form, header, place)
            for form, place in HEADERS[_header_size(header, order)]
        )
    except struct.error:
        raise DataError(path, "the header is cut short.") from None
    shape = dimensions[1 : 1 + max(0, min(dimensions[0], 7))]
    if not 1 <= dimensions[0] <= 7 or min(shape) < 1:
        raise DataError(path, f"the header gives impossible dimensions: {dimensions}.")
    voxels = math.prod(shape)
    if voxels > max_voxels:
        raise DataError(path, f"the header gives {voxels:,} voxels, more than a CT can have.")
    if not all(0 < size < np.inf for size in sizes[1 : 1 + min(3, len(shape))]):
        raise DataError(path, f"the header gives voxels no size: {sizes[1:4]} mm.")
    if not 0 <= start[0] < MAX_EXTENSIONS_BYTES:
        raise DataError(path, f"the header says that its voxels begin at byte {start[0]}.")
    stream.seek(int(start[0]))
    floats = np.dtype(order + FLOATS[kind[0]]) if kind[0] in FLOATS else None
    present = _count_bytes(path, stream, floats)
    if present < voxels * bits[0] // 8:
        raise DataError(
            path,
            f"cut short: the header says {voxels:,} voxels of {bits[0]} bits, but only "
            f"{present:,} bytes of them are there.",
        )
    if not any(codes):
        detail = "the header gives no orientation; rows are assumed to run left, columns back"
        return [Finding("no_orientation", "warning", detail, path)]
    return []


def _header_size(header: bytes, order: str) -> int:
    return int(struct.unpack_from(f"{order}i", header)[0]) if len(header) >= 4 else 0


def _count_bytes(path: Path, stream: IO[bytes], kind: np.dtype[Any] | None) -> int:
    """Read the voxels to the file's end, check that they are finite, and count their bytes."""
    total = 0
    while chunk := stream.read(CHUNK_BYTES):
        total += len(chunk)
        if kind is not None:
            values = np.frombuffer(chunk, kind, len(chunk) // kind.itemsize)
            if not np.isfinite(values).all():
                raise DataError(path, "some voxels are NaN or infinite.")
    return total
