"""What counts as an edge, an area, a rounded value or a colour of a mask, up to its last pixel."""

from __future__ import annotations

import numpy as np
import pytest

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging import masks
from lungseg.imaging.masks import decode_mask, encode_mask, resize_labels
from lungseg.imaging.palette import Palette

RGB_MAP = DataConfig().rgb_map
Area = tuple[int, int]


def codes_of(mask: np.ndarray) -> list[str]:
    return [finding.code for finding in decode_mask(mask, RGB_MAP)[1]]


@pytest.mark.parametrize(
    ("area", "fills"),
    [((3, 3), True), ((2, 30), False), ((30, 2), False), ((1, 1), False), ((3, 8), True)],
)
def test_a_colour_fills_an_area_from_three_by_three_pixels_on(area: Area, fills: bool) -> None:
    colours = np.zeros((40, 40), np.intp)
    colours[5 : 5 + area[0], 6 : 6 + area[1]] = 1
    colours[1, 1] = 2  # a single pixel
    found = masks._fill_areas(colours, np.bincount(colours.ravel()))
    assert found.tolist() == [True, fills, False]


@pytest.mark.parametrize(("more", "fills"), [(1, True), (2, False)])
def test_a_tenth_of_a_colours_pixels_lie_among_their_like(more: int, fills: bool) -> None:
    colours = np.zeros((20, 20), np.intp)
    colours[2:5, 2:5] = 1  # 9 pixels, of which the one in the middle has only its like around it
    colours[10, 1 : 1 + 2 * more : 2] = 1
    found = masks._fill_areas(colours, np.bincount(colours.ravel()))
    assert found.tolist() == [True, fills]


