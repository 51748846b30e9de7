"""One lung is one lung: its side is where it lies beside the midline of the body."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from lungseg.config.schema import Config, InferConfig
from lungseg.imaging.volume_files import ct_from_image, read_ct
from lungseg.inference.anatomy import Anatomy, Midline
from lungseg.inference.body import Body, coarse_body
from lungseg.inference.postprocess import Parts, find_parts
from lungseg.inference.predictor import Predictor
from lungseg.inference.sides import (
    LEFT,
    RIGHT,
    UNKNOWN,
    _between_two,
    _Crossing,
    _divide,
    _label,
    _unseen,
    _without,
    find_sides,
    side_labels,
)
from lungseg.inference.volumes import Segmentation, segment_ct
from tests.support.chests import GAS, SIDE, Chest, chest
from tests.support.networks import write_network
from tests.support.places import SHARED_DATA
from tests.support.volumes import image_of

CASES = SHARED_DATA.with_name("cases") / "02-one-lung-measured-as-two"
ALL = slice(None)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Return a network that takes dark for lung."""
    run = write_network(tmp_path_factory.mktemp("dark") / "run", (SIDE, SIDE))
    return Predictor(run / "model.onnx")


def segment(predictor: Predictor, ct: sitk.Image, sides: bool = False) -> Segmentation:
    return segment_ct(predictor, ct_from_image(ct), Config(infer=InferConfig(sides=sides)))


def volumes(result: Segmentation) -> tuple[float | None, float | None, float | None]:
    measured = result.measured
    return measured.lung.volume_ml, measured.left.volume_ml, measured.right.volume_ml


@pytest.mark.parametrize(
    ("name", "left", "said"),
    [
        ("left_lung_opaque", 0.0, "the left half of the chest is in the picture and holds no lung"),
        ("cropped_to_the_right_half", None, "the left half of the chest is not in the picture"),
    ],
)
def test_the_cases_of_one_lung_have_one_lung(
    name: str, left: float | None, said: str, predictor: Predictor
) -> None:
    path = CASES / f"{name}.nii.gz"
    if not path.is_file():
        pytest.skip(f"the cases (shared/cases/{CASES.name}) are not here")
    result = segment_ct(predictor, read_ct(path), Config())
    lung, found, right = volumes(result)
    assert found == left
    assert right == lung
    # The right lung alone has 2764.79 mL; the network leaves out large vessels.
    assert right == pytest.approx(2764.79, rel=0.05)
    assert any(said in step for step in result.steps)


@pytest.mark.parametrize("side", [LEFT, RIGHT])
@pytest.mark.parametrize(
    "change",
    [
        lambda phantom, side: phantom,
        lambda phantom, side: phantom.in_three_pieces(side),
        lambda phantom, side: phantom.emphysema(side),
        lambda phantom, side: phantom.scaled(0.4),
        lambda phantom, side: phantom.scaled(0.08),
    ],
    ids=["adult", "in three pieces", "emphysema", "child", "mouse"],
)
def test_the_only_lung_has_its_side_and_the_other_has_none(
    change: Callable[[Chest, int], Chest], side: int, predictor: Predictor
) -> None:
    phantom = change(chest(), side).opaque(LEFT + RIGHT - side)
    result = segment(predictor, phantom.ct)
    lung, left, right = volumes(result)
    one, other = (left, right) if side == LEFT else (right, left)
    assert lung == pytest.approx(phantom.ml(phantom.of(side)), rel=0.05)
    assert (one, other) == (lung, 0.0)
    missing = "right" if side == LEFT else "left"
    said = f"the {missing} half of the chest is in the picture and holds no lung"
    assert said in result.steps


