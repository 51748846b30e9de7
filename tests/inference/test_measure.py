"""Left and right follow from where the lungs lie; volumes and densities are counted by hand."""

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.inference.measure import LEFT, RIGHT, label_sides, measure
from lungseg.inference.rows import LungMeasures
from lungseg.system.tables import to_record
from tests.support.volumes import image_of

# Columns grow towards the patient's left, so the right lung has the low columns.


def sides_of(
    voxels: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> tuple[np.ndarray, list[str]]:
    sides, steps = label_sides(image_of(voxels, spacing))
    return np.asarray(sitk.GetArrayFromImage(sides)), steps


@pytest.mark.parametrize("larger", ["left", "right"])
def test_the_larger_of_two_lungs_may_be_on_either_side(larger: str) -> None:
    columns = (slice(3, 9), slice(13, 27)) if larger == "left" else (slice(3, 17), slice(21, 27))
    expected = np.zeros((5, 14, 30), np.uint8)
    expected[1:4, 2:12, columns[0]] = RIGHT
    expected[1:4, 2:12, columns[1]] = LEFT
    found, steps = sides_of((expected > 0).astype(np.uint8))
    np.testing.assert_array_equal(found, expected)
    assert steps == []


def test_a_mask_in_one_piece_is_divided_in_its_middle() -> None:
    expected = np.zeros((4, 9, 20), np.uint8)
    expected[1:3, 2:7, 5:10] = RIGHT
    expected[1:3, 2:7, 10:15] = LEFT
    image = image_of((expected > 0).astype(np.uint8), (0.7, 0.8, 2.0), (-3.0, 5.0, 11.0))
    sides, [step] = label_sides(image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sides), expected)
    assert "divided in its middle" in step
    assert (sides.GetSpacing(), sides.GetOrigin()) == ((0.7, 0.8, 2.0), (-3.0, 5.0, 11.0))


@pytest.mark.parametrize(
    ("large", "small", "are_two"), [((9, 10), 10, True), ((7, 13), 9, False)]
)  # 10 of 100 voxels, and 9 of 100
def test_a_tenth_of_the_voxels_is_a_lung_and_less_is_not(
    large: tuple[int, int], small: int, are_two: bool
) -> None:
    voxels = np.zeros((1, large[1], large[0] + 3), np.uint8)
    voxels[0, :, : large[0]] = 1
    voxels[0, :small, large[0] + 2] = 1
    assert voxels.sum() == 100
    found, steps = sides_of(voxels)
    assert (steps == []) == are_two
    # Of two lungs the smaller is the left one; undivided, the large part would hold both labels.
    assert (set(found[0, :, : large[0]].ravel()) == {RIGHT}) == are_two


def bridged(rows: int, slices: int) -> np.ndarray:
    """Return two lungs of 25 columns, joined over 20 columns by a bridge as thick as `rows`."""
    voxels = np.zeros((5, 44, 70), np.uint8)
    voxels[:, :, :25] = voxels[:, :, 45:] = 1
    voxels[:slices, 15 : 15 + rows, 25:45] = 1
    return voxels


@pytest.mark.parametrize(
    ("rows", "slices", "radius"), [(2, 5, 1), (3, 1, 2), (4, 5, 2), (11, 5, 6), (12, 5, 6)]
)
def test_a_bridge_between_lungs_is_cut_where_it_is_as_far_from_both(
    rows: int, slices: int, radius: int
) -> None:
    # A disk of radius r spans 2 r + 1 pixels, so it takes away what is up to 2 r thick. A bridge in
    # a single slice is not thinner than one in all slices: lungs are not eroded along z.
    voxels = bridged(rows, slices)
    found, steps = sides_of(voxels)
    assert steps == [f"lungs separated by an erosion of {radius} voxels"]
    expected = voxels.copy()
    expected[:, :, :35] *= RIGHT
    np.testing.assert_array_equal(found, expected)


def test_the_nearer_lung_is_the_nearer_one_in_millimetres() -> None:
    voxels = bridged(2, 5)
    voxels[:, :4, 30:45] = 1  # part of the left lung, some 12 rows above the bridge
    # At column 33 the right lung is 10 columns away: 10 mm, or 100 mm if a column is 10 mm wide.
    for width, side in ((1.0, RIGHT), (10.0, LEFT)):
        found, _ = sides_of(voxels, (width, 1.0, 1.0))
        assert (found[:, 15:17, 33] == side).all()


def test_a_bridge_too_thick_to_erode_is_cut_in_the_middle_of_the_mask() -> None:
    _, steps = sides_of(bridged(13, 5))
    assert steps == ["lungs could not be separated, so the mask was divided in its middle"]


def test_each_lung_has_its_own_volume_and_percentiles() -> None:
    # 0, 1, ... 100: the p-th percentile is p. The left lung is denser by 200 HU.
    sides = np.zeros((3, 101, 4), np.uint8)
    sides[0, :, 1], sides[1, :, 2] = RIGHT, LEFT
    hu = np.full(sides.shape, 999, np.int16)
    hu[0, :, 1] = np.arange(101)
    hu[1, :, 2] = np.arange(101)[::-1] + 200
    spacing = (0.5, 2.0, 10.0)  # 0.01 mL
    found = measure(image_of(hu, spacing), image_of(sides, spacing), image_of(sides, spacing))
    for lung, shift in ((found.right, 0), (found.left, 200)):
        assert lung.volume_ml == pytest.approx(1.01)
        percentiles = (lung.p5_hu, lung.p15_hu, lung.p50_hu, lung.p95_hu)
        assert percentiles == (5 + shift, 15 + shift, 50 + shift, 95 + shift)
        assert lung.mean_hu == 50 + shift
    assert found.lung.volume_ml == pytest.approx(2.02)
    assert found.lung.mean_hu == 150
    assert found.slices_with_lung == 2


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("at", "touches"), [(0, True), (-1, True), (1, False), (-2, False)])
def test_lung_at_any_face_of_the_volume_is_cut_off(axis: int, at: int, touches: bool) -> None:
    sides = np.zeros((5, 6, 7), np.uint8)
    place = [2, 2, 2]
    place[axis] = at
    sides[tuple(place)] = LEFT
    hu = np.full(sides.shape, -800, np.int16)
    assert measure(image_of(hu), image_of(sides), None).touches_border is touches


