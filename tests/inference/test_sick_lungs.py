"""Tidying leaves sick lungs as they are, and takes gas and what lies beside the body away."""

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.schema import InferConfig
from lungseg.inference.body import coarse_body
from lungseg.inference.postprocess import tidy
from lungseg.inference.sides import LEFT, RIGHT, find_sides
from tests.support.chests import FLUID, GAS, TISSUE, Chest, chest
from tests.support.volumes import image_of

BOTH = (LEFT, RIGHT)


def inside(phantom: Chest, side: int, lowest: float, highest: float, axis: int) -> np.ndarray:
    """Return the part of a lung between two percentiles of its voxels along an axis."""
    lung = phantom.of(side)
    low, high = np.percentile(np.nonzero(lung)[axis], (lowest, highest))
    at = np.indices(lung.shape)[axis]
    return np.asarray(lung & (at >= low) & (at <= high))


def tissue_under(phantom: Chest, centre: tuple[int, int, int], radius_mm: float) -> np.ndarray:
    """Return a ball of tissue under the diaphragm, at least 5 mm from the lungs."""
    near = sitk.BinaryDilate(phantom.mask, [2, 2, 1])
    ball = phantom.ball(centre, radius_mm, (1.2, 1, 1))
    return np.asarray(ball & (sitk.GetArrayFromImage(near) == 0) & (phantom.hu > -300))


def stomach(phantom: Chest) -> np.ndarray:
    """Return a bubble in the stomach, left under the dome."""
    return tissue_under(phantom, (2, 50, 86), 40)


def colon(phantom: Chest) -> np.ndarray:
    """Return bowel between the liver and the right dome of the diaphragm."""
    return tissue_under(phantom, (3, 52, 40), 45)


def pneumothorax(phantom: Chest) -> Chest:
    """Fill the front three quarters of a lung's space with air, which touches the lung behind."""
    return phantom.noisy(inside(phantom, LEFT, 0, 75, axis=1), GAS)


# What makes a chest sick, and whether lungs stay as they were labelled.
SICK: dict[str, Callable[[Chest], Chest]] = {
    "healthy": lambda phantom: phantom,
    "emphysema of one lung": lambda phantom: phantom.emphysema(RIGHT),
    "emphysema of both": lambda phantom: phantom.emphysema(*BOTH),
    "pneumothorax": pneumothorax,
    "collapsed lobe": lambda phantom: phantom.noisy(inside(phantom, RIGHT, 0, 35, 0), TISSUE),
    "effusion": lambda phantom: phantom.without_lung(inside(phantom, RIGHT, 60, 100, 1), FLUID),
    "three pieces": lambda phantom: phantom.in_three_pieces(LEFT),
    "three pieces with emphysema": lambda phantom: phantom.in_three_pieces(LEFT).emphysema(*BOTH),
    "bowel interposed": lambda phantom: phantom.noisy(colon(phantom), GAS),
    "stomach bubble": lambda phantom: phantom.noisy(stomach(phantom), GAS),
    "stomach bubble and emphysema": lambda phantom: phantom.noisy(stomach(phantom), GAS).emphysema(
        *BOTH
    ),
    "one lung": lambda phantom: phantom.opaque(LEFT),
    "one lung with emphysema": lambda phantom: phantom.opaque(RIGHT).emphysema(LEFT),
    "one lung and a stomach bubble": lambda phantom: phantom.noisy(stomach(phantom), GAS).opaque(
        LEFT
    ),
}


@pytest.mark.parametrize("factor", [1.0, 0.4, 0.08], ids=["adult", "child", "mouse"])
@pytest.mark.parametrize("name", SICK)
def test_a_sick_lung_stays_whole_and_gas_goes(name: str, factor: float) -> None:
    phantom = SICK[name](chest()).scaled(factor)
    # A network takes each gas for lung as well.
    bubble = {"bowel interposed": colon, "stomach bubble": stomach}.get(name.split(" and ")[0])
    gas = bubble(chest()) if bubble else np.zeros(phantom.hu.shape, bool)
    assert not gas.any() or gas.sum() > 1000
    found = image_of(((phantom.lungs > 0) | gas).astype(np.uint8), phantom.spacing)
    tidied, steps = tidy(found, InferConfig(fill_holes=False), coarse_body(phantom.ct))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(tidied), phantom.lungs > 0)
    assert [step.split(" (")[0] for step in steps] == (["1 part of air"] if gas.any() else [])
    sides = sitk.GetArrayFromImage(find_sides(tidied, coarse_body(phantom.ct)).labels)
    np.testing.assert_array_equal(sides, phantom.lungs)


