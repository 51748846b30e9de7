"""What the scores are called in a report, and what they mean, in a few words each."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A score as a reader meets it.

    Attributes:
        name: its name, with the unit.
        meaning: what it says, and which values are good.
        digits: number of decimals that are shown.
    """

    name: str
    meaning: str
    digits: int = 4


_TERMS = {
    "dice": ("Dice", "overlap of prediction and truth: 1 is perfect, 0 is none"),
    "iou": ("IoU", "shared area by joint area; stricter than Dice, 1 is perfect"),
    "precision": ("Precision", "share of the prediction that is true"),
    "recall": ("Recall", "share of the truth that was found"),
    "specificity": ("Specificity", "share of the background that was left alone"),
    "boundary_iou": ("Boundary IoU", "IoU of bands along both edges, 2% of the diagonal wide"),
    "categorical_crossentropy": ("categorical_crossentropy", "the original's loss; 0 is perfect"),
    "dice_coef_multiclass": (
        "dice_coef_multiclass",
        "the original's metric: Dice of lung and background together, which a missed lung hardly "
        "changes",
    ),
    "original_sensitivity": ("original_sensitivity", "sensitivity as the original computes it"),
    "original_specificity": ("original_specificity", "specificity as the original computes it"),
    "pixel_accuracy": ("Pixel accuracy", "share of all pixels that are right; mostly background"),
}
_DISTANCES = {
    "hd95": ("HD95", "95% of each edge lie within this distance of the other; 0 is perfect"),
    "assd": ("ASSD", "mean distance between the edges; 0 is perfect"),
}


def term(metric: str, distance_unit: str, volume_unit: str) -> Term:
    """Return the name and meaning of a score.

    Args:
        metric: its column name, such as `hd95` or `nsd_2`.
        distance_unit: mm or pixels.
        volume_unit: mL, mm2 or pixels.
    """
    if metric in _DISTANCES:
        name, meaning = _DISTANCES[metric]
        return Term(f"{name}, {distance_unit}", meaning, 2)
    if metric == "volume_difference":
        kind = "Volume" if volume_unit == "mL" else "Area"
        return Term(f"{kind} difference, {volume_unit}", "prediction minus truth", 1)
    if tolerance := re.fullmatch(r"nsd_(.+)", metric):
        unit = "pixel" if distance_unit == "pixels" and tolerance[1] == "1" else distance_unit
        within = f"{tolerance[1]} {unit}"
        return Term(f"NSD, {within}", f"share of the edges within {within} of each other")
    name, meaning = _TERMS.get(metric, (metric.replace("_", " "), ""))
    return Term(name, meaning)