@pytest.mark.parametrize(
    ("columns", "side"),
    [
        (slice(0, 62), RIGHT),
        (slice(66, SIDE), LEFT),
        (slice(0, 45), RIGHT),
        (slice(83, SIDE), LEFT),
        (slice(12, 67), RIGHT),
    ],
    ids=["right half", "left half", "right wall", "left wall", "right, without skin"],
)
def test_what_a_crop_leaves_out_is_not_known(
    columns: slice, side: int, predictor: Predictor
) -> None:
    phantom = chest().part(ALL, ALL, columns)
    result = segment(predictor, phantom.ct)
    lung, left, right = volumes(result)
    one, other = (left, right) if side == LEFT else (right, left)
    assert lung == pytest.approx(phantom.ml(phantom.of(side)), rel=0.05)
    assert (one, other) == (lung, None)
    assert any("half of the chest is not in the picture" in step for step in result.steps)
    assert f"{'right' if side == LEFT else 'left'}_volume_ml" not in result.measures


def test_sides_that_cannot_be_known_are_empty_and_said_and_no_lung_is_lost(
    predictor: Predictor,
) -> None:
    phantom = chest().part(ALL, slice(40, 70), slice(18, 44))  # the inside of a lung
    for sides in (False, True):
        result = segment(predictor, phantom.ct, sides)
        lung, left, right = volumes(result)
        assert lung == pytest.approx(phantom.ml(phantom.lungs > 0), rel=0.05)
        assert (left, right) == (None, None)
        assert any("left and right are not known" in remark for remark in result.remarks)
        assert set(np.unique(result.mask)) == {0, UNKNOWN if sides else 1}
        assert result.lung_voxels == np.count_nonzero(result.mask)


@pytest.mark.parametrize("missing", [LEFT, RIGHT])
def test_the_cushion_of_the_table_is_no_lung(missing: int, predictor: Predictor) -> None:
    phantom = chest().opaque(missing)
    rows, columns = np.arange(SIDE)[:, None], np.arange(SIDE)
    shell = (rows >= 112) & (rows <= 126) & (columns >= 14) & (columns <= 114)
    foam = (rows >= 113) & (rows <= 125) & (columns >= 15) & (columns <= 113)
    in_all = phantom.hu < 4000
    phantom = phantom.noisy(in_all & shell, 0).noisy(in_all & foam, -850)
    result = segment(predictor, phantom.ct)
    assert not result.mask[:, 112:].any()
    lung, left, right = volumes(result)
    assert (left, right) == ((0.0, lung) if missing == LEFT else (lung, 0.0))
    # A mask that is not tidied has no side there either.
    mask = ((phantom.lungs > 0) | (in_all & foam)).astype(np.uint8)
    sides = find_sides(image_of(mask, phantom.spacing), coarse_body(phantom.ct))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sides.labels), phantom.lungs)
    beside = phantom.ml((in_all & foam) & (phantom.lungs == 0))
    assert f"{beside:.1f} mL outside of the body have no side" in sides.steps


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_picture_that_is_turned_against_its_header_has_no_sides(quarters: int) -> None:
    phantom = chest(1)
    turned = Chest(
        np.rot90(phantom.hu, quarters, (1, 2)).copy(),
        np.rot90(phantom.lungs, quarters, (1, 2)).copy(),
        phantom.spacing,
    )
    sides = find_sides(turned.mask, coarse_body(turned.ct))
    assert sides.unknown is not None
    assert not sitk.GetArrayFromImage(sides.labels).any()
    said = "the spine is not at the back, so the picture is turned against its header"
    assert sides.steps == [f"left and right are not known: {said}"]


def with_bright_heart(phantom: Chest) -> Chest:
    """Return the phantom with dense contrast agent in heart and vessels, between the lungs."""
    inner = phantom.ball((9, 52, 66), 62, (1.6, 0.75, 0.9)) & (phantom.hu > -50)
    return phantom.noisy(inner & (phantom.lungs == 0), 380)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("quarters", "flip"), [(0, False), (1, False), (2, False), (3, False), (0, True), (1, True)]
)
def test_a_heart_as_bright_as_bone_does_not_hide_that_a_picture_is_turned(
    quarters: int, flip: bool, seed: int
) -> None:
    phantom = with_bright_heart(chest(seed))
    hu, lungs = (np.rot90(a, quarters, (1, 2)) for a in (phantom.hu, phantom.lungs))
    if flip:  # front to back; the patient's sides stay where they are
        hu, lungs = hu[:, ::-1], lungs[:, ::-1]
    turned = Chest(hu.copy(), lungs.copy(), phantom.spacing)
    found, _ = sides_of(turned)
    upright = quarters == 0 and not flip
    np.testing.assert_array_equal(found, turned.lungs if upright else 0 * turned.lungs)


