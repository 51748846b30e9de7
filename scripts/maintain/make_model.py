"""Train the shipped network from its data, judge it, and write it into the package.

WORK gets, step by step, the labels, the slices, a cross-validation over patients with the masks of
all held-back CTs, the final training on all patients, and masks of what was never trained on. A
step whose folder is there is not done again, so the command goes on after it was stopped. The
scores are written to `evaluation.json` beside the network, and docs/model-card.md shows them.

Example:
    python -m scripts.maintain.make_model --data ../shared/data -o work/model
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.imaging.pixels import read_slice
from lungseg.inference.certainty import Usual
from lungseg.inference.predictor import Predictor
from lungseg.system.environment import describe_hardware, describe_software
from lungseg.system.tables import read_csv, read_json, write_json
from scripts.maintain import write_card
from scripts.maintain.judge_model import Judged, by_patient, judge
from scripts.maintain.judge_sizes import judge_sizes, together
from scripts.maintain.make_labels import HELD_BACK, name_collection, steps_of
from scripts.maintain.ship_model import ship

SHIPPED = Path(__file__).parents[2] / "lungseg" / "shipped"
FOLDS = 4
JUDGED_VOLUME = "NSCLC-Radiogenomics R01-001 against the mask of BAMF Health (AIMI)"
JUDGED_SLICES = "LungSegDB as published with the original system"
# What differs from configs/lung.yaml: nobody is held back for choosing an epoch, every slice
# without lung is shown, and single slices of many patients are not outweighed by a few volumes.
RECIPE = {
    "train.patient_balance": "0.5",
    "augment.online.lesion.p": "0.25",
    "train.monitor": "last",
    "train.epochs": "30",
    "train.samples_per_epoch": "200",
    "train.epoch_change_images": "0",
}


def lungseg(*words: object) -> None:
    """Run a command of lungseg; show it before."""
    _run("lungseg", *words)


def _run(module: str, *words: object) -> None:
    sys.stderr.write(f"$ python -m {module} {' '.join(map(str, words))}\n")
    subprocess.run([sys.executable, "-m", module, *map(str, words)], check=True)


def settings(values: dict[str, str]) -> list[str]:
    """Return settings as arguments of the command line."""
    return [word for key, value in values.items() for word in ("-s", f"{key}={value}")]


def make_data(data: Path, work: Path) -> None:
    """Label the CTs, cut them into slices, and divide the patients into folds."""
    labels = work / "labels"
    if not (labels / "patients.csv").exists():
        _run("scripts.maintain.make_labels", "--data", data, "-o", labels)
    prepared = work / "prepared"
    if not (prepared / "manifest.csv").exists():
        pairs = ["--images", labels / "images", "--masks", labels / "masks"]
        lungseg("prepare", *pairs, "-o", prepared, "-s", "prepare.empty_slices=1000")
    named = {"split.group_csv": str(labels / "patients.csv"), "split.fractions": "[1, 0, 0]"}
    if not (work / "folds").exists():
        folds = settings({**named, "split.folds": str(FOLDS)})
        lungseg("split", "--input", prepared, "-o", work / "folds", *folds)
    if not (work / "all").exists():
        lungseg("split", "--input", prepared, "-o", work / "all", *settings(named))


def train(work: Path, recipe: dict[str, str]) -> int:
    """Train on all patients; return the minutes that it took, as its record says."""
    run = work / "final"
    if not (run / "model.onnx").exists():
        resume = ["--resume"] if run.exists() else []
        lungseg("train", "--data", work / "all", "--run", run, *settings(recipe), *resume)
    return round(float(read_json(run / "run.json")["seconds"]) / 60)


def cross_validate(work: Path, recipe: dict[str, str], folds: int) -> list[Judged]:
    """Train a network per fold, segment the CTs of its test patients, and judge them.

    Args:
        work: folder of the steps.
        recipe: settings of the training.
        folds: number of folds to train and judge, the first ones.
    """
    run, labels = work / "cross-validation", work / "labels"
    described = read_json(labels / "labels.json")
    judged: list[Judged] = []
    for k in range(1, folds + 1):
        if not (run / f"fold_{k}" / "model.onnx").exists():
            resume = ["--resume"] if (run / f"fold_{k}").exists() else []
            fold = ["--data", work / "folds", "--run", run, "--fold", k]
            lungseg("train", *fold, *settings(recipe), *resume)
        cases = held_back(work / "folds" / f"fold_{k}")
        cts = [labels / "images" / f"{case}.nii.gz" for case in cases]
        masks = segment(cts, work / "held-back" / f"fold_{k}", run / f"fold_{k}")
        patients = {case: described[case]["patient"] for case in cases}
        judged += judge(masks, labels / "masks", patients)
    return judged


def judge_all_sizes(work: Path, folds: int) -> dict[str, dict[str, float]]:
    """Score the networks of the folds on volumes of held-back patients at several sizes."""
    labels = work / "labels"
    described = read_json(labels / "labels.json")
    parts = []
    for k in range(1, folds + 1):
        done = work / "held-back" / f"sizes_{k}.json"
        if not done.exists():
            volumes = [
                case
                for case in held_back(work / "folds" / f"fold_{k}")
                if described[case]["slices"] > 1
            ]
            patients = {case: described[case]["patient"] for case in volumes}
            write_json(done, judge_sizes(work / "cross-validation" / f"fold_{k}", labels, patients))
        parts.append(read_json(done))
    return together(parts)


def with_collections(cases: Sequence[Judged], work: Path) -> list[dict[str, Any]]:
    """Return a row per patient: also the collection, and whether lung was added to its label.

    What is added by hand is disease nearly always: a threshold misses no other lung.
    """
    described = read_json(work / "labels" / "labels.json").values()
    cited = {about["patient"]: about["citation"] for about in described}
    added = {c.patient for c in cases if any(step.add for step in steps_of(c.case))}
    return [
        {
            **row,
            "collection": name_collection(cited[row["patient"]]),
            "lung_added": row["patient"] in added,
        }
        for row in by_patient(cases)
    ]


def judge_final(data: Path, work: Path) -> dict[str, Any]:
    """Judge the final network by what it was never trained on."""
    cts = data / "open-ct" / "volumes"
    run = work / "final"
    masks = segment([cts / HELD_BACK], work / "judged", run)
    case = HELD_BACK.removesuffix(".nii.gz")
    (whole,) = by_patient(judge(masks, data / "open-ct" / "masks", {case: "R01-001"}))
    slices = work / "lungsegdb"
    if not slices.exists():
        mini = data / "lungsegdb-mini"
        lungseg("prepare", "--images", mini / "images", "--masks", mini / "masks", "-o", slices)
    scores = work / "lungsegdb-scores"
    if not scores.exists():
        lungseg("evaluate", "--run", run, "--data", slices, "-o", scores)
    dice = {
        row["case"]: float(row["dice"])
        for row in read_csv(scores / "per_case.csv", ("case", "dice"))
    }
    mean = round(sum(dice.values()) / len(dice), 4)
    return {JUDGED_VOLUME: whole, JUDGED_SLICES: {"mean": mean, "slices": dice}}


def usual_certainty(work: Path, folds: int) -> Usual:
    """Return how certain the networks are of slices held back from them, for the flags of infer."""

    def predict() -> Iterator[NDArray[np.float32]]:
        for k in range(1, folds + 1):
            predictor = Predictor(work / "cross-validation" / f"fold_{k}" / "model.onnx")
            for path in sorted((work / "folds" / f"fold_{k}" / "test" / "images").iterdir()):
                yield predictor.probabilities([read_slice(path, predictor.data)])[0]

    found = Usual.of(predict())
    if found is None:
        raise ValueError("the networks found no lung in any slice that was held back")
    return found


def held_back(fold: Path) -> list[str]:
    """Return the CTs of a fold's test part, by name."""
    slices = sorted(path.stem for path in (fold / "test" / "images").iterdir())
    return list(dict.fromkeys(name.rpartition("_z")[0] for name in slices))