def inner(*shape: int) -> np.ndarray:
    """Return a right and a left lung of random outline, of 9 and 5 slices, off the border."""
    rng = np.random.default_rng(3)
    sides = np.zeros(shape, np.uint8)
    sides[2:11, 1:-1, 1:6] = RIGHT * (rng.random((9, shape[1] - 2, 5)) < 0.7)
    sides[4:9, 1:-1, 7:-1] = LEFT * (rng.random((5, shape[1] - 2, shape[2] - 8)) < 0.7)
    return sides


def expected(hu: np.ndarray, mask: np.ndarray, voxel_ml: float) -> dict[str, float]:
    """Compute what is reported of the voxels of a mask, one by one."""
    values = [float(value) for value in hu[mask]]
    return {
        "volume_ml": round(len(values) * voxel_ml, 2),
        "mean_hu": round(sum(values) / len(values), 1),
        "below_950_share": round(sum(v < -950 for v in values) / len(values), 4),
        "below_910_share": round(sum(v < -910 for v in values) / len(values), 4),
        "infiltrated_share": round(sum(-500 <= v < -100 for v in values) / len(values), 4),
        "collapsed_share": round(sum(-100 <= v <= 100 for v in values) / len(values), 4),
    }


def test_shares_and_thirds_are_those_of_each_voxel() -> None:
    sides = inner(13, 12, 14)
    hu = np.random.default_rng(0).integers(-1050, 250, sides.shape).astype(np.int16)
    spacing = (2.0, 3.0, 5.0)
    lungs = (sides > 0).astype(np.uint8)
    found = measure(*(image_of(values, spacing) for values in (hu, lungs, sides)))
    # 9 slices have three thirds alike. Of 5 slices the middle third holds one centre.
    nine = {"lower": (2, 3, 4), "middle": (5, 6, 7), "upper": (8, 9, 10)}
    five = {"lower": (4, 5), "middle": (6,), "upper": (7, 8)}
    for lung, mask, thirds in (
        (found.lung, sides > 0, nine),
        (found.right, sides == RIGHT, nine),
        (found.left, sides == LEFT, five),
    ):
        assert expected(hu, mask, 0.03).items() <= to_record(lung).items()
        for third, slices in thirds.items():
            part = mask.copy()
            part[[k for k in range(13) if k not in slices]] = False
            assert dataclasses.asdict(getattr(lung, third)) == expected(hu, part, 0.03), third


def test_the_bands_hold_their_own_limits() -> None:
    values = [-1024, -951, -950, -911, -910, -501, -500, -101, -100, 100, 101, 300]
    hu = np.array(values, np.int16).reshape(1, 3, 4)
    lung = np.ones(hu.shape, np.uint8)
    found = measure(image_of(hu), image_of(lung), None).lung
    assert found.below_950_share == round(2 / 12, 4)  # -1024 and -951
    assert found.below_910_share == round(4 / 12, 4)  # and -950 and -911
    assert found.infiltrated_share == round(2 / 12, 4)  # -500 and -101
    assert found.collapsed_share == round(2 / 12, 4)  # -100 and 100


def thirds_known(sides: np.ndarray) -> dict[str, bool]:
    labels, lungs = image_of(sides), image_of((sides > 0).astype(np.uint8))
    found = measure(image_of(np.full(sides.shape, -800, np.int16)), lungs, labels)
    lungs_of = {"lung": found.lung, "left": found.left, "right": found.right}
    return {
        name: all(part is not None for part in (lung.upper, lung.middle, lung.lower))
        for name, lung in lungs_of.items()
    }


@pytest.mark.parametrize("at", [0, -1])
def test_a_lung_that_is_cut_at_its_end_has_no_thirds(at: int) -> None:
    sides = inner(13, 12, 14)
    assert thirds_known(sides) == {"lung": True, "left": True, "right": True}
    sides[at, 3, 3] = RIGHT
    assert thirds_known(sides) == {"lung": False, "left": True, "right": False}


def test_a_lung_that_is_cut_at_its_side_has_thirds() -> None:
    sides = inner(13, 12, 14)
    sides[5:7, 0, 3] = sides[5:7, 6, 0] = RIGHT
    assert thirds_known(sides)["right"]


def test_two_slices_have_no_thirds() -> None:
    sides = np.zeros((6, 8, 9), np.uint8)
    sides[2:4, 2:6, 2:4], sides[2:5, 2:6, 5:7] = RIGHT, LEFT
    assert thirds_known(sides) == {"lung": True, "left": True, "right": False}


def test_lungs_of_unknown_side_are_measured_together() -> None:
    lungs = image_of((inner(13, 12, 14) > 0).astype(np.uint8))
    found = measure(image_of(np.full((13, 12, 14), -800, np.int16)), lungs, None)
    assert found.lung.volume_ml
    assert found.left == found.right == LungMeasures()
