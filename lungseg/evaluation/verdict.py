"""The verdict on a model in a sentence: its mean Dice against that of the best baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lungseg.evaluation.summary import compare, why_no_interval

BASELINES = {"grey_threshold": "the grey threshold", "all_background": "an empty mask"}


def judge(
    subject: str,
    class_name: str,
    dice: Mapping[str, Mapping[str, float]],
    groups: Mapping[str, str],
    resamples: int,
    seed: int,
    group_is: str | None = None,
) -> dict[str, Any]:
    """Compare a model with the baseline that has the highest mean Dice.

    Args:
        subject: the model and its verb, such as `The network is`.
        class_name: the class that is compared.
        dice: method to case to Dice; `model` and at least one baseline.
        groups: case to patient.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.
        group_is: as for `lungseg.system.wording.counted`.

    Returns:
        `class`, `baseline`, the means `dice` and `baseline_dice` over the cases that both scored,
        their `difference` with its `ci95` by patient, and `no_interval`. `standing`: `below` if the
        mean is lower, `above` if the whole interval is above 0, otherwise `unclear`. `sentence`
        says all of it.
    """
    means = {name: _mean(values) for name, values in dice.items() if name != "model"}
    best = max(means, key=lambda name: means[name])
    common = dice["model"].keys() & dice[best].keys()
    own, other = (_mean({case: dice[name][case] for case in common}) for name in ("model", best))
    found = compare(dice["model"], dice[best], groups, resamples, seed)
    difference, interval = found["mean_difference"], found["ci95"]
    standing = "unclear"
    if difference < 0:
        standing = "below"
    elif interval and interval[0] > 0:
        standing = "above"
    verdict = {
        "class": class_name,
        "baseline": best,
        "dice": own,
        "baseline_dice": other,
        "cases": len(common),
        "difference": difference,
        "ci95": interval,
        "no_interval": why_no_interval(found["patients"], resamples, group_is),
        "standing": standing,
    }
    some = f" over the {len(common)} cases that both have" if len(common) < len(groups) else ""
    return {**verdict, "sentence": f"{subject} {_sentence(verdict, some)}"}


def _sentence(verdict: Mapping[str, Any], some: str) -> str:
    baseline = BASELINES.get(verdict["baseline"], verdict["baseline"])
    standing = f"{verdict['standing']} {baseline}"
    if verdict["ci95"] is None and verdict["difference"] > 0:
        standing = f"above {baseline} in these cases"
    elif verdict["standing"] == "unclear":
        standing = f"not clearly above {baseline}"
    name = verdict["class"]
    of_class = f"Dice of {name} as one" if " + " in name else f"{name} Dice"
    text = (
        f"{standing}: mean {of_class} {verdict['dice']:.4f} against "
        f"{verdict['baseline_dice']:.4f}{some}, a difference of {verdict['difference']:+.4f}"
    )
    if verdict["ci95"] is None:
        return f"{text}. There is no 95% interval: {verdict['no_interval']}."
    low, high = verdict["ci95"]
    text += f" (95% interval {low:+.4f} to {high:+.4f})."
    return text + (" The interval contains 0, so this may be chance." if low <= 0 <= high else "")


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values())))