def test_a_lung_full_of_air_after_a_collapse_stays_with_its_rest() -> None:
    phantom = chest()
    rest = inside(phantom, LEFT, 0, 15, axis=2)  # a stump at the hilum, as dense as tissue
    phantom = phantom.noisy(phantom.of(LEFT), GAS).noisy(rest, -300)
    tidied, steps = tidy(phantom.mask, InferConfig(), coarse_body(phantom.ct))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(tidied), phantom.lungs > 0)
    assert steps == []


def test_the_trachea_is_no_lung() -> None:
    phantom = chest()
    trachea = phantom.ball((15, 66, 64), 9, (6, 1, 1)) & (phantom.lungs == 0)
    found = image_of(((phantom.lungs > 0) | trachea).astype(np.uint8), phantom.spacing)
    tidied, steps = tidy(found, InferConfig(), coarse_body(phantom.noisy(trachea, GAS).ct))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(tidied), phantom.lungs > 0)
    assert len(steps) == 1


# A CT of a body of 60 x 40 voxels, in air, with two lungs of 12 x 20 x 18 voxels.
LUNGS = np.s_[10:30, 14:34, 14:32], np.s_[10:30, 14:34, 44:62]
# Low, and a tenth of the body's outline.
LOW = np.s_[2:9, 16:28, 16:32]


def trunk(*parts: tuple[tuple[slice, ...], float]) -> tuple[np.ndarray, np.ndarray]:
    """Return HU and a mask of parts, each with its HU, in a body."""
    hu = np.full((36, 60, 76), GAS, np.int16)
    hu[:, 6:50, 6:70] = TISSUE
    mask = np.zeros(hu.shape, np.uint8)
    for where, value in parts:
        hu[where] = value
        mask[where] = 1
    return hu, mask


def is_kept(where: tuple[slice, ...], hu: np.ndarray, mask: np.ndarray) -> bool:
    spacing = (5.0, 5.0, 7.0)
    tidied, _ = tidy(
        image_of(mask, spacing), InferConfig(fill_holes=False), coarse_body(image_of(hu, spacing))
    )
    kept = sitk.GetArrayFromImage(tidied)[where]
    assert kept.all() == kept.any()
    return bool(kept.all())


HEALTHY = [(where, -800.0) for where in LUNGS]
NARROW = np.s_[14:26, 16:32, 34:42]  # 128 of 2816 voxels of the outline


@pytest.mark.parametrize(("hu_inside", "expected"), [(-921, False), (-920, True)])
def test_only_a_dark_part_can_be_gas(hu_inside: int, expected: bool) -> None:
    assert is_kept(LOW, *trunk(*HEALTHY, (LOW, hu_inside))) == expected


@pytest.mark.parametrize(("columns", "expected"), [(3, True), (2, False)])
def test_a_part_with_vessels_that_does_not_lie_low_is_lung(columns: int, expected: bool) -> None:
    # Its interior has 12 slices of 14 x 6 voxels; a column is 1.2% of it.
    hu, mask = trunk(*HEALTHY, (NARROW, GAS))
    for column in range(columns - 1):
        hu[14:26, 20 + 4 * column, 37] = TISSUE
    assert is_kept(NARROW, hu, mask) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (np.s_[2:9, 16:28, 16:32], False),  # 192 of 2816 voxels of the outline
        (np.s_[10:30, 14:34, 35:41], False),  # 120 of them
        (np.s_[10:30, 12:38, 33:43], False),  # 260: 9%
        (np.s_[10:30, 8:44, 33:43], True),  # 360: 13%
        (np.s_[6:21, 8:44, 33:43], True),
        (np.s_[6:20, 8:44, 33:43], False),  # ends in the lower half of the lungs
        (np.s_[4:30, 8:44, 33:43], False),  # begins 6 slices deeper
        (np.s_[5:30, 8:44, 33:43], True),  # 5 slices: a quarter of the lungs' height
    ],
)
def test_gas_without_vessels_is_lung_if_it_is_wide_and_does_not_lie_low(
    where: tuple[slice, ...], expected: bool
) -> None:
    assert is_kept(where, *trunk(*HEALTHY, (where, GAS))) == expected


def test_gas_alone_is_no_lung() -> None:
    assert not is_kept(LOW, *trunk((LOW, GAS)))


@pytest.mark.parametrize("drop_air", [True, False])
def test_parts_beside_the_body_go_with_the_air(drop_air: bool) -> None:
    hu, mask = trunk(*HEALTHY)
    foam = np.s_[:, 52:58, 6:70]
    hu[foam] = -800
    mask[foam] = 1
    image, ct = image_of(mask, (5.0, 5.0, 7.0)), image_of(hu, (5.0, 5.0, 7.0))
    tidied, steps = tidy(image, InferConfig(drop_air=drop_air), coarse_body(ct))
    assert sitk.GetArrayFromImage(tidied)[foam].any() != drop_air
    assert sitk.GetArrayFromImage(tidied)[LUNGS[0]].all()
    # 36 x 6 x 64 voxels of 0.175 mL.
    assert steps == (["1 part outside of the body dropped: 2419.2 mL"] if drop_air else [])


