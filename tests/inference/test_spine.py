"""The spine is told from ribs by its place, its amount of bone and its canal, counted by hand.

The body is 80 pixels deep, so the strip is 11 columns wide and is full of bone with 100 pixels.
"""

import numpy as np
import pytest

from lungseg.inference import spine
from lungseg.inference.spine import find_ends, find_skin, find_spine, is_confirmed

TISSUE, BONE = 40, 151  # what has 150 HU is no bone yet
ENDS = (10, 109, 10, 89)
NO_SKIN, ALL_SKIN = (False, False), (True, True)


def plane(*columns: slice, rows: int = 7, first: int = 70) -> np.ndarray:
    """Return a slice of tissue with bone in some columns, from a row on."""
    hu = np.full((100, 120), TISSUE, np.int16)
    for each in columns:
        hu[first : first + rows, each] = BONE
    return hu


def block(first: int) -> slice:
    return slice(first, first + 10)


def test_the_ends_of_an_outline_are_its_own_columns_and_rows() -> None:
    outline = np.zeros((9, 12), bool)
    outline[2:6, 3:11] = True
    assert find_ends(outline) == (3, 10, 2, 5)


@pytest.mark.parametrize(
    ("firsts", "lasts", "expected"),
    [
        ((1, 1, 0), (19, 19, 18), (True, False)),
        ((1, 0, 0), (18, 18, 19), (False, True)),
        ((1, 0), (18, 19), (False, False)),  # half of the slices are not most of them
    ],
)
def test_skin_is_in_the_picture_if_most_slices_end_before_its_edge(
    firsts: tuple[int, ...], lasts: tuple[int, ...], expected: tuple[bool, bool]
) -> None:
    ends = [(first, last, 0, 9) for first, last in zip(firsts, lasts, strict=True)]
    assert find_skin(ends, 20) == expected


def test_the_strip_is_an_eighth_of_the_depth_and_at_least_three_columns_wide() -> None:
    assert spine._depth(ENDS) == 80
    assert [spine._reach((0, 9, 0, depth - 1)) for depth in (4, 24, 80)] == [1, 2, 5]
    bone = np.zeros(40)
    bone[20] = 30
    expected = np.zeros(40)
    expected[15:26] = 0.3
    np.testing.assert_allclose(spine._filled(bone, ENDS), expected)


@pytest.mark.parametrize(
    ("skin", "columns"),
    [
        (ALL_SKIN, (50, 70)),  # 40 pixels from the skin at either side
        ((True, False), (50, 120)),
        ((False, True), (0, 70)),
        (NO_SKIN, (0, 120)),
    ],
)
def test_bone_counts_in_the_back_half_and_far_from_the_skin(
    skin: tuple[bool, bool], columns: tuple[int, int]
) -> None:
    everywhere = np.full((100, 120), BONE)
    expected = np.zeros(120)
    expected[slice(*columns)] = 40  # rows 50 to 89
    np.testing.assert_array_equal(spine._bone(everywhere, ENDS, skin), expected)
    np.testing.assert_array_equal(spine._bone(everywhere - 1, ENDS, skin), 0 * expected)


def test_nearer_to_the_skin_bone_counts_in_a_body_that_may_be_turned() -> None:
    expected = np.zeros(120)
    expected[30:90] = 40
    found = spine._bone(np.full((100, 120), BONE), ENDS, ALL_SKIN, spine.ROLLED_FLANK)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("columns", "rows", "expected"),
    [
        ([block(55)], 7, 59.5),
        ([block(55)], 6, None),
        ([block(55), slice(49, 50)], 7, (10 * 59.5 + 49) / 11),  # within 10 columns of the strip
        ([block(55), slice(48, 49)], 7, 59.5),
        ([block(55), slice(69, 70)], 7, (10 * 59.5 + 69) / 11),
        ([block(55), slice(70, 71)], 7, 59.5),
        ([block(0)], 7, 4.5),
        ([block(110)], 7, 114.5),
    ],
)
def test_the_spine_is_the_middle_of_the_bone_around_the_fullest_strip(
    columns: list[slice], rows: int, expected: float | None
) -> None:
    found = spine._most_bone(plane(*columns, rows=rows), ENDS, NO_SKIN)
    assert found == (None if expected is None else pytest.approx(expected))


def found_in(firsts: list[int | None], skin: tuple[bool, bool]) -> dict[int, float]:
    """Return the spine of slices with a block of bone from a column on, or without."""
    hu = np.stack([plane(*([] if at is None else [block(at)])) for at in firsts])
    return find_spine(hu, dict.fromkeys(range(len(firsts)), ENDS), skin)


def test_the_spine_lies_within_a_fifth_of_the_depth_of_its_usual_column() -> None:
    found = found_in([50, 50, 50, 66, 34, 67, 33], (True, False))
    assert found == {0: 54.5, 1: 54.5, 2: 54.5, 3: 70.5}  # skin hides what is right of column 50
    found = found_in([70, 70, 70, 86, 54, 87, 53], (True, False))
    assert found == {0: 74.5, 1: 74.5, 2: 74.5, 3: 90.5, 4: 58.5}


def test_the_spine_is_in_a_third_of_the_slices_or_nowhere() -> None:
    assert found_in([50, 50, None, None, None, None], ALL_SKIN) == {0: 54.5, 1: 54.5}
    assert found_in([50, 50, *[None] * 5], ALL_SKIN) == {}
    assert found_in([None, None], ALL_SKIN) == {}


@pytest.mark.parametrize(("others", "agrees"), [(1, True), (2, False)])
def test_without_skin_three_quarters_of_the_bone_lie_in_one_place(
    others: int, agrees: bool
) -> None:
    firsts: list[int | None] = [20, 20, 20, *[100] * others]
    assert found_in(firsts, NO_SKIN) == ({0: 24.5, 1: 24.5, 2: 24.5} if agrees else {})
    assert len(found_in([55, 55, 55, *[100] * others], (True, False))) == 3


