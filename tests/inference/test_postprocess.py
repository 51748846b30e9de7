"""Tidying does what it says, says what it does, and does it once."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from lungseg.config.schema import InferConfig
from lungseg.inference.measure import LEFT, RIGHT, label_sides
from lungseg.inference.postprocess import tidy

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


@settings(max_examples=60)
@given(voxels=BLOBS)
def test_every_voxel_of_lung_has_a_side_and_no_other_has(voxels: np.ndarray) -> None:
    sides, _ = label_sides(image_of(voxels))
    found = sitk.GetArrayFromImage(sides)
    np.testing.assert_array_equal(found > 0, voxels > 0)
    assert set(np.unique(found)) <= {0, LEFT, RIGHT}


def test_bowel_gas_and_air_around_the_patient_are_no_lung() -> None:
    hu = np.full((6, 20, 40), 40, np.int16)
    found = np.zeros(hu.shape, np.uint8)
    lung, bowel, other = slice(2, 6), slice(10, 20), slice(24, 28)
    for columns, value in ((lung, -850), (bowel, -995), (other, -820)):
        hu[1:5, 4:16, columns] = value
        found[1:5, 4:16, columns] = 1
    image, ct = image_of(found), image_of(hu)
    kept, done = tidy(image, InferConfig(components=2, min_component_ml=1), ct)
    labels = sitk.GetArrayFromImage(kept)
    # Without the rule the two largest parts would be the bowel and one lung.
    assert not labels[:, :, bowel].any()
    assert labels[:, :, lung].any()
    assert labels[:, :, other].any()
    assert "1 part of air dropped" in done[0]
    off = InferConfig(components=2, min_component_ml=1, drop_air=False)
    assert sitk.GetArrayFromImage(tidy(image, off, ct)[0])[:, :, bowel].any()


@pytest.mark.parametrize(("median", "is_air"), [(-1000, True), (-951, True), (-950, False)])
def test_a_part_is_air_by_its_median(median: int, is_air: bool) -> None:
    # The mean says the opposite: 4 of 10 slices are soft tissue in air, and denser gas in lung.
    found = np.zeros((10, 6, 8), np.uint8)
    found[:, 1:5, 2:6] = 1
    hu = np.full(found.shape, median, np.int16)
    hu[:4] = 40 if is_air else -1024
    wanted = InferConfig(components=0, min_component_ml=0, fill_holes=False)
    kept, steps = tidy(image_of(found), wanted, image_of(hu))
    assert sitk.GetArrayFromImage(kept).any() != is_air
    # 160 voxels of 5 x 4 x 6 mm.
    air = "1 part of air dropped (bowel, airways, around the patient): 19.2 mL"
    assert steps == ([air] if is_air else [])


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
    # A small part of air is named as small, not as air.
    air = image_of(np.full(found.shape, -1000, np.int16))
    _, steps = tidy(image_of(found), wanted, air)
    assert [step.split(" dropped")[0] for step in steps] == (
        ["2 parts of air"] if is_kept else ["1 part of air", "1 small part"]
    )


def test_of_many_parts_the_thirty_largest_are_checked_for_air() -> None:
    found = np.zeros((1, 70, 40), np.uint8)
    for number in range(33):
        found[0, 2 * number, : number + 2] = 1
    wanted = InferConfig(components=0, min_component_ml=0, fill_holes=False)
    kept, _ = tidy(image_of(found), wanted, image_of(np.full(found.shape, -1000, np.int16)))
    expected = found.copy()
    expected[0, 6:] = 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(kept), expected)


@settings(max_examples=60)
@given(voxels=BLOBS)
def test_holes_are_those_that_scipy_fills(voxels: np.ndarray) -> None:
    wanted = InferConfig(components=0, min_component_ml=0)
    filled, _ = tidy(image_of(voxels), wanted)
    expected = ndimage.binary_fill_holes(voxels)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(filled) > 0, expected)
