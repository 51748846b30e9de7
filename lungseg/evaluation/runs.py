"""Scoring a run on a data set, or each fold's network on the fold it was not trained on."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.datasets import SplitConfig
from lungseg.config.schema import Config
from lungseg.dataset.patients import (
    warn_of_few_patients,
    warn_of_unknown_patients,
    what_is_a_group,
)
from lungseg.dataset.reading import fold_folders
from lungseg.dataset.seen import seen_in_training
from lungseg.dataset.similarity import Likeness, most_alike_pairs
from lungseg.dataset.slices import Slice
from lungseg.errors import UsageError
from lungseg.evaluation.baselines import score_methods
from lungseg.evaluation.calibration import Calibration, relative_entropy
from lungseg.evaluation.cases import CaseScore, score_probabilities
from lungseg.evaluation.drawing import draw_pair
from lungseg.evaluation.metrics import PixelSize
from lungseg.evaluation.sources import Source, read_source
from lungseg.imaging.framing import frame_slice
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import (
    Labels,
    fit_image,
    labels_of,
    read_pixels,
    read_slice,
    to_slice,
)
from lungseg.inference.predictor import Predictor, model_paths
from lungseg.reporting.report import DrawnCase
from lungseg.system import console
from lungseg.system.environment import batches, ordered_map


@dataclass(frozen=True)
class ScoredPart:
    """The slices that one predictor is scored on: a part of a data set, or of one fold.

    Attributes:
        predictor: the network, or several that predict together.
        source: the slices to score, and the others of their data set.
        seen: cases among them that the network was trained on.
        fold: number of the fold in a cross-validation.
    """

    predictor: Predictor
    source: Source
    seen: set[str]
    fold: int | None = None

    @property
    def slices(self) -> list[Slice]:
        """The slices to score."""
        return self.source.slices

    @property
    def run(self) -> Path | None:
        """The run folder of the network; None for several that predict together."""
        return self.predictor.path.parent if len(self.predictor) == 1 else None

    def draw(self, case: str) -> DrawnCase:
        """Draw a case with truth and prediction outlined."""
        chosen = next(each for each in self.slices if each.case == case)
        image = read_slice(chosen.image, self.predictor.data)
        truth = read_labels(chosen.mask, self.predictor.data)
        return draw_pair(image, truth, labels_of(self.predictor.probabilities([image])[0]))


def pair_runs(config: Config, run: Path, dataset: Path) -> list[ScoredPart]:
    """Pair each fold's network with its fold, or all networks of a run with one data set."""
    runs, folds = fold_folders(run), fold_folders(dataset)
    if not folds:
        return [_scored_part(config, runs or [run], dataset)]
    if [r.name for r in runs] != [d.name for d in folds]:
        train = ["lungseg", "train", "--data", dataset, "--run", run, "--fold", "all"]
        if runs:
            train += ["-c", runs[0] / "config.yaml", "--resume"]
        raise UsageError(
            f"{dataset} holds {len(folds)} folds, {run} {len(runs)} trained ones. Train the "
            f"others, {shlex.join(map(str, train))}, or score one: --run {run}/fold_1 --data "
            f"{dataset}/fold_1."
        )
    parts = [
        _scored_part(config, [fold_run], fold_data, number)
        for number, (fold_run, fold_data) in enumerate(zip(runs, folds, strict=True), 1)
    ]
    times = Counter(s.case for part in parts for s in part.slices)
    case, most = times.most_common(1)[0]
    if most > 1:
        part = config.evaluate.part
        raise UsageError(
            f"{dataset}: {case} is in the part {part} of {most} folds, so it would have {most} "
            f"scores. Score the fold that you mean: lungseg evaluate --run {run}/fold_1 --data "
            f"{dataset}/fold_1 --part {part}"
        )
    return parts


def _scored_part(
    config: Config, runs: Sequence[Path], dataset: Path, fold: int | None = None
) -> ScoredPart:
    """Load the networks of `runs`, which predict together, and the data set."""
    paths = [path for run in runs for path in model_paths(run, None)]
    predictor = Predictor(paths, device=config.infer.device)
    data = predictor.data.model_copy(update={"pixel_spacing": config.data.pixel_spacing})
    source = read_source(dataset, config.model_copy(update={"data": data}))
    part, slices = source.part, source.slices
    warn_of_unknown_patients(slices)
    if fold is None:
        warn_of_few_patients(slices, part)
    seen: set[str] = set()
    namesakes: set[str] = set()
    for run in runs if part != "train" else ():
        found = seen_in_training(run / "data.csv", source.parts, part, config.split)
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
    return ScoredPart(predictor, source, seen, fold)


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


