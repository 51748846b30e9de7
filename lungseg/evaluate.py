"""`lungseg evaluate`: score a run, or any folder of predictions against any folder of truth.

Writes `report.html`, `evaluation.json` (all summaries), `evaluation.csv` (loss and metrics, a row
each, as the original) and `per_case.csv` (a row a case and class). TensorFlow is never imported: a
run is scored through its `model.onnx`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from lungseg.evaluation import Evaluation, Row, Scored, finish, read_other
from lungseg.files import (
    existing_folder,
    read_csv,
    read_json,
    refuse_nonempty,
)
from lungseg.images import Labels, read_slice
from lungseg.layout import fold_folders, is_layout, read_layout
from lungseg.masks import read_labels
from lungseg.metrics import pixel_accuracy
from lungseg.pictures import Picture, two_outlines
from lungseg.runtime import Predictor, model_paths
from lungseg.scoring import (
    Scale,
    score_classes,
    score_probabilities,
)
from lungseg.slices import Slice
from lungseg.split import Likeness, leakage
from lungseg.workers import batches, ordered_map


def evaluate(
    config: Config,
    run: Path,
    dataset: Path | None,
    output: Path | None = None,
    overwrite: bool = False,
    against: Path | None = None,
) -> Evaluation:
    """Score a run on a part of a data set.

    A run of folds on a data set of folds is a cross-validation: each fold's network is scored on
    the fold it missed, and the cases of all are summed up together. On a plain data set the
    networks of the folds predict together.

    Args:
        config: section `evaluate` is used, the seed for the bootstrap.
        run: run folder with `model.onnx`, or with one in each of `fold_1`, `fold_2` and so on.
        dataset: data set in the `train|valid|test` layout, `evaluate.part` is scored; or folds.
        output: folder for the results; the run folder where absent.
        overwrite: replace an `output` that is not empty.
        against: results of another evaluation of the same cases, to compare with.

    Raises:
        UsageError: for a missing folder or model, or an `output` that holds something.
        DataError: for a damaged model, or a part without slices.
    """
    model_paths(run, None)  # a missing run is said before missing data
    dataset = existing_folder(dataset, "slices", "--data")
    if output is not None:
        refuse_nonempty(output, overwrite)
    other = read_other(against)
    rounds = _rounds(config, run, dataset)
    rows: list[Row] = []
    calibration = Calibration()
    drawn: dict[str, tuple[Predictor, Slice]] = {}
    total = sum(len(r.slices) for r in rounds)
    with console.progress(total, "evaluate") as bar:
        for each in rounds:
            for case_rows in _score_run(each.predictor, each.slices, config, calibration):
                seen = case_rows[0]["case"] in each.seen
                rows += [{**row, **each.label, "seen_in_training": seen} for row in case_rows]
                bar.advance(1)
            drawn |= {s.case: (each.predictor, s) for s in each.slices}

    def draw(case: str) -> Picture:
        predictor, s = drawn[case]
        image = read_slice(s.image, predictor.data)
        truth = read_labels(s.mask, predictor.data)
        guess = predictor.probabilities([image])[0].argmax(axis=-1).astype(np.uint8)
        return two_outlines(image, truth, guess)

    first = rounds[0]
    head = {
        "run": run.name,
        "data": dataset.name,
        "part": config.evaluate.part,
        "seen_in_training": sorted(case for each in rounds for case in each.seen),
    }
    if len(rounds) > 1:
        head["cross_validation"] = f"{len(rounds)} folds, each scored by the network that missed it"
    elif len(first.predictor) > 1:
        head["ensemble"] = f"mean probability of {len(first.predictor)} networks"
    extras: dict[str, Any] = {"calibration": calibration.result(), "audit": _audit(rounds)}
    if config.evaluate.flips:
        extras["uncertainty"] = _uncertainty(rows)
    if (run / "run.json").exists():
        extras["trained"] = read_json(run / "run.json")
    history, run_config = run / "history.csv", first.predictor.path.with_name("config.yaml")
    result = Scored(
        head,
        rows,
        list(first.predictor.data.rgb_map),
        draw,
        extras,
        read_csv(history) if history.exists() else [],
        run_config.read_text(encoding="utf-8") if run_config.exists() else dump_config(config),
    )
    return finish(config, result, output, run, other)


@dataclass(frozen=True)
class _Round:
    """What one predictor is scored on: everything, or one fold of a cross-validation.

    Attributes:
        predictor: the network, or several that predict together.
        parts: the data set.
        slices: those to score.
        seen: cases among them that the network was trained on.
        label: a column for each row: the fold, or nothing.
    """

    predictor: Predictor
    parts: dict[str, list[Slice]]
    slices: list[Slice]
    seen: set[str]
    label: dict[str, int]


def _rounds(config: Config, run: Path, dataset: Path) -> list[_Round]:
    """Pair runs with data: fold by fold, or all folds of a run together on one data set."""
    runs, folds = fold_folders(run), fold_folders(dataset)
    if not folds:
        return [_round(config, run, runs or [run], dataset, {})]
    if [r.name for r in runs] != [d.name for d in folds]:
        raise UsageError(
            f"{dataset} holds {len(folds)} folds, {run} {len(runs)} trained ones. Train the others "
            f"(lungseg train --fold all --resume), or score one: --run {run}/fold_1 --data "
            f"{dataset}/fold_1."
        )
    return [
        _round(config, one, [one], data, {"fold": number})
        for number, (one, data) in enumerate(zip(runs, folds, strict=True), 1)
    ]


def _round(
    config: Config, run: Path, runs: Sequence[Path], dataset: Path, label: dict[str, int]
) -> _Round:
    predictor = Predictor(model_paths(run, None), device=config.infer.device)
    if not is_layout(dataset):
        raise DataError(f"{dataset}: expected train/images and train/masks; run lungseg split.")
    part = config.evaluate.part
    parts = read_layout(dataset, config.model_copy(update={"data": predictor.data}))
    slices = parts[part]
    if not slices:
        raise DataError(f"{dataset / part}: holds no usable pair of image and mask.")
    seen: set[str] = set()
    if part != "train":
        seen = set().union(*(_seen_in_training(one, slices) for one in runs))
    if seen:
        console.warn(
            f"{len(seen)} of {len(slices)} cases of {part} belong to patients (or are pixels) the "
            f"network was trained on, the first is {sorted(seen)[0]}: the scores will be too good."
        )
    return _Round(predictor, parts, slices, seen, label)


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


def _audit(rounds: Sequence[_Round]) -> dict[str, Any]:
    """Say what was scored on what: the sizes of the first round's parts, the worst likeness."""
    closest: dict[tuple[str, str], Likeness] = {}
    for each in rounds:
        for like in leakage(each.parts):
            known = closest.get(like.parts)
            if known is None or like.similarity > known.similarity:
                closest[like.parts] = like
    return {
        "parts": {
            part: {
                "slices": sum(not s.is_copy for s in slices),
                "copies": sum(s.is_copy for s in slices),
                "patients": len({s.group for s in slices}),
            }
            for part, slices in rounds[0].parts.items()
        },
        "most_alike": [
            {"parts": list(a.parts), "cases": list(a.cases), "similarity": a.similarity}
            for a in closest.values()
        ],
    }
