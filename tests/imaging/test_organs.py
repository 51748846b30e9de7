"""A folder with a file per organ: which are taken, in which order, and on which grid."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.structures import choose, has_names, read_structures
from tests.support.volumes import image_of

SIDES: Any = {"background": (0, 0, 0), "right lung": (9, 9, 9), "left lung": (99, 99, 99)}
DATA = DataConfig()
TWO = DataConfig(rgb_map=SIDES)


def organ(path: Path, first: int, end: int, spacing: float = 2.0) -> None:
    """Write an organ in the columns from `first` up to `end` of a volume of 2 x 3 x 8 voxels."""
    labels = np.zeros((2, 3, 8), np.uint8)
    labels[..., first:end] = 7
    sitk.WriteImage(image_of(labels, (spacing, 3.0, 4.0)), str(path))


def read(folder: Path, data: DataConfig = DATA) -> tuple[list[int], list[str]]:
    """Return a row of the labels, and what the findings say."""
    volume, findings = read_structures(folder, None, data)
    assert volume.spacing == (4.0, 3.0, 2.0)
    return volume.labels[1, 2].tolist(), [finding.detail for finding in findings]


def test_the_organs_that_are_lung_are_one_mask(tmp_path: Path) -> None:
    organ(tmp_path / "lung_left.nii.gz", 1, 3)
    organ(tmp_path / "lung_right.nii.gz", 5, 7)
    organ(tmp_path / "heart.nii.gz", 0, 8)
    organ(tmp_path / ".lung_left.nii.gz", 0, 8)
    (tmp_path / "lung.txt").write_text("text")
    (tmp_path / "lung.mha").mkdir()
    assert has_names(tmp_path)
    row, said = read(tmp_path)
    assert row == [0, 1, 1, 0, 0, 1, 1, 0]
    assert said == ["lung: lung_left, lung_right; not taken: heart"]


def test_a_voxel_of_two_organs_is_of_the_first_class(tmp_path: Path) -> None:
    organ(tmp_path / "left_lung.mha", 1, 5)
    organ(tmp_path / "right_lung.mha", 3, 7)
    row, said = read(tmp_path, TWO)
    assert row == [0, 2, 2, 1, 1, 1, 1, 0]
    assert said == ["right lung: right_lung; left lung: left_lung"]


def test_an_organ_on_another_grid_is_refused(tmp_path: Path) -> None:
    organ(tmp_path / "lung_left.mha", 1, 3)
    organ(tmp_path / "lung_right.mha", 5, 7, spacing=2.1)
    with pytest.raises(DataError, match=r"right\.mha: is on another grid .*: spacing \(2\.1, 3, 4"):
        read_structures(tmp_path, None, DATA)
    organ(tmp_path / "lung_right.mha", 5, 7)
    organ(tmp_path / "heart.mha", 0, 8, spacing=2.1)  # is not read
    assert read(tmp_path)[0] == [0, 1, 1, 0, 0, 1, 1, 0]


def test_organs_of_which_none_is_lung_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"structures \(none\), none of which is lung by its name"):
        read_structures(tmp_path, None, DATA)
    names = [f"organ {k}" for k in range(13)]
    with pytest.raises(DataError, match="organ 11 and 1 more, none of which is right lung or left"):
        choose(names, TWO, tmp_path)
    indices, finding = choose(["x", "Left lung", "y"], TWO, tmp_path)
    assert indices == [0, 2, 0]
    assert (finding.code, finding.severity) == ("structures_taken", "repaired")
    assert finding.detail == "left lung: Left lung; not taken: x, y"