@dataclass(frozen=True)
class RunScores:
    """The scores of a run.

    Attributes:
        rows: one row for each case, class and method.
        calibration: over all slices.
        sizes: number of slices of each height and width, before they are resized.
    """

    rows: list[CaseScore] = field(default_factory=list)
    calibration: Calibration = field(default_factory=Calibration)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)


def score_parts(parts: Sequence[ScoredPart], config: Config) -> RunScores:
    """Score every slice of every part, by the network and by each baseline."""
    scores = RunScores()
    with console.progress(sum(len(part.slices) for part in parts), "evaluate") as bar:
        for part in parts:
            score = partial(_score_slice, part=part, config=config)
            predicted = _predict(part, config, scores)
            for case_rows in ordered_map(score, predicted, config.evaluate.threads):
                scores.rows.extend(case_rows)
                bar.advance(1)
    return scores


def _predict(part: ScoredPart, config: Config, scores: RunScores) -> Iterator[_Predicted]:
    """Predict the slices of a part in batches, and add each to the calibration and the sizes."""
    predictor = part.predictor
    data = predictor.data

    def load(s: Slice) -> tuple[Slice, NDArray[np.uint8], Labels, tuple[int, int]]:
        image, _ = to_slice(read_pixels(s.image), data)
        size = (image.shape[0], image.shape[1])
        framed = fit_image(image, frame_slice(size, data))
        return s, framed, read_labels(s.mask, data), size

    for batch in batches(ordered_map(load, part.slices), config.evaluate.batch_size):
        images = [image for _, image, _, _ in batch]
        probabilities = predictor.probabilities(images)
        mirrored = None
        if config.evaluate.flips and not predictor.one_sided:
            flipped_images = [np.fliplr(image) for image in images]
            mirrored = predictor.turned_back(predictor.probabilities(flipped_images))
        for index, (s, image, truth, size) in enumerate(batch):
            p, flipped = probabilities[index], None if mirrored is None else mirrored[index]
            scores.calibration.add(truth > 0, 1 - p[..., 0])
            scores.sizes[size] += 1
            yield _Predicted(s, image, truth, p, flipped)


def _score_slice(case: _Predicted, part: ScoredPart, config: Config) -> list[CaseScore]:
    """Return the rows of one slice for every class: first the network, then each baseline."""
    probabilities = score_probabilities(case.truth, case.probabilities)
    entropy = None
    if case.mirrored is not None:
        mean = np.asarray((case.probabilities + case.mirrored) / 2, dtype=np.float32)
        entropy = relative_entropy(mean)
    classes = list(part.predictor.data.rgb_map)
    return [
        CaseScore(
            case=case.slice.case,
            group=case.slice.group,
            class_name=scored.class_name,
            method=scored.method,
            pixel_accuracy=scored.pixel_accuracy,
            probabilities=probabilities if of_network else None,
            entropy=entropy if of_network else None,
            scores=scored.scores,
            fold=part.fold,
            seen_in_training=case.slice.case in part.seen,
        )
        for scored in score_methods(
            case.truth,
            labels_of(case.probabilities),
            case.image,
            classes,
            PixelSize(),
            config.evaluate.tolerances,
        )
        for of_network in [scored.method == "model" and scored.class_name in classes]
    ]


def audit_parts(parts: Sequence[ScoredPart], split: SplitConfig) -> dict[str, Any]:
    """Return the sizes of the first data set's parts, and the most similar slices across parts."""
    closest: dict[tuple[str, str], Likeness] = {}
    for part in parts:
        for likeness in most_alike_pairs(part.source.parts, split):
            known = closest.get(likeness.parts)
            if known is None or likeness.similarity > known.similarity:
                closest[likeness.parts] = likeness
    every = [s for slices in parts[0].source.parts.values() for s in slices]
    return {
        "group_is": what_is_a_group(every),
        "parts": {
            name: {
                "slices": sum(not s.is_copy for s in slices),
                "copies": sum(s.is_copy for s in slices),
                "patients": len({s.group for s in slices}),
            }
            for name, slices in parts[0].source.parts.items()
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
