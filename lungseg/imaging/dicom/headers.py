"""The header of a DICOM slice, and the bytes of a file, checked before GDCM reads them."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.errors import DataError
from lungseg.system.files import require_regular

MODALITY, POSITION, ORIENTATION = "0008|0060", "0020|0032", "0020|0037"
PATIENT_ID, BITS, FRAMES = "0010|0020", "0028|0100", "0028|0008"
SERIES_UID, FRAME_UID = "0020|000e", "0020|0052"
CLASS, IMAGE_TYPE = "0008|0016", "0008|0008"
SPACING, THICKNESS, SLOPE, INTERCEPT = "0028|0030", "0018|0050", "0028|1053", "0028|1052"
# Their geometry is in sequences, one item per frame: enhanced CT, and CT converted to it.
ENHANCED = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
TRANSFER_SYNTAX = b"\x02\x00\x10\x00UI"  # its tag and type
BIG_ENDIAN, DEFLATED = b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
# Elements of the first state no types.
PLAIN_SYNTAXES = (b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", BIG_ENDIAN)

# DICOM PS3.5, 7.1.2: types of values, and those whose length takes four bytes.
LONG_TYPES = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

TYPES = LONG_TYPES | frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
)

UNKNOWN_LENGTH = 0xFFFFFFFF
AXIAL = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])


@dataclass(frozen=True, eq=False)
class Header:
    """The header of one slice, without anything that identifies the patient.

    Attributes:
        path: the file.
        modality: empty if it is missing.
        image_type: its parts joined by backslashes; the third may be LOCALIZER.
        size: columns and rows.
        frames: number of frames of the file; None if it holds a single slice.
        pixel_type: SimpleITK's number for the type of the values after rescaling.
        position: of the first pixel, mm; None if it is missing, as are the next ones.
        orientation: directions of the rows and of the columns.
        spacing: distance of rows and of columns, mm.
        thickness: mm.
        rescale: slope and intercept.
        frame: which frame of the file this is, from 0; None for a whole file.
        patient: a number that tells patients apart, another one in each process; None if there is
            no PatientID.
    """

    path: Path
    modality: str
    image_type: str
    size: tuple[int, ...]
    frames: int | None
    pixel_type: int
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    spacing: NDArray[np.float64] | None
    thickness: float | None
    rescale: NDArray[np.float64] | None
    frame: int | None = None
    patient: int | None = None

    @property
    def name(self) -> str:
        """The slice's name in messages."""
        return self.path.name + ("" if self.frame is None else f" (frame {self.frame + 1})")

    @property
    def place(self) -> NDArray[np.float64]:
        """Position of the first pixel, mm; the origin if it is missing."""
        return np.zeros(3) if self.position is None else self.position

    @property
    def rows_and_columns(self) -> NDArray[np.float64]:
        """Directions of the rows and of the columns; those of an axial slice if missing."""
        return AXIAL if self.orientation is None else self.orientation

    @property
    def normal(self) -> NDArray[np.float64]:
        """Direction across the slice."""
        rows, columns = self.rows_and_columns[:3], self.rows_and_columns[3:]
        return np.asarray(np.cross(rows, columns), dtype=np.float64)

    @property
    def height(self) -> float:
        """Position along the normal, mm."""
        return float(self.place @ self.normal)


