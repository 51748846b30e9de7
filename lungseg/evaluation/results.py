"""The results of every evaluation: summaries, tables, report, files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config.classes import joined, lung_classes
from lungseg.config.schema import Config
from lungseg.evaluation.cases import CASE_METRICS, LOWER_IS_BETTER, CaseScore
from lungseg.evaluation.comparison import OtherEvaluation, compare_with
from lungseg.evaluation.summary import WORST_CASES, per_patient, summarise, why_no_interval
from lungseg.evaluation.verdict import judge
from lungseg.reporting.figures import PlottedScore
from lungseg.reporting.report import DrawnCase, Example, build_report
from lungseg.system import console
from lungseg.system.environment import describe_software
from lungseg.system.files import write_text
from lungseg.system.tables import to_record, write_csv, write_json

MEDIAN_CASES = BEST_CASES = 3


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run or of a folder of predictions.

    Attributes:
        summary: the content of `evaluation.json`.
        rows: one row for each case, class and method. `per_case.csv` holds the rows of the method
            `model`. If several classes are lung, there are rows of these joined, too.
        output: the folder written.
    """

    summary: dict[str, Any]
    rows: list[CaseScore]
    output: Path

    @property
    def failed(self) -> list[str]:
        """Cases that could not be compared."""
        return [problem["case"] for problem in self.summary.get("problems", [])]


@dataclass(frozen=True)
class Scored:
    """The result of scoring, before it is summarised.

    Attributes:
        head: what was scored; the first keys of `evaluation.json`.
        rows: one row for each case, class and method.
        classes: names of the classes by index, background first.
        draw: function that draws a case with truth and prediction outlined.
        extras: further parts of the JSON, such as calibration.
        history: rows of a run's `history.csv`.
        config: text of the config, for the report.
    """

    head: dict[str, Any]
    rows: list[CaseScore]
    classes: Sequence[str]
    draw: Callable[[str], DrawnCase]
    extras: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, str]] = field(default_factory=list)
    config: str = ""

    @property
    def foreground(self) -> list[str]:
        """Names of the classes without the background."""
        return list(self.classes)[1:]

    @property
    def joined(self) -> str | None:
        """Name of the lung classes joined, if there are several."""
        lung = lung_classes(self.classes)
        return joined(lung) if len(lung) > 1 else None

    @property
    def of_model(self) -> list[CaseScore]:
        """The rows of the method `model` for each class."""
        names = self.foreground
        return [row for row in self.rows if row.method == "model" and row.class_name in names]

    @property
    def group_is(self) -> str | None:
        """What a group of cases is; None if each is a patient known by name."""
        said: str | None = self.head.get("group_is")
        return said

    @property
    def groups(self) -> dict[str, str]:
        """The patient of each case."""
        return {row.case: row.group for row in self.rows}


def finish(
    config: Config,
    scored: Scored,
    folder: Path,
    output: Path,
    other: OtherEvaluation | None,
) -> Evaluation:
    """Summarise, draw the examples, and write all files.

    Args:
        config: section `evaluate` is used, and the seed for the bootstrap.
        scored: what to summarise.
        folder: where the files are written.
        output: where they are in the end.
        other: an earlier evaluation to compare with.
    """
    for row in scored.of_model:
        console.detail(f"{row.case}: {row.class_name} Dice {row.scores.dice:.4f}")
    summary = _summaries(config, scored)
    if other is not None:
        summary["against"] = compare_with(
            other, scored.of_model, scored.foreground, config, scored.group_is
        )
    html = build_report(summary, _plotted(scored), _examples(scored), scored.history, scored.config)
    _write(folder, scored, summary, html)
    return Evaluation(summary, scored.rows, output)


def _summaries(config: Config, scored: Scored) -> dict[str, Any]:
    """Return the content of `evaluation.json`."""
    of_model = scored.of_model
    methods = dict.fromkeys(row.method for row in scored.rows)
    summaries = {method: _summaries_of(method, config, scored) for method in methods}
    patients = set(scored.groups.values())
    flags = [row.scores.flag for row in of_model if row.scores.flag]
    first_class = scored.foreground[0]
    dice = {row.case: row.scores.dice for row in of_model if row.class_name == first_class}
    return {
        "format": 1,
        **scored.head,
        "group_is": scored.group_is,
        "cases": len(scored.groups),
        "patients": len(patients),
        "classes": scored.foreground,
        "joined": scored.joined,
        "distance_unit": of_model[0].scores.distance_unit,
        "volume_unit": of_model[0].scores.volume_unit,
        "flags": {flag: flags.count(flag) for flag in sorted(set(flags))},
        "no_interval": why_no_interval(len(patients), config.evaluate.bootstrap, scored.group_is),
        "verdict": _verdict(config, scored),
        "overall": summaries.pop("model"),
        "baselines": summaries,
        "per_patient": {
            patient: {"cases": len(values), "dice": float(np.mean(values))}
            for patient, values in per_patient(dice, scored.groups).items()
        },
        **scored.extras,
        "settings": config.evaluate.model_dump(mode="json"),
        "seed": config.seed,
        "software": describe_software(),
    }


