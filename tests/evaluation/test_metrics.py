"""Each score against its definition, counted another way, and on every kind of empty mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lungseg.evaluation import metrics, summary
from lungseg.evaluation.baselines import grey_threshold
from lungseg.imaging.pixels import apply_window
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient

MASKS = arrays(np.bool_, (6, 7))


@given(truth=MASKS, guess=MASKS)
def test_scores_equal_their_definition_on_sets_of_pixels(
    truth: np.ndarray, guess: np.ndarray
) -> None:
    t, g = set(np.flatnonzero(truth).tolist()), set(np.flatnonzero(guess).tolist())
    everything = set(range(truth.size))
    counts = metrics.count(truth, guess)

    def ratio(part: set[int], whole: set[int]) -> float:
        return len(part) / len(whole) if whole else float(not t and not g)

    assert metrics.iou(counts) == ratio(t & g, t | g)
    assert metrics.precision(counts) == ratio(t & g, g)
    assert metrics.recall(counts) == ratio(t & g, t)
    expected = 2 * len(t & g) / (len(t) + len(g)) if t or g else 1.0
    assert metrics.dice(counts) == pytest.approx(expected)
    negatives = everything - t
    assert metrics.specificity(counts) == (
        len(negatives - g) / len(negatives) if negatives else 1.0
    )


def test_empty_masks_are_flagged_and_scored_by_the_rule() -> None:
    empty, some = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    both = metrics.count(empty, empty)
    assert (metrics.dice(both), metrics.iou(both), both.flag) == (1.0, 1.0, "both_empty")
    for truth, guess, flag in ((empty, some, "truth_empty"), (some, empty, "prediction_empty")):
        counts = metrics.count(truth, guess)
        scores = [f(counts) for f in (metrics.dice, metrics.iou, metrics.precision, metrics.recall)]
        assert (scores, counts.flag) == ([0.0] * 4, flag)


def test_the_originals_metric_hides_a_missed_lung() -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[:10, :10] = 1
    nothing = np.zeros((100, 100, 2), np.float32)
    nothing[..., 0] = 1
    assert metrics.dice_coef_multiclass(truth, nothing) == pytest.approx(0.99, abs=1e-4)
    assert metrics.pixel_accuracy(truth, np.zeros_like(truth)) == 0.99
    assert metrics.dice(metrics.count(truth > 0, np.zeros_like(truth) > 0)) == 0.0


def test_crossentropy_is_the_mean_log_of_the_true_class() -> None:
    truth = np.array([[0, 1]], np.uint8)
    p = np.array([[[0.8, 0.2], [0.6, 0.4]]], np.float32)
    expected = -(np.log(0.8) + np.log(0.4)) / 2
    assert metrics.categorical_crossentropy(truth, p) == pytest.approx(expected, rel=1e-6)
    certain = np.array([[[0.0, 1.0], [1.0, 0.0]]], np.float32)
    assert metrics.categorical_crossentropy(truth, certain) == pytest.approx(
        -np.log(1e-7), rel=1e-5
    )


def test_a_summary_says_mean_spread_patients_and_the_worst() -> None:
    values = {f"c{i}": v for i, v in enumerate([0.1, 0.9, 0.8, 1.0, 0.7, 0.6])}
    groups = {"c0": "a", "c1": "a", "c2": "b", "c3": "b", "c4": "b", "c5": "c"}
    found = summary.summarise(values, groups, 500, 1)
    assert found["mean"] == pytest.approx(np.mean(list(values.values())))
    assert found["std"] == pytest.approx(np.std(list(values.values()), ddof=1))
    assert found["median"] == pytest.approx(0.75)
    # Of six sorted values, the 5th percentile is a quarter of the way from the first to the second.
    assert found["p5"] == pytest.approx(0.1 + 0.25 * 0.5)
    assert found["p95"] == pytest.approx(1.0 - 0.25 * 0.1)
    assert (found["n"], found["patients"]) == (6, 3)
    assert found["patient_mean"] == pytest.approx(np.mean([0.5, 2.5 / 3, 0.6]))
    assert found["worst"][0] == ["c0", 0.1]
    assert len(found["worst"]) == 5


def test_the_interval_comes_from_whole_patients() -> None:
    rng = np.random.default_rng(0)
    # Twenty patients of ten slices; slices of a patient are all alike.
    means = rng.normal(0.9, 0.05, 20)
    values = {f"{p}_{s}": means[p] for p in range(20) for s in range(10)}
    groups = {case: case.split("_")[0] for case in values}
    low, high = summary.summarise(values, groups, 4000, 0)["ci95"]
    expected = 1.96 * means.std(ddof=1) / np.sqrt(20)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.15)
    # Slices taken as independent would give an interval about a third as wide.
    alone = {case: case for case in values}
    low_s, high_s = summary.summarise(values, alone, 4000, 0)["ci95"]
    assert (high_s - low_s) < 0.5 * (high - low)


@given(value=st.floats(0, 1))
def test_one_patient_has_no_interval(value: float) -> None:
    assert summary.summarise({"a": value}, {"a": "p"}, 100, 0)["ci95"] is None


def test_the_grey_threshold_finds_the_lungs_of_a_phantom() -> None:
    hu, mask = make_slice(make_patient(0), 0.3, 256)
    image = apply_window(hu, (-1000, 400))
    counts = metrics.count(mask > 0, grey_threshold(image) > 0)
    assert metrics.dice(counts) > 0.9
    assert not grey_threshold(np.zeros((8, 8), np.uint8)).any()
