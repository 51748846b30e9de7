"""NIfTI files written field by field, with the headers that a test needs."""

import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from tests.support.volumes import phantom_arrays

SIZES = (0.8, 0.9, 2.5)
OFFSET = (20.0, 30.0, -300.0)  # right, front, head: the corner of a volume that runs left and back


@dataclass(frozen=True)
class Nifti:
    """A NIfTI file, by its fields; the default is a good one."""

    hu: np.ndarray = field(default_factory=lambda: phantom_arrays(6)[0])
    sizes: Sequence[float] = SIZES
    codes: tuple[int, int] = (1, 1)
    quaternion: Sequence[float] = (0, 0, 1)
    offset: Sequence[float] = OFFSET
    axes: Sequence[Sequence[float]] = ((-0.8, 0, 0), (0, -0.9, 0), (0, 0, 2.5))
    sform_offset: Sequence[float] = OFFSET
    scaling: tuple[float, float] = (1, 0)
    version: int = 1
    order: Literal["<", ">"] = "<"

    def write(self, path: Path) -> Path:
        """Write it, compressed if the name says so."""
        small = self.version == 1
        content = bytearray(352 if small else 544)

        def pack(form: str, place: int, *values: float) -> None:
            struct.pack_into(self.order + form, content, place, *values)

        kind, bits = {"i2": (4, 16), "f4": (16, 32)}[self.hu.dtype.str[1:]]
        shape, sform = self.hu.shape[::-1], np.column_stack([self.axes, self.sform_offset]).ravel()
        pack("i", 0, 348 if small else 540)
        pack("8h" if small else "8q", 40 if small else 16, 3, *shape, 1, 1, 1, 1)
        pack("hh", 70 if small else 12, kind, bits)
        pack("8f" if small else "8d", 76 if small else 104, 1, *self.sizes, 1, 1, 1, 1)
        pack("f" if small else "q", 108 if small else 168, len(content))
        pack("2f" if small else "2d", 112 if small else 176, *self.scaling)
        pack("hh" if small else "ii", 252 if small else 344, *self.codes)
        pack("6f" if small else "6d", 256 if small else 352, *self.quaternion, *self.offset)
        pack("12f" if small else "12d", 280 if small else 400, *sform)
        pack("b" if small else "i", 123 if small else 500, 2)
        if small:
            content[344:348] = b"n+1\0"
        else:
            content[4:12] = b"n+2\0\r\n\x1a\n"
        whole = bytes(content) + self.hu.astype(self.hu.dtype.newbyteorder(self.order)).tobytes()
        path.write_bytes(gzip.compress(whole, 1) if path.suffix == ".gz" else whole)
        return path
