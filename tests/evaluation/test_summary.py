"""Two methods are compared case by case, in patients."""

import numpy as np
import pytest
from scipy.stats import wilcoxon

from lungseg.evaluation.summary import (
    bootstrap_interval,
    compare,
    summarise,
    why_no_interval,
)


def test_a_comparison_is_paired_and_tested_over_patients() -> None:
    rng = np.random.default_rng(0)
    cases = [f"p{p}_{s}" for p in range(12) for s in range(5)]
    groups = {case: case.split("_")[0] for case in cases}
    base = {case: float(rng.uniform(0.5, 0.9)) for case in cases}
    better = {case: value + float(rng.normal(0.02, 0.01)) for case, value in base.items()}
    found = compare(better, base, groups, 1000, 1)
    differences = np.array([better[c] - base[c] for c in cases])
    assert found["mean_difference"] == pytest.approx(differences.mean())
    assert (found["cases"], found["patients"]) == (60, 12)
    assert found["higher"] + found["lower"] + found["equal"] == 60
    low, high = found["ci95"]
    assert 0 < low < found["mean_difference"] < high
    means = differences.reshape(12, 5).mean(axis=1)
    assert found["wilcoxon"]["p"] == pytest.approx(wilcoxon(means).pvalue)


def test_equal_methods_and_single_patients_are_no_problem() -> None:
    values = {"a": 0.5, "b": 0.6}
    same = compare(values, values, {"a": "1", "b": "2"}, 100, 0)
    assert (same["mean_difference"], same["equal"], same["wilcoxon"]["p"]) == (0.0, 2, 1.0)
    alone = compare(values, values, {"a": "1", "b": "1"}, 100, 0)
    assert (alone["ci95"], alone["wilcoxon"]["p"]) == (None, None)


def test_the_worst_of_a_distance_is_the_largest() -> None:
    values = {"a": 1.0, "b": 30.0, "c": 2.0}
    groups = {case: case for case in values}
    assert summarise(values, groups, 0, 0, lower_is_better=True)["worst"][0] == ["b", 30.0]
    assert summarise(values, groups, 0, 0)["worst"][0] == ["a", 1.0]


def test_a_summary_of_few_numbers_is_that_of_the_hand() -> None:
    values = {"a": 4.0, "b": 1.0, "c": 7.0}
    found = summarise(values, {"a": "x", "b": "x", "c": "y"}, 0, 0)
    assert (found["mean"], found["median"], found["std"]) == pytest.approx((4, 4, 3))
    # Percentiles between the ordered 1, 4, 7: 0.1 of the way from 1 to 4, and from 7 to 4.
    assert (found["p5"], found["p95"]) == pytest.approx((1.3, 6.7))
    assert (found["n"], found["patients"], found["patient_mean"]) == (3, 2, (2.5 + 7) / 2)
    assert found["ci95"] is None
    assert found["worst"] == [["b", 1.0], ["a", 4.0], ["c", 7.0]]
    many = summarise({str(k): k for k in range(9)}, {str(k): "x" for k in range(9)}, 0, 0)
    assert many["worst"] == [[str(k), k] for k in range(5)]
    assert summarise({"a": 2.0}, {"a": "x"}, 0, 0)["std"] == 0.0
    two = summarise({"a": 2.0, "b": 4.0}, {"a": "x", "b": "x"}, 0, 0)
    assert two["std"] == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("patients", "resamples", "group_is", "why"),
    [
        (4, 100, None, "it needs at least 5 patients, not 4"),
        (4, 100, "A group.", "it needs at least 5 groups, not 4"),
        (9, 0, None, "evaluate.bootstrap is 0"),
        (5, 1, None, None),
    ],
)
def test_an_interval_needs_five_patients_and_draws(
    patients: int, resamples: int, group_is: str | None, why: str | None
) -> None:
    assert why_no_interval(patients, resamples, group_is) == why
    found = bootstrap_interval([[0.5]] * patients, resamples, 0)
    assert found == (None if why else [0.5, 0.5])


def test_an_interval_is_about_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(1).normal(0, 1, 400)
    low, high = bootstrap_interval([[value] for value in values], 3000, 0) or (0, 0)
    error = values.std() / 20
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.15 * error
    )
    # A patient of many cases counts by these: the mean of the drawn is over cases.
    heavy = [[1.0] * 99, *([[0.0]] * 5)]
    low, high = bootstrap_interval(heavy, 2000, 0) or (0, 0)
    assert (low, high) == pytest.approx((0.0, 297 / 300), abs=0.01)  # none, or three times of six


def test_a_comparison_of_few_numbers_is_that_of_the_hand() -> None:
    values = {"a": 5.0, "b": 2.0, "c": 4.0, "d": 3.0, "alone": 9.0}
    other = {"a": 1.0, "b": 2.0, "c": 5.0, "d": 1.0, "unknown": 9.0}
    found = compare(values, other, dict(zip("abcd", "xxyy", strict=True)), 0, 0)
    assert (found["cases"], found["patients"]) == (4, 2)
    # The differences are 4, 0, -1 and 2.
    assert (found["mean_difference"], found["median_difference"]) == (1.25, 1.0)
    assert (found["higher"], found["lower"], found["equal"]) == (2, 1, 1)
    # The patients' differences are 2 and 0.5: both ranks are positive, which has p = 2 / 2**2.
    assert found["wilcoxon"] == {"p": pytest.approx(0.5), "over": "patients"}
