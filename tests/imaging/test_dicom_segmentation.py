"""A DICOM-SEG object holds each label as a segment with its name."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from lungseg.errors import DataError
from lungseg.imaging.dicom.segmentation import read_dicom_seg, write_dicom_seg
from lungseg.imaging.volume_files import read_ct
from lungseg.imaging.volumes import LabelVolume, geometry_differences
from tests.support.dicom_files import write_series
from tests.support.volumes import image_of, phantom_arrays


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ((1, 2), ["Left lung", "Right lung"]),
        ((2,), ["Left lung", "Right lung"]),
        ((1, 2, 3), ["Left lung", "Right lung", "Lung"]),
        ((3,), ["Left lung", "Right lung", "Lung"]),
    ],
)
def test_lung_of_unknown_side_is_a_segment_of_its_own(
    values: tuple[int, ...], names: list[str], tmp_path: Path
) -> None:
    highdicom = pytest.importorskip("highdicom")
    write_series(tmp_path / "case", phantom_arrays()[0])
    ct = read_ct(tmp_path / "case")
    mask = np.zeros(ct.canonical.GetSize()[::-1], np.uint8)
    for value in values:
        mask[2:5, 10 * value : 10 * value + 5, 20:30] = value
    labels = image_of(mask)
    labels.CopyInformation(ct.canonical)
    path = tmp_path / "case.dcm"
    assert write_dicom_seg(tmp_path / "case", ct, labels, path, sides=True) == []
    seg = highdicom.seg.segread(str(path))
    found = [seg.get_segment_description(n).segment_label for n in seg.segment_numbers]
    assert found == names
    read = read_dicom_seg(path).labels  # without the empty slices
    np.testing.assert_array_equal(read[read.any(axis=(1, 2))], mask[mask.any(axis=(1, 2))])


@pytest.mark.parametrize(
    "axes", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.8, 0.6, 0, -0.6, 0.8, 0)]
)
def test_a_segmentation_lies_where_its_series_does(axes: tuple[float, ...], tmp_path: Path) -> None:
    pytest.importorskip("highdicom")

    def turn(ct: FileDataset, index: int) -> None:
        normal = np.cross(axes[:3], axes[3:])
        ct.ImageOrientationPatient = list(axes)
        ct.ImagePositionPatient = [float(x) for x in (-20, 10, 5) + 2.5 * index * normal]

    hu = phantom_arrays(4, 24)[0]
    write_series(tmp_path / "case", hu, turn)
    ct = read_ct(tmp_path / "case")
    stripes = np.arange(hu.size).reshape(ct.canonical.GetSize()[::-1]) % 7 > 4
    labels = image_of(stripes.astype(np.uint8))
    labels.CopyInformation(ct.canonical)
    path = tmp_path / "case.dcm"
    assert write_dicom_seg(tmp_path / "case", ct, labels, path) == []
    found = read_dicom_seg(path)
    assert found.sparse
    assert found.labels.dtype == np.uint8
    assert geometry_differences(found.image, ct.canonical) == []
    np.testing.assert_array_equal(found.labels, LabelVolume(labels).labels)


def test_a_slice_without_lung_between_others_is_empty(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "case", phantom_arrays(6, 24)[0])
    ct = read_ct(tmp_path / "case")
    mask = np.zeros(ct.canonical.GetSize()[::-1], np.uint8)
    mask[[1, 4], 3:9, 5:7] = 1
    labels = image_of(mask)
    labels.CopyInformation(ct.canonical)
    write_dicom_seg(tmp_path / "case", ct, labels, tmp_path / "case.dcm")
    found = read_dicom_seg(tmp_path / "case.dcm").labels
    assert found.any(axis=(1, 2)).tolist() == [True, False, False, True]


def test_what_is_no_segmentation_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    [path] = write_series(tmp_path, phantom_arrays(1, 16)[0])
    with pytest.raises(DataError, match="this is not a usable DICOM-SEG: "):
        read_dicom_seg(path)
