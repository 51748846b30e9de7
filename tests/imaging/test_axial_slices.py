"""Axial slices of a volume become square, with the network's channels."""

from pathlib import Path

import numpy as np

from lungseg.imaging.pixels import axial_slice
from lungseg.imaging.trees import list_tree


def test_an_axial_slice_is_padded_to_a_square_of_one_or_three_channels() -> None:
    grey = np.arange(1, 9, dtype=np.uint8).reshape(2, 4)
    square = np.zeros((4, 4), np.uint8)
    square[1:3] = grey
    np.testing.assert_array_equal(axial_slice(grey, 1), square)
    np.testing.assert_array_equal(axial_slice(grey, 3), np.dstack([square] * 3))


def test_a_folder_without_dicom_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "ct.mha").touch()
    assert [item.path for item in list_tree(tmp_path).items] == [tmp_path / "ct.mha"]