@pytest.mark.parametrize(
    ("rows", "skin", "expected"),
    [
        (13, NO_SKIN, True),
        (12, NO_SKIN, False),
        (8, (False, True), True),
        (7, (True, False), False),
    ],
)
def test_in_a_crop_more_bone_than_ribs_have_is_the_spine(
    rows: int, skin: tuple[bool, bool], expected: bool
) -> None:
    slices = [plane(block(55), rows=rows)] * 2 + [plane(block(55), rows=1)]
    assert is_confirmed(np.stack(slices), dict.fromkeys(range(3), ENDS), skin) == expected


def vertebra(hole: int = 13, body_rows: int = 6, first: int = 60) -> np.ndarray:
    """Return a slice with a body of bone, and behind it an arch around a canal of some pixels."""
    hu = plane(block(55), rows=body_rows + 5, first=first)
    canal = np.full((3, 8), BONE)
    canal.ravel()[:hole] = TISSUE
    hu[first + body_rows : first + body_rows + 3, 56:64] = canal
    return hu


@pytest.mark.parametrize(("others", "expected"), [(9, True), (10, False)])
def test_a_canal_in_a_tenth_of_the_slices_is_the_spine(others: int, expected: bool) -> None:
    hu = np.stack([vertebra(), *[plane(block(55), rows=10)] * others])
    assert is_confirmed(hu, dict.fromkeys(range(others + 1), ENDS), NO_SKIN) == expected


def has_canal(hu: np.ndarray) -> bool:
    filled = spine._filled(spine._bone(hu, ENDS, NO_SKIN), ENDS)
    return spine._has_canal(hu, ENDS, filled)


@pytest.mark.parametrize(
    ("hu", "expected"),
    [
        (vertebra(13), True),  # 0.002 of the square of the depth are 12.8 pixels
        (vertebra(12), False),
        (vertebra(13, body_rows=1), False),  # most of the bone lies behind the hole
        (vertebra(13, body_rows=10, first=42), True),
    ],
)
def test_a_canal_is_large_enough_and_behind_most_of_the_bone(
    hu: np.ndarray, expected: bool
) -> None:
    assert has_canal(hu) == expected


def test_a_canal_may_be_open_at_a_joint_but_not_wide_open() -> None:
    hu = vertebra(24)
    hu[66, 64] = TISSUE
    assert has_canal(hu)
    hu[69:71, 59:61] = TISSUE
    assert has_canal(hu)
    hu[69:71, 59:62] = TISSUE  # three pixels are no joint
    assert not has_canal(hu)


def test_a_canal_lies_in_the_back_three_fifths_of_the_body() -> None:
    hu = vertebra(13, body_rows=10, first=32)  # its hole begins at row 42, where the part does
    hu[50:54, 55:65] = BONE
    assert not has_canal(hu)


def test_little_bone_has_no_canal() -> None:
    hu = plane(slice(55, 62), rows=7)
    hu[71:76, 56:61] = TISSUE  # 24 pixels of bone, and a hole of 25 of them
    assert not has_canal(hu)


def test_the_largest_hole_is_the_one_with_most_pixels() -> None:
    bone = np.zeros((20, 12), np.uint8)
    bone[2:7, 2:8] = bone[8:18, 2:9] = 1
    bone[3:6, 3:7] = 0  # 12 pixels
    bone[10:15, 4:7] = 0  # 15 pixels
    assert spine._largest_hole(bone) == (15, 12.0)
    bone[15, 7] = 0  # touches the hole at a corner alone
    assert spine._largest_hole(bone) == (15, 12.0)
    bone[8:18, 2:9] = 1
    assert spine._largest_hole(bone) == (12, 4.0)
    bone[3:6, 3:7] = 1
    assert spine._largest_hole(bone)[0] == 0


@pytest.mark.parametrize(
    ("quarters", "skin", "strength"),
    [
        (0, (True, False), 2.0),  # nearer to the skin, because the patient may roll
        (2, (False, True), 0.0),
    ],
)
def test_a_view_has_skin_and_bone_of_the_body_as_it_is_turned(
    quarters: int, skin: tuple[bool, bool], strength: float
) -> None:
    # Columns 10 to 119 of 120, rows 10 to 89 of 100, and bone of 200 pixels in columns 31 to 40.
    hu = np.stack([plane(slice(31, 41), rows=20)] * 3)
    outline = np.zeros(hu.shape, bool)
    outline[:, 10:90, 10:] = True
    view = spine._View(hu, outline, quarters)
    assert view.skin == skin
    assert view.strength == pytest.approx(strength)
    assert view.canals == 0


def test_a_view_shows_a_canal_in_a_share_of_its_slices() -> None:
    hu = np.stack([vertebra(), vertebra(), plane(block(55), rows=11), plane()])
    outline = np.zeros(hu.shape, bool)
    outline[:, 10:90, 10:110] = True
    assert spine._View(hu, outline, 0).canals == 0.5
    assert spine._View(hu, outline, 2).canals == 0


@pytest.mark.parametrize(("slices", "is_deep"), [(2, True), (3, False)])
@pytest.mark.parametrize("rows", [slice(0, 90), slice(10, 100)])
def test_a_view_is_deep_if_half_of_the_slices_show_front_and_back(
    slices: int, is_deep: bool, rows: slice
) -> None:
    outline = np.zeros((4, 100, 120), bool)
    outline[:, 10:90, 10:110] = True
    outline[:slices, rows, 10:110] = True
    assert spine._View(np.stack([plane()] * 4), outline, 0).is_deep == is_deep
