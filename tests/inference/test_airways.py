"""The trachea is the longest chain of round dark spots, found again where it was drawn."""

import numpy as np
import pytest

from lungseg.inference.airways import Spot, _round_spots, find_airways, find_trachea
from tests.support.volumes import image_of

SPACING = (1.0, 0.8, 5.0)  # of columns, rows and slices, in mm
SHAPE = (20, 120, 120)


def draw(
    air: np.ndarray, slices: range, x: float, y: float, radius_mm: float, stretch: float = 1.0
) -> None:
    """Draw a spot of air into some slices; `x`, `y` are its centre in pixels."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    across, down = (columns - x) * SPACING[0] / stretch, (rows - y) * SPACING[1]
    for z in slices:
        air[z] |= np.hypot(across, down) <= radius_mm


def found_in(air: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the slice and the rounded centre of each spot of the trachea."""
    smooth = np.where(air, -1000, 40).astype(np.float32)
    spots = find_trachea(smooth, air, SPACING)
    return [(spot.z, round(spot.centre[0]), round(spot.centre[1])) for spot in spots]


@pytest.fixture
def air() -> np.ndarray:
    return np.zeros(SHAPE, dtype=bool)


def test_it_is_followed_from_head_to_feet_but_not_over_a_missing_slice(
    air: np.ndarray,
) -> None:
    places = [(z, 50 + z, 60) for z in range(2, 18) if z != 9]
    for z, x, y in places:
        draw(air, range(z, z + 1), x, y, 8)
    # It is 10 mm to the slice after the next, and the gap may be 1.5 slices: 7.5 mm.
    assert found_in(air) == places[:6:-1]
    draw(air, range(9, 10), 59, 60, 8)
    assert found_in(air) == [(z, 50 + z, 60) for z in reversed(range(2, 18))]


def test_a_shorter_chain_elsewhere_is_none(air: np.ndarray) -> None:
    draw(air, range(3, 17), 60, 60, 8)
    draw(air, range(4, 16), 20, 20, 8)
    assert found_in(air) == [(z, 60, 60) for z in reversed(range(3, 17))]


@pytest.mark.parametrize(
    ("radius_mm", "stretch"),
    [(4.0, 1.0), (15.5, 1.0), (8.0, 2.0)],  # areas of 50 and 755 mm2; twice as long as wide
)
def test_other_shapes_and_sizes_are_none(air: np.ndarray, radius_mm: float, stretch: float) -> None:
    draw(air, range(3, 17), 60, 60, radius_mm, stretch)
    assert found_in(air) == []


def test_a_chain_of_less_than_2_cm_is_none(air: np.ndarray) -> None:
    draw(air, range(3, 7), 60, 60, 8)
    assert found_in(air) == []
    draw(air, range(7, 8), 60, 60, 8)
    assert len(found_in(air)) == 5


def test_a_jump_and_a_sudden_size_end_a_chain(air: np.ndarray) -> None:
    draw(air, range(10, 18), 60, 60, 6)
    draw(air, range(2, 10), 60 + 15, 60, 6)  # 15 mm away; 9 mm in 5 mm of z are allowed
    assert found_in(air) == [(z, 60, 60) for z in reversed(range(10, 18))]
    air[:] = False
    draw(air, range(10, 18), 60, 60, 6)
    draw(air, range(2, 10), 60, 60, 10.5)  # three times the area
    assert found_in(air) == [(z, 60, 60) for z in reversed(range(10, 18))]


def spots_in(plane: np.ndarray, x_mm: float, y_mm: float) -> list[Spot]:
    """Return the spots of a slice whose air is given."""
    return _round_spots(np.where(plane, -801, 40).astype(np.float32), plane, 7, x_mm, y_mm)


def box(rows: int, columns: int) -> np.ndarray:
    plane = np.zeros((40, 60), bool)
    plane[5 : 5 + rows, 9 : 9 + columns] = True
    return plane


def test_a_spot_has_its_slice_its_centre_and_its_area() -> None:
    assert spots_in(box(6, 5), 2.0, 1.5) == [Spot(7, (11.0, 7.5), 90.0)]
    two = box(6, 5)
    two[20:26, 30:35] = True
    assert [spot.centre for spot in spots_in(two, 2.0, 1.5)] == [(11.0, 7.5), (32.0, 22.5)]
    corner = box(6, 5)
    corner[11:17, 14:19] = True  # touches the first at a corner alone
    assert len(spots_in(corner, 2.0, 1.5)) == 2


@pytest.mark.parametrize(
    ("rows", "columns", "x_mm", "y_mm", "is_one"),
    [
        (6, 10, 1.0, 1.0, True),  # 60 mm2
        (6, 10, 1.0, 0.99, False),
        (28, 25, 1.0, 1.0, True),  # 700 mm2
        (28, 25, 1.0, 1.01, False),
        (2, 2, 4.0, 4.0, True),
        (1, 8, 4.0, 4.0, False),  # lines of pixels
        (8, 1, 4.0, 4.0, False),
        (10, 17, 1.0, 1.0, True),  # the axes are as the roots of 17^2 - 1 and 10^2 - 1: 1.705
        (10, 18, 1.0, 1.0, False),  # 1.806
        (17, 10, 1.0, 1.0, True),
        (18, 10, 1.0, 1.0, False),
        (10, 18, 0.5, 1.0, True),  # in mm it is no longer than wide
        (10, 10, 1.0, 2.0, False),
    ],
)
def test_a_spot_is_of_the_size_and_the_shape_of_a_trachea(
    rows: int, columns: int, x_mm: float, y_mm: float, is_one: bool
) -> None:
    assert len(spots_in(box(rows, columns), x_mm, y_mm)) == is_one


