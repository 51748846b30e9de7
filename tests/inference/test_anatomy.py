"""The midline of the body follows from what is in the picture: spine, skin, or trachea."""

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.inference.anatomy import Anatomy, _find_midline, _smooth, find_anatomy
from lungseg.inference.body import Body, coarse_body
from tests.support.chests import GAS, TISSUE
from tests.support.volumes import image_of

SPACING = (3.0, 3.0, 8.0)
BONE = 400
LUNGS = np.s_[:, 20:45, 22:44], np.s_[:, 20:45, 56:78]


def body(middle: int = 50) -> np.ndarray:
    """Return a body of 80 x 50 voxels in a picture of 100 x 70, with two lungs and a spine."""
    hu = np.full((12, 70, 100), GAS, np.int16)
    hu[:, 10:60, 10:90] = TISSUE
    for lung in LUNGS:
        hu[lung] = -800
    hu[:, 44:54, middle - 5 : middle + 5] = BONE
    hu[:, 50:53, middle - 1 : middle + 2] = TISSUE  # the canal
    return hu


def look(hu: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> Anatomy:
    lungs = (np.abs(hu + 800) < 10).astype(np.uint8)
    return find_anatomy(coarse_body(image_of(hu, spacing)), image_of(lungs, spacing))


def midline(hu: np.ndarray) -> Any:
    found = look(hu).midline
    if found is None:
        return None
    assert len(found.x) == len(hu)
    return float(np.median(found.x)), found.source


@pytest.mark.parametrize("middle", [42, 50, 60])
def test_the_spine_shows_the_midline(middle: int) -> None:
    assert midline(body(middle)) == (pytest.approx(middle - 0.5, abs=0.5), "the spine")


def test_a_spine_that_curves_is_followed() -> None:
    hu = body()
    hu[:, 44:54, 45:55] = TISSUE
    for k, plane in enumerate(hu):
        plane[44:54, 40 + k : 50 + k] = BONE
    found = look(hu).midline
    assert found is not None
    np.testing.assert_allclose(found.x, 44.5 + np.arange(12), atol=1.01)


@pytest.mark.parametrize(
    "bone",
    [
        np.s_[:, 30:52, 12:20],  # ribs and an arm, near the skin
        np.s_[:, 12:30, 45:70],  # a heart with contrast agent, in the front
        np.s_[:4, 40:58, 70:88],  # a shoulder, in a third of the slices
    ],
)
def test_other_bone_is_no_spine(bone: tuple[slice, ...]) -> None:
    hu = body()
    hu[bone] = BONE
    assert midline(hu) == (pytest.approx(49.5, abs=1), "the spine")


@pytest.mark.parametrize(("width", "is_spine"), [(6, True), (1, False)])
def test_little_bone_is_no_spine(width: int, is_spine: bool) -> None:
    hu = body()
    hu[:, 44:54, 45:55] = TISSUE
    hu[:, 47:54, 40 : 40 + width] = BONE
    source = "the spine" if is_spine else "the outline of the body"
    assert midline(hu) == (pytest.approx(42.5 if is_spine else 49.5, abs=0.5), source)


def test_bone_far_from_the_middle_of_the_whole_body_is_no_spine() -> None:
    hu = body()
    hu[:, 44:54, 45:55] = TISSUE
    hu[:, 40:54, 66:70] = BONE
    assert midline(hu) == (49.5, "the outline of the body")


def test_a_spine_is_seen_in_a_third_of_the_slices_with_lung() -> None:
    for slices, source in ((4, "the spine"), (3, "the outline of the body")):
        hu = body(54)
        hu[slices:, 44:54, 49:59] = TISSUE
        assert midline(hu) == (pytest.approx(53.5 if slices == 4 else 49.5, abs=0.5), source)


def test_bone_that_lies_beside_the_spine_in_some_slices_does_not_bend_it() -> None:
    hu = body()
    hu[:4, 35:54, 59:64] = BONE  # a quarter of the depth away, and more of it
    found = look(hu).midline
    assert found is not None
    np.testing.assert_allclose(found.x, 49.5, atol=1)


def test_without_skin_the_ribs_of_two_sides_are_no_spine() -> None:
    hu = without_spine()
    hu[:7, 35:54, 17:22] = BONE
    hu[7:, 35:54, 78:83] = BONE
    assert midline(hu[:, :, 15:85]) is None
    hu[7:, 35:54, 78:83] = TISSUE
    assert midline(hu[:, :, 15:85]) == (pytest.approx(4, abs=0.5), "the spine")


def test_in_a_crop_little_bone_is_a_spine_only_if_it_has_a_canal() -> None:
    hu = without_spine()
    hu[:, 46:54, 17:23] = BONE
    hu[:, 50:53, 19:21] = BONE - 1
    assert midline(hu[:, :, 15:85]) is None
    hu[:, 50:53, 19:21] = TISSUE
    assert midline(hu[:, :, 15:85]) == (pytest.approx(4.5, abs=0.5), "the spine")
    hu[1:, 50:53, 19:21] = BONE
    assert midline(hu[:, :, 15:85]) is None


def test_with_the_skin_of_one_side_a_shoulder_at_the_other_does_not_hide_the_spine() -> None:
    hu = body()
    hu[:4, 35:58, 70:85] = BONE
    assert midline(hu[:, :, :85]) == (pytest.approx(49.5, abs=1), "the spine")


@pytest.mark.parametrize("quarters", range(4))
def test_a_body_that_is_turned_in_the_picture_has_no_midline(quarters: int) -> None:
    found = look(np.rot90(body(), quarters, (1, 2)))
    assert found.turned == (quarters > 0)
    assert (found.midline is None) == found.turned


def test_a_body_is_turned_only_if_it_is_whole_and_has_much_bone_elsewhere() -> None:
    upside_down = np.rot90(body(), 2, (1, 2))
    assert not look(upside_down[:, 12:]).turned
    breastbone = without_spine()
    breastbone[:, 12:16, 48:52] = BONE
    assert not look(breastbone).turned
    rolled = body(71)
    rolled[:, 12:30, 45:55] = BONE  # a heart with contrast agent
    assert not look(rolled).turned


@pytest.mark.parametrize("quarters", range(4))
def test_a_canal_tells_the_spine_from_a_heart_that_is_as_bright(quarters: int) -> None:
    hu = body()
    hu[:, 14:26, 42:58] = BONE  # more of it than in the spine
    for slices in (hu, hu[:, :, 10:90]):  # without skin at the sides, too
        assert look(np.rot90(slices, quarters, (1, 2))).turned == (quarters > 0)


def test_a_hole_before_most_of_the_bone_is_no_canal() -> None:
    hu = body()
    hu[:, 14:26, 46:54] = BONE
    hu[:, 50:53, 49:52] = BONE
    hu[:, 21:24, 49:52] = TISSUE  # in a picture that is turned, it would be in front of the bone
    assert not look(hu).turned
    hu[:, 21:24, 49:52] = BONE
    hu[:, 16:19, 49:52] = TISSUE
    assert look(hu).turned


def test_a_canal_says_nothing_if_the_front_or_the_back_is_not_in_the_picture() -> None:
    hu = body()
    hu[:, 44:54, 45:55] = BONE
    hu[:, 14:26, 46:54] = BONE
    hu[:, 16:19, 49:52] = TISSUE
    assert look(hu).turned
    assert not look(hu[:, :50]).turned


def without_spine() -> np.ndarray:
    hu = body()
    hu[:, 44:54, 45:55] = TISSUE
    return hu


@pytest.mark.parametrize(
    ("columns", "expected", "source"),
    [
        (slice(0, 44), 44.0, "the skin of the right side"),
        (slice(56, 100), -1.0, "the skin of the left side"),
    ],
)
def test_with_the_skin_of_one_side_the_midline_lies_beyond_the_other_edge(
    columns: slice, expected: float, source: str
) -> None:
    hu = without_spine()[:, :, columns]
    found = look(hu)
    assert found.skin == (expected > 0, expected < 0)
    assert midline(hu) == (pytest.approx(expected, abs=0.5), source)
    # A spine behind the edge of the picture may lie anywhere.
    assert midline(hu[:, :50]) is None


def test_the_trachea_shows_the_midline_if_nothing_else_does() -> None:
    hu = without_spine()[:, 12:58, 20:80]
    assert midline(hu) is None
    hu[:, 14:19, 27:32] = -980
    assert midline(hu) == (pytest.approx(29, abs=0.5), "the trachea")


def test_slices_without_lung_say_nothing() -> None:
    hu = body()
    hu[6:, 20:45] = TISSUE
    hu[6:, 44:54, 45:55] = TISSUE
    hu[6:, 44:54, 55:65] = BONE  # the pelvis, for example
    assert midline(hu) == (pytest.approx(49.5, abs=0.5), "the spine")


def test_the_outline_leaves_out_the_table_and_closes_the_lungs() -> None:
    hu = body()
    hu[:, 62:64, 5:95] = TISSUE
    for factor in (1.0, 0.08):
        spacing = (3 * factor, 3 * factor, 8 * factor)
        outline = look(hu, spacing).body.outline
        expected = np.zeros(hu.shape, bool)
        expected[:, 10:60, 10:90] = True
        np.testing.assert_array_equal(outline, expected)


def test_a_picture_within_a_lung_lies_within_the_body() -> None:
    hu = np.full((12, 40, 40), -800, np.int16)
    hu[:, 10:15, 20:25] = TISSUE  # a vessel
    found = look(hu)
    assert found.body.outline.all()
    assert found.skin == (False, False)
    assert found.midline is None


def test_the_body_may_be_in_pieces() -> None:
    # Between the walls in front of a lung and behind it there is no tissue.
    assert look(body()[:, :, 24:42]).body.outline[:, 10:60].all()


def test_what_is_found_on_the_coarse_grid_is_in_voxels_of_the_ct() -> None:
    fine = body(54).repeat(4, axis=1).repeat(4, axis=2)
    found = look(fine, (0.75, 0.75, 8.0))
    assert found.midline is not None
    # Columns 49 to 58, four times as fine, to a coarse voxel.
    np.testing.assert_allclose(found.midline.x, 215.5, atol=found.body.step[0])
    columns = np.broadcast_to(np.arange(400, dtype=np.uint16), fine.shape)
    image = image_of(np.ascontiguousarray(columns), (0.75, 0.75, 8.0))
    start = [7, 5, 0]
    box = sitk.RegionOfInterest(image, [300, 200, 12], start)
    coarse = found.body.coarse(box, start)
    # Three voxels become one, which is the mean of the CT and the middle one of a mask.
    expected = np.arange(1, 400, 3)[: coarse.shape[2]]
    inside = (expected >= 7) & (expected < 307)
    np.testing.assert_array_equal(coarse[0, 10], expected * inside)
    assert found.body.step == (3, 3, 1)


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_a_ct_thinner_than_the_coarse_grid_is_looked_at(slices: int) -> None:
    spacing = (3.0, 3.0, 0.5)  # of 300 mm in the plane: a coarse voxel is 4 slices high
    coarse = coarse_body(image_of(body()[:slices], spacing))
    assert coarse.hu.shape[0] == 1
    lungs = image_of((body()[:slices] == -800).astype(np.uint8), spacing)
    assert coarse.coarse(lungs, (0, 0, 0)).any()
    found = look(body()[:slices], spacing).midline
    assert found is not None
    assert found.x == pytest.approx(49.5, abs=2)


@pytest.mark.parametrize(("slices", "reach"), [(30, 3), (8, 1), (3, 1), (25, 2), (26, 3)])
def test_a_column_is_the_median_of_those_in_a_fifth_of_the_slices(slices: int, reach: int) -> None:
    rng = np.random.default_rng(0)
    columns = {int(k): float(rng.uniform(0, 50)) for k in range(slices - 1, -1, -1)}
    expected = [
        np.median([columns[k] for k in range(max(0, at - reach), min(slices, at + reach + 1))])
        for at in range(slices)
    ]
    np.testing.assert_allclose(_smooth(columns, slices), expected)


def test_between_slices_without_a_column_the_midline_runs_straight() -> None:
    found = _smooth({2: 10.0, 6: 20.0}, 9)
    np.testing.assert_allclose(found, [10, 10, 10, 12.5, 15, 17.5, 20, 20, 20])


@pytest.mark.parametrize(
    ("skin", "ends", "expected"),
    [
        ((True, True), (10, 31, 5, 25), (20.5, "the outline of the body")),
        ((True, False), (10, 39, 5, 25), (40.0, "the skin of the right side")),
        ((False, True), (0, 31, 5, 25), (-1.0, "the skin of the left side")),
        ((True, False), (10, 39, 5, 29), None),  # the back is not in the picture
        ((False, False), (0, 39, 5, 25), None),
    ],
)
def test_without_a_spine_the_midline_follows_from_the_skin(
    skin: tuple[bool, bool],
    ends: tuple[int, int, int, int],
    expected: tuple[float, str] | None,
) -> None:
    hu = np.full((6, 30, 40), TISSUE, np.int16)
    found = _find_midline(a_body(hu), dict.fromkeys(range(6), ends), skin)
    if expected is None:
        assert found is None
        return
    assert found is not None
    np.testing.assert_array_equal(found[0], np.full(6, expected[0]))
    assert found[1] == expected[1]


@pytest.mark.parametrize(("cut", "is_known"), [(2, True), (3, False)])
def test_the_back_is_in_the_picture_if_most_slices_show_it(cut: int, is_known: bool) -> None:
    hu = np.full((6, 30, 40), TISSUE, np.int16)
    ends = {k: (10, 39, 5, 29 if k < cut else 28) for k in range(6)}
    assert (_find_midline(a_body(hu), ends, (True, False)) is not None) == is_known
    assert _find_midline(a_body(hu), {}, (True, True)) is None


def a_body(hu: np.ndarray) -> Body:
    """Return a body of tissue that fills the picture."""
    whole = np.ones(hu.shape, bool)
    return Body(hu, whole, whole, (1, 1, 1), SPACING)
