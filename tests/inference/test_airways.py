"""The trachea is the longest chain of round dark spots, found again where it was drawn."""

import numpy as np
import pytest

from lungseg.inference.airways import find_trachea

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