_switch = threading.Lock()
_quiet_blocks = 0
_was_shown = True


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's own warnings off the terminal while it reads or writes.

    GDCM prints warnings about every folder without DICOM; our errors and findings report what
    matters. The switch belongs to the whole process, so the last of several threads restores it.
    """
    global _quiet_blocks, _was_shown
    with _switch:
        if not _quiet_blocks:
            _was_shown = sitk.ProcessObject.GetGlobalWarningDisplay()
            sitk.ProcessObject.SetGlobalWarningDisplay(False)
        _quiet_blocks += 1
    try:
        yield
    finally:
        with _switch:
            _quiet_blocks -= 1
            if not _quiet_blocks:
                sitk.ProcessObject.SetGlobalWarningDisplay(_was_shown)


def reason_of(problem: Exception) -> str:
    """Return the line of a SimpleITK error that names the problem, without memory addresses."""
    # After "Reason:" comes the last error of the system, which often is about another file.
    lines = [line for line in str(problem).strip().splitlines() if "Reason:" not in line]
    return re.sub(r"\w+\(0x[0-9a-f]+\): ", "", lines[-1])


@quiet_itk()
def read_header(path: Path) -> Header:
    """Read the header of one DICOM file.

    Raises:
        DataError: if it cannot be read.
    """
    check_elements(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as problem:
        raise DataError(path, f"the DICOM file cannot be read: {reason_of(problem)}") from None

    def text(key: str) -> str:
        return str(reader.GetMetaData(key)).strip() if reader.HasMetaDataKey(key) else ""

    bits = text(BITS)
    expected = math.prod(reader.GetSize()) * (int(bits) if bits.isdecimal() else 0) // 8
    if path.stat().st_size < expected and not _is_compressed(path):
        # GDCM would fill up the missing pixels with air.
        raise DataError(
            path,
            f"cut short: the header says {expected:,} bytes of pixels, the file has "
            f"{path.stat().st_size:,} in all.",
        )

    def numbers(count: int, *keys: str) -> NDArray[np.float64] | None:
        return as_numbers("\\".join(text(key) for key in keys).split("\\"), count)

    thickness = numbers(1, THICKNESS)
    frames = text(FRAMES)
    many = frames.isdecimal() and int(frames) > 1
    return Header(
        path=path,
        modality=text(MODALITY),
        image_type=text(IMAGE_TYPE),
        size=tuple(reader.GetSize()[:2]),
        frames=int(frames) if many else 1 if text(CLASS) in ENHANCED else None,
        pixel_type=reader.GetPixelID(),
        position=numbers(3, POSITION),
        orientation=numbers(6, ORIENTATION),
        spacing=numbers(2, SPACING),
        thickness=None if thickness is None else float(thickness[0]),
        rescale=numbers(2, SLOPE, INTERCEPT),
        patient=hash(text(PATIENT_ID)) if text(PATIENT_ID) else None,
    )


def as_numbers(values: Sequence[object], count: int) -> NDArray[np.float64] | None:
    """Return the values of an element as numbers, or None unless there are `count` finite ones."""
    try:
        numbers = np.array([float(str(value)) for value in values])
    except ValueError:
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def has_magic(path: Path) -> bool:
    """Whether a file starts as DICOM files do."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _transfer_syntax(start: bytes) -> bytes:
    """Return the transfer syntax that the first bytes of a DICOM file name, or empty bytes."""
    place = start.find(TRANSFER_SYNTAX)
    value = start[place + len(TRANSFER_SYNTAX) :]
    return value[2 : 2 + value[0]].strip(b"\0 ") if place >= 0 and value else b""


def _is_compressed(path: Path) -> bool:
    """Whether a DICOM file declares its pixels as compressed."""
    with path.open("rb") as stream:
        return _transfer_syntax(stream.read(4096)) not in (b"", *PLAIN_SYNTAXES)


def check_elements(path: Path) -> None:
    """Check that the elements of a DICOM file end within it, up to the first of unknown length.

    GDCM takes as much memory as a damaged length asks for, up to 4 GB per element, and keeps it.
    Elements inside sequences are not checked.

    Raises:
        DataError: if an element is longer than the rest of the file.
    """
    size = require_regular(path)
    with path.open("rb") as stream:
        start = stream.read(4096)
        syntax = _transfer_syntax(start)
        if syntax in (DEFLATED, BIG_ENDIAN):
            return
        place = 132 if start[128:132] == b"DICM" else 0
        while place + 8 <= size:
            stream.seek(place)
            head = stream.read(12)
            group, kind = int.from_bytes(head[:2], "little"), head[4:6]
            # The first group has its types written out, even if the rest has not.
            explicit = kind in TYPES and (group == 2 or syntax != PLAIN_SYNTAXES[0])
            if not explicit:
                length, place = int.from_bytes(head[4:8], "little"), place + 8
            elif kind in LONG_TYPES:
                length, place = int.from_bytes(head[8:12], "little"), place + 12
            else:
                length, place = int.from_bytes(head[6:8], "little"), place + 8
            if length == UNKNOWN_LENGTH:
                return
            place += length
            if place > size:
                raise DataError(
                    path,
                    f"cut short or damaged: an element of {length:,} bytes in a file of {size:,}.",
                )
