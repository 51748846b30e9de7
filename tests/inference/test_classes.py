"""Which classes are lung, and what tidying each class by itself leaves."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.schema import InferConfig
from lungseg.inference.body import Body
from lungseg.inference.classes import lung_of, tidy_classes
from tests.support.volumes import image_of

SPACING = (10.0, 10.0, 10.0)  # a voxel is a millilitre


def body_of(labels: np.ndarray) -> Body:
    """Return a body of tissue that holds everything."""
    inside = np.ones(labels.shape, bool)
    return Body(np.full(labels.shape, -800), inside, inside, (1, 1, 1), SPACING)


@pytest.mark.parametrize(
    ("classes", "lung"),
    [
        (["background", "anything"], (1,)),
        (["background", "left lung", "right lung", "airways"], (1, 2)),
        (["background", "airways", "left lung", "infection"], (2, 3)),
        (["background", "heart", "airways", "bone"], (1, 2, 3)),  # no class is lung by its name
        (["background", "left lung", "right lung", "infection"], (1, 2, 3)),
    ],
)
def test_lung_is_what_its_name_says_or_else_every_class(
    classes: list[str], lung: tuple[int, ...]
) -> None:
    labels = np.random.default_rng(0).integers(0, len(classes), (3, 5, 6)).astype(np.uint8)
    found = lung_of(image_of(labels, SPACING), classes)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), np.isin(labels, lung))
    assert found.GetSpacing() == SPACING
    assert found.GetPixelID() == sitk.sitkUInt8


def test_no_class_takes_a_voxel_from_another() -> None:
    labels = np.zeros((5, 9, 20), np.uint8)
    labels[1:4, 1:8, 1:8] = 2
    labels[2, 4, 4] = 1  # within the lung: it would be a hole
    labels[2, 2, 2] = 0  # a hole
    labels[1:4, 1:8, 12:19] = 1
    labels[2, 4, 15] = 0
    labels[0, 0, 10] = 2  # one voxel of lung, and two of airways, apart
    labels[4, 8, 10:12] = 1
    image = image_of(labels, SPACING)
    settings = InferConfig(min_component_ml=5.0)
    classes = ["background", "airways", "lung"]
    tidied, steps = tidy_classes(image, classes, settings, body_of(labels))
    expected = labels.copy()
    expected[2, 2, 2], expected[2, 4, 15] = 2, 1
    expected[0, 0, 10] = 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(tidied), expected)
    assert tidied.GetSpacing() == SPACING
    assert steps == [
        "airways: holes filled: 1.0 mL",
        "lung: holes filled: 2.0 mL",
        "lung: 1 small part dropped: 1.0 mL",
    ]


def test_a_hole_of_two_classes_belongs_to_the_first() -> None:
    labels = np.zeros((5, 9, 9), np.uint8)
    labels[:, 1:8, 1:8] = 2
    labels[1:4, 2:7, 2:7] = 1
    labels[2, 4, 4] = 0
    settings = InferConfig(min_component_ml=0.0)
    tidied, _ = tidy_classes(
        image_of(labels, SPACING), ["background", "airways", "bone"], settings, body_of(labels)
    )
    expected = labels.copy()
    expected[2, 4, 4] = 1
    np.testing.assert_array_equal(sitk.GetArrayFromImage(tidied), expected)


def test_a_single_class_is_tidied_as_lung_whatever_its_name() -> None:
    labels = np.zeros((5, 9, 20), np.uint8)
    labels[1:4, 1:8, 1:8] = 1
    labels[2, 4, 15] = 1
    settings = InferConfig(min_component_ml=5.0)
    tidied, steps = tidy_classes(
        image_of(labels, SPACING), ["background", "heart"], settings, body_of(labels)
    )
    assert steps == ["1 small part dropped: 1.0 mL"]
    assert np.count_nonzero(sitk.GetArrayFromImage(tidied)) == 147
