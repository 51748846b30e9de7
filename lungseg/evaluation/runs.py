"""Scoring a run on a data set, or each fold's network on the fold it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.loading import dump_config
from lungseg.config.schema import Config, SplitConfig
from lungseg.dataset.patients import warn_of_few_patients, warn_of_unknown_patients
from lungseg.dataset.reading import check_layout, fold_folders, read_layout
from lungseg.dataset.seen import seen_in_training
from lungseg.dataset.similarity import Likeness, most_alike_pairs
from lungseg.dataset.slices import Slice
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.calibration import Calibration, relative_entropy
from lungseg.evaluation.cases import (
    BASELINES,
    CaseScore,
    score_classes,
    score_probabilities,
)
from lungseg.evaluation.metrics import PixelSize, pixel_accuracy
from lungseg.evaluation.results import Scored
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import Labels, labels_of, read_slice
from lungseg.inference.predictor import Predictor, model_paths
from lungseg.reporting.overlays import Picture, two_outlines
from lungseg.system import console
from lungseg.system.environment import batches, ordered_map
from lungseg.system.tables import read_csv, read_json


@dataclass(frozen=True)
class ScoredPart:
    """The slices that one predictor is scored on: a part of a data set, or of one fold.

    Attributes:
        predictor: the network, or several that predict together.
        parts: all parts of the data set.
        slices: the slices to score.
        seen: cases among them that the network was trained on.
        fold: number of the fold in a cross-validation.
    """

    predictor: Predictor
    parts: dict[str, list[Slice]]
    slices: list[Slice]
    seen: set[str]
    fold: int | None = None

    def draw(self, case: str) -> Picture:
        """Draw a case with truth and prediction outlined."""
        chosen = next(each for each in self.slices if each.case == case)
        image = read_slice(chosen.image, self.predictor.data)
        truth = read_labels(chosen.mask, self.predictor.data)
        return two_outlines(image, truth, labels_of(self.predictor.probabilities([image])[0]))


def pair_runs(config: Config, run: Path, dataset: Path) -> list[ScoredPart]:
    """Pair each fold's network with its fold, or all networks of a run with one data set."""
    runs, folds = fold_folders(run), fold_folders(dataset)
    if not folds:
        return [_scored_part(config, runs or [run], dataset)]
    if [r.name for r in runs] != [d.name for d in folds]:
        raise UsageError(
            f"{dataset} holds {len(folds)} folds, {run} {len(runs)} trained ones. Train the others "
            f"(lungseg train --fold all --resume), or score one: --run {run}/fold_1 --data "
            f"{dataset}/fold_1."
        )
    return [
        _scored_part(config, [fold_run], fold_data, number)
        for number, (fold_run, fold_data) in enumerate(zip(runs, folds, strict=True), 1)
    ]


def _scored_part(
    config: Config, runs: Sequence[Path], dataset: Path, fold: int | None = None
) -> ScoredPart:
    """Load the networks of `runs`, which predict together, and the data set."""
    paths = [path for run in runs for path in model_paths(run, None)]
    predictor = Predictor(paths, device=config.infer.device)
    check_layout(dataset)
    part = config.evaluate.part
    own = config.model_copy(update={"data": predictor.data})
    parts = read_layout(dataset, own, compared=[part])
    slices = parts[part]
    if not slices:
        raise DataError(dataset / part, "holds no usable pair of image and mask.")
    warn_of_unknown_patients(slices)
    if fold is None:
        warn_of_few_patients(slices, part)
    seen: set[str] = set()
    namesakes: set[str] = set()
    for run in runs if part != "train" else ():
        found = seen_in_training(run / "data.csv", parts, part, config.split)
        seen |= found.cases
        namesakes |= found.namesakes
    if seen:
        console.warn(
            f"the network was trained on the patients or the pixels of {len(seen)} of "
            f"{len(slices)} cases of {part}, so the scores will be too good; the first is "
            f"{sorted(seen)[0]}"
        )
    if namesakes - seen:
        console.warn(
            f"{len(namesakes - seen)} cases of {part} have patients of the same names as in the "
            "training. They look different, so they count as other patients; the first is "
            f"{sorted(namesakes - seen)[0]}"
        )
    return ScoredPart(predictor, parts, slices, seen, fold)


@dataclass(frozen=True)
class _Predicted:
    """A slice with its truth and its prediction.

    Attributes:
        slice: the slice.
        image: uint8 `(H, W)` or `(H, W, 3)`.
        truth: class indices `(H, W)`.
        probabilities: float32 `(H, W, C)`.
        mirrored: probabilities from the mirrored image, mirrored back; None if not asked for.
    """

    slice: Slice
    image: NDArray[np.uint8]
    truth: Labels
    probabilities: NDArray[np.float32]
    mirrored: NDArray[np.float32] | None


def score_parts(parts: Sequence[ScoredPart], config: Config) -> tuple[list[CaseScore], Calibration]:
    """Score every slice of every part, by the network and by each baseline.

    Returns:
        One row for each case, class and method; the calibration over all slices.
    """
    rows: list[CaseScore] = []
    calibration = Calibration()
    with console.progress(sum(len(part.slices) for part in parts), "evaluate") as bar:
        for part in parts:
            score = partial(_score_slice, part=part, config=config)
            predicted = _predict(part, config, calibration)
            for case_rows in ordered_map(score, predicted, config.evaluate.threads):
                rows += case_rows
                bar.advance(1)
    return rows, calibration


