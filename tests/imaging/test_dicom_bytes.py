"""The bytes of a DICOM file are checked up to its last element, before GDCM reads them."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import FileDataset

from lungseg.errors import DataError
from lungseg.imaging.dicom.headers import (
    as_numbers,
    check_elements,
    has_magic,
    quiet_itk,
    read_header,
    reason_of,
)
from tests.support.dicom_files import write_series

PREAMBLE = b"\0" * 128 + b"DICM"
IMPLICIT, EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
UNKNOWN = 0xFFFFFFFF


def short(tag: tuple[int, int], kind: bytes, value: bytes, length: int | None = None) -> bytes:
    """Return an element with its type and a length of two bytes."""
    return struct.pack("<HH2sH", *tag, kind, len(value) if length is None else length) + value


def long(tag: tuple[int, int], kind: bytes, value: bytes, length: int | None = None) -> bytes:
    """Return an element with its type and a length of four bytes."""
    length = len(value) if length is None else length
    return struct.pack("<HH2sHI", *tag, kind, 0, length) + value


def plain(tag: tuple[int, int], value: bytes, length: int | None = None) -> bytes:
    """Return an element without its type."""
    return struct.pack("<HHI", *tag, len(value) if length is None else length) + value


def syntax(name: bytes) -> bytes:
    return short((2, 0x10), b"UI", name + b"\0" * (len(name) % 2))


LAST: dict[str, tuple[bytes, Callable[[int | None], bytes]]] = {
    "short": (EXPLICIT, lambda n: short((0x10, 0x10), b"PN", b"A" * 40, n)),
    "long": (EXPLICIT, lambda n: long((0x7FE0, 0x10), b"OW", b"A" * 40, n)),
    "plain": (IMPLICIT, lambda n: plain((0x7FE0, 0x10), b"A" * 40, n)),
    # Its length has the two letters of a type.
    "like a type": (IMPLICIT, lambda n: plain((0x10, 0x10), b"A" * 0x4E50, n)),
}


@pytest.mark.parametrize("start", [PREAMBLE, b""])
@pytest.mark.parametrize("name", LAST)
def test_an_element_may_end_with_its_file_and_not_beyond_it(
    name: str, start: bytes, tmp_path: Path
) -> None:
    written, last = LAST[name]
    path = tmp_path / "a.dcm"
    before = start + syntax(written) + last(None) * 3
    path.write_bytes(before + last(None))
    check_elements(path)
    assert has_magic(path) is bool(start)
    size = len(last(None)) - (12 if name == "long" else 8)
    content = before + last(size + 1)
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_elements(path)
    assert caught.value.path == path
    assert f"an element of {size + 1:,} bytes in a file of {len(content):,}." in caught.value.what


# DICOM PS3.5, table 7.1-1: types whose length has four bytes, and those whose length has two.
FOUR = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()
TWO = b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()


@pytest.mark.parametrize(
    ("element", "kind"), [*((long, kind) for kind in FOUR), *((short, kind) for kind in TWO)]
)
def test_the_bytes_of_the_length_of_each_type_are_known(
    element: Callable[..., bytes], kind: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(PREAMBLE + syntax(EXPLICIT) + element((0x10, 0x10), kind, b"", 5))
    with pytest.raises(DataError, match="an element of 5 bytes"):
        check_elements(path)


@pytest.mark.parametrize(
    "behind",
    [
        long((0x10, 0x10), b"SQ", b"", UNKNOWN),
        short((0x10, 0x10), b"PN", b"") + long((0x7FE0, 0x10), b"OB", b"", UNKNOWN),
    ],
)
def test_behind_an_element_of_unknown_length_nothing_is_checked(
    behind: bytes, tmp_path: Path
) -> None:
    damaged = short((0x10, 0x20), b"LO", b"", 99)
    path = tmp_path / "a.dcm"
    path.write_bytes(PREAMBLE + syntax(EXPLICIT) + behind + damaged)
    check_elements(path)
    path.write_bytes(PREAMBLE + syntax(EXPLICIT) + damaged + behind)
    with pytest.raises(DataError, match="an element of 99 bytes"):
        check_elements(path)


@pytest.mark.parametrize("name", [b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"])
def test_other_orders_of_bytes_are_left_to_gdcm(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(PREAMBLE + syntax(name) + short((0x10, 0x10), b"PN", b"", 99))
    check_elements(path)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_few_bytes_at_the_end_are_no_element(count: int, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(PREAMBLE + syntax(EXPLICIT) + b"\xff" * count)
    check_elements(path)
    path.write_bytes(PREAMBLE + syntax(EXPLICIT) + short((0x10, 0x10), b"PN", b"", 1))
    with pytest.raises(DataError, match="an element of 1 bytes"):
        check_elements(path)


@pytest.mark.parametrize(
    ("values", "count", "numbers"),
    [
        (["1", "-2.5"], 2, [1, -2.5]),
        ([0.5], 1, [0.5]),
        (["1", "2"], 3, None),
        (["1", "2", "3"], 2, None),
        (["1", ""], 2, None),
        (["1", "nan"], 2, None),
        (["inf"], 1, None),
        ([None], 1, None),
    ],
)
def test_numbers_of_an_element_are_as_many_as_wanted_and_finite(
    values: list[object], count: int, numbers: list[float] | None
) -> None:
    found = as_numbers(values, count)
    assert (None if found is None else found.tolist()) == numbers


def test_the_last_line_of_an_error_of_itk_is_its_reason() -> None:
    text = "Exception\n\nITK ERROR: GDCMImageIO(0x55d0ab12): cannot read\nReason: No such file\n"
    assert reason_of(RuntimeError(text)) == "ITK ERROR: cannot read"


def test_warnings_of_itk_come_back_after_the_last_of_nested_blocks() -> None:
    shown = sitk.ProcessObject.GetGlobalWarningDisplay
    assert shown()
    with quiet_itk():
        assert not shown()
        with pytest.raises(ZeroDivisionError), quiet_itk():
            assert not shown()
            _ = 1 / 0
        assert not shown()
    assert shown()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with quiet_itk():
            pass
        assert not shown()
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(True)


def test_a_header_holds_what_its_file_says(tmp_path: Path) -> None:
    def change(ct: FileDataset, index: int) -> None:
        ct.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ct.PatientID = ["A", "B", "A", ""][index]
        ct.Rows, ct.Columns = 3, 4
        ct.PixelSpacing, ct.SliceThickness = [0.9, 0.8], 1.25
        ct.RescaleSlope, ct.RescaleIntercept = 2, -1024

    paths = write_series(tmp_path, np.zeros((4, 3, 4), np.int16), change)
    found = [read_header(path) for path in paths]
    first = found[0]
    assert (first.path, first.modality, first.image_type) == (
        paths[0], "CT", "ORIGINAL\\PRIMARY\\AXIAL",
    )  # fmt: skip
    assert (first.size, first.frames, first.frame) == ((4, 3), None, None)
    assert (first.thickness, first.name) == (1.25, paths[0].name)
    for value, wanted in (
        (first.position, [-20, 10, 5]),
        (first.orientation, [1, 0, 0, 0, 1, 0]),
        (first.spacing, [0.9, 0.8]),
        (first.rescale, [2, -1024]),
        (first.normal, [0, 0, 1]),
    ):
        assert value is not None
        assert value.tolist() == wanted
    assert [each.height for each in found] == [5, 7.5, 10, 12.5]
    a, b, again, none = (each.patient for each in found)
    assert a == again != b
    assert none is None
    assert "A" not in repr(a)


def test_a_file_with_fewer_bytes_than_pixels_is_cut_short(tmp_path: Path) -> None:
    def change(ct: FileDataset, index: int) -> None:
        ct.Rows, ct.Columns = rows, 100
        ct.PixelData = b"\0" * 2000

    rows = 10  # 2000 bytes
    [path] = write_series(tmp_path, np.zeros((1, 10, 100), np.int16), change)
    read_header(path)
    size = path.stat().st_size
    rows = 20  # 4000 bytes
    assert size < 4000
    write_series(tmp_path, np.zeros((1, 10, 100), np.int16), change)
    with pytest.raises(DataError, match=rf"4,000 bytes of pixels, the file has {size:,} in all"):
        read_header(path)
