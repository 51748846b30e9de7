"""Summaries of the scores of many cases: means, intervals by patient, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lungseg.system.wording import counted

WORST_CASES = 5

# The bootstrap's interval is too narrow if there are few patients: from 4 it is about half as wide
# as Student's (1.96 * sqrt(3 / 4) = 1.70 against 3.18 standard errors), and from 2 it knows no
# more than three different means.
MIN_PATIENTS = 5


def why_no_interval(patients: int, resamples: int, group_is: str | None = None) -> str | None:
    """Return the reason why there is no interval; None if there is one.

    Args:
        patients: their number.
        resamples: number of bootstrap resamples.
        group_is: as for `lungseg.system.wording.counted`.
    """
    if not resamples:
        return "evaluate.bootstrap is 0"
    if patients < MIN_PATIENTS:
        return f"it needs at least {counted(MIN_PATIENTS, group_is)}, not {patients}"
    return None


def summarise(
    values: Mapping[str, float],
    groups: Mapping[str, str],
    resamples: int,
    seed: int,
    lower_is_better: bool = False,
) -> dict[str, Any]:
    """Summarise one score over all cases.

    Args:
        values: case to value.
        groups: case to patient.
        resamples: number of bootstrap resamples; 0 leaves the interval out.
        seed: seed of the bootstrap.
        lower_is_better: whether the highest values are the worst.

    Returns:
        `mean`, `median`, `std` (with n - 1), `p5`, `p95` and `n` over cases. `patients`, their
        number, and `patient_mean`, the mean of the patients' means. `ci95`, the percentile interval
        of the mean over cases, from drawing whole patients with replacement (Efron, 1979); None if
        `why_no_interval` gives a reason. `worst`, the five worst cases as `[case, value]`.
    """
    numbers = np.array(list(values.values()), dtype=np.float64)
    by_patient = per_patient(values, groups)
    ranked = sorted(values.items(), key=lambda item: item[1], reverse=lower_is_better)
    return {
        "mean": float(numbers.mean()),
        "median": float(np.median(numbers)),
        "std": float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0,
        "p5": float(np.percentile(numbers, 5)),
        "p95": float(np.percentile(numbers, 95)),
        "n": len(numbers),
        "patients": len(by_patient),
        "patient_mean": float(np.mean([np.mean(cases) for cases in by_patient.values()])),
        "ci95": bootstrap_interval(list(by_patient.values()), resamples, seed),
        "worst": [[case, value] for case, value in ranked[:WORST_CASES]],
    }


def per_patient(values: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, list[float]]:
    """Gather the values of each patient's cases."""
    gathered: dict[str, list[float]] = {}
    for case, value in values.items():
        gathered.setdefault(groups[case], []).append(value)
    return gathered


def bootstrap_interval(
    patients: Sequence[Sequence[float]], resamples: int, seed: int
) -> list[float] | None:
    """Return the 95% percentile interval of the mean over all values, resampling whole patients.

    It is None if `why_no_interval` gives a reason.
    """
    if why_no_interval(len(patients), resamples):
        return None
    sums = np.array([sum(cases) for cases in patients])
    sizes = np.array([len(cases) for cases in patients])
    rng = np.random.default_rng(seed)
    # A few hundred draws at a time, so that memory stays small for thousands of patients.
    means = []
    for start in range(0, resamples, 256):
        drawn = rng.integers(len(patients), size=(min(256, resamples - start), len(patients)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return [float(low), float(high)]


def compare(
    values: Mapping[str, float],
    other: Mapping[str, float],
    groups: Mapping[str, str],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Compare two methods on the cases that both scored, by paired differences.

    Args:
        values: case to score.
        other: case to score of the other method, which is subtracted.
        groups: case to patient.
        resamples: number of bootstrap resamples; 0 leaves the interval out.
        seed: seed of the bootstrap.

    Returns:
        `cases` and `patients`, the numbers compared. `mean_difference` over cases, with `ci95` by
        patient, and `median_difference`. `higher`, `lower` and `equal`, numbers of cases.
        `wilcoxon`, the two-sided signed-rank test (Wilcoxon, 1945) on the patients' mean
        differences: its `p` is 1 if all are zero, and None for fewer than 2 patients.
    """
    from scipy.stats import wilcoxon

    common = [case for case in values if case in other]
    differences = {case: values[case] - other[case] for case in common}
    numbers = np.array(list(differences.values()))
    by_patient = per_patient(differences, groups)
    means = np.array([np.mean(cases) for cases in by_patient.values()])
    p: float | None = None
    if len(means) > 1:
        p = float(wilcoxon(means).pvalue) if np.any(means) else 1.0
    return {
        "cases": len(common),
        "patients": len(by_patient),
        "mean_difference": float(numbers.mean()),
        "ci95": bootstrap_interval(list(by_patient.values()), resamples, seed),
        "median_difference": float(np.median(numbers)),
        "higher": int((numbers > 0).sum()),
        "lower": int((numbers < 0).sum()),
        "equal": int((numbers == 0).sum()),
        "wilcoxon": {"p": p, "over": "patients"},
    }
