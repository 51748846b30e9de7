"""Masks of any whole-number type are scored, others are refused; and the grey baseline by hand."""

from typing import Any

import numpy as np
import pytest

from lungseg.errors import UsageError
from lungseg.evaluation.baselines import grey_threshold
from lungseg.evaluation.cases import score

TRUTH = np.array([[0, 1, 1, 0], [0, 1, 1, 0]])
MASK = np.array([[0, 0, 1, 1], [0, 0, 2, 0]])  # two pixels right, one wrong, two missing


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, bool])
def test_masks_of_whole_numbers_are_scored_by_what_is_above_nought(dtype: type) -> None:
    found = score(TRUTH.astype(dtype), MASK.astype(dtype), spacing=(2.0, 0.5))
    assert found["dice"] == pytest.approx(2 * 2 / (4 + 3))
    assert found["recall"] == 0.5
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["specificity"] == 0.75
    assert found["pixel_accuracy"] == 5 / 8
    assert found["volume_difference"] == -1.0  # one pixel of 2 x 0.5 mm
    # Every pixel is at the surface. One column is 0.5 mm: the missing pixels are 0.5 mm away.
    assert found["hd95"] == pytest.approx(0.5)
    assert found["assd"] == pytest.approx(3 * 0.5 / 7)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mask": MASK - 1}, "mask: expected labels of 0 and above, got -1"),
        ({"mask": MASK / 2}, "mask: expected bool or whole numbers"),
        ({"truth": TRUTH * np.nan}, "truth: expected bool or whole numbers"),
        ({"mask": MASK[:1]}, "they must agree"),
        ({"truth": TRUTH[0], "mask": MASK[0]}, r"truth: expected \(H, W\)"),
        ({"spacing": (1.0,)}, "size in mm for each of 2 axes"),
        ({"spacing": (1.0, 0.0)}, "positive size"),
        ({"spacing": (1.0, np.inf)}, "positive size"),
        ({"tolerances": (1.0, -1.0)}, "tolerances: expected positive numbers"),
    ],
)
def test_what_is_no_mask_or_no_size_is_refused(changes: dict[str, Any], said: str) -> None:
    given = {"truth": TRUTH, "mask": MASK, "spacing": (1.0, 1.0), "tolerances": (1.0,), **changes}
    with pytest.raises(UsageError, match=said):
        score(given.pop("truth"), given.pop("mask"), **given)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_grey_threshold_keeps_dark_regions_inside_the_body_with_their_holes(
    channels: int,
) -> None:
    # 100 x 100 pixels: a region has at least 10 of them.
    image = np.full((100, 100), 180, np.uint8)
    lung = np.zeros(image.shape, np.uint8)
    lung[20:40, 20:40] = lung[60, 20:30] = 1  # 400 pixels, and 10
    image[lung > 0] = 10
    image[28:31, 28:31] = 180  # a vessel, filled
    image[70, 20:29] = 10  # 9 pixels
    # Strips of 12 pixels along each border, one pixel wide, are not inside.
    image[0, 44:56] = image[99, 44:56] = image[44:56, 0] = image[44:56, 99] = 10
    given = image if channels == 1 else np.dstack([image] * 3)
    np.testing.assert_array_equal(grey_threshold(given), lung)


def test_dark_regions_that_meet_at_a_corner_are_two() -> None:
    image = np.full((100, 100), 180, np.uint8)
    image[20:23, 20:22] = image[23:26, 22:24] = 10  # 6 pixels each; one region needs 10
    assert not grey_threshold(image).any()
    image[22, 22] = 10  # now they share a side
    assert grey_threshold(image).sum() == 13


def test_volumes_masks_without_tolerances_and_pixels_without_a_size_are_scored() -> None:
    truth = np.zeros((3, 4, 5), bool)
    truth[1, 1:3, 1:3] = True
    found = score(truth, np.roll(truth, 1, axis=0), spacing=(2.5, 1.0, 1.0), tolerances=())
    assert (found["dice"], found["hd95"], found["volume_difference"]) == (0, 2.5, 0)
    assert not [name for name in found if name.startswith("nsd")]
    empty = score(truth, truth & False, spacing=[2.5, 2.0, 1.0], tolerances=[2.5])
    assert empty["volume_difference"] == pytest.approx(-4 * 5.0 / 1000)  # mL
    assert empty["nsd_2.5"] == 0
    plain = score(truth, truth & False)
    assert plain["volume_difference"] == -4
    assert plain["hd95"] == pytest.approx(np.sqrt(9 + 16 + 25))  # pixels
    assert {"nsd_1", "nsd_2"} <= set(plain)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"truth": TRUTH[:0], "mask": MASK[:0]}, "truth: expected"),
        ({"truth": TRUTH[None, None], "mask": MASK[None, None]}, "truth: expected"),
        ({"mask": np.full(MASK.shape, 0.5)}, "whole numbers"),
        ({"mask": MASK.astype(float) - 2}, "0 and above, got -2"),
        ({"mask": MASK.astype(complex)}, "whole numbers"),
        ({"spacing": (True, True)}, "positive size"),
        ({"spacing": 1.0}, "positive size"),
        ({"spacing": ()}, "positive size"),
        ({"spacing": (1.0, np.nan)}, "positive size"),
        ({"tolerances": ("1",)}, "tolerances"),
        ({"tolerances": ((1.0,),)}, "tolerances"),
        ({"tolerances": 1.0}, "tolerances"),
    ],
)
def test_what_only_looks_like_a_mask_or_a_size_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    given = {"truth": TRUTH, "mask": MASK, "spacing": (1.0, 1.0), "tolerances": (1.0,), **changes}
    with pytest.raises(UsageError, match=said):
        score(given.pop("truth"), given.pop("mask"), **given)
