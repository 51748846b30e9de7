"""Masks: errors and findings name the mask's file; labels are fitted to the classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.masks import decode_mask, merge_labels, read_labels, read_mask

RGB_MAP = DataConfig().rgb_map
RED = np.full((4, 4, 3), (0, 0, 255), np.uint8)  # OpenCV orders blue, green, red


def test_all_labels_are_the_single_foreground_class_and_that_is_reported() -> None:
    labels = np.array([[0, 1], [1, 2]], np.uint8)
    merged, [finding] = merge_labels(labels, 2, Path("m.mha"))
    assert merged.tolist() == [[0, 1], [1, 1]]
    assert (finding.code, finding.path) == ("labels_merged", Path("m.mha"))


@pytest.mark.parametrize(("highest", "classes"), [(0, 2), (1, 2), (2, 3)])
def test_labels_within_the_classes_stay_as_they_are(highest: int, classes: int) -> None:
    labels = np.array([0, highest], np.uint8)
    merged, findings = merge_labels(labels, classes, Path("m.mha"))
    np.testing.assert_array_equal(merged, labels)
    assert findings == []


def test_a_label_above_several_classes_is_an_error_of_its_file() -> None:
    with pytest.raises(DataError) as caught:
        merge_labels(np.array([0, 3], np.uint8), 3, Path("m.mha"))
    assert str(caught.value) == "m.mha: holds label 3, but data.rgb_map has 3 classes."


def test_a_mask_of_other_colours_is_an_error_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), RED)
    for read in (lambda: read_mask(path, RGB_MAP), lambda: read_labels(path, DataConfig())):
        with pytest.raises(DataError, match=r"not in data\.rgb_map") as caught:
            read()
        assert caught.value.path == path
        ending = "most often (255, 0, 0). Set data.rgb_map to the mask's colours."
        assert str(caught.value).endswith(ending)


def test_a_repaired_mask_is_a_finding_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), np.array([[0, 1]], np.uint8))
    labels, [finding] = read_mask(path, RGB_MAP)
    assert labels.tolist() == [[0, 1]]
    assert (finding.code, finding.path) == ("mask_indices", path)
    cv2.imwrite(str(path), np.array([[0, 100, 255]], np.uint8))
    assert [(f.code, f.path) for f in read_mask(path, RGB_MAP)[1]] == [("mask_grey", path)]


def test_nothing_but_dark_greys_is_no_mask_of_nothing() -> None:
    with pytest.raises(DataError, match="nearest to the background"):
        decode_mask(np.full((4, 4), 30, np.uint8), RGB_MAP)
