"""Kinds of DICOM that scanners and archives write, each read to the voxel."""

import locale
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from lungseg.imaging.dicom.series import read_dicom
from lungseg.imaging.volume_files import read_ct
from tests.support.dicom_files import write_series
from tests.support.volumes import phantom_arrays

HU, _ = phantom_arrays(slices=4, side=24, seed=5)
# Compressors of ITK: it writes these syntaxes, and pydicom the others.
COMPRESSORS = {JPEG2000Lossless: "JPEG2000", JPEGLosslessSV1: "JPEG"}


def by_itk(path: Path, compressor: str) -> None:
    """Compress a file through ITK, which keeps the header."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    image = reader.Execute()
    stored = sitk.Cast(image, sitk.sitkInt16)
    for key in image.GetMetaDataKeys():
        stored.SetMetaData(key, image.GetMetaData(key))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    before = locale.setlocale(locale.LC_ALL)
    try:
        writer.Execute(stored)
    finally:
        locale.setlocale(locale.LC_ALL, before)  # ITK's writer leaves "C" behind


def by_pydicom(path: Path, syntax: UID) -> None:
    """Write a file anew in another syntax."""
    read = dcmread(path)
    if syntax.is_encapsulated:
        read.compress(syntax)
        read.save_as(path)
        return
    ct = Dataset()
    for element in read:
        ct.add(element)
    if not syntax.is_little_endian:
        ct.PixelData = np.frombuffer(read.PixelData, "<i2").astype(">i2").tobytes()
    ct.file_meta = read.file_meta
    ct.file_meta.TransferSyntaxUID = syntax
    ct.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEG2000Lossless,
    ],
    ids=lambda syntax: syntax.name,
)
def test_every_transfer_syntax_gives_the_same_voxels(syntax: UID, tmp_path: Path) -> None:
    for path in write_series(tmp_path / "ct", HU):
        if syntax in COMPRESSORS:
            by_itk(path, COMPRESSORS[syntax])
        else:
            by_pydicom(path, syntax)
        assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    image, _ = read_dicom(tmp_path / "ct")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)
    assert image.GetSpacing() == pytest.approx((0.8, 0.9, 2.5))


def oblique(degrees: float) -> list[float]:
    """Return axes of slices that are turned about the line from the feet to the head."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [float(x) for x in (c, s, 0, -s, c, 0)]


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param([1, 0, 0, 0, 1, 0], id="supine"),
        pytest.param([-1, 0, 0, 0, -1, 0], id="prone"),
        pytest.param([0, 1, 0, -1, 0, 0], id="on the right side"),
        pytest.param([0, -1, 0, 1, 0, 0], id="on the left side"),
        pytest.param([1, 0, 0, 0, -1, 0], id="mirrored"),
        pytest.param([1, 0, 0, 0, 0, -1], id="coronal"),
        pytest.param([0, 1, 0, 0, 0, -1], id="sagittal"),
        pytest.param(oblique(20), id="turned by 20 degrees"),
    ],
)
@pytest.mark.parametrize("up", [1, -1], ids=["head first", "feet first"])
def test_a_voxel_is_where_its_header_says_however_the_patient_lies(
    axes: list[float], up: int, tmp_path: Path
) -> None:
    row, column = np.array(axes[:3]), np.array(axes[3:])
    normal = up * np.cross(row, column)
    start = np.array([-100.0, 40.0, 7.0])

    def place(ct: Any, index: int) -> None:
        ct.ImageOrientationPatient = axes
        ct.ImagePositionPatient = [float(x) for x in start + normal * 2.5 * index]

    hu = HU.copy()
    hu[2, 5, 17] = 1234  # slice, row, column
    write_series(tmp_path / "ct", hu, place)
    ct = read_ct(tmp_path / "ct")
    # PS3.3 C.7.6.2.1.1: columns are 0.8 mm apart along the rows, rows 0.9 mm.
    expected = start + normal * 2.5 * 2 + row * 0.8 * 17 + column * 0.9 * 5
    for image in (ct.image, ct.canonical):
        z, y, x = (int(i[0]) for i in np.nonzero(sitk.GetArrayFromImage(image) == 1234))
        found = image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose(found, expected, atol=1e-3)
    # Axes of the canonical image run to the left, the back and the head.
    direction = np.array(ct.canonical.GetDirection()).reshape(3, 3)
    assert np.diag(direction).min() > np.cos(np.radians(45))
    labels = (sitk.GetArrayFromImage(ct.canonical) == 1234).astype(np.uint8)
    restored = sitk.GetArrayFromImage(ct.restore(labels))
    np.testing.assert_array_equal(restored > 0, ct.hu == 1234)


def stored(dtype: str, bits: int, slope: float, intercept: float) -> Callable[[Any, int], None]:
    """Return a change that stores HU as another type of number."""

    def change(ct: Any, index: int) -> None:
        kind = np.dtype(dtype)
        ct.PixelRepresentation = int(kind.kind == "i")
        ct.BitsAllocated, ct.BitsStored, ct.HighBit = kind.itemsize * 8, bits, bits - 1
        ct.RescaleSlope, ct.RescaleIntercept = slope, intercept
        ct.PixelData = np.rint((HU[index] - intercept) / slope).astype(kind).tobytes()

    return change


@pytest.mark.parametrize(
    ("dtype", "bits", "slope", "intercept"),
    [
        ("<i2", 16, 1, 0),
        ("<u2", 16, 1, -1024),
        ("<u2", 12, 1, -1024),
        ("<i2", 16, 0.5, -24),
        ("<u2", 16, 0.25, -1024),
        ("<i2", 16, 1, -8192),
    ],
)
def test_hu_are_those_of_slope_and_intercept_in_any_type(
    dtype: str, bits: int, slope: float, intercept: float, tmp_path: Path
) -> None:
    write_series(tmp_path / "ct", HU, stored(dtype, bits, slope, intercept))
    np.testing.assert_array_equal(read_ct(tmp_path / "ct").hu, HU)


@pytest.mark.parametrize("padding", [-2000, -3024, -1024])
def test_padding_around_the_field_of_view_does_not_matter(padding: int, tmp_path: Path) -> None:
    y, x = np.indices(HU.shape[1:]) - 11.5
    outside = x**2 + y**2 > 12**2
    hu = np.where(outside, padding, HU).astype(np.int16)

    def pad(ct: Any, index: int) -> None:
        ct.RescaleIntercept = 0
        ct.PixelData = hu[index].tobytes()
        ct.PixelPaddingValue = padding

    write_series(tmp_path / "ct", hu, pad)
    ct = read_ct(tmp_path / "ct")
    np.testing.assert_array_equal(ct.hu[:, ~outside], HU[:, ~outside])
    assert [finding.code for finding in ct.findings] == []
