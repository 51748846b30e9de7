"""A run is scored on a data set, or fold by fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.leakage import Likeness, leakage
from lungseg.dataset.reading import fold_folders, is_layout, read_layout
from lungseg.dataset.slices import Slice
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.calibration import Calibration, relative_entropy
from lungseg.evaluation.cases import BASELINES, Scale, score_classes, score_probabilities
from lungseg.evaluation.metrics import pixel_accuracy
from lungseg.evaluation.results import Row
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import Labels, read_slice
from lungseg.inference.predictor import Predictor, model_paths
from lungseg.system import console
from lungseg.system.environment import batches, ordered_map
from lungseg.system.tables import read_csv


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


def pair_rounds(config: Config, run: Path, dataset: Path) -> list[_Round]:
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


def score_run(
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
    yield from ordered_map(score, predicted, config.evaluate.threads)


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


def relate_uncertainty(rows: Sequence[Row]) -> dict[str, Any]:
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


def audit_rounds(rounds: Sequence[_Round]) -> dict[str, Any]:
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
