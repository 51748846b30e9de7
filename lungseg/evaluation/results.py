"""What every evaluation comes to: summaries, comparison, tables, report, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.cases import LOWER_IS_BETTER, PROBABILITY_METRICS, class_metrics
from lungseg.evaluation.summary import WORST, compare, per_patient, summarise
from lungseg.reporting.overlays import Picture
from lungseg.reporting.report import Example, build_report
from lungseg.system import console
from lungseg.system.environment import describe_software
from lungseg.system.files import staged_folder, write_text
from lungseg.system.tables import read_csv, write_csv, write_json

Row = dict[str, Any]


Other = tuple[Path, dict[tuple[str, str], dict[str, str]]]


MEDIAN_EXAMPLES = 3


@dataclass
class Evaluation:
    """The scores of a run or of a folder of predictions.

    Attributes:
        summary: the content of `evaluation.json`.
        rows: a row a case, class and method; `per_case.csv` holds those of the method `model`.
        output: folder written to.
    """

    summary: dict[str, Any]
    rows: list[Row]
    output: Path

    @property
    def failed(self) -> list[str]:
        """Cases that could not be compared."""
        return [problem["case"] for problem in self.summary.get("problems", [])]


@dataclass(frozen=True)
class Scored:
    """What scoring leaves behind before it is summed up.

    Attributes:
        head: what was scored; goes to the top of the JSON.
        rows: a row a case, class and method.
        classes: names by index, background first.
        draw: draws a case, truth and prediction outlined.
        extras: further parts of the JSON, such as calibration.
        history: rows of a run's `history.csv`.
        config: the config's text, for the report.
    """

    head: dict[str, Any]
    rows: list[Row]
    classes: Sequence[str]
    draw: Callable[[str], Picture]
    extras: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, str]] = field(default_factory=list)
    config: str = ""


def read_other(folder: Path | None) -> Other | None:
    """Read the cases of another evaluation, by case and class.

    Raises:
        UsageError: where there is no `per_case.csv`.
    """
    if folder is None:
        return None
    path = folder / "per_case.csv" if folder.is_dir() else folder
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file (--against); lungseg evaluate writes it.")
    return path, {(r["case"], r["class"]): r for r in read_csv(path, ("case", "class", "dice"))}


def finish(
    config: Config, scored: Scored, output: Path | None, run: Path | None, other: Other | None
) -> Evaluation:
    """Sum up, draw the examples, and write everything to `output`, or else into the `run`."""
    summary = _summaries(config, scored)
    if other is not None:
        summary["against"] = _comparison(config, scored, *other)
    html = build_report(summary, scored.rows, _examples(scored), scored.history, scored.config)
    if output is not None:
        with staged_folder(output, overwrite=True) as staged:
            _write(staged, scored.rows, summary, html)
        return Evaluation(summary, scored.rows, output)
    assert run is not None
    _write(run, scored.rows, summary, html)
    return Evaluation(summary, scored.rows, run)


def _summaries(config: Config, scored: Scored) -> dict[str, Any]:
    rows = scored.rows
    groups = {row["case"]: row["group"] for row in rows}
    settings = config.evaluate
    names = class_metrics(settings.tolerances)
    classes = list(scored.classes)[1:]
    methods = list(dict.fromkeys(row["method"] for row in rows))

    def one(method: str, class_name: str, metric: str) -> dict[str, Any] | None:
        values = {
            row["case"]: row[metric]
            for row in rows
            if row["method"] == method and row["class"] == class_name and metric in row
        }
        if not values:
            return None
        lower = metric in LOWER_IS_BETTER
        return summarise(values, groups, settings.bootstrap, config.seed, lower)

    def of(method: str) -> dict[str, Any]:
        found: dict[str, Any] = {c: {m: one(method, c, m) for m in names} for c in classes}
        for metric in (*PROBABILITY_METRICS, "pixel_accuracy"):
            value = one(method, classes[0], metric)
            if value is not None:
                found[metric] = value
        return found

    own = [row for row in rows if row["method"] == "model"]
    flags = [row["flag"] for row in own if row["flag"]]
    dice = {row["case"]: row["dice"] for row in own if row["class"] == classes[0]}
    return {
        "format": 1,
        **scored.head,
        "cases": len(groups),
        "patients": len(set(groups.values())),
        "classes": classes,
        "distance_unit": own[0]["distance_unit"],
        "volume_unit": own[0]["volume_unit"],
        "flags": {flag: flags.count(flag) for flag in sorted(set(flags))},
        "overall": of("model"),
        "baselines": {method: of(method) for method in methods if method != "model"},
        "per_patient": {
            patient: {"cases": len(values), "dice": float(np.mean(values))}
            for patient, values in per_patient(dice, groups).items()
        },
        **scored.extras,
        "settings": settings.model_dump(mode="json"),
        "seed": config.seed,
        "software": describe_software(),
    }


def _comparison(
    config: Config, scored: Scored, path: Path, other: Mapping[tuple[str, str], Mapping[str, str]]
) -> dict[str, Any]:
    own = [row for row in scored.rows if row["method"] == "model"]
    groups = {row["case"]: row["group"] for row in own}
    found: dict[str, Any] = {"other": str(path)}
    for class_name in list(scored.classes)[1:]:
        found[class_name] = {}
        for metric in class_metrics(config.evaluate.tolerances):
            mine = {r["case"]: r[metric] for r in own if r["class"] == class_name}
            theirs = {
                case: float(row[metric])
                for (case, name), row in other.items()
                if name == class_name and row.get(metric)
            }
            if mine.keys() & theirs.keys():
                found[class_name][metric] = compare(
                    mine, theirs, groups, config.evaluate.bootstrap, config.seed
                )
        if not found[class_name]:
            raise DataError(path, "has no case in common with what is scored here.")
    alone = {row["case"] for row in own} ^ {case for case, _ in other}
    if alone:
        console.warn(
            f"{len(alone)} cases are in one of the two evaluations only and are not compared, "
            f"the first is {sorted(alone)[0]}"
        )
        found["not_compared"] = sorted(alone)
    return found


def _examples(scored: Scored) -> list[Example]:
    """Draw the worst cases and some about the median."""
    first = scored.classes[1]
    own = [r for r in scored.rows if r["method"] == "model" and r["class"] == first]
    ranked = sorted(own, key=lambda row: row["dice"])
    middle = max(WORST, len(ranked) // 2 - 1)
    chosen = [("worst", row) for row in ranked[:WORST]]
    chosen += [("median", row) for row in ranked[middle : middle + MEDIAN_EXAMPLES]]
    return [
        Example(kind, row["case"], row["dice"], row["flag"], scored.draw(row["case"]))
        for kind, row in chosen
    ]


def _write(folder: Path, rows: Sequence[Row], summary: Mapping[str, Any], html: str) -> None:
    own = [dict(row) for row in rows if row["method"] == "model"]
    for row in own:
        del row["method"]
    first = ["case", "group", "class"]
    write_csv(folder / "per_case.csv", first + [key for key in own[0] if key not in first], own)
    overall = summary["overall"]
    names = (*PROBABILITY_METRICS[:2], "pixel_accuracy", *PROBABILITY_METRICS[2:])
    lines = [f"{name},{overall[name]['mean']:.6f}" for name in names if name in overall]
    for class_name in summary["classes"]:
        lines += [f"{class_name}_{k},{v['mean']:.6f}" for k, v in overall[class_name].items()]
    write_text(folder / "evaluation.csv", "\n".join(lines) + "\n")
    write_json(folder / "evaluation.json", summary)
    write_text(folder / "report.html", html)
