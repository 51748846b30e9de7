"""NIfTI files: checks that ITK's reader does not make, and copies of files that it cannot read.

ITK pads a file that was cut short with zeros, turns NaN into 0, assumes 1 mm for voxels without a
size, and assumes an orientation if none is given. It reports none of this, nor that the two
geometries of a header contradict each other. It reads no NIfTI-2, no compressed file named .nii,
and no axes that are rounded.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.nifti_header import Header, as_nifti1, read_header

FLOATS = {16: "f4", 64: "f8"}  # the codes of data types that can be NaN
CHUNK_BYTES = 1 << 22
MAX_RATIO = 100  # of voxels to their file; CT shrinks to a half or a third, empty slices to 1 %
MAX_EXTENSIONS_BYTES = 1 << 30
MAX_SIDE = 32767  # of NIfTI-1

SIZE_TOLERANCE = 0.01  # fraction by which two voxel sizes may differ
SHEAR_OF_ITK = 1e-4  # radians; ITK refuses axes that are farther from perpendicular
MAX_SHEAR_DEGREES = 0.25  # entries rounded to 0.001 mm, voxels of 0.5 mm


def check_header(path: Path, max_voxels: int) -> list[Finding]:
    """Check a NIfTI file's header against itself.

    Args:
        path: `.nii` or `.nii.gz`.
        max_voxels: a header with more voxels counts as damaged.

    Returns:
        Findings if the file gives no orientation, or two.

    Raises:
        DataError: if the header is damaged or gives voxels no size or two sizes.
    """
    with _readable(path) as stream:
        header = read_header(path, stream)
    _check(path, header, max_voxels)
    return _check_geometry(path, header)


def check_content(path: Path) -> None:
    """Check that all voxels of a NIfTI file are there; the whole file is read.

    Args:
        path: a file that `check_header` passes.

    Raises:
        DataError: if the content is damaged or cut short, or if values are not finite.
    """
    with _readable(path) as stream:
        header = read_header(path, stream)
        stream.seek(int(header.start))
        floats = np.dtype(header.order + FLOATS[header.kind]) if header.kind in FLOATS else None
        present = _count_bytes(path, stream, floats)
    if present < header.data_bytes:
        raise DataError(
            path,
            f"cut short: the header says {math.prod(header.shape):,} voxels of {header.bits} bits, "
            f"but only {present:,} bytes of them are there.",
        )


def claims_much(path: Path) -> bool:
    """Whether a file has far more voxels by its header than its size lets expect."""
    with _readable(path) as stream:
        return read_header(path, stream).data_bytes > MAX_RATIO * path.stat().st_size


@contextmanager
def _readable(path: Path) -> Iterator[IO[bytes]]:
    """Open a file; what goes wrong in reading it becomes a `DataError`."""
    try:
        with _open(path) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise DataError(path, f"the compressed file is damaged or cut short: {problem}.") from None
    except OSError as problem:
        raise DataError(path, f"cannot be read: {problem.strerror or problem}.") from None


def for_itk(path: Path, folder: Path) -> tuple[Path, list[Finding]]:
    """Return a file that ITK reads as it is meant: this one, or a copy with another header.

    Args:
        path: a file that `check_header` passes.
        folder: where to write a copy.

    Returns:
        The file, and a finding if its geometry was changed.

    Raises:
        DataError: if its axes are sheared.
    """
    with _open(path) as stream:
        header = read_header(path, stream)
        meant, findings = _straightened(path, header)
        slope, intercept = header.scaling
        if intercept and not (slope and math.isfinite(slope)):
            meant = replace(meant, scaling=(1.0, 0.0))  # unscaled; ITK would add the intercept
        packed_unnamed = _is_packed(path) and path.name.lower().endswith(".nii")
        if meant is header and header.version == 1 and not packed_unnamed:
            return path, []
        if max(header.shape) > MAX_SIDE:
            raise DataError(path, f"{max(header.shape):,} voxels per side are more than a CT has.")
        copy = folder / "copy.nii"
        stream.seek(int(header.start))
        with copy.open("wb") as target:
            target.write(as_nifti1(meant))
            left = header.data_bytes
            while left > 0 and (chunk := stream.read(min(CHUNK_BYTES, left))):
                target.write(chunk)
                left -= len(chunk)
    return copy, findings


def _is_packed(path: Path) -> bool:
    with path.open("rb") as plain:
        return plain.read(2) == b"\x1f\x8b"


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if _is_packed(path) else path.open("rb")


def _check(path: Path, header: Header, max_voxels: int) -> None:
    dimensions, shape = header.dimensions, header.shape
    if not 1 <= dimensions[0] <= 7 or min(shape) < 1:
        raise DataError(path, f"the header gives impossible dimensions: {dimensions}.")
    voxels = math.prod(shape)
    if voxels > max_voxels:
        raise DataError(path, f"the header gives {voxels:,} voxels, more than a CT can have.")
    if not all(0 < size < np.inf for size in header.sizes[1 : 1 + min(3, len(shape))]):
        raise DataError(path, f"the header gives voxels no size: {header.sizes[1:4]} mm.")
    # ITK would read the header as voxels if they began within it.
    if not header.header_bytes <= header.start < MAX_EXTENSIONS_BYTES:
        raise DataError(path, f"the header says that its voxels begin at byte {header.start}.")


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


def _check_geometry(path: Path, header: Header) -> list[Finding]:
    """Compare the geometries that the header gives."""
    by_qform, by_sform = (code > 0 for code in header.codes)
    if not by_qform and not by_sform:
        detail = "the header gives no orientation; rows are assumed to run left, columns back"
        return [Finding("no_orientation", "warning", detail, path)]
    if not by_sform or len(header.shape) < 3:
        return []
    if _sizes_differ(header):
        return [_two_sizes(path, header)]
    if by_qform:
        corners = [header.corners(form) for form in (header.qform, header.sform)]
        apart = float(np.linalg.norm(corners[0] - corners[1], axis=1).max())
        if apart > min(header.sizes[1:4]) / 2:
            detail = (
                f"the header gives two geometries: its sform lies up to {apart:.4g} mm from its "
                "qform, which is used; other programs may use the sform"
            )
            return [Finding("two_geometries", "warning", detail, path)]
    return []


def _two_sizes(path: Path, header: Header) -> Finding:
    """Say which of two voxel sizes is used.

    Raises:
        DataError: if neither looks as if it had not been set.
    """
    sizes = {"pixdim": list(header.sizes[1:4]), "the sform": _sizes_of(header)}
    texts = [f"{name} {_listed(size)} mm" for name, size in sizes.items()]
    unset = [all(length == 1 for length in size) for size in sizes.values()]  # an empty header
    if not any(unset):
        raise DataError(
            path,
            f"the header gives two voxel sizes: {', '.join(texts)}. Write the right one into both.",
        )
    used, other = texts if unset[1] else reversed(texts)
    detail = (
        f"the header gives two voxel sizes: {used}, which is used, and {other}, which looks as if "
        "it had not been set"
    )
    return Finding("two_geometries", "warning", detail, path)


def _straightened(path: Path, header: Header) -> tuple[Header, list[Finding]]:
    """Return the header with its sform as ITK can take it, if ITK has to take it.

    ITK takes the qform if there is one, and the voxel size from pixdim. It refuses axes that are
    not perpendicular. Axes that were rounded are replaced by the nearest perpendicular ones (their
    polar decomposition).
    """
    unset = _sizes_differ(header) and all(size == 1 for size in header.sizes[1:4])
    if header.codes[1] <= 0 or (header.codes[0] > 0 and not unset):
        return header, []
    sizes = np.array(_sizes_of(header))
    if not (np.isfinite(header.sform).all() and sizes.all()):
        raise DataError(
            path, f"the header gives voxels no size: sform {_listed(sizes.tolist())} mm."
        )
    axes = header.sform[:, :3] / sizes
    cosines = np.abs(axes.T @ axes - np.eye(3)).max()
    shear = math.degrees(math.asin(min(1.0, cosines)))
    if shear > MAX_SHEAR_DEGREES:
        raise DataError(
            path,
            f"the axes of its sform are sheared by {shear:.2g} degrees, so its voxels are no "
            "boxes. Straighten the volume first, for example by dcm2niix from its DICOM series.",
        )
    if cosines <= SHEAR_OF_ITK and not unset:
        return header, []
    wanted = (header.sizes[0], *sizes.tolist(), *header.sizes[4:])
    header = replace(header, sizes=wanted, codes=(0, header.codes[1]))
    if cosines <= SHEAR_OF_ITK:
        return header, []
    left, _, right = np.linalg.svd(axes)
    straight = np.column_stack([left @ right * sizes, header.sform[:, 3]])
    moved = np.linalg.norm(header.corners(straight) - header.corners(header.sform), axis=1)
    detail = (
        f"the axes of the sform are {shear:.2g} degrees from perpendicular and were "
        f"straightened, which moves no voxel by more than {moved.max():.2g} mm"
    )
    finding = Finding("axes_straightened", "repaired", detail, path)
    return replace(header, rows=tuple(straight.ravel().tolist())), [finding]


def _sizes_of(header: Header) -> list[float]:
    """Return the voxel size that the sform gives."""
    return [float(size) for size in np.linalg.norm(header.sform[:, :3], axis=0)]


def _sizes_differ(header: Header) -> bool:
    return not np.allclose(_sizes_of(header), header.sizes[1:4], rtol=SIZE_TOLERANCE, atol=0)


def _listed(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)
