"""Tidying does what it says, says what it does, and does it once."""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

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