def _predict(part: ScoredPart, config: Config, calibration: Calibration) -> Iterator[_Predicted]:
    """Predict the slices of a part in batches, and add each to the calibration."""
    predictor = part.predictor
    data = predictor.data

    def load(s: Slice) -> tuple[Slice, NDArray[np.uint8], Labels]:
        return s, read_slice(s.image, data), read_labels(s.mask, data)

    for batch in batches(ordered_map(load, part.slices), config.evaluate.batch_size):
        images = [image for _, image, _ in batch]
        probabilities = predictor.probabilities(images)
        mirrored = None
        if config.evaluate.flips:
            mirrored = predictor.probabilities([np.fliplr(image) for image in images])[:, :, ::-1]
        for index, (s, image, truth) in enumerate(batch):
            p = probabilities[index]
            calibration.add(truth > 0, 1 - p[..., 0])
            yield _Predicted(s, image, truth, p, None if mirrored is None else mirrored[index])


def _score_slice(case: _Predicted, part: ScoredPart, config: Config) -> list[CaseScore]:
    """Return the rows of one slice for every class: first the network, then each baseline."""
    masks = {"model": labels_of(case.probabilities)}
    masks |= {name: baseline(case.image) for name, baseline in BASELINES.items()}
    classes = list(part.predictor.data.rgb_map)
    tolerances = config.evaluate.tolerances
    probabilities = score_probabilities(case.truth, case.probabilities)
    entropy = None
    if case.mirrored is not None:
        mean = np.asarray((case.probabilities + case.mirrored) / 2, dtype=np.float32)
        entropy = relative_entropy(mean)
    return [
        CaseScore(
            case=case.slice.case,
            group=case.slice.group,
            class_name=class_name,
            method=method,
            pixel_accuracy=pixel_accuracy(case.truth, mask),
            probabilities=probabilities if method == "model" else None,
            entropy=entropy if method == "model" else None,
            scores=scores,
            fold=part.fold,
            seen_in_training=case.slice.case in part.seen,
        )
        for method, mask in masks.items()
        for class_name, scores in score_classes(
            case.truth, mask, classes, PixelSize(), tolerances
        ).items()
    ]


def describe(
    config: Config,
    run: Path,
    dataset: Path,
    parts: Sequence[ScoredPart],
    rows: list[CaseScore],
    calibration: Calibration,
) -> Scored:
    """Gather the run, its data and its training for `evaluation.json`, beside the scores."""
    first = parts[0]
    head = {
        "run": run.name,
        "data": dataset.name,
        "part": config.evaluate.part,
        "unknown_patients": sum(not s.named for part in parts for s in part.slices),
        "seen_in_training": sorted(case for part in parts for case in part.seen),
    }
    if len(parts) > 1:
        head["cross_validation"] = f"{len(parts)} folds, each scored by a network not trained on it"
    elif len(first.predictor) > 1:
        head["ensemble"] = f"mean probability of {len(first.predictor)} networks"
    extras: dict[str, Any] = {
        "calibration": calibration.result(),
        "audit": audit_parts(parts, config.split),
    }
    if config.evaluate.flips:
        extras["uncertainty"] = relate_uncertainty(rows)
    if (run / "run.json").exists():
        extras["trained"] = read_json(run / "run.json")
    history = run / "history.csv"
    run_config = first.predictor.path.with_name("config.yaml")
    text = run_config.read_text(encoding="utf-8") if run_config.exists() else dump_config(config)
    by_case = {each.case: part for part in parts for each in part.slices}
    return Scored(
        head=head,
        rows=rows,
        classes=list(first.predictor.data.rgb_map),
        draw=lambda case: by_case[case].draw(case),
        extras=extras,
        history=read_csv(history) if history.exists() else [],
        config=text,
    )


def relate_uncertainty(rows: Sequence[CaseScore]) -> dict[str, Any]:
    """Relate the network's uncertainty (entropy of the mirrored mean) to its error."""
    from scipy.stats import spearmanr

    pairs = [(row.entropy, 1 - row.scores.dice) for row in rows if row.entropy is not None]
    entropy = [entropy for entropy, _ in pairs]
    error = [error for _, error in pairs]
    varied = len(pairs) > 2 and len(set(entropy)) > 1 and len(set(error)) > 1
    return {
        "entropy_of": "the mean of the predictions for the image and the mirrored image",
        "mean_entropy": float(np.mean(entropy)),
        "spearman_with_error": float(spearmanr(entropy, error).statistic) if varied else None,
    }


def audit_parts(parts: Sequence[ScoredPart], split: SplitConfig) -> dict[str, Any]:
    """Return the sizes of the first data set's parts, and the most similar slices across parts."""
    closest: dict[tuple[str, str], Likeness] = {}
    for part in parts:
        for likeness in most_alike_pairs(part.parts, split):
            known = closest.get(likeness.parts)
            if known is None or likeness.similarity > known.similarity:
                closest[likeness.parts] = likeness
    return {
        "parts": {
            name: {
                "slices": sum(not s.is_copy for s in slices),
                "copies": sum(s.is_copy for s in slices),
                "patients": len({s.group for s in slices}),
            }
            for name, slices in parts[0].parts.items()
        },
        "most_alike": [
            {
                "parts": list(likeness.parts),
                "cases": list(likeness.cases),
                "similarity": likeness.similarity,
            }
            for likeness in closest.values()
        ],
    }
