"""`lungseg evaluate`: score a run, or any folder of predictions against any folder of truth.

Writes `report.html`, `evaluation.json` (all summaries), `evaluation.csv` (loss and metrics, a row
each, as the original) and `per_case.csv` (a row a case and class). TensorFlow is never imported: a
run is scored through its `model.onnx`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg import console
from lungseg.baselines import BASELINES
from lungseg.calibration import Calibration, relative_entropy
from lungseg.config import Config
from lungseg.configfile import dump_config
from lungseg.errors import DataError, UsageError
from lungseg.files import (
    existing_folder,
    read_csv,
    read_json,
    refuse_nonempty,
    staged_folder,
    write_csv,
    write_json,
    write_text,
)
from lungseg.images import Labels, read_slice
from lungseg.layout import is_layout, read_layout
from lungseg.masks import read_labels
from lungseg.metrics import pixel_accuracy
from lungseg.pictures import Picture, two_outlines
from lungseg.provenance import describe_software
from lungseg.report import Example, build_report
from lungseg.runtime import Predictor, model_path
from lungseg.scoring import (
    LOWER_IS_BETTER,
    PROBABILITY_METRICS,
    Scale,
    class_metrics,
    score_classes,
    score_probabilities,
)
from lungseg.slices import Slice
from lungseg.split import leakage
from lungseg.summary import WORST, compare, per_patient, summarise
from lungseg.workers import batches, ordered_map

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


def evaluate(
    config: Config,
    run: Path,
    dataset: Path | None,
    output: Path | None = None,
    overwrite: bool = False,
    against: Path | None = None,
) -> Evaluation:
    """Score a run on a part of a data set.

    Args:
        config: section `evaluate` is used, the seed for the bootstrap.
        run: run folder with `model.onnx`.
        dataset: data set in the `train|valid|test` layout; `evaluate.part` is scored.
        output: folder for the results; the run folder where absent.
        overwrite: replace an `output` that is not empty.
        against: results of another evaluation of the same cases, to compare with.

    Raises:
        UsageError: for a missing folder or model, or an `output` that holds something.
        DataError: for a damaged model, or a part without slices.
    """
    predictor = Predictor(model_path(run, None))
    dataset = existing_folder(dataset, "slices", "--data")
    if not is_layout(dataset):
        raise DataError(f"{dataset}: expected train/images and train/masks; run lungseg split.")
    if output is not None:
        refuse_nonempty(output, overwrite)
    other = read_other(against)
    part = config.evaluate.part
    parts = read_layout(dataset, config.model_copy(update={"data": predictor.data}))
    slices = parts[part]
    if not slices:
        raise DataError(f"{dataset / part}: holds no usable pair of image and mask.")
    seen = _seen_in_training(run, slices) if part != "train" else set()
    if seen:
        console.warn(
            f"{len(seen)} of {len(slices)} cases of {part} belong to patients (or are pixels) the "
            f"network was trained on, the first is {sorted(seen)[0]}: the scores will be too good."
        )
    rows: list[Row] = []
    calibration = Calibration()
    scored = _score_run(predictor, slices, config, calibration)
    for case_rows in console.track(scored, len(slices), "evaluate"):
        rows += [{**row, "seen_in_training": row["case"] in seen} for row in case_rows]
    by_case = {s.case: s for s in slices}

    def draw(case: str) -> Picture:
        image = read_slice(by_case[case].image, predictor.data)
        truth = read_labels(by_case[case].mask, predictor.data)
        guess = predictor.probabilities([image])[0].argmax(axis=-1).astype(np.uint8)
        return two_outlines(image, truth, guess)

    head = {"run": run.name, "data": dataset.name, "part": part, "seen_in_training": sorted(seen)}
    extras: dict[str, Any] = {"calibration": calibration.result(), "audit": _audit(parts)}
    if config.evaluate.flips:
        extras["uncertainty"] = _uncertainty(rows)
    if (run / "run.json").exists():
        extras["trained"] = read_json(run / "run.json")
    history, run_config = run / "history.csv", run / "config.yaml"
    result = Scored(
        head,
        rows,
        list(predictor.data.rgb_map),
        draw,
        extras,
        read_csv(history) if history.exists() else [],
        run_config.read_text(encoding="utf-8") if run_config.exists() else dump_config(config),
    )
    return finish(config, result, output, run, other)


def _seen_in_training(run: Path, slices: Sequence[Slice]) -> set[str]:
    """Return the cases whose pixels or patient are among the training slices of the run."""
    listing = run / "data.csv"
    if not listing.exists():
        return set()
    rows = read_csv(listing, ("part", "group", "sha256"))
    trained = [row for row in rows if row["part"] == "train"]
    hashes, groups = {row["sha256"] for row in trained}, {row["group"] for row in trained}
    return {s.case for s in slices if s.sha256 in hashes or s.group in groups}


@dataclass(frozen=True)
class _Predicted:
    slice: Slice
    image: NDArray[np.uint8]
    truth: Labels
    probabilities: NDArray[np.float32]
    mirrored: NDArray[np.float32] | None


def _score_run(
    predictor: Predictor, slices: Sequence[Slice], config: Config, calibration: Calibration
) -> Iterator[list[Row]]:
    """Yield the rows of each case: the network's, then each baseline's, for every class."""
    classes = list(predictor.data.rgb_map)
    scale, tolerances = Scale(), config.evaluate.tolerances

    def score(case: _Predicted) -> list[Row]:
        p, truth = case.probabilities, case.truth
        guesses = {"model": p.argmax(axis=-1).astype(np.uint8)}
        guesses |= {name: baseline(case.image) for name, baseline in BASELINES.items()}
        rows = []
        for method, guess in guesses.items():
            base: Row = {"case": case.slice.case, "group": case.slice.group, "method": method}
            base["pixel_accuracy"] = pixel_accuracy(truth, guess)
            if method == "model":
                base |= score_probabilities(truth, p)
                if case.mirrored is not None:
                    both = np.asarray((p + case.mirrored) / 2, dtype=np.float32)
                    base["entropy"] = relative_entropy(both)
            scores = score_classes(truth, guess, classes, scale, tolerances)
            rows += [{**base, **row} for row in scores]
        return rows

    predicted = _predict(predictor, slices, config, calibration)
    yield from ordered_map(score, predicted, config.evaluate.workers)


def _predict(
    predictor: Predictor, slices: Sequence[Slice], config: Config, calibration: Calibration
) -> Iterator[_Predicted]:
    data = predictor.data

    def load(s: Slice) -> tuple[Slice, NDArray[np.uint8], Labels]:
        return s, read_slice(s.image, data), read_labels(s.mask, data)

    for batch in batches(ordered_map(load, slices), config.evaluate.batch_size):
        images = [image for _, image, _ in batch]
        probabilities = predictor.probabilities(images)
        mirrored = None
        if config.evaluate.flips:
            mirrored = predictor.probabilities([np.fliplr(image) for image in images])[:, :, ::-1]
        for index, (s, image, truth) in enumerate(batch):
            p = probabilities[index]
            calibration.add(truth > 0, 1 - p[..., 0])
            yield _Predicted(s, image, truth, p, None if mirrored is None else mirrored[index])


def _uncertainty(rows: Sequence[Row]) -> dict[str, Any]:
    """Relate how unsure the network is (entropy of the mirrored mean) to how wrong it is."""
    from scipy.stats import spearmanr

    own = [row for row in rows if row["method"] == "model"]
    entropy, error = [r["entropy"] for r in own], [1 - r["dice"] for r in own]
    varied = len(own) > 2 and len(set(entropy)) > 1 and len(set(error)) > 1
    return {
        "entropy_of": "the mean of the prediction and that of the mirrored image",
        "mean_entropy": float(np.mean(entropy)),
        "spearman_with_error": float(spearmanr(entropy, error).statistic) if varied else None,
    }


def _audit(parts: Mapping[str, Sequence[Slice]]) -> dict[str, Any]:
    return {
        "parts": {
            part: {
                "slices": sum(not s.is_copy for s in slices),
                "copies": sum(s.is_copy for s in slices),
                "patients": len({s.group for s in slices}),
            }
            for part, slices in parts.items()
        },
        "most_alike": [
            {"parts": list(a.parts), "cases": list(a.cases), "similarity": a.similarity}
            for a in leakage(parts)
        ],
    }


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
            raise DataError(f"{path}: has no case in common with what is scored here.")
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


def show(summary: Mapping[str, Any]) -> None:
    """Print the tables of an evaluation: a column for the network, one for each baseline."""
    overall = summary["overall"]
    methods = {"model": overall, **summary["baselines"]}
    unit = summary["distance_unit"]
    for class_name in summary["classes"]:
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
            (f"HD95, mean, {unit}", "hd95", "mean"),
            (f"ASSD, mean, {unit}", "assd", "mean"),
            ("boundary IoU, mean", "boundary_iou", "mean"),
        ):
            values = [method[class_name][metric][key] for method in methods.values()]
            rows.append([label, *(_format(value) for value in values)])
        accuracy = [_format(method["pixel_accuracy"]["mean"]) for method in methods.values()]
        rows.append(["pixel accuracy", *accuracy])
        part = summary.get("part", summary.get("predictions", ""))
        title = f"{part}: {summary['cases']} cases, {summary['patients']} patients"
        console.table(title, [class_name, *methods], rows)
    worst = overall[summary["classes"][0]]["dice"]["worst"]
    console.note("worst: " + ", ".join(f"{case} {value:.4f}" for case, value in worst))
    if "categorical_crossentropy" in overall:
        console.note(
            f"loss (categorical_crossentropy) {overall['categorical_crossentropy']['mean']:.4f}, "
            f"dice_coef_multiclass {overall['dice_coef_multiclass']['mean']:.4f} "
            "(all classes, soft: near pixel accuracy)"
        )
    for class_name in summary["classes"] if "against" in summary else ():
        difference = summary["against"][class_name]["dice"]
        p = difference["wilcoxon"]["p"]
        console.note(
            f"against {summary['against']['other']}: {class_name} Dice differs by "
            f"{difference['mean_difference']:+.4f} ({_format(difference['ci95'])}), Wilcoxon "
            f"p {'-' if p is None else format(p, '.3g')} over {difference['patients']} patients"
        )


def _format(value: float | Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else " to ".join(f"{v:.4f}" for v in value)
