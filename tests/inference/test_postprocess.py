"""Tidying does what it says, says what it does, and does it once."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from lungseg.config.schema import InferConfig
from lungseg.inference.postprocess import bounding_boxes, find_parts, tidy

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
