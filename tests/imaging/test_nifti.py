"""What ITK's NIfTI reader passes over in silence is an error here."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.errors import DataError
from lungseg.imaging import volume_files
from lungseg.imaging.findings import Finding
from lungseg.imaging.nifti import check_content, check_header
from lungseg.imaging.volume_files import read_ct
from tests.support.nifti_files import Nifti

MOST = 10**9
FLOATS = np.linspace(-1000, 400, 8 * 7 * 6).reshape(6, 7, 8)


def write(path: Path, values: np.ndarray = FLOATS) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def check_nifti(path: Path, max_voxels: int) -> list[Finding]:
    """Check a file as `read_ct` does."""
    findings = check_header(path, max_voxels)
    check_content(path)
    return findings


def changed(path: Path, change: Callable[[bytearray], None]) -> Path:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, np.float64])
def test_a_good_file_passes(tmp_path: Path, suffix: str, kind: type) -> None:
    values = FLOATS.clip(0) if kind is np.uint8 else FLOATS
    assert check_nifti(write(tmp_path / f"a{suffix}", values.astype(kind)), MOST) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    whole = write(tmp_path / f"a{suffix}").read_bytes()
    for length in (*range(0, len(whole), len(whole) // 20), len(whole) - 1):
        (tmp_path / f"b{suffix}").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"b\.nii"):
            check_nifti(tmp_path / f"b{suffix}", MOST)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad: float, kind: type) -> None:
    values: np.ndarray = FLOATS.astype(kind)
    values[5, 6, 7] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        check_nifti(write(tmp_path / "a.nii.gz", values), MOST)


def test_ctrl_c_is_not_lost_in_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(volume_files, "_read_by_itk", interrupt)
    values = FLOATS.copy()
    values[5, 6, 7] = np.nan
    with pytest.raises(KeyboardInterrupt):
        read_ct(write(tmp_path / "a.nii.gz", values))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_no_memory_is_taken_for_voxels_that_are_not_there(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / f"a{suffix}", np.zeros((100, 100, 100), np.int16))
    content = path.read_bytes() if suffix == ".nii" else gzip.decompress(path.read_bytes())
    content = content[: len(content) // 200]
    path.write_bytes(content if suffix == ".nii" else gzip.compress(content, 0))

    read: list[Path] = []
    monkeypatch.setattr(volume_files, "_read_by_itk", lambda path, _: read.append(path))
    with pytest.raises(DataError, match="cut short"):
        read_ct(path)
    assert read == []


def test_the_other_byte_order_is_read(tmp_path: Path) -> None:
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 8, 7, 6, 1, 1, 1, 1)
    struct.pack_into(">hh", header, 70, 16, 32)
    struct.pack_into(">8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into(">f", header, 108, 352)
    struct.pack_into(">hh", header, 252, 1, 0)
    header[344:348] = b"n+1\0"
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(header) + FLOATS.astype(">f4").tobytes())
    assert check_nifti(path, MOST) == []
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(read_ct(path, name="a").image), FLOATS, atol=1e-3
    )
    path.write_bytes(bytes(header) + np.full(FLOATS.shape, np.nan, ">f4").tobytes())
    with pytest.raises(DataError, match="NaN"):
        check_nifti(path, MOST)


def test_a_changed_bit_of_a_compressed_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    plain = bytearray(write(tmp_path / "a.nii").read_bytes())
    path.write_bytes(gzip.compress(bytes(plain)))
    with pytest.raises(DataError, match="damaged"):
        check_nifti(changed(path, lambda c: c.__setitem__(-6, c[-6] ^ 1)), MOST)


@pytest.mark.parametrize(
    ("place", "content", "said"),
    [
        (40, struct.pack("<4h", 3, 0, 7, 6), "impossible dimensions"),
        (40, struct.pack("<4h", 9, 8, 7, 6), "impossible dimensions"),
        (40, struct.pack("<4h", 3, 32000, 32000, 32000), "more than a CT"),
        (76, struct.pack("<4f", 1, 0, 1, 1), "no size"),
        (76, struct.pack("<4f", 1, 1, float("nan"), 1), "no size"),
        (108, struct.pack("<f", float("inf")), "begin at byte inf"),
        (108, struct.pack("<f", -5), "begin at byte"),
        (108, struct.pack("<f", 0), "begin at byte 0"),
        (108, struct.pack("<f", 347), "begin at byte 347"),
        (0, b"\x00\x00\x00\x00", "not a NIfTI"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, place: int, content: bytes, said: str) -> None:
    path = write(tmp_path / "a.nii")
    changed(path, lambda c: c.__setitem__(slice(place, place + len(content)), content))
    with pytest.raises(DataError, match=said):
        check_nifti(path, MOST)


@pytest.mark.parametrize(
    ("version", "form", "place", "size"), [(1, "<f", 108, 348), (2, "<q", 168, 540)]
)
def test_voxels_begin_behind_the_header(
    version: int, form: str, place: int, size: int, tmp_path: Path
) -> None:
    def begin_at(start: int) -> Path:
        path = Nifti(version=version).write(tmp_path / "b.nii")
        content = struct.pack(form, start)
        return changed(path, lambda c: c.__setitem__(slice(place, place + len(content)), content))

    check_nifti(begin_at(size), MOST)
    with pytest.raises(DataError, match=f"begin at byte {size - 1}"):
        check_nifti(begin_at(size - 1), MOST)


def test_an_orientation_that_is_not_given_is_told(tmp_path: Path) -> None:
    path = changed(write(tmp_path / "a.nii"), lambda c: c.__setitem__(slice(252, 256), bytes(4)))
    assert [finding.code for finding in read_ct(path, name="a").findings] == ["no_orientation"]


def test_a_suffix_in_capitals_is_looked_at_too(tmp_path: Path) -> None:
    content = write(tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "B.NII.GZ").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cut short"):
        read_ct(tmp_path / "B.NII.GZ", name="b")


def test_a_damaged_file_is_named_although_itk_reads_it_at_the_same_time(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-1000, 400, (40, 64, 64)).astype(np.int16)
    path = write(tmp_path / "a.nii.gz", values)
    assert read_ct(path).hu.shape == values.shape
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-8] + bytes(4) + whole[-4:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.nii\.gz: the compressed file is damaged or cut"):
            read_ct(path)
    short = bytearray(gzip.decompress(whole))[: -64 * 64]
    path.write_bytes(gzip.compress(short))
    with pytest.raises(DataError, match="cut short: the header says 163,840 voxels of 16 bits"):
        read_ct(path)
