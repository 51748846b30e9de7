"""Volumes that SimpleITK accepts and the program does not, and names that ITK does not accept."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.errors import DataError
from lungseg.imaging.pixels import apply_window
from lungseg.imaging.volume_files import ct_from_image, read_ct, read_label_volume, write_volume

HU = np.linspace(-1000, 100, 60).reshape(3, 4, 5)


def test_complex_numbers_are_no_hu(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(HU.astype(np.complex64))
    sitk.WriteImage(image, tmp_path / "ct.nii.gz")
    for read in (read_ct, read_label_volume):
        with pytest.raises(DataError, match=r"ct\.nii\.gz: .*complex of 32-bit float"):
            read(tmp_path / "ct.nii.gz")
    with pytest.raises(DataError, match="complex"):
        ct_from_image(image)


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    labels = sitk.GetImageFromArray((HU < -500).astype(np.uint8))
    for name in ("Mask.NII.GZ", "Mask.MHA", "Mask.Nrrd"):
        write_volume(labels, tmp_path / name)
        np.testing.assert_array_equal(read_label_volume(tmp_path / name).labels, HU < -500)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_is_not_there_is_named_as_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: there is no such folder") as caught:
        write_volume(sitk.GetImageFromArray(HU), tmp_path / "no" / "mask.mha")
    assert caught.value.path == tmp_path / "no" / "mask.mha"


def test_two_scans_are_not_equal_because_their_names_are() -> None:
    one, other = (ct_from_image(sitk.GetImageFromArray(hu)) for hu in (HU, HU - 1))
    assert one != other
    assert one == one
    assert len({one, other}) == 2


def test_numbers_beyond_float32_are_black_or_white_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grey = apply_window(np.array([[-1e300, -300, 1e300]]), (-1000, 400))
    assert grey.tolist() == [[0, 128, 255]]