def _verdict(config: Config, scored: Scored) -> dict[str, Any]:
    """Compare the model with the baselines on the class that the grey threshold finds.

    Without a threshold that is the lung, or the first class.
    """
    by_threshold = [row.class_name for row in scored.rows if row.method == "grey_threshold"]
    name = [*by_threshold, *([scored.joined] if scored.joined else []), scored.foreground[0]][0]
    dice: dict[str, dict[str, float]] = {}
    for row in scored.rows:
        if row.class_name == name:
            dice.setdefault(row.method, {})[row.case] = row.scores.dice
    verdict = judge(
        "The network is" if "run" in scored.head else "The predictions are",
        name,
        dice,
        scored.groups,
        config.evaluate.bootstrap,
        config.seed,
        scored.group_is,
    )
    if not by_threshold:
        why = _why_no_threshold(scored)
        verdict["sentence"] += f" There is no grey threshold to compare with: {why}."
    return verdict


def _why_no_threshold(scored: Scored) -> str:
    if not lung_classes(scored.classes):
        return "no class is lung by its name"
    if scored.rows[0].scores.volume_unit == "mL":
        return "it is computed for plain images, not for volumes"
    return "it needs the images (--images)"


def _summaries_of(method: str, config: Config, scored: Scored) -> dict[str, Any]:
    """Summarise every score of one method: those of each class, then those of all classes."""
    summaries: dict[str, Any] = {}
    for class_name in dict.fromkeys(row.class_name for row in scored.rows):
        if rows := _select(scored.rows, method, class_name):
            summaries[class_name] = {
                metric: _summary_of(rows, metric, config, scored.groups)
                for metric in rows[0].scores.metrics
            }
    rows = _select(scored.rows, method, scored.foreground[0])
    for metric in CASE_METRICS:
        if rows and metric in rows[0].metrics:
            summaries[metric] = _summary_of(rows, metric, config, scored.groups)
    return summaries


def _summary_of(
    rows: Sequence[CaseScore], metric: str, config: Config, groups: dict[str, str]
) -> dict[str, Any]:
    values = {row.case: row.metrics[metric] for row in rows}
    resamples = config.evaluate.bootstrap
    return summarise(values, groups, resamples, config.seed, metric in LOWER_IS_BETTER)


def _select(rows: Sequence[CaseScore], method: str, class_name: str) -> list[CaseScore]:
    return [row for row in rows if row.method == method and row.class_name == class_name]


def _plotted(scored: Scored) -> list[PlottedScore]:
    """Return what the report plots: the first class of each case and method."""
    return [
        PlottedScore(
            method=row.method,
            dice=row.scores.dice,
            hd95=row.scores.hd95,
            boundary_iou=row.scores.boundary_iou,
            truth_pixels=row.scores.truth_pixels,
            entropy=row.entropy,
        )
        for row in scored.rows
        if row.class_name == scored.foreground[0]
    ]


def _examples(scored: Scored) -> list[Example]:
    """Draw the worst cases, some around the median, and the best of the others."""
    rows = _select(scored.rows, "model", scored.foreground[0])
    ranked = sorted(rows, key=lambda row: row.scores.dice)
    middle = max(WORST_CASES, len(ranked) // 2 - 1)
    chosen = [("worst", row) for row in ranked[:WORST_CASES]]
    chosen += [("median", row) for row in ranked[middle : middle + MEDIAN_CASES]]
    chosen += [("best", row) for row in ranked[max(len(chosen), len(ranked) - BEST_CASES) :][::-1]]
    return [
        Example(kind, row.case, row.scores.dice, row.scores.flag, scored.draw(row.case))
        for kind, row in chosen
    ]


def _write(folder: Path, scored: Scored, summary: dict[str, Any], html: str) -> None:
    records = [to_record(row) for row in scored.of_model]
    columns = [name for name in records[0] if name != "method"]
    write_csv(
        folder / "per_case.csv",
        columns,
        [{name: record[name] for name in columns} for record in records],
    )
    overall = summary["overall"]
    # The loss and the metric of the original come first, as in its file.
    names = (*CASE_METRICS[:2], "pixel_accuracy", *CASE_METRICS[2:-1])
    lines = [f"{name},{overall[name]['mean']:.6f}" for name in names if name in overall]
    for class_name in summary["classes"]:
        lines += [f"{class_name}_{k},{v['mean']:.6f}" for k, v in overall[class_name].items()]
    write_text(folder / "evaluation.csv", "\n".join(lines) + "\n")
    write_json(folder / "evaluation.json", summary)
    write_text(folder / "report.html", html)
