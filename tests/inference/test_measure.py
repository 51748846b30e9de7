"""Volumes and densities are counted by hand."""

import dataclasses

import numpy as np
import pytest

from lungseg.inference.measure import measure
from lungseg.inference.rows import LungMeasures
from lungseg.inference.sides import LEFT, RIGHT, Sides
from lungseg.system.tables import to_record
from tests.support.volumes import image_of


def test_each_lung_has_its_own_volume_and_percentiles() -> None:
    # 0, 1, ... 100: the p-th percentile is p. The left lung is denser by 200 HU.
    sides = np.zeros((3, 101, 4), np.uint8)
    sides[0, :, 1], sides[1, :, 2] = RIGHT, LEFT
    hu = np.full(sides.shape, 999, np.int16)
    hu[0, :, 1] = np.arange(101)
    hu[1, :, 2] = np.arange(101)[::-1] + 200
    spacing = (0.5, 2.0, 10.0)  # 0.01 mL
    labels = image_of(sides, spacing)
    found = measure(image_of(hu, spacing), labels, Sides(labels, []))
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
    labels = image_of(sides)
    assert measure(image_of(hu), labels, Sides(labels, [])).touches_border is touches


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
    scan, mask, labels = (image_of(values, spacing) for values in (hu, lungs, sides))
    found = measure(scan, mask, Sides(labels, []))
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
    found = measure(image_of(hu), image_of(lung), Sides(image_of(lung), [])).lung
    assert found.below_950_share == round(2 / 12, 4)  # -1024 and -951
    assert found.below_910_share == round(4 / 12, 4)  # and -950 and -911
    assert found.infiltrated_share == round(2 / 12, 4)  # -500 and -101
    assert found.collapsed_share == round(2 / 12, 4)  # -100 and 100


def thirds_known(sides: np.ndarray) -> dict[str, bool]:
    labels, lungs = image_of(sides), image_of((sides > 0).astype(np.uint8))
    found = measure(image_of(np.full(sides.shape, -800, np.int16)), lungs, Sides(labels, []))
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


@pytest.mark.parametrize(
    ("unknown", "unseen", "left", "right"),
    [
        (None, (), 24.0, 0.0),
        (None, (RIGHT,), 24.0, None),
        ("no spine", (), None, None),
    ],
)
def test_what_is_not_known_of_a_side_is_empty(
    unknown: str | None, unseen: tuple[int, ...], left: float | None, right: float | None
) -> None:
    lungs = np.zeros((4, 5, 6), np.uint8)
    lungs[1:3, 1:4, 1:5] = LEFT
    image = image_of(lungs, (10.0, 10.0, 10.0))
    labels = image * 0 if unknown else image
    sides = Sides(labels, [], unknown=unknown, unseen=unseen)
    hu = image_of(np.full(lungs.shape, -800, np.int16), (10.0, 10.0, 10.0))
    found = measure(hu, image, sides)
    assert found.lung.volume_ml == 24.0
    assert (found.left.volume_ml, found.right.volume_ml) == (left, right)
    for lung in (found.left, found.right):
        assert lung.volume_ml is not None or lung == LungMeasures()