def test_only_air_within_the_body_is_a_spot() -> None:
    plane = np.full((40, 60), -801, np.float32)
    assert len(_round_spots(plane, box(10, 10), 0, 1.0, 1.0)) == 1
    assert _round_spots(plane + 1, box(10, 10), 0, 1.0, 1.0) == []


def tree(lumen: int) -> tuple[np.ndarray, np.ndarray]:
    """Return HU and air of a trachea of 30 mm above two bronchi, of some HU, in voxels of 2 mm."""
    hu = np.full((30, 50, 60), 40, np.int16)
    hu[15:, 20:26, 27:33] = -1000
    hu[12:15, 20:26, 10:50] = lumen
    return hu, hu < -500


@pytest.mark.parametrize(
    ("lumen", "grows"),
    [(-961, True), (-795, True), (-794, False)],  # the limit rises from -960 to -795 HU
)
def test_the_region_grows_from_the_trachea_into_air_below_the_last_limit(
    lumen: int, grows: bool
) -> None:
    hu, air = tree(lumen)
    found = find_airways(image_of(hu, (2.0, 2.0, 2.0)), air)
    trachea, bronchi = np.zeros_like(air), np.zeros_like(air)
    trachea[15:, 21:25, 28:32] = True
    bronchi[12:15, 21:25, 11:49] = True
    assert found[trachea].all()
    assert found[bronchi].all() == grows
    assert found[bronchi & ~trachea].any() == grows
    assert not found[~air].any()


def test_the_region_stops_before_it_bursts_into_a_lung() -> None:
    hu, air = tree(-950)
    hu[2:12, 5:45, 5:55] = -900  # 160 mL, which hang together with the bronchi
    air |= hu == -900
    found = find_airways(image_of(hu, (2.0, 2.0, 2.0)), air)
    assert found[12:15, 21:25, 11:49].all()
    assert not found[:11].any()


@pytest.mark.parametrize(("columns", "is_burst"), [(37, False), (39, True)])
def test_a_step_of_15_ml_is_a_burst(columns: int, is_burst: bool) -> None:
    # The trachea has 4.3 mL, of which six tenths are less than 15 mL. The step is 0.4 mL per column
    # and 0.3 mL where it begins; the median takes as much away, four corners in each slice.
    hu, air = tree(40)
    hu[5:15, 15:20, 5 : 5 + columns] = -900
    hu[14, 20:26, 27:33] = -900
    air = hu < -500
    found = find_airways(image_of(hu, (2.0, 2.0, 2.0)), air)
    assert found[6:13, 16:19, 7:30].any() != is_burst


def test_without_a_trachea_there_are_no_airways() -> None:
    hu, air = tree(-950)
    hu[15:] = 40
    found = find_airways(image_of(hu, (2.0, 2.0, 2.0)), air & (hu < 0))
    assert found.shape == hu.shape
    assert found.dtype == bool
    assert not found.any()


def layers(*columns: int, first_hu: int = -955) -> tuple[np.ndarray, np.ndarray]:
    """Return airways of 10 mL, and below them layers of 3.2 mL per column, each 15 HU brighter.

    Returns:
        The airways that were found, and the number of the layer in each voxel.
    """
    hu, _ = tree(-961)
    number, start = np.zeros(hu.shape, int), 11
    for index, count in enumerate(columns, 1):
        number[2:12, 5:45, start : start + count] = index
        hu[number == index] = first_hu + 15 * (index - 1)
        start += count
    return find_airways(image_of(hu, (2.0, 2.0, 2.0)), hu < -500), number


@pytest.mark.parametrize(
    ("columns", "grown"),
    [
        # In all 22.9, 35.7, 51.7, 77.3 and 118.9 mL; 120 mL is the most.
        ((4, 4, 5, 8, 13), 5),
        ((4, 4, 5, 8, 14), 4),
        # From 51.7 mL a step of 31 mL is a burst.
        ((4, 4, 5, 11), 3),
        # From 10.1 mL a step of 15 mL is.
        ((4,), 1),
        ((5,), 0),
    ],
)
def test_airways_grow_by_small_steps_up_to_120_ml(columns: tuple[int, ...], grown: int) -> None:
    found, number = layers(*columns)
    assert [bool(found[number == k].mean() > 0.9) for k in range(1, len(columns) + 1)] == [
        k <= grown for k in range(1, len(columns) + 1)
    ]


def test_the_first_region_may_be_large() -> None:
    found, number = layers(10, first_hu=-970)
    assert found[number == 1].mean() > 0.9


def test_a_chain_goes_on_over_6_mm_at_most(air: np.ndarray) -> None:
    draw(air, range(9, 20), 60, 60, 8)
    draw(air, range(2, 7), 60, 60, 8)
    for z_mm, expected in ((2.0, 16), (2.1, 11)):
        smooth = np.where(air, -1000, 40).astype(np.float32)
        assert len(find_trachea(smooth, air, (1.0, 0.8, z_mm))) == expected


def test_a_spot_may_be_of_another_size_by_two_and_a_half_at_most(air: np.ndarray) -> None:
    draw(air, range(10, 18), 60, 60, 10.5)
    draw(air, range(3, 10), 60, 60, 7.0)
    assert len(found_in(air)) == 15
    air[3:10] = False
    draw(air, range(3, 10), 60, 60, 6.2)
    assert len(found_in(air)) == 8