# A notch in the side of the body, such as between an arm and the chest, and the room beside it.
NOTCH = np.s_[:, 36:46, 56:76]
ROOM = ["1 part outside of the body dropped: 1260.0 mL"]


@pytest.mark.parametrize(
    ("value", "last", "expected"),
    [
        (-921.0, 76, ROOM),
        (-920.0, 76, []),  # no air
        # A part of which nine tenths lie in the outline may be a lung that the picture cuts off.
        # This one goes as gas does: it is small, and has no vessels.
        (-921.0, 71, ["1 part of air (bowel, stomach, airways) dropped: 945.0 mL"]),
    ],
)
def test_air_in_a_notch_of_the_body_belongs_to_the_room(
    value: float, last: int, expected: list[str]
) -> None:
    hu, mask = trunk(*HEALTHY, (NOTCH, value))
    mask[:, :, last:] = 0
    image, ct = image_of(mask, (5.0, 5.0, 7.0)), image_of(hu, (5.0, 5.0, 7.0))
    assert tidy(image, InferConfig(fill_holes=False), coarse_body(ct))[1] == expected


def test_a_dark_part_within_a_thin_wall_is_not_the_room() -> None:
    # The wall is too thin to count as the body, so a quarter of the part lies beside the outline.
    hu, mask = trunk(*HEALTHY)
    hu[:, 35:47, 56:76] = TISSUE
    hu[:, 36:46, 56:75] = -921
    mask[:, 36:46, 56:75] = 1
    image, ct = image_of(mask, (5.0, 5.0, 7.0)), image_of(hu, (5.0, 5.0, 7.0))
    steps = tidy(image, InferConfig(fill_holes=False), coarse_body(ct))[1]
    assert steps == ["1 part of air (bowel, stomach, airways) dropped: 1197.0 mL"]


def test_air_behind_a_wall_is_not_the_room() -> None:
    hu, _ = trunk(*HEALTHY, (NOTCH, GAS))
    assert coarse_body(image_of(hu, (5.0, 5.0, 7.0))).open_air[NOTCH].all()
    hu[:, 36:46, 69] = TISSUE
    body = coarse_body(image_of(hu, (5.0, 5.0, 7.0)))
    assert not body.open_air[:, 36:46, 56:70].any()
    assert body.open_air[:, 36:46, 70:].all()
    assert not body.open_air[LUNGS[0]].any()


@pytest.mark.parametrize(("value", "closes"), [(-500, True), (-501, False)])
def test_a_wall_of_half_tissue_closes_the_chest(value: int, closes: bool) -> None:
    hu, _ = trunk(*HEALTHY, (NOTCH, GAS))
    hu[:, 36:46, 69] = value
    body = coarse_body(image_of(hu, (5.0, 5.0, 7.0)))
    assert body.open_air[:, 36:46, 56:69].any() != closes


@pytest.mark.parametrize("turns", range(4))
def test_air_is_open_to_each_side_of_the_slice(turns: int) -> None:
    plane = np.full((60, 60), TISSUE, np.int16)
    plane[:30, 28:32] = GAS  # a corridor from the first row
    hu = np.repeat(np.rot90(plane, turns)[None], 5, axis=0)
    body = coarse_body(image_of(hu, (5.0, 5.0, 7.0)))
    np.testing.assert_array_equal(body.open_air, hu == GAS)


@pytest.mark.parametrize("value", [-880.0, -930.0])
def test_a_lung_that_the_field_of_view_cuts_off_stays(value: float) -> None:
    lung = np.s_[10:30, 14:34, 20:32]
    hu, mask = trunk((lung, value), (LUNGS[1], value))
    hu[10:30, 16:32:6, 22:30] = TISSUE  # vessels
    hu[:, :, :20] = GAS  # what is beyond the field of view
    assert is_kept(lung, hu, mask)


def test_small_is_relative_to_the_body_in_a_small_animal() -> None:
    # 36 x 44 x 64 voxels of body, of which a hundredth is 1013.8.
    for size, expected in ((1014, True), (1013, False)):
        hu, mask = trunk((np.s_[10:30, 14:34, 14:32], -800))
        part = np.s_[10:20, 14:34, 44:62]
        piece = np.zeros((10, 20, 18), np.uint8)
        piece.ravel()[:size] = 1
        hu[part][piece > 0] = -800
        mask[part] = piece
        spacing = (0.3, 0.3, 0.4)
        wanted = InferConfig(components=2, fill_holes=False, drop_air=False)
        kept, _ = tidy(image_of(mask, spacing), wanted, coarse_body(image_of(hu, spacing)))
        assert sitk.GetArrayFromImage(kept)[part].any() == expected