@pytest.mark.parametrize(
    ("seed", "where"),
    [
        (2, np.s_[6:19, 51:96, 83:103]),
        (3, np.s_[8:16, 28:94, 89:113]),
        (3, np.s_[3:18, 24:89, 80:110]),
        (4, np.s_[5:16, 52:85, 86:112]),
    ],
)
def test_ribs_in_a_crop_without_skin_are_no_spine(seed: int, where: tuple[slice, ...]) -> None:
    found, steps = sides_of(chest(seed).part(*where))
    assert not found.any()
    assert steps[0].startswith("left and right are not known")


@pytest.mark.parametrize("seed", [6, 8])
def test_ribs_near_the_skin_of_one_side_are_no_spine(seed: int) -> None:
    phantom = chest(seed).part(ALL, ALL, slice(100, SIDE))
    found, _ = sides_of(phantom)
    np.testing.assert_array_equal(found, phantom.lungs)


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_strip_of_the_other_lung_in_a_crop_has_no_side(side: int) -> None:
    phantom = chest()
    bridge = np.zeros(phantom.hu.shape, bool)
    bridge[8:15, 36:52, 40:90] = True
    bridge &= phantom.lungs == 0
    joined = phantom.noisy(bridge, -850)
    columns = slice(54, SIDE) if side == LEFT else slice(0, 75)
    crop = joined.part(ALL, ALL, columns)
    mask = ((joined.lungs > 0) | bridge).astype(np.uint8)[:, :, columns]
    sides = find_sides(image_of(mask, crop.spacing), coarse_body(crop.ct))
    found = sitk.GetArrayFromImage(sides.labels)
    other = LEFT + RIGHT - side
    assert crop.ml(crop.of(other)) > 100
    assert crop.ml((found == side) & crop.of(other)) < 5
    assert (found == side)[crop.of(side)].mean() > 0.99
    name = "right" if side == LEFT else "left"
    said = f"beyond the midline have no side: the {name} half of the chest is not in the picture"
    assert said in " ".join(sides.steps)


@pytest.mark.parametrize("degrees", [-30, 30])
def test_the_lungs_of_a_patient_who_rolled_have_their_sides(degrees: int) -> None:
    phantom = chest(1).part(ALL, slice(8, 120), slice(8, 120))
    hu = ndimage.rotate(phantom.hu, degrees, (1, 2), order=1, cval=GAS)
    lungs = ndimage.rotate(phantom.lungs, degrees, (1, 2), order=0)
    found, _ = sides_of(Chest(hu, lungs, phantom.spacing))
    np.testing.assert_array_equal(found, lungs)


def sides_of(phantom: Chest) -> tuple[np.ndarray, list[str]]:
    sides = find_sides(phantom.mask, coarse_body(phantom.ct))
    return np.asarray(sitk.GetArrayFromImage(sides.labels)), sides.steps


@pytest.mark.parametrize("seed", range(4))
def test_healthy_lungs_have_the_sides_that_were_drawn(seed: int) -> None:
    phantom = chest(seed)
    found, steps = sides_of(phantom)
    np.testing.assert_array_equal(found, phantom.lungs)
    assert steps == []


