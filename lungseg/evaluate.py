"""`lungseg evaluate`: score a run on a part of a data set, through its `model.onnx`.

Writes `evaluation.csv` (loss and metrics, a row each, as the original), `evaluation.json` (all
summaries) and `per_case.csv` (a row a case and class).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg import console, metrics
from lungseg.baselines import BASELINES
from lungseg.config import Config
from lungseg.errors import DataError
from lungseg.files import (
    existing_folder,
    read_csv,
    staged_folder,
    write_csv,
    write_json,
    write_text,
)
from lungseg.images import Labels, read_slice
from lungseg.layout import is_layout, read_layout
from lungseg.masks import read_labels
from lungseg.runtime import Predictor, model_path
from lungseg.slices import Slice
from lungseg.workers import batches, ordered_map

CASE_COLUMNS = (
    "case", "group", "class", *metrics.CLASS_METRICS, "truth_pixels", "predicted_pixels", "flag",
    "pixel_accuracy", "dice_coef_multiclass", "categorical_crossentropy", "seen_in_training",
)  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """The scores of a run.

    Attributes:
        output: folder written to.
        summary: the content of `evaluation.json`.
        rows: the rows of `per_case.csv`.
    """

    output: Path
    summary: dict[str, Any]
    rows: list[dict[str, Any]]


def evaluate(
    config: Config,
    run: Path,
    dataset: Path | None,
    output: Path | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Score a run.

    Args:
        config: sections `evaluate` and `data.rgb_map` are used, the seed for the bootstrap.
        run: run folder with `model.onnx`.
        dataset: data set in the `train|valid|test` layout; `evaluate.part` is scored.
        output: folder for the results; the run folder where absent.
        overwrite: replace an `output` that is not empty.

    Raises:
        UsageError: for a missing folder or model, or an `output` that holds something.
        DataError: for a damaged model, or a part without slices.
    """
    predictor = Predictor(model_path(run, None))
    dataset = existing_folder(dataset, "slices", "--data")
    if not is_layout(dataset):
        raise DataError(f"{dataset}: expected train/images and train/masks; run lungseg split.")
    part = config.evaluate.part
    slices = read_layout(dataset, config.model_copy(update={"data": predictor.data}))[part]
    if not slices:
        raise DataError(f"{dataset / part}: holds no usable pair of image and mask.")
    seen = _seen_in_training(run, slices) if part != "train" else set()
    if seen:
        console.warn(
            f"{len(seen)} of {len(slices)} cases of {part} belong to patients (or are pixels) the "
            f"network was trained on, the first is {sorted(seen)[0]}: the scores will be too good."
        )
    rows: list[dict[str, Any]] = []
    scored = _score(predictor, slices, config.evaluate.batch_size)
    for case_rows in console.track(scored, len(slices), "evaluate"):
        rows += [{**row, "seen_in_training": row["case"] in seen} for row in case_rows]
    summary = {
        "run": str(run),
        "data": str(dataset),
        "part": part,
        "seen_in_training": sorted(seen),
        **_summaries(rows, predictor.data.rgb_map, config),
    }
    if output is None:
        _write(run, rows, summary)
    else:
        with staged_folder(output, overwrite, (run, dataset)) as staged:
            _write(staged, rows, summary)
    return Evaluation(output or run, summary, rows)


def _seen_in_training(run: Path, slices: Sequence[Slice]) -> set[str]:
    """Return the cases whose pixels or patient are among the training slices of the run."""
    listing = run / "data.csv"
    if not listing.exists():
        return set()
    trained = [
        row for row in read_csv(listing, ("part", "group", "sha256")) if row["part"] == "train"
    ]
    hashes, groups = {row["sha256"] for row in trained}, {row["group"] for row in trained}
    return {s.case for s in slices if s.sha256 in hashes or s.group in groups}