def spread(side: int, grey: int, count: int) -> np.ndarray:
    """Return a mask, white in its lower half, with single pixels of a grey in it."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 2 :] = 255
    rows, columns = np.divmod(np.arange(count), side // 2)
    mask[2 * rows, 2 * columns] = grey
    return mask


@pytest.mark.parametrize(
    ("side", "most"),
    [(128, 983), (256, 1966), (512, 7864)],  # 6 %, and 3 % from 256 pixels on
)
def test_edges_are_three_percent_of_a_mask_and_more_of_a_small_one(side: int, most: int) -> None:
    assert codes_of(spread(side, 200, most)) == ["mask_grey"]
    with pytest.raises(DataError, match=r"[36]\.0% of the mask's pixels lie .*at most [36]%"):
        codes_of(spread(side, 200, most + 1))


@pytest.mark.parametrize(("grey", "is_edge"), [(23, False), (24, True), (231, True), (232, False)])
def test_a_pixel_is_an_edge_if_it_is_farther_than_forty_from_every_colour(
    grey: int, is_edge: bool
) -> None:
    mask = spread(256, grey, 3000)  # 4.6 %
    if not is_edge:  # 23 * sqrt(3) = 39.8
        assert codes_of(mask) == ["mask_grey"]
        return
    with pytest.raises(DataError, match=r"4\.6% of the mask's pixels lie between"):
        codes_of(mask)


@pytest.mark.parametrize(
    ("apart", "is_foreign"),
    [((28, -28, 0), False), ((24, 8, -32), True)],  # 39.6 and 40.8 from the greys
)
def test_a_colour_is_foreign_if_it_is_farther_than_forty_from_every_blend(
    apart: tuple[int, int, int], is_foreign: bool
) -> None:
    mask = np.zeros((50, 100, 3), np.uint8)
    mask[:, 50:] = 255
    mask[::2, :3:2][:20] = np.array([100, 100, 100]) + apart  # 40 of 5000 pixels
    if not is_foreign:
        assert codes_of(mask) == ["mask_grey"]
        return
    with pytest.raises(DataError, match=r"0\.8% .* most often \(124, 108, 68\)"):
        codes_of(mask)


def test_one_pixel_in_a_thousand_may_have_a_foreign_colour() -> None:
    mask = np.zeros((20, 100, 3), np.uint8)
    mask[:, 50:] = 255
    mask[5, [10, 20]] = (0, 255, 0), (255, 0, 0)
    labels, [finding] = decode_mask(mask, RGB_MAP)
    assert labels.shape == (20, 100)
    assert finding.detail == (
        "4 different values; 2 of 2000 pixels (0.10%) have a colour that is not in data.rgb_map "
        "and became the nearest class"
    )
    mask[5, 30] = (0, 255, 0)  # the colour of most of them is named
    with pytest.raises(DataError, match=r"0\.1% .* most often \(0, 255, 0\)"):
        decode_mask(mask, RGB_MAP)


def test_greys_near_black_alone_are_no_empty_mask() -> None:
    mask = np.zeros((50, 40), np.uint8)
    mask[3, [3, 9]] = 20  # one pixel in a thousand
    assert codes_of(mask) == ["mask_grey"]
    mask[9, 9] = 21
    with pytest.raises(DataError, match=r"0\.1% have .*: \(20, 20, 20\), \(21, 21, 21\)\."):
        decode_mask(mask, RGB_MAP)
    mask[20, 20] = 255
    assert codes_of(mask) == ["mask_grey"]


@pytest.mark.parametrize(("dark", "is_read"), [(1, True), (2, False)])
def test_a_hundredth_of_the_values_of_16_bits_may_become_black(dark: int, is_read: bool) -> None:
    mask = np.zeros((20, 20), np.uint16)
    mask.ravel()[:100] = 65535
    mask.ravel()[:dark] = 128  # half a step of 257, rounded down
    if is_read:
        labels, _ = decode_mask(mask, RGB_MAP)
        np.testing.assert_array_equal(labels, mask == 65535)
        return
    with pytest.raises(DataError, match=r"values of 128 and of 65535"):
        decode_mask(mask, RGB_MAP)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@pytest.mark.parametrize("values", [(0, 256), (-1, 255)])
def test_a_mask_of_numbers_beyond_8_bits_is_refused(kind: type, values: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=f"has values from {values[0]} to {values[1]}"):
        decode_mask(np.array([values], kind), RGB_MAP)


def test_fractions_up_to_one_are_shares_of_white() -> None:
    labels, [finding] = decode_mask(np.array([[0, 0.25, 0.75, 1]], np.float32), RGB_MAP)
    assert labels.tolist() == [[0, 0, 1, 1]]
    assert finding.detail.startswith("4 different values; 2 of 4 pixels")
    empty, findings = decode_mask(np.zeros((2, 2), np.float32), RGB_MAP)
    assert not empty.any()
    assert findings == []
    # Above 1 they are colours: 2 is nearly black.
    labels, [finding] = decode_mask(np.array([[0, 2, 255]], np.float32), RGB_MAP)
    assert labels.tolist() == [[0, 0, 1]]


MIXED = {"background": (3, 60, 200), "left": (200, 60, 3), "right": (60, 200, 3)}


def test_each_channel_of_a_colour_counts() -> None:
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    mask = np.array(list(MIXED.values()), np.uint8)[labels]
    np.testing.assert_array_equal(encode_mask(labels, MIXED), mask)
    found, findings = decode_mask(mask, MIXED)
    np.testing.assert_array_equal(found, labels)
    assert findings == []


def test_a_map_of_greys_is_written_as_grey_and_one_colour_makes_it_rgb() -> None:
    labels = np.array([[0, 1]], np.uint8)
    assert encode_mask(labels, {"a": (0, 0, 0), "b": (9, 9, 9)}).tolist() == [[0, 9]]
    for colour in ((9, 9, 8), (9, 8, 9), (8, 9, 9)):
        found = encode_mask(labels, {"a": (0, 0, 0), "b": colour})
        assert found.tolist() == [[[0, 0, 0], list(colour)]]


def test_labels_are_resized_by_the_centres_of_their_pixels() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(2, 6)
    assert resize_labels(labels, (2, 6)) is labels
    # The centre of each of three columns lies in the middle one of two: 0.5, 2.5 and 4.5 + 0.5.
    found = resize_labels(labels, (2, 2))
    assert found.tolist() == [[1, 4], [7, 10]]
    assert resize_labels(labels, (4, 6)).tolist() == labels.repeat(2, axis=0).tolist()


def test_greys_and_distances_of_a_palette() -> None:
    palette = Palette.of({"a": (0, 0, 0), "b": ((0, 0, 100), (0, 100, 0))})
    assert palette.classes.tolist() == [0, 1, 1]
    colours = np.array([[0, 0, 49], [0, 51, 0], [0, 0, 130], [30, 40, 0], [0, 50, 50]])
    nearest, distance = palette.nearest(colours)
    assert nearest.tolist() == [0, 1, 1, 0, 0]
    assert distance.tolist() == pytest.approx([49, 49, 30, 50, np.hypot(50, 50)])
    # From the segments of the three colours: on one, on one, beyond the end, beside, on the last.
    assert palette.distance_to_blends(colours).tolist() == pytest.approx([0, 0, 30, 30, 0])
    more = palette.with_greys({50: 2, 7: 3})
    assert more.colours.tolist()[3:] == [[50, 50, 50], [7, 7, 7]]
    assert more.classes.tolist() == [0, 1, 1, 2, 3]
