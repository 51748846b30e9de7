"""Labels up to each limit: how many lungs have, and how dense, empty or large one may be."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lungseg.config.classes import ClassColours
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.labels import (
    UNLABELLED,
    classes_of,
    look_for_air,
    map_labels,
    merge_labels,
    without_unlabelled,
)
from lungseg.imaging.volumes import LabelVolume
from tests.support.volumes import image_of

PATH = Path("m.mha")
TWO = ["background", "lung"]
THREE = ["background", "left lung", "right lung"]


def taken(*labels: int, wanted: dict[str, list[int]] | None = None) -> dict[int, int]:
    found = {label: f"{label} mL" for label in labels}
    return classes_of(found, TWO, wanted or {}, PATH)[0]


def test_up_to_eight_labels_are_lung() -> None:
    assert taken(*range(11, 19)) == dict.fromkeys(range(11, 19), 1)
    with pytest.raises(DataError, match="more than lungs alone have"):
        taken(*range(11, 20))


@pytest.mark.parametrize("labels", [(5,), (3, 4), (1, 5), (3, 4, 5, 6), (2, 3, 4, 5)])
def test_a_five_is_lung_unless_all_others_are_those_of_luna16(labels: tuple[int, ...]) -> None:
    assert taken(*labels) == dict.fromkeys(labels, 1)


@pytest.mark.parametrize(("labels", "is_lung"), [((8, 255), False), ((9, 255), True),
                                                 ((255,), True), ((1, 8, 255), False),
                                                 ((8, 254), True)])  # fmt: skip
def test_255_beside_labels_up_to_eight_is_to_be_ignored(
    labels: tuple[int, ...], is_lung: bool
) -> None:
    if is_lung:
        assert taken(*labels) == dict.fromkeys(labels, 1)
        return
    with pytest.raises(DataError, match="Label 255 beside such small ones"):
        taken(*labels)


def test_labels_that_the_config_does_not_name_are_background() -> None:
    found = {7: "1 mL", 2: "2 mL", 9: "3 mL"}
    assigned, finding = classes_of(
        found, THREE, {"right lung": [2, 4], "left lung": [9]}, None, "grey value"
    )
    assert assigned == {7: 0, 2: 2, 9: 1}
    assert finding.detail == (
        "grey value 7 (1 mL) is background; grey value 2 (2 mL) is right lung; "
        "grey value 9 (3 mL) is left lung"
    )
    assert taken(1, 2, wanted={"lung": [2]}) == {1: 0, 2: 1}


def labelled(*sizes: int, spacing: float = 10.0) -> LabelVolume:
    """Return labels 1, 2, ... of so many voxels each, by default of 1 mL, and no other voxel."""
    labels = np.repeat(np.arange(1, len(sizes) + 1), sizes).astype(np.uint8)
    return LabelVolume(image_of(labels.reshape(1, 1, -1), (spacing, 10.0, 10.0)))


def said(mask: LabelVolume, *hu: int | NDArray[np.int64]) -> str:
    """Return why labels with these HU are refused, empty if they are lung."""
    counts = np.bincount(mask.labels.ravel())[1:]
    values = np.concatenate([np.broadcast_to(h, n) for h, n in zip(hu, counts, strict=True)])
    try:
        merge_labels(mask, DataConfig(), PATH, values.reshape(1, 1, -1))
    except DataError as problem:
        return problem.what
    return ""


@pytest.mark.parametrize(("median", "reason"), [(150, ""), (151, "median of 151 HU, as bone")])
def test_a_label_may_be_as_dense_as_150_hu(median: int, reason: str) -> None:
    assert reason in said(labelled(50, 50), -850, median)
    assert bool(reason) is bool(said(labelled(50, 50), -850, median))


def hu_with_air(count: int, airy: int) -> NDArray[np.int64]:
    return np.where(np.arange(count) < airy, -300, -299)


@pytest.mark.parametrize(
    ("size", "airy", "is_refused"),
    [(101, 0, True), (100, 0, False), (120, 5, True), (120, 6, False), (120, 7, False)],
)
def test_a_label_of_more_than_100_ml_is_solid_above_95_percent(
    size: int, airy: int, is_refused: bool
) -> None:
    reason = said(labelled(500, size), -850, hu_with_air(size, airy))
    assert (f"Label 2 has {size} mL without air" in reason) is is_refused
    assert bool(reason) is is_refused


@pytest.mark.parametrize(
    ("size", "median", "lung", "is_refused"),
    [
        (49, -951, -850, True),  # 4.9 % of 1000 voxels
        (50, -951, -850, False),
        (49, -950, -850, False),
        (49, -971, -930, True),  # more than 40 HU below the lungs
        (49, -970, -930, False),
    ],
)
def test_a_small_label_is_air_far_below_the_lungs_alone(
    size: int, median: int, lung: int, is_refused: bool
) -> None:
    reason = said(labelled(1000 - size, size), lung, median)
    assert (f"median of {median} HU, as the air in the trachea" in reason) is is_refused
    assert bool(reason) is is_refused


def test_a_single_label_is_not_looked_at() -> None:
    mask = LabelVolume(image_of(np.full((1, 2, 3), 2, np.uint8)))
    merged, _ = merge_labels(mask, DataConfig(), PATH, np.full((1, 2, 3), 400))
    assert (merged.labels == 1).all()


@pytest.mark.parametrize(("airy", "is_said"), [(70, False), (69, True)])
def test_seven_tenths_of_a_lung_have_air(airy: int, is_said: bool) -> None:
    labels = np.ones((1, 1, 100), np.uint8)
    hu = hu_with_air(100, airy).reshape(1, 1, 100) - 1
    findings = look_for_air(labels, hu, TWO, PATH)
    assert [finding.code for finding in findings] == ["mask_without_air"] * is_said
    edge = np.full((1, 1, 100), -300)  # as dense as this is without air
    assert "only 0%" in look_for_air(labels, edge, TWO, PATH)[0].detail


COLOURS: dict[str, ClassColours] = {
    "background": (0, 0, 0), "left": (9, 9, 9), "right": (99, 99, 99)
}  # fmt: skip


def test_class_indices_of_this_program_stay_up_to_the_last_class() -> None:
    data = DataConfig(rgb_map=COLOURS, labels={"left": [3], "right": [1, 2]})
    for own, last, expected in ((True, 2, [1, 2]), (False, 2, [2, 2]), (True, 3, [2, 1])):
        labels = np.array([[[1, last]]], np.uint8)
        mapped, _ = map_labels(LabelVolume(image_of(labels)), data, PATH, own=own)
        assert mapped.labels.ravel().tolist() == expected
    mask = LabelVolume(image_of(np.array([[[1, 2]]], np.uint8)))
    assert merge_labels(mask, DataConfig(rgb_map=COLOURS), PATH) == (mask, [])
    assert map_labels(mask, DataConfig(rgb_map=COLOURS), PATH) == (mask, [])


def test_a_slice_that_is_unlabelled_as_a_whole_is_set_aside() -> None:
    labels = np.zeros((4, 2, 3), np.uint8)
    labels[1] = UNLABELLED
    labels[2] = UNLABELLED
    labels[2, 1, 2] = 1  # not as a whole
    labels[3, 0, 0] = 2
    mask = LabelVolume(image_of(labels, (1, 2, 3)), sparse=True)
    found, where = without_unlabelled(mask)
    expected = labels.copy()
    expected[1] = 0
    np.testing.assert_array_equal(found.labels, expected)
    assert found.sparse
    assert where is not None
    assert where.GetSpacing() == (1, 2, 3)
    assert LabelVolume(where).labels.any(axis=(1, 2)).tolist() == [False, True, False, False]
    assert LabelVolume(where).labels[1].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert without_unlabelled(found) == (found, None)
