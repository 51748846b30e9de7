"""The plots of a report, each a picture of its own, so that they stand below each other on a phone.

Dice has 1 at the top of its axis, and a distance 0 at the bottom.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.reporting.plots import class_columns, history_figure, new_figure, to_png

ACCENT = "#b5382f"
METHOD_COLOURS = {"model": ACCENT, "grey_threshold": "#4878a8", "all_background": "#888888"}
SIZE = (4.4, 3.5)  # inches
DPI = 120
# The shape of a violin of fewer cases says more about its smoothing than about the cases.
FEWEST_FOR_A_VIOLIN = 10
# A distance is drawn on a logarithmic scale if the largest is so many times their 75th percentile.
FAR = 10.0


@dataclass(frozen=True)
class PlottedScore:
    """The scores of one case and method that the report plots.

    Attributes:
        method: `model`, or the name of a baseline.
        dice: Dice of the first class.
        hd95: its robust Hausdorff distance.
        boundary_iou: its boundary IoU.
        truth_pixels: its number of pixels in the truth.
        entropy: relative entropy of the prediction; None if it is not known.
    """

    method: str
    dice: float
    hd95: float
    boundary_iou: float
    truth_pixels: int
    entropy: float | None


@dataclass(frozen=True)
class Plot:
    """A plot in a page: its text for those who cannot see it, and the PNG as a `data:` address."""

    text: str
    source: str


def embed(png: bytes) -> str:
    """Return a PNG as an address that a page can hold."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _plot(figure: Any, text: str) -> Plot:
    return Plot(text, embed(to_png(figure, DPI)))


def fit_to_one(axis: Any, values: NDArray[np.float64]) -> None:
    """Let a vertical axis end at 1, which is perfect, and begin below the lowest value."""
    span = max(1 - float(values.min()), 0.02)
    axis.set_ylim(1 - 1.06 * span, 1 + 0.03 * span)
    axis.ticklabel_format(axis="y", useOffset=False)


def fit_to_zero(axis: Any, values: NDArray[np.float64], unit: str) -> None:
    """Let a vertical axis begin at 0, which is perfect; logarithmic if a few values are far off."""
    largest, usual = (max(float(v), 0.1) for v in (values.max(), np.percentile(values, 75)))
    bottom = -0.03 * largest
    if largest > FAR * usual:
        axis.set_yscale("symlog", linthresh=usual)  # linear up to what is usual
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        unit, bottom = f"{unit}, logarithmic above {usual:.2g}", -0.1 * usual
    axis.set_ylim(bottom, 1.06 * largest)
    axis.set_ylabel(unit)


def distributions(scores: Sequence[PlottedScore], unit: str) -> list[Plot]:
    """Plot Dice, HD95 and boundary IoU of every case, by method."""
    # An empty mask scores 0 in every case, or the image diagonal, so it is not plotted.
    methods = [m for m in METHOD_COLOURS if any(each.method == m for each in scores)]
    shown = [m for m in methods if m != "all_background"] or methods
    plots = []
    for metric, label in (("dice", "Dice"), ("hd95", "HD95"), ("boundary_iou", "Boundary IoU")):
        figure, axes = new_figure(1, 1, SIZE)
        axis = axes[0, 0]
        drawn = {
            m: np.array([getattr(each, metric) for each in scores if each.method == m])
            for m in shown
        }
        axis.set_xticks(range(len(shown)), [m.replace("_", " ") for m in shown])
        axis.set_xlim(-0.6, len(shown) - 0.4)
        every = np.concatenate(list(drawn.values()))
        if metric == "hd95":
            fit_to_zero(axis, every, unit)
        else:
            fit_to_one(axis, every)
        for position, (method, values) in enumerate(drawn.items()):
            _draw_cases(axis, position, values, METHOD_COLOURS[method])
        axis.set_title(label)
        axis.grid(axis="y", alpha=0.3)
        plots.append(_plot(figure, f"{label} of each case: {', '.join(shown)}".replace("_", " ")))
    return plots


def _draw_cases(axis: Any, position: int, values: NDArray[np.float64], colour: str) -> None:
    """Draw a dot for each case, their median, and, of many, the shape of their distribution."""
    linear = axis.get_yscale() == "linear"
    if linear and len(values) >= FEWEST_FOR_A_VIOLIN and np.ptp(values) > 0:
        body = axis.violinplot(values, [position], widths=0.8, showextrema=False)
        for part in body["bodies"]:
            part.set_facecolor(colour)
            part.set_alpha(0.25)
    jitter = np.random.default_rng(0).uniform(-0.12, 0.12, len(values))
    size = float(np.clip(900 / max(len(values), 1), 3, 24))
    axis.scatter(position + jitter, values, s=size, color=colour, alpha=0.6, linewidths=0)
    median = np.median(values)
    axis.plot([position - 0.25, position + 0.25], [median, median], color=colour, lw=2)


