"""`lungseg evaluate`: score a run, or any folder of predictions against any folder of truth.

Writes `report.html`, `evaluation.json` (all summaries), `evaluation.csv` (one row per score, as the
original does) and `per_case.csv` (one row per case and class). TensorFlow is never imported,
because a run is scored through its `model.onnx`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from lungseg.config.loading import dump_config
from lungseg.config.schema import Config
from lungseg.evaluation.comparison import read_other
from lungseg.evaluation.describing import describe
from lungseg.evaluation.folders import (
    FolderScores,
    Pairing,
    draw_case,
    pair_masks,
    report_problems,
    score_pairs,
    with_patients,
)
from lungseg.evaluation.naming import A_FILE, FILES
from lungseg.evaluation.results import Evaluation, Scored, finish
from lungseg.evaluation.runs import pair_runs, score_parts
from lungseg.evaluation.sources import results_folder
from lungseg.inference.predictor import model_paths
from lungseg.reporting.model_card import write_model_card
from lungseg.system import console
from lungseg.system.files import existing_folder
from lungseg.system.outputs import check_output, refuse_inputs, staged_output
from lungseg.system.run_files import EVALUATION_FILES, open_run
from lungseg.system.shipped import as_run, choose_run, refuse_shipped

# The keys by which masks of other tools are scored.
SCORING = {
    "seed": True,
    "data": {"rgb_map", "labels", "structures"},
    "split": {"group_regex", "group_csv", "group_column"},
    "evaluate": {"bootstrap", "tolerances", "missing"},
}


def evaluate(
    config: Config,
    run: str | Path | None,
    dataset: str | Path,
    output: str | Path | None = None,
    *,
    overwrite: bool = False,
    against: str | Path | None = None,
) -> Evaluation:
    """Score a run on a part of a data set.

    A run of folds on a data set of folds is a cross-validation: each network is scored on the fold
    that it was not trained on, and the cases of all folds are summarised together. On a plain data
    set the networks of the folds predict together.

    Args:
        config: section `evaluate` is used, and the seed for the bootstrap.
        run: run folder with `model.onnx`, or with one in each of `fold_1`, `fold_2` and so on; or
            `"shipped"`. None is `train.run` if the config sets it, otherwise the shipped network.
        dataset: data set in the `train|valid|test` layout, of which `evaluate.part` is scored; a
            folder of folds; or prepared slices, or `images` and `masks`, which are scored whole.
        output: folder for the results; by default the run folder for the test part of the run's
            own data set, and a folder in it for other slices. The shipped network needs one.
        overwrite: replace an `output` that `evaluate` wrote.
        against: results of another evaluation of the same cases, to compare with.

    Raises:
        UsageError: if a folder or model is missing, or `output` may not be written.
        DataError: if a model is damaged, or the part holds no slices.

    Examples:
        >>> config = lungseg.load_config("lung.yaml")
        >>> result = lungseg.evaluate(config, "demo/run", "data/dataset", "work/scores")
        >>> 0 <= result.summary["overall"]["lung"]["dice"]["mean"] <= 1
        True
    """
    run = choose_run(config) if run is None else as_run(run)
    if output is None:
        refuse_shipped(run)
    model_paths(run, None)  # checked first, so that its error comes first
    dataset = existing_folder(dataset, "slices")
    output = None if output is None else Path(output)
    other = read_other(None if against is None else Path(against))
    read = [run, dataset, None if other is None else other.path]
    if output is not None:
        check_output(output, "evaluate", read, overwrite=overwrite)
    parts = pair_runs(config, run, dataset)
    read += [path for part in parts for s in part.slices for path in (s.image, s.mask)]
    scored_by = [(part.run, {s.sha256 for s in part.slices}) for part in parts]
    results = output or results_folder(run, dataset, scored_by)
    if output is None:
        opened = _add_to_run(run, results, read)
    else:
        opened = staged_output(output, "evaluate", read, overwrite=overwrite)
    with opened as folder:
        scored = describe(config, run, dataset, parts, score_parts(parts, config))
        return finish(config, scored, folder, results, other)


def evaluate_folders(
    config: Config,
    pred: str | Path,
    truth: str | Path,
    output: str | Path,
    *,
    images: str | Path | None = None,
    overwrite: bool = False,
    against: str | Path | None = None,
) -> Evaluation:
    """Score a folder of predicted masks against a folder of true ones.

    A true mask without a usable prediction (missing, unreadable, of another size or geometry) is
    scored as an empty prediction and listed among `problems`. So a tool that leaves out hard cases
    gets no higher score. `evaluate.missing: leave_out` changes that. Predictions without a truth
    are listed.

    Args:
        config: sections `evaluate`, `data.rgb_map` and `split` (names of patients) are used.
        pred: folder of predicted masks.
        truth: folder of true masks.
        output: folder for the results.
        images: folder of the images, for the grey-threshold baseline and the report's pictures.
        overwrite: replace an `output` that `evaluate` wrote.
        against: results of another evaluation of the same cases, to compare with.

    Raises:
        UsageError: if a folder is missing, or `output` may not be written.
        DataError: if no case can be compared, or a true mask cannot be read.
    """
    predictions = existing_folder(pred, "predicted masks")
    truth = existing_folder(truth, "true masks")
    output = Path(output)
    other = read_other(None if against is None else Path(against))
    pictures = None if images is None else Path(images)
    read = [predictions, truth, pictures, None if other is None else other.path]
    check_output(output, "evaluate", read, overwrite=overwrite)
    pairing = with_patients(pair_masks(predictions, truth, pictures), config)
    if pairing.patients_from == FILES:
        console.warn(
            f"the patients of {len(pairing.cases)} cases are unknown, so each file counts as one "
            "patient. If a patient has several files, the intervals are too narrow. Name the "
            "patients: split.group_regex or split.group_csv."
        )
    read += [path for case in pairing.cases for path in (case.truth, case.prediction, case.image)]
    with staged_output(output, "evaluate", read, overwrite=overwrite) as folder:
        scores = score_pairs(pairing.cases, config)
        report_problems(pairing, scores, config)
        return finish(config, _describe(pairing, scores, config), folder, output, other)


@contextlib.contextmanager
def _add_to_run(run: Path, results: Path, read: Sequence[Path | None]) -> Iterator[Path]:
    """Yield the folder for the results: the run itself, or a folder in it."""
    files = [results / name for name in EVALUATION_FILES]
    for file in files:
        refuse_inputs(file, read)
    with open_run(run, [file.relative_to(run).as_posix() for file in files]) as output:
        results.mkdir(exist_ok=True)
        yield results
        if results == run:
            write_model_card(run, output)  # it has the scores of the run's own test part


def _describe(pairing: Pairing, scores: FolderScores, config: Config) -> Scored:
    by_name = {case.name: case for case in pairing.cases}
    head = {
        "predictions": pairing.predictions.name,
        "truth": pairing.truth.name,
        "unknown_patients": len(pairing.cases) if pairing.patients_from == FILES else 0,
        "patients_from": pairing.patients_from,
        "group_is": A_FILE if pairing.patients_from == FILES else None,
        "problems": [asdict(problem) for problem in scores.problems],
        "extra_predictions": pairing.extra,
        "remarks": [asdict(remark) for remark in scores.remarks],
    }
    return Scored(
        head=head,
        rows=scores.rows,
        classes=list(config.data.rgb_map),
        draw=lambda name: draw_case(by_name[name], config),
        config=dump_config(config, SCORING),
    )
