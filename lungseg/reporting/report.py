"""`report.html`: the results of an evaluation in one file that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lungseg.imaging.pixels import encode_png
from lungseg.reporting.overlays import PREDICTION, TRUTH, Picture
from lungseg.reporting.pages import PIECES, environment, pictures_script
from lungseg.reporting.pictures import CasePictures
from lungseg.reporting.plots import MOST_CLASSES, class_columns, history_figure, new_figure, to_png

ACCENT = "#b5382f"
METHOD_COLOURS = {"model": ACCENT, "grey_threshold": "#4878a8", "all_background": "#888888"}


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
class DrawnCase:
    """The pictures of a case.

    Attributes:
        picture: RGB, with truth and prediction outlined; of a volume, one slice.
        views: its slices to look through, with the same outlines.
    """

    picture: Picture
    views: CasePictures


@dataclass(frozen=True)
class Example:
    """A case shown in the report.

    Attributes:
        kind: `worst`, `median` or `best`.
        case: name of the case.
        dice: Dice of the first class.
        flag: which masks are empty, or an empty text.
        drawn: truth and prediction of the case, outlined.
    """

    kind: str
    case: str
    dice: float
    flag: str
    drawn: DrawnCase


def build_report(
    summary: Mapping[str, Any],
    scores: Sequence[PlottedScore],
    examples: Sequence[Example],
    history: Sequence[Mapping[str, str]],
    config: str,
) -> str:
    """Build the report.

    Args:
        summary: the content of `evaluation.json`.
        scores: scores of each case and method.
        examples: cases to show.
        history: rows of a run's `history.csv`; empty without a run.
        config: text of the config.

    Returns:
        HTML that contains all pictures.
    """
    pages = environment()
    pages.filters["number"] = _number
    pages.filters["interval"] = lambda ci: f"{ci[0]:.4f} to {ci[1]:.4f}" if ci else "–"
    first = summary["classes"][0]
    names = [*summary["classes"], *([summary["joined"]] if summary["joined"] else [])]
    overall = summary["overall"]
    figures = {
        "distributions": _distributions(scores, summary["distance_unit"]),
        "area": _dice_against_area(scores, first),
        "training": _training(history) if len(history) > 0 else "",
        "classes": _classes(history, summary["classes"]),
        "calibration": _calibration(summary["calibration"]) if "calibration" in summary else "",
        "entropy": _entropy(scores) if "uncertainty" in summary else "",
    }
    page = pages.get_template("report.html.j2").render(
        summary=summary,
        first=first,
        methods={"model": overall, **summary["baselines"]},
        metrics=list(overall[first]),
        names=names,
        most_classes=MOST_CLASSES,
        case_metrics=[name for name in overall if name not in names],
        colours={"accent": ACCENT, "truth": _hex(TRUTH), "prediction": _hex(PREDICTION)},
        figures=figures,
        examples=[(e, _embed(encode_png(e.drawn.picture))) for e in examples],
        config=config,
    )
    # Put in last, because Jinja would go through these megabytes for nothing.
    scripts = [
        pictures_script(f"example-{index}", example.drawn.views.to_json())
        for index, example in enumerate(examples)
    ]
    return str(page).replace(PIECES, "".join(scripts))


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#" + bytes(rgb).hex()


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


def _embed(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _distributions(scores: Sequence[PlottedScore], unit: str) -> str:
    methods = [m for m in METHOD_COLOURS if any(each.method == m for each in scores)]
    figure, axes = new_figure(1, 3, (10.5, 3.6))
    rng = np.random.default_rng(0)
    for axis, metric, label in zip(
        axes[0], ("dice", "hd95", "boundary_iou"), ("Dice", f"HD95, {unit}", "boundary IoU"),
        strict=True,
    ):  # fmt: skip
        # An empty mask scores 0 in every case, or the image diagonal, so it is not plotted.
        shown = [m for m in methods if m != "all_background"] or methods
        for position, method in enumerate(shown):
            values = np.array([getattr(each, metric) for each in scores if each.method == method])
            colour = METHOD_COLOURS[method]
            if len(values) > 2 and np.ptp(values) > 0:
                body = axis.violinplot(values, [position], widths=0.8, showextrema=False)
                for part in body["bodies"]:
                    part.set_facecolor(colour)
                    part.set_alpha(0.25)
            jitter = rng.uniform(-0.12, 0.12, len(values))
            size = float(np.clip(900 / max(len(values), 1), 3, 24))
            axis.scatter(position + jitter, values, s=size, color=colour, alpha=0.6, linewidths=0)
            median = np.median(values)
            axis.plot([position - 0.25, position + 0.25], [median, median], color=colour, lw=2)
        axis.set_xticks(range(len(shown)), [m.replace("_", "\n") for m in shown])
        axis.set_title(label)
        axis.grid(axis="y", alpha=0.3)
    return _embed(to_png(figure, 130))


def _dice_against_area(scores: Sequence[PlottedScore], class_name: str) -> str:
    figure, axes = new_figure(1, 1, (6.4, 3.8))
    axis = axes[0, 0]
    for method in ("grey_threshold", "model"):
        plotted = [each for each in scores if each.method == method]
        if plotted:
            axis.scatter(
                [each.truth_pixels for each in plotted], [each.dice for each in plotted], s=16,
                color=METHOD_COLOURS[method], alpha=0.65, linewidths=0,
                label=method.replace("_", " "),
            )  # fmt: skip
    axis.set_xlabel(f"true {class_name}, pixels")
    axis.set_ylabel("Dice")
    axis.grid(alpha=0.3)
    axis.legend()
    return _embed(to_png(figure, 130))


def _training(history: Sequence[Mapping[str, str]]) -> str:
    names = ["loss"]
    names += [n for n in ("lung_dice", "dice_coef_multiclass") if n in history[0]]
    return _embed(to_png(history_figure(history, names, None, (3.5, 3.2)), 130))


def _classes(history: Sequence[Mapping[str, str]], classes: Sequence[str]) -> str:
    """Draw the validation Dice of each class; nothing if there is only one, or none was watched."""
    columns = class_columns(history, ["background", *classes])
    return _embed(to_png(history_figure(history, [], columns, (8.6, 3.6)), 130)) if columns else ""


def _calibration(calibration: Mapping[str, Any]) -> str:
    figure, axes = new_figure(1, 2, (8.6, 3.6))
    left, right = axes[0]
    bins = calibration["bins"]
    left.plot([0, 1], [0, 1], color="#999", lw=1, label="perfect")
    left.plot(
        [b["probability"] for b in bins], [b["foreground"] for b in bins], "o-", color=ACCENT,
        label="model",
    )  # fmt: skip
    left.set_xlabel("predicted probability of foreground")
    left.set_ylabel("share that is foreground")
    left.set_title(f"Reliability (ECE {calibration['ece']:.4f})")
    left.legend()
    curve = calibration["dice_by_threshold"]
    right.plot([c["threshold"] for c in curve], [c["dice"] for c in curve], "o-", color=ACCENT)
    right.axvline(0.5, color="#999", lw=1)
    right.set_xlabel("threshold on the probability")
    right.set_ylabel("Dice, mean")
    right.set_title(f"Dice against threshold (best at {calibration['best_threshold']:.2f})")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return _embed(to_png(figure, 130))


def _entropy(scores: Sequence[PlottedScore]) -> str:
    plotted = [each for each in scores if each.entropy is not None]
    entropy = [each.entropy for each in plotted]
    error = [1 - each.dice for each in plotted]
    figure, axes = new_figure(1, 1, (6.4, 3.6))
    axis = axes[0, 0]
    axis.scatter(entropy, error, s=16, color=ACCENT, alpha=0.65, linewidths=0)
    axis.set_xlabel("uncertain pixels per foreground pixel")
    axis.set_ylabel("1 - Dice")
    axis.grid(alpha=0.3)
    return _embed(to_png(figure, 130))
