"""Each baseline is scored on what it says, and on nothing else."""

import numpy as np
import pytest

from lungseg.evaluation.baselines import MethodScores, grey_threshold, score_methods
from lungseg.evaluation.metrics import PixelSize
from lungseg.imaging.pixels import apply_window
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient

SIDE = 128
HU, LUNG = make_slice(make_patient(0), 0.4, SIDE)
IMAGE = apply_window(HU, (-1000, 400))


def truth_of(classes: list[str]) -> np.ndarray:
    """Return the phantom's lung, divided into the classes by column; `airway` lies outside."""
    truth = np.zeros((SIDE, SIDE), np.uint8)
    inside = [index for index, name in enumerate(classes) if index and name != "airway"]
    for index, columns in zip(
        inside, np.array_split(np.flatnonzero(LUNG.any(axis=0)), len(inside)), strict=True
    ):
        truth[:, columns] = LUNG[:, columns] * index
    if "airway" in classes:
        truth[2:6, 2:6] = classes.index("airway")
    return truth


def scored(classes: list[str], image: np.ndarray | None = IMAGE) -> list[MethodScores]:
    """Score a network that says background and the last class."""
    truth = truth_of(classes)
    said = np.where(truth == len(classes) - 1, truth, 0)
    return list(score_methods(truth, said, image, classes, PixelSize(), (1, 2)))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize(
    ("classes", "lung"),
    [
        (["background", "lung"], ["lung"]),
        (["background", "left lung", "right lung"], ["left lung", "right lung"]),
        (["background", "lung", "airway"], ["lung"]),
        (["background", "airway", "infection", "lung"], ["infection", "lung"]),
        (["background", "infection"], []),
        (["background", "airway", "infection"], []),
        (["background", "heart", "aorta"], []),
    ],
)
def test_the_threshold_is_scored_on_the_whole_lung_and_on_nothing_else(
    classes: list[str], lung: list[str]
) -> None:
    truth, rows = truth_of(classes), scored(classes)
    known = [row for row in rows if row.method == "grey_threshold"]
    assert [row.class_name for row in known] == ([" + ".join(lung)] if lung else [])
    whole = np.isin(truth, [classes.index(name) for name in lung])
    for row in known:
        expected = dice(whole, grey_threshold(IMAGE) > 0)
        assert expected > 0.8
        assert row.scores.dice == pytest.approx(expected)
        assert row.scores.truth_pixels == whole.sum()
        # It tells lung from the rest. Among several classes that is no accuracy of pixels.
        assert (row.pixel_accuracy is None) == (len(classes) > 2)
    of_network = [row.class_name for row in rows if row.method == "model"]
    assert of_network == [*classes[1:], *([" + ".join(lung)] if len(lung) > 1 else [])]
    assert not [row for row in scored(classes, None) if row.method == "grey_threshold"]


def test_the_network_and_the_background_are_scored_on_each_class_and_on_the_lung() -> None:
    classes = ["background", "left lung", "right lung", "airway"]
    truth, whole = truth_of(classes), "left lung + right lung"
    found = {(row.method, row.class_name): row for row in scored(classes)}
    assert [key for key in found if key[0] == "model"] == [
        ("model", name) for name in (*classes[1:], whole)
    ]
    # The network says airway only, so it finds no lung.
    for name, expected in zip((*classes[1:], whole), (0, 0, 1, 0), strict=True):
        assert found["model", name].scores.dice == expected
        assert found["all_background", name].scores.dice == 0
    assert found["model", whole].scores.truth_pixels == np.isin(truth, (1, 2)).sum()
    accuracy = found["model", "airway"].pixel_accuracy
    assert accuracy == pytest.approx(1 - np.isin(truth, (1, 2)).mean())
    assert found["all_background", "airway"].pixel_accuracy == pytest.approx((truth == 0).mean())
    assert found["model", whole].pixel_accuracy is None