@pytest.mark.parametrize(
    "where",
    [np.s_[9:14, 40:44, 40:90], np.s_[9:14, 38:52, 40:90], np.s_[2:18, 30:90, 44:84]],
    ids=["thin", "thick", "with all between them"],
)
def test_lungs_that_touch_are_divided_where_they_are_thinnest(where: tuple[slice, ...]) -> None:
    phantom = chest()
    bridge = np.zeros(phantom.hu.shape, bool)
    bridge[where] = True
    bridge &= phantom.lungs == 0
    joined = phantom.noisy(bridge, -850)
    mask = image_of(((joined.lungs > 0) | bridge).astype(np.uint8), joined.spacing)
    sides = find_sides(mask, coarse_body(joined.ct))
    found = sitk.GetArrayFromImage(sides.labels)
    assert sides.steps == ["lungs that touch were divided where they are thinnest"]
    np.testing.assert_array_equal(found > 0, sitk.GetArrayFromImage(mask) > 0)
    drawn = phantom.lungs > 0
    assert (found == phantom.lungs)[drawn].mean() > 0.99


def test_two_lungs_meet_at_their_neck_also_if_it_is_not_in_the_middle() -> None:
    inside = np.zeros((40, 60, 120), np.uint8)
    inside[:, 10:50, 10:50] = inside[:, 10:50, 70:110] = 1
    inside[10:30, 24:36, 50:70] = 1
    inside[:, :, 64:67] = 0
    inside[17:23, 27:33, 64:67] = 1  # the neck: 6 x 6 voxels in place of 20 x 12
    divided = _divide(image_of(inside, (1.0, 1.0, 1.0)), np.full(40, 60))
    found = sitk.GetArrayFromImage(divided)
    expected = np.where(np.arange(120) < 65, RIGHT, LEFT) * inside
    np.testing.assert_array_equal(found[:, :, :64], expected[:, :, :64])
    np.testing.assert_array_equal(found[:, :, 67:], expected[:, :, 67:])


