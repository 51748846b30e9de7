"""DICOM-SEG and RTSTRUCT that lungseg writes, read by programs that others wrote.

dcmqi (built on DCMTK) reads the first, rt-utils the second. Both are installed into a folder of
their own: dcmqi is large, and rt-utils asks for a second build of OpenCV, which it can do without.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom import dcmread

from lungseg.imaging.dicom.segmentation import write_dicom_seg
from lungseg.imaging.dicom.structure_set import write_structure_set
from lungseg.imaging.volume_files import read_ct
from tests.support.dicom_files import write_series
from tests.support.installing import run_uv
from tests.support.volumes import image_of

SHAPE = (5, 64, 64)

READ_RTSTRUCT = """
import sys, numpy
from rt_utils import RTStructBuilder
rois = RTStructBuilder.create_from(dicom_series_path=sys.argv[1], rt_struct_path=sys.argv[2])
numpy.savez(sys.argv[3], **{name: rois.get_roi_mask_by_name(name) for name in rois.get_roi_names()})
"""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the programs of others."""
    folder = tmp_path_factory.mktemp("others")
    packages = ("dcmqi>=1.5.7,<2", "rt-utils>=1.2.7,<2")
    into = ("--python", sys.executable, "--target", folder)
    run_uv("pip", "install", "-q", "--no-deps", *into, *packages)
    return folder


def run(others: Path, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(others)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def scan(tmp_path: Path) -> tuple[Path, Any, NDArray[np.uint8]]:
    """Return a series of square pixels, which rt-utils needs; its CT; and lungs with holes."""

    def square(ct: Any, index: int) -> None:
        ct.PixelSpacing = [0.8, 0.8]
        ct.PatientName, ct.StudyInstanceUID = "A^B", "1.2.3"

    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    labels = np.zeros(SHAPE, np.uint8)
    for label, middle in ((1, 17), (2, 46)):
        away = np.hypot((rows - 30) / 1.6, columns - middle)
        labels[1:4, (away < 14) & ~((away > 3) & (away < 9))] = label
    write_series(tmp_path / "case", np.where(labels > 0, -850, 40).astype(np.int16) - 100, square)
    ct = read_ct(tmp_path / "case")
    return tmp_path / "case", ct, labels


def as_image(ct: Any, labels: NDArray[np.uint8]) -> Any:
    image = image_of(labels)
    image.CopyInformation(ct.canonical)
    return image


@pytest.mark.slow
def test_dcmqi_reads_the_segments_of_a_dicom_seg(
    scan: tuple[Path, Any, NDArray[np.uint8]], others: Path, tmp_path: Path
) -> None:
    series, ct, labels = scan
    path, out = tmp_path / "seg.dcm", tmp_path / "segments"
    assert write_dicom_seg(series, ct, as_image(ct, labels), path, sides=True) == []
    out.mkdir()
    program = "import dcmqi; dcmqi.segimage2itkimage()"
    where = ("--inputDICOM", path, "--outputDirectory", out, "--outputType", "nii", "-p", "segment")
    run(others, "-c", program, *where)
    meta = json.loads((out / "segment-meta.json").read_text())
    named = {s["labelID"]: s["SegmentLabel"] for [s] in meta["segmentAttributes"]}
    assert named == {1: "Left lung", 2: "Right lung"}
    for number in named:
        found = sitk.ReadImage(str(out / f"segment-{number}.nii.gz"))
        on_grid = sitk.Resample(found, ct.image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(on_grid) > 0, labels == number)


@pytest.mark.slow
def test_rt_utils_reads_an_rtstruct_within_half_a_pixel(
    scan: tuple[Path, Any, NDArray[np.uint8]], others: Path, tmp_path: Path
) -> None:
    series, ct, labels = scan
    path, found = tmp_path / "rs.dcm", tmp_path / "found.npz"
    assert write_structure_set(series, ct, as_image(ct, labels), path, sides=True) == []
    run(others, "-c", READ_RTSTRUCT, series, path, found)
    masks = np.load(found)
    assert masks.files == ["Lung_L", "Lung_R"]
    dataset = dcmread(path)
    assert len(dataset.ROIContourSequence) == 2
    for label, name in enumerate(masks.files, 1):
        mask, read = labels == label, np.moveaxis(masks[name], -1, 0)
        # It rounds corners to whole pixels and fills what an outline touches. So only pixels
        # beside the outline differ: the outline moved by half a pixel, and no more.
        beside = np.stack([ndi.binary_dilation(plane) ^ plane for plane in mask])
        assert not (read & ~mask & ~beside).any()
        assert not (mask & ~read).any()
        assert not (read[1:4, 30, 17 if label == 1 else 46] == 0).any()  # the island
        hole = (30, 17 + 6) if label == 1 else (30, 46 + 6)
        assert not read[1:4, hole[0], hole[1]].any()
