"""Labels of volumes: the config names those of each class; without it, some are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lungseg.config.classes import ClassColours
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.labels import look_for_air, map_labels, merge_labels
from lungseg.imaging.volumes import LabelVolume
from tests.support.volumes import image_of

PATH = Path("m.mha")
THREE: dict[str, ClassColours] = {
    "background": (0, 0, 0),
    "left": (90, 90, 90),
    "right": (255, 255, 255),
}


def volume(*labels: int) -> LabelVolume:
    """Return a volume of one row per label, each of 10 voxels of 0.5 mL, beside as many without."""
    rows = np.repeat(np.array(labels, np.uint8), 10).reshape(1, -1, 10)
    return LabelVolume(image_of(np.concatenate([rows, rows * 0]), (10.0, 10.0, 5.0)))


def ct(*hu: int) -> NDArray[np.int16]:
    """Return the CT of such a volume, with the HU of each label."""
    rows = np.repeat(np.array(hu, np.int16), 10).reshape(1, -1, 10)
    return np.concatenate([rows, rows * 0 + 40])


@pytest.mark.parametrize(
    "labels", [(1, 2), (3,), (255,), (3, 4), (1, 2, 3, 4, 5), (10, 11, 12, 13, 14), (127, 255)]
)
def test_left_and_right_lobes_and_infection_are_lung(labels: tuple[int, ...]) -> None:
    mask = volume(*labels)
    merged, [finding] = merge_labels(mask, DataConfig(), PATH)
    np.testing.assert_array_equal(merged.labels, mask.labels > 0)
    assert (finding.code, finding.path) == ("labels_merged", PATH)
    for label in labels:
        assert f"{label} (5.0 mL)" in finding.detail


@pytest.mark.parametrize(("labels", "data"), [((), {}), ((1,), {}), ((2,), {"rgb_map": THREE})])
def test_labels_within_the_classes_stay_as_they_are(
    labels: tuple[int, ...], data: dict[str, Any]
) -> None:
    mask = volume(0, *labels)
    merged, findings = merge_labels(mask, DataConfig.model_validate(data), PATH)
    np.testing.assert_array_equal(merged.labels, mask.labels)
    assert findings == []


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ((3, 4, 5), r"holds the labels 3, 4, 5. .* 5 is the trachea"),
        ((3, 5), "5 is the trachea"),
        ((1, 2, 255), "Label 255 beside such small ones often marks what is to be ignored"),
        (range(1, 10), "labels 1, 2, .* more than lungs alone have"),
        (range(1, 118), "11, 12 and 105 more. That is more than lungs alone have"),
    ],
)
def test_labels_that_are_not_all_lung_are_refused(labels: tuple[int, ...], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        merge_labels(volume(*labels), DataConfig(), PATH)
    assert "Name those that are lung, for example data.labels: {lung: [3, 4]}" in caught.value.what
    assert caught.value.path == PATH


def test_a_label_as_dense_as_bone_or_as_empty_as_the_trachea_is_refused() -> None:
    with pytest.raises(DataError, match="Label 2 has a median of 400 HU, as bone"):
        merge_labels(volume(1, 2), DataConfig(), PATH, ct(-850, 400))
    with pytest.raises(DataError, match="Label 3 has a median of -990 HU, as the air"):
        merge_labels(volume(*[1] * 24, 3), DataConfig(), PATH, ct(*[-850] * 24, -990))
    for labels, hu in (
        ((1, 2), (-850, -990)),  # large: emphysema
        ((1, 3), (-850, 30)),  # consolidation
        ((*[1] * 24, 3), (*[-960] * 24, -980)),  # a part of the same emptiness as the rest
    ):
        merged, _ = merge_labels(volume(*labels), DataConfig(), PATH, ct(*hu))
        assert merged.labels[0].all()


def test_a_large_label_without_air_is_refused() -> None:
    healthy = [-850] * 24
    with pytest.raises(DataError, match="Label 2 has 105 mL without air, as the heart"):
        merge_labels(volume(*[1] * 24, *[2] * 21), DataConfig(), PATH, ct(*healthy, *[40] * 21))
    for hu in ([40] * 20, [*[40] * 18, *[-500] * 3]):  # a tumour; a consolidation with some air
        mask = volume(*[1] * 24, *[2] * len(hu))
        merged, _ = merge_labels(mask, DataConfig(), PATH, ct(*healthy, *hu))
        assert merged.labels[0].all()


def test_a_mask_without_air_in_its_ct_is_said() -> None:
    labels, hu = volume(1, 1, 1, 1, 1, 2).labels, ct(-850, -850, 40, 40, -850, 40)
    [finding] = look_for_air(labels, hu, ["background", "lung", "heart"], PATH)
    assert (finding.code, finding.severity, finding.path) == ("mask_without_air", "warning", PATH)
    assert "only 60% of the mask's voxels" in finding.detail
    for classes in (["background", "tumour", "heart"], ["background", "heart", "left lung"]):
        assert bool(look_for_air(labels, hu, classes, PATH)) is ("left lung" in classes)
    healthy = ct(-850, -850, -850, -850, 40, 40)  # one of five is a tumour
    assert look_for_air(labels, healthy, ["background", "lung", "heart"], PATH) == []
    assert look_for_air(labels * 0, hu, ["background", "lung"], PATH) == []


def test_a_label_above_several_classes_needs_the_config() -> None:
    data = DataConfig(rgb_map=THREE)
    with pytest.raises(DataError) as caught:
        merge_labels(volume(1, 3), data, PATH)
    assert str(caught.value) == (
        "m.mha: holds the labels 1, 3, but data.rgb_map has 3 classes. Name the labels of each "
        "class, for example data.labels: {left: [1], right: [2]}."
    )
    data = DataConfig(rgb_map=THREE, labels={"left": [3, 7], "right": [1]})
    mapped, _ = map_labels(volume(1, 3, 7), data, PATH)
    assert mapped.labels[0, :, 0].tolist() == [2, 1, 1]


def test_the_config_names_the_labels_that_are_lung() -> None:
    data = DataConfig(labels={"lung": [3, 4]})
    mapped, [finding] = map_labels(volume(3, 4, 5), data, PATH)
    assert mapped.labels[0, :, 0].tolist() == [1, 1, 0]
    assert (finding.code, finding.severity, finding.path) == ("labels_mapped", "repaired", PATH)
    assert finding.detail == (
        "label 3 (5.0 mL) is lung; label 4 (5.0 mL) is lung; label 5 (5.0 mL) is background"
    )
    assert mapped.image.GetSpacing() == (10.0, 10.0, 5.0)


def test_labels_of_which_the_config_names_none_are_refused() -> None:
    data = DataConfig(labels={"lung": [3, 4]})
    with pytest.raises(DataError, match=r"holds the labels 1, 2, none of which data\.labels names"):
        map_labels(volume(1, 2), data, PATH)
    empty, findings = map_labels(volume(0), data, PATH)
    assert not empty.labels.any()
    assert not findings
    # A mask that this program wrote holds class indices.
    own, findings = map_labels(volume(1), data, PATH, own=True)
    assert own.labels[0].all()
    assert not findings
    other, _ = map_labels(volume(4, 5), data, PATH, own=True)
    assert other.labels[0, :, 0].tolist() == [1, 0]