@pytest.mark.parametrize("alone", [True, False])
def test_a_lung_that_bulges_beyond_the_midline_is_one_lung(alone: bool) -> None:
    phantom = chest().opaque(LEFT) if alone else chest()
    bulge = phantom.ball((11, 40, 64), 40, (3, 0.8, 1)) & (phantom.hu > -300)
    bulge[:6] = bulge[17:] = bulge[:, 50:] = False
    bulge &= ~ndimage.binary_dilation(phantom.of(LEFT), iterations=2)
    lungs = np.where(bulge, RIGHT, phantom.lungs).astype(np.uint8)
    grown = Chest(phantom.noisy(bulge, -850).hu, lungs, phantom.spacing)
    assert grown.ml(bulge[:, :, SIDE // 2 :]) > 80
    found, _ = sides_of(grown)
    np.testing.assert_array_equal(found, lungs)


def test_a_half_of_the_chest_may_be_seen_without_its_skin() -> None:
    phantom = chest().opaque(LEFT).part(ALL, ALL, slice(100))
    sides = find_sides(phantom.mask, coarse_body(phantom.ct))
    assert sides.unseen == ()
    assert sides.steps == ["the left half of the chest is in the picture and holds no lung"]


def test_lung_of_unknown_side_is_kept_in_a_mask_with_sides() -> None:
    phantom = chest()
    lungs = phantom.lungs.copy()
    lungs[5, 118:122, 60:70] = LEFT  # in the air behind the patient
    mask = image_of((lungs > 0).astype(np.uint8), phantom.spacing)
    found = sitk.GetArrayFromImage(side_labels(mask, find_sides(mask, coarse_body(phantom.ct))))
    expected = phantom.lungs.copy()
    expected[5, 118:122, 60:70] = UNKNOWN
    np.testing.assert_array_equal(found, expected)


def boxes(*parts: tuple[slice, slice, slice]) -> tuple[sitk.Image, Body]:
    """Return a mask of boxes, and a body of tissue alone, in which nothing shows the midline."""
    mask = np.zeros((20, 40, 60), np.uint8)
    for part in parts:
        mask[part] = 1
    hu = np.where(mask, -800, 40).astype(np.int16)
    return image_of(mask, (5.0, 5.0, 10.0)), coarse_body(image_of(hu, (5.0, 5.0, 10.0)))


def test_two_lungs_side_by_side_show_the_midline_themselves() -> None:
    where = np.s_[2:18, 8:30, 4:16], np.s_[2:18, 8:30, 22:50]
    sides = find_sides(*boxes(*where))
    found = sitk.GetArrayFromImage(sides.labels)
    assert (found[where[0]] == RIGHT).all()
    assert (found[where[1]] == LEFT).all()
    assert sides.steps == ["left and right follow from the gap between two lungs"]


@pytest.mark.parametrize(
    "second",
    [
        np.s_[12:18, 8:30, 30:50],  # one above the other
        np.s_[2:10, 26:38, 30:50],  # one behind the other
        np.s_[2:10, 22:34, 14:50],  # partly beside it
        np.s_[2:10, 8:30, 50:52],  # too small for a lung
    ],
)
def test_two_pieces_that_do_not_lie_as_lungs_do_show_nothing(
    second: tuple[slice, slice, slice],
) -> None:
    sides = find_sides(*boxes(np.s_[2:10, 8:20, 4:24], second))
    assert sides.unknown is not None
    assert not sitk.GetArrayFromImage(sides.labels).any()


def test_without_lung_nothing_is_missing() -> None:
    phantom = chest()
    sides = find_sides(phantom.mask * 0, coarse_body(phantom.ct))
    assert (sides.steps, sides.unknown, sides.unseen) == ([], None, ())


@pytest.mark.parametrize("name", ["mha-right-lung/3DCT_lung_baseline_small.mha"])
def test_a_real_right_lung_alone_is_the_right_lung(name: str, predictor: Predictor) -> None:
    path: Path = SHARED_DATA / name
    if not path.is_file():
        pytest.skip(f"the real volumes (shared/data/{name}) are not here")
    result = segment_ct(predictor, read_ct(path), Config())
    lung, left, right = volumes(result)
    assert (left, right) == (None, lung)


def test_the_midline_is_in_the_middle_of_the_gap_between_two_lungs() -> None:
    mask = np.zeros((12, 30, 60), np.uint8)
    mask[2:9, 8:20, 14:24] = mask[3:10, 9:21, 35:44] = 1  # the gap is columns 24 to 34
    image = image_of(mask, (2.0, 3.0, 5.0), (-20.0, 7.0, 9.0))
    inner = sitk.RegionOfInterest(image, [40, 20, 10], [10, 4, 1])
    found = _between_two(find_parts(inner), image)
    assert found is not None
    np.testing.assert_array_equal(found.x, np.full(12, 29.0))


@pytest.mark.parametrize(
    ("second", "shows"),
    [
        (np.s_[0:10, 0:10, 10:20], True),
        (np.s_[0:10, 0:10, 9:19], False),
        (np.s_[5:15, 0:10, 20:30], True),  # half of the height is shared
        (np.s_[6:16, 0:10, 20:30], False),
        (np.s_[0:10, 5:15, 20:30], True),
        (np.s_[0:10, 6:16, 20:30], False),
        (np.s_[0:10, 0:10, 20:22], True),  # a fifth of the larger one
    ],
)
def test_two_lungs_lie_apart_and_share_half_of_their_height_and_depth(
    second: tuple[slice, ...], shows: bool
) -> None:
    labels = np.zeros((20, 20, 30), np.uint32)
    labels[0:10, 0:10, 0:10] = 1
    labels[second] = 2
    labels[0, 0, 9] = 1
    sizes = [int(np.count_nonzero(labels == k)) for k in (1, 2)]
    order = [1, 2] if sizes[0] >= sizes[1] else [2, 1]
    parts = Parts(image_of(labels), order, [sizes[k - 1] for k in order])
    assert (_between_two(parts, image_of(labels)) is not None) == shows


@pytest.mark.parametrize(("size", "shows"), [(20, True), (19, False)])
def test_the_second_lung_has_a_fifth_of_the_first(size: int, shows: bool) -> None:
    # Both lie as two lungs do; their sizes are those that are given.
    labels = np.zeros((20, 5, 12), np.uint32)
    labels[..., 0], labels[:15, 1:4, 5] = 1, 2
    image = image_of(labels)
    assert (_between_two(Parts(image, [1, 2], [100, size]), image) is not None) == shows
    assert _between_two(Parts(image, [1], [100]), image) is None


def test_shares_and_distances_beside_the_midline_are_those_of_each_voxel() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (3, 5, 12)).astype(np.uint32)
    at = np.array([4, 6, 9])
    found = _Crossing(Parts(image_of(labels), [2, 3, 1], [0, 0, 0]), at)
    for index, number in enumerate((2, 3, 1)):
        distances: dict[bool, list[float]] = {True: [], False: []}
        for z, _, x in np.argwhere(labels == number):
            distances[bool(x >= at[z])].append(abs(x + 0.5 - at[z]))
        left, right = distances[True], distances[False]
        assert found.share_left[index] == pytest.approx(len(left) / (len(left) + len(right)))
        near, far = sorted((np.mean(left), np.mean(right)))
        assert found.ratio[index] == pytest.approx(near / far)
    one_side = _Crossing(Parts(image_of(labels), [1, 2, 3], [0, 0, 0]), np.zeros(3, int))
    assert (one_side.share_left[0], one_side.ratio[0]) == (1, 0)


@pytest.mark.parametrize("side", [LEFT, RIGHT])
@pytest.mark.parametrize(("strip", "is_cut"), [(5, True), (4, False)])
def test_a_strip_at_the_edge_has_no_side_if_it_is_a_fortieth_of_the_lungs(
    side: int, strip: int, is_cut: bool
) -> None:
    other = LEFT + RIGHT - side
    labels = np.zeros((2, 10, 20), np.uint8)
    labels[0, :, 4:16] = labels[1, :, 8:15] = other
    labels[1, 5, 17] = other  # a bulge that ends before the edge
    labels[1, :strip, 19] = other
    if side == RIGHT:
        labels = labels[:, :, ::-1].copy()
    at = np.array([16, 16]) if side == LEFT else np.array([4, 4])
    # 120 + 70 + 1 voxels and the strip: a fortieth is 4.9 or 4.875.
    assert np.count_nonzero(labels) == 191 + strip
    found, lost = _without(image_of(labels, (1.0, 2.0, 3.0)), side, at)
    expected = labels.copy()
    if is_cut:
        expected[1, :strip, 19 if side == LEFT else 0] = 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), expected)
    assert lost == (strip if is_cut else 0)
    assert found.GetSpacing() == (1.0, 2.0, 3.0)


