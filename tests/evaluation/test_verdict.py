"""The verdict: a model against the best baseline, in a sentence that is true."""

from typing import Any

import numpy as np
import pytest

from lungseg.evaluation.verdict import judge

CASES = [f"c{number}" for number in range(12)]
GROUPS = {case: f"p{number // 2}" for number, case in enumerate(CASES)}


def verdict(model: list[float], grey: list[float] | None, **given: Any) -> dict[str, Any]:
    dice = {
        "model": dict(zip(CASES, model, strict=True)),
        "all_background": dict.fromkeys(CASES, 0.0),
    }
    if grey is not None:
        dice["grey_threshold"] = dict(zip(CASES, grey, strict=False))
    settings: dict[str, Any] = {"groups": GROUPS, "resamples": 500, "seed": 1, **given}
    return judge("The network is", "lung", dice, **settings)


def test_above_means_that_the_whole_interval_is() -> None:
    found = verdict([0.9, 0.92] * 6, [0.8, 0.86] * 6)
    assert found["standing"] == "above"
    assert found["baseline"] == "grey_threshold"
    # Every patient has the differences 0.10 and 0.06, so every resample has the mean 0.08.
    assert found["difference"] == pytest.approx(0.08)
    assert found["ci95"] == pytest.approx([0.08, 0.08])
    assert found["sentence"] == (
        "The network is above the grey threshold: mean lung Dice 0.9100 against 0.8300, a "
        "difference of +0.0800 (95% interval +0.0800 to +0.0800)."
    )


def test_below_is_said_also_if_it_may_be_chance() -> None:
    patients = np.repeat([0.1, -0.2, 0.1, -0.2, 0.1, -0.05], 2)
    found = verdict(list(0.8 + patients), [0.8] * 12)
    assert found["standing"] == "below"
    assert found["ci95"][0] < 0 < found["ci95"][1]
    assert found["sentence"].startswith("The network is below the grey threshold: mean lung Dice")
    assert found["sentence"].endswith("The interval contains 0, so this may be chance.")


def test_an_interval_around_zero_is_not_clearly_above() -> None:
    patients = np.repeat([-0.1, 0.2, -0.1, 0.2, -0.1, 0.05], 2)
    found = verdict(list(0.7 + patients), [0.7] * 12)
    assert found["standing"] == "unclear"
    assert "is not clearly above the grey threshold" in found["sentence"]


def test_the_better_baseline_counts() -> None:
    """If nothing is there to find, an empty mask is hard to beat."""
    dice = {
        "model": dict.fromkeys(CASES, 0.0),
        "all_background": dict.fromkeys(CASES, 1.0),
        "grey_threshold": dict.fromkeys(CASES, 0.5),
    }
    found = judge("The predictions are", "lung", dice, GROUPS, 100, 1)
    assert found["baseline"] == "all_background"
    assert found["sentence"].startswith("The predictions are below an empty mask: mean lung Dice 0")


@pytest.mark.parametrize(
    ("group_is", "words"), [(None, "5 patients, not 2"), ("A group is a file.", "5 groups, not 2")]
)
def test_few_patients_have_no_interval_and_the_reason(group_is: str | None, words: str) -> None:
    groups = {case: f"p{number % 2}" for number, case in enumerate(CASES)}
    found = verdict([0.9] * 12, [0.8] * 12, groups=groups, group_is=group_is)
    assert found["ci95"] is None
    assert found["standing"] == "unclear"
    assert "above the grey threshold in these cases" in found["sentence"]
    assert found["sentence"].endswith(f"There is no 95% interval: it needs at least {words}.")


def test_a_baseline_of_some_cases_is_compared_on_those() -> None:
    found = verdict([0.9] * 6 + [0.1] * 6, [0.8] * 6)
    assert (found["dice"], found["baseline_dice"]) == pytest.approx((0.9, 0.8))
    assert found["cases"] == 6
    assert "over the 6 cases that both have" in found["sentence"]


def test_classes_that_are_taken_as_one_are_called_so() -> None:
    dice = {"model": {"a": 0.9}, "all_background": {"a": 0.0}}
    found = judge("The network is", "left lung + right lung", dice, {"a": "a"}, 0, 1)
    assert "mean Dice of left lung + right lung as one 0.9000 against 0.0000" in found["sentence"]
    assert found["sentence"].endswith("There is no 95% interval: evaluate.bootstrap is 0.")


@pytest.mark.parametrize(
    ("model", "standing", "starts", "ends"),
    [
        # Most draws of six patients hold the better one, but more than 2.5% of them do not: the
        # interval begins at 0 exactly.
        ([1.0] * 2 + [0.5] * 10, "unclear", "not clearly above", "so this may be chance."),
        ([0.5] * 12, "unclear", "not clearly above", "so this may be chance."),
        ([0.0] * 2 + [0.5] * 10, "below", "below", "so this may be chance."),
        ([0.25] * 12, "below", "below", "(95% interval -0.2500 to -0.2500)."),
    ],
)
def test_an_interval_that_begins_or_ends_at_0_contains_it(
    model: list[float], standing: str, starts: str, ends: str
) -> None:
    found = verdict(model, [0.5] * 12)
    assert found["standing"] == standing
    assert found["sentence"].startswith(f"The network is {starts} the grey threshold: mean lung")
    assert found["sentence"].endswith(ends)
    assert "that both have" not in found["sentence"]


@pytest.mark.parametrize(("own", "starts"), [(0.5, "not clearly above"), (0.25, "below")])
def test_without_an_interval_equal_is_not_above(own: float, starts: str) -> None:
    dice = {"model": {"a": own}, "other tool": {"a": 0.5}}
    found = judge("The network is", "lung", dice, {"a": "a"}, 0, 1)
    assert found["sentence"].startswith(f"The network is {starts} other tool: mean lung Dice")
    assert found["no_interval"] == "evaluate.bootstrap is 0"