def dice_against_size(scores: Sequence[PlottedScore], class_name: str, unit: str) -> Plot:
    """Plot the Dice of each case against the size of its truth, in pixels or voxels."""
    figure, axes = new_figure(1, 1, SIZE)
    axis = axes[0, 0]
    plotted = [each for each in scores if each.method in ("grey_threshold", "model")]
    for method in dict.fromkeys(each.method for each in reversed(plotted)):
        of_method = [each for each in plotted if each.method == method]
        axis.scatter(
            [each.truth_pixels for each in of_method], [each.dice for each in of_method], s=16,
            color=METHOD_COLOURS[method], alpha=0.65, linewidths=0, label=method.replace("_", " "),
        )  # fmt: skip
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.locator_params(axis="x", nbins=4)
    fit_to_one(axis, np.array([each.dice for each in plotted]))
    axis.set_title("Dice against size")
    axis.set_xlabel(f"true {class_name}, {unit}")
    axis.grid(alpha=0.3)
    axis.legend()
    return _plot(figure, f"Dice of each case against the size of its true {class_name}")


def training(history: Sequence[Mapping[str, str]]) -> list[Plot]:
    """Plot loss and metrics over the epochs."""
    names = ["loss", *(n for n in ("lung_dice", "dice_coef_multiclass") if n in history[0])]
    return [
        _plot(history_figure(history, [name], None, SIZE), f"{name} over the epochs")
        for name in names
    ]


def classes(history: Sequence[Mapping[str, str]], names: Sequence[str]) -> list[Plot]:
    """Plot the validation Dice of each class; nothing of a single one, or if none was watched."""
    columns = class_columns(history, ["background", *names])
    if not columns:
        return []
    figure = history_figure(history, [], columns, (8.6, 3.6))
    return [_plot(figure, "Validation Dice of each class over the epochs")]


def calibration(found: Mapping[str, Any]) -> list[Plot]:
    """Plot how often a predicted probability is right, and the mean Dice at each threshold."""
    bins, curve = found["bins"], found["dice_by_threshold"]
    reliability, axes = new_figure(1, 1, SIZE)
    axis = axes[0, 0]
    axis.plot([0, 1], [0, 1], color="#999", lw=1, label="perfect")
    axis.plot(
        [b["probability"] for b in bins], [b["foreground"] for b in bins], "o-", color=ACCENT,
        label="model",
    )  # fmt: skip
    axis.set(xlabel="predicted probability of foreground", ylabel="share that is foreground")
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), title="Reliability")
    axis.legend()
    axis.grid(alpha=0.3)
    thresholds, axes = new_figure(1, 1, SIZE)
    axis = axes[0, 0]
    axis.plot([c["threshold"] for c in curve], [c["dice"] for c in curve], "o-", color=ACCENT)
    axis.axvline(0.5, color="#999", lw=1)
    axis.set(xlabel="threshold on the probability", ylabel="Dice, mean", xlim=(0, 1))
    fit_to_one(axis, np.array([c["dice"] for c in curve]))
    axis.set_title("Dice against threshold")
    axis.grid(alpha=0.3)
    return [
        _plot(reliability, "Share that is foreground against the predicted probability"),
        _plot(thresholds, "Mean Dice against the threshold on the probability"),
    ]


def uncertainty(scores: Sequence[PlottedScore]) -> Plot:
    """Plot the error of each case against the uncertainty of its prediction."""
    plotted = [each for each in scores if each.entropy is not None]
    figure, axes = new_figure(1, 1, SIZE)
    axis = axes[0, 0]
    across, up = [each.entropy or 0.0 for each in plotted], [1 - each.dice for each in plotted]
    axis.scatter(across, up, s=16, color=ACCENT, alpha=0.65, linewidths=0)
    axis.set(xlabel="uncertain pixels per foreground pixel", ylabel="error, 1 - Dice")
    axis.set_xlim(0, 1.06 * max(*across, 1e-3))
    axis.set_ylim(0, 1.06 * max(*up, 1e-3))
    axis.grid(alpha=0.3)
    return _plot(figure, "Error of each case against its uncertainty")