def labelled(*parts: tuple[tuple[slice, ...], bool], at: int = 20) -> tuple[np.ndarray, list[str]]:
    """Label boxes in 40 columns, each with whether it lies outside of the body."""
    mask = np.zeros((4, 20, 40), np.uint8)
    for where, _ in parts:
        mask[where] = 1
    image = image_of(mask)
    found = find_parts(image)
    numbers = sitk.GetArrayFromImage(found.labelled)
    outside = {int(numbers[where].max()): out for where, out in parts}
    labels, steps = _label(
        image, found, np.full(4, at), [outside[number] for number in found.numbers]
    )
    return np.asarray(sitk.GetArrayFromImage(labels)), steps


def of_rows(first: int, last: int, start: int, stop: int) -> tuple[slice, ...]:
    return slice(0, 4), slice(first, last), slice(start, stop)


def test_a_part_has_the_side_of_most_of_its_voxels() -> None:
    left, right, outside = of_rows(0, 5, 20, 30), of_rows(0, 5, 5, 15), of_rows(15, 19, 22, 30)
    found, steps = labelled((left, False), (right, False), (outside, True))
    assert (found[left] == LEFT).all()
    assert (found[right] == RIGHT).all()
    assert not found[outside].any()
    assert steps == []


@pytest.mark.parametrize(
    ("stop", "steps"),
    [
        (23, ["the right lung reaches beyond the midline"]),  # 3 of 20 columns, more than a tenth
        (21, []),
    ],
)
def test_a_lung_that_reaches_beyond_the_midline_is_said(stop: int, steps: list[str]) -> None:
    found, said = labelled((of_rows(0, 5, stop - 20, stop), False))
    assert set(np.unique(found)) == {0, RIGHT}
    assert said == steps
    mirrored = of_rows(0, 5, 40 - stop, 60 - stop)
    found, said = labelled((mirrored, False))
    assert set(np.unique(found)) == {0, LEFT}
    assert said == [step.replace("right", "left") for step in steps]
    # A part outside of the body, or of less than a tenth of the lungs, says nothing.
    assert labelled((mirrored, True))[1] == []
    large = of_rows(0, 20, 0, 12), False
    assert labelled(large, (of_rows(9, 10, 14, 21), False))[1] == []
    assert labelled(large, (of_rows(9, 15, 14, 21), False))[1] == [
        "the right lung reaches beyond the midline"
    ]


