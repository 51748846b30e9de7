"""Tidying does what it says, says what it does, and does it once."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from lungseg.config.schema import InferConfig
from lungseg.inference.body import Body
from lungseg.inference.postprocess import (
    _is_gas,
    _Look,
    _look,
    bounding_boxes,
    count_voxels,
    find_parts,
    millilitres,
    tidy,
)

BLOBS = arrays(np.uint8, (4, 9, 10), elements=st.integers(0, 1))


def image_of(voxels: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((5.0, 4.0, 6.0))
    return image


@settings(max_examples=60)
@given(
    voxels=BLOBS,
    components=st.integers(0, 3),
    smallest=st.sampled_from([0.0, 0.2, 1.0]),
    fill=st.booleans(),
)
def test_tidying_twice_is_tidying_once(
    voxels: np.ndarray, components: int, smallest: float, fill: bool
) -> None:
    wanted = InferConfig(components=components, min_component_ml=smallest, fill_holes=fill)
    once, done = tidy(image_of(voxels), wanted)
    twice, again = tidy(once, wanted)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(once), sitk.GetArrayFromImage(twice))
    assert again == []
    changed = bool((sitk.GetArrayFromImage(once) != voxels).any())
    assert changed == bool(done)
    assert once.GetSpacing() == (5.0, 4.0, 6.0)


@settings(max_examples=60)
@given(voxels=BLOBS, components=st.integers(1, 3))
def test_what_is_kept_is_the_largest_parts(voxels: np.ndarray, components: int) -> None:
    wanted = InferConfig(components=components, min_component_ml=0, fill_holes=False)
    kept, _ = tidy(image_of(voxels), wanted)
    parts = sitk.GetArrayFromImage(
        sitk.RelabelComponent(sitk.ConnectedComponent(image_of(voxels)), sortByObjectSize=True)
    )
    sizes = sorted(np.bincount(parts.ravel())[1:], reverse=True)
    assert np.count_nonzero(sitk.GetArrayFromImage(kept)) == sum(sizes[:components])


@pytest.mark.parametrize(("voxels", "is_kept"), [(9, False), (10, True)])
def test_a_part_is_small_by_its_volume(voxels: int, is_kept: bool) -> None:
    found = np.zeros((3, 4, 40), np.uint8)
    found[1, 1, 1:21] = 1
    found[1, 3, :voxels] = 1
    # 10 voxels of 5 x 4 x 6 mm are 1.2 mL.
    wanted = InferConfig(components=0, min_component_ml=1.2)
    kept, steps = tidy(image_of(found), wanted)
    assert np.count_nonzero(sitk.GetArrayFromImage(kept)) == (30 if is_kept else 20)
    assert steps == ([] if is_kept else ["1 small part dropped: 1.1 mL"])


@pytest.mark.parametrize(
    ("size", "at", "is_kept"),
    [
        (100, 0, True),  # a tenth of the largest part
        (99, 0, False),
        (99, 9, False),  # below a quarter of the height
        (99, 10, True),
        (20, 10, True),  # a fiftieth
        (19, 10, False),
        (99, 38, True),
        (99, 39, False),  # above the lungs
    ],
)
def test_a_further_part_is_lung_by_its_size_and_its_height(
    size: int, at: int, is_kept: bool
) -> None:
    found = np.zeros((40, 30, 40), np.uint8)
    found[:39, 1:6, 1:6] = 1  # 975 voxels
    found[20, 1:6, 6:11] = 1  # and 25
    piece = np.zeros(100, np.uint8)
    piece[:size] = 1
    found[at, 10:20, 10:20] = piece.reshape(10, 10)
    wanted = InferConfig(min_component_ml=0.1, fill_holes=False)
    kept, steps = tidy(image_of(found), wanted)
    assert sitk.GetArrayFromImage(kept)[at, 10:20, 10:20].sum() == (size if is_kept else 0)
    assert len(steps) == (not is_kept)


@settings(max_examples=60)
@given(voxels=BLOBS)
def test_holes_are_those_that_scipy_fills(voxels: np.ndarray) -> None:
    wanted = InferConfig(components=0, min_component_ml=0)
    filled, _ = tidy(image_of(voxels), wanted)
    expected = ndimage.binary_fill_holes(voxels)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(filled) > 0, expected)


def test_the_box_of_each_label_holds_it_and_no_more() -> None:
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[1, 2, 3], labels[3, 4, 6], labels[2:5, 0, 1] = 1, 1, 3
    expected = {}
    for label in (1, 3):
        at = np.argwhere(labels == label)[:, ::-1]
        expected[label] = at.min(axis=0).tolist(), (np.ptp(at, axis=0) + 1).tolist()
    assert bounding_boxes(image_of(labels)) == expected
    assert bounding_boxes(image_of(labels * 0)) == {}


@pytest.mark.parametrize("values", [[1], [0, 2, 1], [1, 2, 1, 2, 0, 1]])
def test_parts_are_picked_by_their_size(values: list[int]) -> None:
    mask = np.zeros((3, 8, 30), np.uint8)
    for index in range(6):  # six bars, the longest first
        mask[1, 1 : 8 - index, 2 + 4 * index] = 1
    picked = find_parts(image_of(mask)).select(values)
    expected = np.zeros_like(mask)
    for index, value in enumerate(values):
        expected[..., 2 + 4 * index] = value * mask[..., 2 + 4 * index]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(picked), expected)


SPACING = (10.0, 10.0, 10.0)  # a voxel is a millilitre


def look(
    median: float = -950, vessels: float = 0.0, low: int = 5, high: int = 20, share: float = 0.2
) -> _Look:
    return _Look(median, vessels, low, high, share)


LUNGS = [look(median=-800, low=4, high=12), look(median=-800, low=8, high=23)]  # 20 slices


@pytest.mark.parametrize(
    ("part", "lungs", "expected"),
    [
        (look(vessels=0.019, share=0.119), LUNGS, True),
        (look(vessels=0.02, share=0.119), LUNGS, False),
        (look(vessels=0.019, share=0.12), LUNGS, False),
        (look(vessels=0.019, low=2, high=13), LUNGS, True),  # ends below slice 14
        (look(vessels=0.019, low=2, high=14), LUNGS, False),
        (look(vessels=0.019, low=-2, high=20), LUNGS, True),  # begins 5 slices deeper: above -1
        (look(vessels=0.019, low=-1, high=20), LUNGS, False),
        (look(vessels=0.5, share=0.1, low=2, high=13), LUNGS, True),
        (look(vessels=0.5, share=0.5, low=2, high=13), LUNGS, False),
        (look(vessels=0.019, low=0, high=1), [], False),  # without lungs nothing lies low
        (look(vessels=0.019, share=0.1), [], True),
    ],
)
def test_gas_has_two_of_three_signs(part: _Look, lungs: list[_Look], expected: bool) -> None:
    assert _is_gas(part, lungs) == expected


def test_a_part_is_looked_at_within_its_edge() -> None:
    part = np.zeros((6, 9, 10), bool)
    part[2:5, 2:7, 2:8] = True
    hu = np.full(part.shape, 40)
    hu[part] = -799  # the edge
    hu[2:5, 3:6, 3:7] = -940
    hu[2, 3, 3:6] = -799
    hu[2, 3, 6] = -800
    outline = np.zeros(part.shape, bool)
    outline[:, 1:9, :] = True
    body = Body(hu, outline, outline, (1, 1, 1), SPACING)
    interior = np.zeros(part.shape, bool)
    interior[:, 3:6, 3:7] = True
    # 36 voxels, three of which are brighter than -800 HU; 90 of 240 in the outline.
    assert _look(part, interior, body) == _Look(-940, 3 / 36, 2, 4, 90 / 240)
    # A part without an interior is looked at as a whole.
    whole = _look(part, interior & False, body)
    assert whole == _Look(-799, 57 / 90, 2, 4, 90 / 240)
    assert _look(part & False, interior, body) is None


def test_the_heights_of_parts_are_those_of_their_voxels() -> None:
    mask = np.zeros((9, 6, 20), np.uint8)
    mask[3:8, 2, 2] = 1
    mask[5, 2:5, 2] = 1
    mask[0:2, 1:5, 10:15] = 1
    parts = find_parts(image_of(mask))
    assert parts.sizes == [40, 7]
    low, high, mean = parts.heights()
    assert (low.tolist(), high.tolist()) == ([0, 3], [1, 7])
    np.testing.assert_allclose(mean, [0.5, (3 + 4 + 3 * 5 + 6 + 7) / 7])


def test_parts_of_one_size_keep_their_order_and_touch_by_their_faces() -> None:
    mask = np.zeros((3, 6, 9), np.uint8)
    mask[1, 1, 1:3] = mask[1, 2, 3:5] = mask[1, 4, 4:7] = 1
    parts = find_parts(image_of(mask))
    assert parts.sizes == [3, 2, 2]
    labelled = sitk.GetArrayFromImage(parts.labelled)
    assert [labelled[1, 4, 4], labelled[1, 1, 1], labelled[1, 2, 3]] == parts.numbers
    assert find_parts(image_of(mask * 0)).numbers == []


def test_volumes_are_counted_in_millilitres() -> None:
    image = image_of(np.array([[[0, 1, 1, 0, 2]]], np.uint8))  # voxels of 0.12 mL
    assert count_voxels(image) == 3
    assert millilitres(image, 50) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("components", "smallest", "kept"),
    [
        (0, 0.0, 3),
        (1, 0.0, 1),
        (2, 0.0, 2),
        (5, 0.0, 3),
        (5, 30.0, 2),
        (1, 30.0, 1),
        (0, 30.0, 2),
        (0, 30.1, 1),
        (2, 200.0, 0),
    ],
)
def test_parts_are_kept_by_number_and_by_volume(
    components: int, smallest: float, kept: int
) -> None:
    mask = np.zeros((5, 12, 60), np.uint8)
    mask[:, 1:7, 1:6] = 1  # 150 mL
    mask[:, 1:4, 10:12] = 1  # 30 mL
    mask[:, 1:3, 20:22] = 1  # 20 mL
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(SPACING)
    settings = InferConfig(components=components, min_component_ml=smallest)
    tidied, steps = tidy(image, settings)
    sizes = [150, 30, 20]
    assert count_voxels(tidied) == sum(sizes[:kept])
    dropped = sizes[kept:]
    word = "part" if len(dropped) == 1 else "parts"
    said = f"{len(dropped)} small {word} dropped: {sum(dropped)}.0 mL"
    assert steps == ([said] if dropped else [])


def test_a_mask_without_lung_stays_as_it_is() -> None:
    empty = image_of(np.zeros((3, 4, 5), np.uint8))
    tidied, steps = tidy(empty, InferConfig())
    assert tidied is empty
    assert steps == []


def test_holes_are_filled_before_parts_are_chosen() -> None:
    mask = np.zeros((5, 9, 30), np.uint8)
    mask[:, 1:8, 1:8] = 1
    mask[1:4, 3:6, 3:6] = 0
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(SPACING)
    _, steps = tidy(image, InferConfig(min_component_ml=240.0))  # 218 mL and a hole of 27 mL
    assert steps == ["holes filled: 27.0 mL"]
    _, steps = tidy(image, InferConfig(min_component_ml=240.0, fill_holes=False))
    assert steps == ["1 small part dropped: 218.0 mL"]