def segment(cts: Sequence[Path], output: Path, run: Path) -> Path:
    """Segment CTs by a run, unless it is done; return the folder of masks."""
    if not (output / "cases.json").exists():
        resume = ["--resume"] if output.exists() else []
        lungseg("infer", *cts, "-o", output, "--run", run, *resume)
    return output


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the steps that WORK lacks; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the CTs")
    parser.add_argument("-o", "--work", type=Path, required=True, help="folder of all steps")
    parser.add_argument("--shipped", type=Path, default=SHIPPED, help="where the network goes")
    parser.add_argument(
        "--folds", type=int, default=FOLDS, help="folds to train and judge, for a first look"
    )
    parser.add_argument("-s", "--set", action="append", default=[], help="setting, KEY=VALUE")
    given = parser.parse_args(arguments)
    recipe = RECIPE | dict(each.split("=", 1) for each in given.set)
    make_data(given.data, given.work)
    held = list(cross_validate(given.work, recipe, given.folds))
    minutes = train(given.work, recipe)
    evaluation = {
        "date": datetime.date.today().isoformat(),
        "hardware": describe_hardware(),
        "software": describe_software(),
        "settings": recipe,
        "minutes": {"training": minutes},
        "cross_validation": {
            "folds": FOLDS,
            "measured": given.folds,
            "patients": with_collections(held, given.work),
            "sizes": judge_all_sizes(given.work, given.folds),
        },
        "held_out": judge_final(given.data, given.work),
    }
    ship(given.work / "final", given.shipped)
    described = given.shipped / "model.json"
    if given.folds:
        certainty = asdict(usual_certainty(given.work, given.folds))
        write_json(described, {**read_json(described), "certainty": certainty})
    write_json(given.shipped / "evaluation.json", evaluation)
    labels = ["--labels", str(given.work / "labels" / "labels.json")]
    write_card.main([*labels, "--folder", str(given.shipped)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