def _score(
    predictor: Predictor, slices: Sequence[Slice], batch_size: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each case: the network's, then each baseline's, for every class."""
    data = predictor.data

    def load(s: Slice) -> tuple[Slice, NDArray[np.uint8], Labels]:
        return s, read_slice(s.image, data), read_labels(s.mask, data)

    for batch in batches(ordered_map(load, slices), batch_size):
        probabilities = predictor.probabilities([image for _, image, _ in batch])
        for (s, image, truth), one in zip(batch, probabilities, strict=True):
            guess = one.argmax(axis=-1).astype(np.uint8)
            extra = {
                "dice_coef_multiclass": metrics.dice_coef_multiclass(truth, one),
                "categorical_crossentropy": metrics.categorical_crossentropy(truth, one),
            }
            rows = _rows(s, "model", truth, guess, list(data.rgb_map), extra)
            for name, baseline in BASELINES.items():
                rows += _rows(s, name, truth, baseline(image), list(data.rgb_map), {})
            yield rows


def _rows(
    s: Slice,
    method: str,
    truth: Labels,
    guess: Labels,
    classes: Sequence[str],
    extra: Mapping[str, float],
) -> list[dict[str, Any]]:
    rows = []
    for index, name in enumerate(classes):
        if index == 0:
            continue
        counts = metrics.count(truth == index, guess == index)
        rows.append(
            {
                "case": s.case,
                "group": s.group,
                "class": name,
                "method": method,
                **{key: metric(counts) for key, metric in metrics.CLASS_METRICS.items()},
                "truth_pixels": counts.tp + counts.fn,
                "predicted_pixels": counts.tp + counts.fp,
                "flag": counts.flag,
                "pixel_accuracy": metrics.pixel_accuracy(truth, guess),
                **extra,
            }
        )
    return rows


def _summaries(
    rows: Sequence[Mapping[str, Any]], rgb_map: Mapping[str, object], config: Config
) -> dict[str, Any]:
    groups = {row["case"]: row["group"] for row in rows}

    def summarise(method: str, class_name: str, metric: str) -> dict[str, object]:
        values = {
            row["case"]: row[metric]
            for row in rows
            if row["method"] == method and row["class"] == class_name
        }
        return metrics.summarise(values, groups, config.evaluate.bootstrap, config.seed)

    classes = list(rgb_map)[1:]
    per_class = {
        method: {
            name: {metric: summarise(method, name, metric) for metric in metrics.CLASS_METRICS}
            for name in classes
        }
        for method in ("model", *BASELINES)
    }
    per_slice = ("categorical_crossentropy", "dice_coef_multiclass", "pixel_accuracy")
    flags = [row["flag"] for row in rows if row["method"] == "model" and row["flag"]]
    return {
        "cases": len(groups),
        "patients": len(set(groups.values())),
        "flags": {flag: flags.count(flag) for flag in sorted(set(flags))},
        "overall": {
            **per_class["model"],
            **{metric: summarise("model", classes[0], metric) for metric in per_slice},
        },
        "baselines": {
            name: {
                **per_class[name],
                "pixel_accuracy": summarise(name, classes[0], "pixel_accuracy"),
            }
            for name in BASELINES
        },
    }


def _write(folder: Path, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    own = [
        {key: row.get(key, "") for key in CASE_COLUMNS} for row in rows if row["method"] == "model"
    ]
    write_csv(folder / "per_case.csv", CASE_COLUMNS, own)
    overall = summary["overall"]
    lines = [
        f"{name},{overall[name]['mean']:.6f}"
        for name in ("categorical_crossentropy", "dice_coef_multiclass", "pixel_accuracy")
    ]
    for class_name, values in overall.items():
        if class_name not in ("categorical_crossentropy", "dice_coef_multiclass", "pixel_accuracy"):
            lines += [f"{class_name}_{key},{value['mean']:.6f}" for key, value in values.items()]
    write_text(folder / "evaluation.csv", "\n".join(lines) + "\n")
    write_json(folder / "evaluation.json", summary)


def show(summary: Mapping[str, Any]) -> None:
    """Print the tables of an evaluation: a column for the network, one for each baseline."""
    overall = summary["overall"]
    methods = {"model": overall, **summary["baselines"]}
    for class_name in [key for key, values in overall.items() if "dice" in values]:
        rows = []
        for label, metric, key in (
            ("Dice, mean", "dice", "mean"),
            ("  95% interval", "dice", "ci95"),
            ("  median", "dice", "median"),
            ("  5th percentile", "dice", "p5"),
            ("IoU, mean", "iou", "mean"),
            ("precision, mean", "precision", "mean"),
            ("recall, mean", "recall", "mean"),
            ("specificity, mean", "specificity", "mean"),
        ):
            values = [method[class_name][metric][key] for method in methods.values()]
            rows.append([label, *(_format(value) for value in values)])
        accuracy = [_format(method["pixel_accuracy"]["mean"]) for method in methods.values()]
        rows.append(["pixel accuracy", *accuracy])
        title = f"{summary['part']}: {summary['cases']} cases, {summary['patients']} patients"
        console.table(title, [class_name, *methods], rows)
    worst = next(iter(overall.values()))["dice"]["worst"]
    console.note("worst: " + ", ".join(f"{case} {value:.4f}" for case, value in worst))
    console.note(
        f"loss (categorical_crossentropy) {overall['categorical_crossentropy']['mean']:.4f}, "
        f"dice_coef_multiclass {overall['dice_coef_multiclass']['mean']:.4f} "
        "(all classes, soft: near pixel accuracy)"
    )


def _format(value: float | Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else " to ".join(f"{v:.4f}" for v in value)
