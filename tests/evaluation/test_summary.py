"""Two methods are compared case by case, in patients."""

import numpy as np
import pytest
from scipy.stats import wilcoxon

from lungseg.evaluation.summary import compare, summarise


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
