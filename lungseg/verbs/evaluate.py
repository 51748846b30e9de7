"""`lungseg evaluate`: score a run, or any folder of predictions against any folder of truth.

Writes `report.html`, `evaluation.json` (all summaries), `evaluation.csv` (loss and metrics, a row
each, as the original) and `per_case.csv` (a row a case and class). TensorFlow is never imported: a
run is scored through its `model.onnx`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config.loading import dump_config
from lungseg.config.schema import Config
from lungseg.dataset.slices import Slice
from lungseg.errors import DataError
from lungseg.evaluation.calibration import Calibration
from lungseg.evaluation.folders import (
    Case,
    Loaded,
    draw_case,
    load,
    name_some,
    pair_masks,
    score_case,
)
from lungseg.evaluation.results import Evaluation, Row, Scored, finish, read_other
from lungseg.evaluation.runs import audit_rounds, pair_rounds, relate_uncertainty, score_run
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.inference.predictor import Predictor, model_paths
from lungseg.reporting.overlays import Picture, two_outlines
from lungseg.system import console
from lungseg.system.environment import ordered_map
from lungseg.system.files import existing_folder, refuse_nonempty
from lungseg.system.tables import read_csv, read_json


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
    rounds = pair_rounds(config, run, dataset)
    rows: list[Row] = []
    calibration = Calibration()
    drawn: dict[str, tuple[Predictor, Slice]] = {}
    total = sum(len(r.slices) for r in rounds)
    with console.progress(total, "evaluate") as bar:
        for each in rounds:
            for case_rows in score_run(each.predictor, each.slices, config, calibration):
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
    extras: dict[str, Any] = {"calibration": calibration.result(), "audit": audit_rounds(rounds)}
    if config.evaluate.flips:
        extras["uncertainty"] = relate_uncertainty(rows)
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


def evaluate_folders(
    config: Config,
    predictions: Path | None,
    truth: Path | None,
    output: Path,
    images: Path | None = None,
    overwrite: bool = False,
    against: Path | None = None,
) -> Evaluation:
    """Score a folder of predicted masks against a folder of true ones.

    A truth without a usable prediction (missing, unreadable, of another size or geometry) is scored
    as an empty prediction and listed among `problems`, so leaving out hard cases does not raise a
    score; `evaluate.missing: leave_out` changes that. Predictions without a truth are listed.

    Args:
        config: sections `evaluate`, `data.rgb_map` and `split.group_regex` (the patient) are used.
        predictions: folder of predicted masks.
        truth: folder of true masks.
        output: folder for the results.
        images: folder of the images, for the grey-threshold baseline and the report's pictures.
        overwrite: replace an `output` that is not empty.
        against: results of another evaluation of the same cases, to compare with.

    Raises:
        UsageError: for a missing folder, or an `output` that holds something.
        DataError: where no case can be compared, or a true mask cannot be read.
    """
    predictions = existing_folder(predictions, "predicted masks", "--pred")
    truth = existing_folder(truth, "true masks", "--truth")
    refuse_nonempty(output, overwrite)
    other = read_other(against)
    cases, extra = pair_masks(predictions, truth, images)
    if not any(case.prediction for case in cases):
        raise DataError(f"{predictions}: holds no mask with the stem of one in {truth}.")
    if extra:
        console.warn(
            f"{len(extra)} predictions have no truth and are not scored: {name_some(sorted(extra))}"
        )
    classes = list(config.data.rgb_map)
    rows: list[Row] = []
    problems: list[dict[str, str]] = []
    remarks: list[dict[str, str]] = []

    def work(case: Case) -> tuple[Case, Loaded, list[Row]]:
        loaded = load(case, config)
        return case, loaded, score_case(case, loaded, classes, config)

    results = ordered_map(work, cases, config.evaluate.threads)
    for case, loaded, case_rows in console.track(results, len(cases), "evaluate", "case"):
        remarks += [{"case": case.name, "detail": remark} for remark in loaded.remarks]
        if loaded.problem:
            problems.append({"case": case.name, "detail": loaded.problem})
            if config.evaluate.missing == "leave_out":
                continue
        rows += case_rows
    if len(problems) == len(cases):
        raise DataError(
            f"{predictions}: none of the {len(cases)} cases can be compared. First: "
            f"{problems[0]['case']}: {problems[0]['detail']}"
        )
    if problems:
        counted = "left out" if config.evaluate.missing == "leave_out" else "scored as empty"
        names = name_some([f"{p['case']} ({p['detail']})" for p in problems])
        console.warn(f"{len(problems)} cases could not be compared and are {counted}: {names}")
    if remarks:
        console.note(
            f"{len(remarks)} masks were read with an assumption, the first: {remarks[0]['case']}: "
            f"{remarks[0]['detail']}"
        )
    if len({row["distance_unit"] for row in rows}) > 1:
        raise DataError(
            f"{truth}: pixel size is known for some cases only, and millimetres and pixels cannot "
            "share a mean. Score volumes and plain images in separate folders."
        )
    by_name = {case.name: case for case in cases}
    head = {
        "predictions": predictions.name,
        "truth": truth.name,
        "problems": problems,
        "extra_predictions": sorted(extra),
        "remarks": remarks,
    }
    scored = Scored(
        head,
        rows,
        classes,
        lambda name: draw_case(by_name[name], load(by_name[name], config), config),
        config=dump_config(config),
    )
    return finish(config, scored, output, None, other)
