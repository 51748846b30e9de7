"""A DICOM-SEG object holds each label as a segment with its name."""

from pathlib import Path

import numpy as np
import pytest

from lungseg.imaging.dicom.segmentation import read_dicom_seg, write_dicom_seg
from lungseg.imaging.volume_files import read_ct
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