@pytest.mark.parametrize(("stop", "divided"), [(27, False), (28, True)])
def test_one_part_is_two_lungs_if_it_reaches_far_to_both_sides(stop: int, divided: bool) -> None:
    # 20 columns to the right lie 10 from the midline on average; 7 to the left lie 3.5, 8 lie 4.
    found, steps = labelled((of_rows(0, 5, 0, 20), False), (of_rows(2, 3, 20, stop), False))
    assert steps == ["lungs that touch were divided where they are thinnest"] * divided
    assert set(np.unique(found)) == ({0, LEFT, RIGHT} if divided else {0, RIGHT})


def test_beside_a_lung_on_each_side_a_part_is_two_lungs_only_if_it_is_as_wide_to_both() -> None:
    other = of_rows(10, 18, 22, 40), False
    for stop, two in ((33, False), (34, True)):  # 6.5 and 7 of 10 voxels from the midline
        found, steps = labelled(
            (of_rows(0, 8, 0, 20), False), (of_rows(3, 5, 20, stop), False), other
        )
        assert (found[:, 3:5, 31:stop] == LEFT).all() == two
        assert ("lungs that touch were divided where they are thinnest" in steps) == two


def seen(
    middle: float, start: int, size: int, skin: tuple[bool, bool], width: int = 100
) -> list[int]:
    """Return the sides that are not in a picture, by the midline and the box of the lungs."""
    outline = np.ones((1, 1, 1), bool)
    body = Body(np.zeros((1, 1, 1)), outline, outline, (1, 1, 1), (1.0, 1.0, 1.0))
    midline = Midline(np.array([500.0, middle, middle, 500.0]), "the spine")
    anatomy = Anatomy(body, skin, False, midline)
    return _unseen(anatomy, midline, [start, 0, 1], [size, 1, 2], width)


@pytest.mark.parametrize(
    ("middle", "start", "size", "skin", "expected"),
    [
        # The left lung reaches 40 voxels from the midline, so 20 to the right are enough.
        (20, 25, 36, (False, False), []),
        (19, 24, 36, (False, False), [RIGHT]),
        (19, 24, 36, (True, False), []),
        # The right lung begins 40 voxels from it.
        (79, 39, 30, (False, False), []),
        (80, 40, 30, (False, False), [LEFT]),
        (80, 40, 30, (False, True), []),
        (-1, 0, 60, (False, True), [RIGHT]),
    ],
)
def test_a_side_is_in_the_picture_if_half_of_a_lung_has_room_there(
    middle: float, start: int, size: int, skin: tuple[bool, bool], expected: list[int]
) -> None:
    assert seen(middle, start, size, skin) == expected


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_a_strand_beyond_the_midline_is_no_second_lung(side: int) -> None:
    # 12 of 1612 voxels, as far from the midline as six tenths of the lung.
    lung, strand = of_rows(0, 20, 20, 40), (slice(1, 2), slice(9, 10), slice(8, 20))
    if side == RIGHT:
        lung, strand = of_rows(0, 20, 0, 20), (slice(1, 2), slice(9, 10), slice(20, 32))
    found, steps = labelled((lung, False), (strand, False))
    assert set(np.unique(found)) == {0, side}
    assert steps == []
