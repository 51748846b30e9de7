"""Volumes and densities are counted by hand."""

import numpy as np
import pytest

from lungseg.inference.measure import measure
from lungseg.inference.rows import LungMeasures
from lungseg.inference.sides import LEFT, RIGHT, Sides
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
