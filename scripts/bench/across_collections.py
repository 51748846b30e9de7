"""Train on some collections and score on others, to choose the recipe of the shipped network.

`--work` is the folder of scripts.maintain.make_model: its labels and slices are read. Two
trainings are made per variant. One is scored on the single slices of tumours and COVID-19 and
trained on all else, the other on eight patients with volumes. Both are scored through the window of
the training and through a mediastinal one. Nothing of LungSegDB and no mask of R01-001 is used. A
result is kept at once in results/across_collections.json and not computed again.

Example:
    python -m scripts.bench.across_collections --work work/model
    python -m scripts.bench.across_collections --work work/model --only "neighbouring slices"
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
import typer

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_manifest
from lungseg.dataset.slices import Slice, balance_patients
from lungseg.system.tables import read_csv
from scripts.bench.real_slices import ROOT, ask_child, fill_in, train_and_score
from scripts.maintain.make_model import RECIPE

RESULTS = Path(__file__).parent / "results" / "across_collections.json"
SIDE, SLICES, EPOCHS = 256, 6000, 30
VIEWS = {"lung": "[-1000, 400]", "mediastinal": "[-160, 240]"}
# The patients that each of the two trainings is scored on.
HELD_BACK = {
    "single slices": r"TCGA-(17|34|50|51|60|92)-|A\d+$",
    "volumes": r"LIDC-IDRI-0|TCGA-DE|ACRIN.*001|1\.3\.6|CRLM|Lung_Dx-A0001|ct-abdomen",
}
NEIGHBOURS = "neighbouring slices"
VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "lesions on a tenth": {"augment.online.lesion.p": 0.1},
    "lesions on half": {"augment.online.lesion.p": 0.5},
    "slices alike often": {"train.patient_balance": 0.0},
    "no mediastinal windows": {"augment.online.window.mediastinal": 0.0},
    NEIGHBOURS: {"data.channels": 3},
}


def config_of(variant: str, seed: int) -> Config:
    """Return the config of one training."""
    recipe = {key: RECIPE[key] for key in ("train.patient_balance", "augment.online.lesion.p")}
    settings = {
        "data.image_size": [SIDE, SIDE],
        "model.stem_stride": SIDE // 128,  # as coarse as the default with 512 pixels
        "train.epochs": EPOCHS,
        "train.samples_per_epoch": SLICES // EPOCHS,
        "train.monitor": "last",
        "seed": seed,
        **{key: float(value) for key, value in recipe.items()},
        **VARIANTS[variant],
    }
    return with_overrides(Config(), settings)


def prepare(work: Path, view: str) -> Path:
    """Cut the CTs into slices through a window, unless it is done."""
    folder = work / f"across-{view}"
    if not (folder / "manifest.csv").exists():
        labels = work / "labels"
        pairs = ["--images", str(labels / "images"), "--masks", str(labels / "masks")]
        sizes = f"data.image_size=[{SIDE}, {SIDE}]"
        settings = ["prepare.empty_slices=1000", sizes, f"data.window={VIEWS[view]}"]
        words = [word for each in settings for word in ("-s", each)]
        command = [sys.executable, "-m", "lungseg", "prepare", *pairs, "-o", str(folder), *words]
        subprocess.run(command, check=True, cwd=ROOT)
    return folder


def with_neighbours(slices: Sequence[Slice], folder: Path) -> list[Slice]:
    """Write each slice with those below and above it as RGB; a single slice repeats itself."""
    folder.mkdir(exist_ok=True)
    known = {s.case: s.image for s in slices}
    stacked = []
    for each in slices:
        stem, _, number = each.case.rpartition("_z")
        path = folder / f"{each.case}.png"
        near = [known.get(f"{stem}_z{int(number) + k:04d}", each.image) for k in (-1, 0, 1)]
        if not path.exists():
            planes = [np.asarray(cv2.imread(str(p), cv2.IMREAD_GRAYSCALE)) for p in near[::-1]]
            cv2.imwrite(str(path), np.stack(planes, axis=-1))
        stacked.append(replace(each, image=path))
    return stacked


def read(work: Path, view: str, variant: str) -> list[Slice]:
    """Return the slices of all patients through a window."""
    folder = prepare(work, view)
    patients = {r["case"]: r["group"] for r in read_csv(work / "labels" / "patients.csv")}
    slices = [replace(s, group=patients[s.case], named=True) for s in read_manifest(folder)]
    return with_neighbours(slices, folder / "stacked") if variant == NEIGHBOURS else slices


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Do one training in this process; return its scores through both windows."""
    work, variant = Path(job["work"]), job["variant"]
    config, held = config_of(variant, job["seed"]), re.compile(HELD_BACK[job["part"]])
    slices = {view: read(work, view, variant) for view in VIEWS}
    train = [s for s in slices["lung"] if not held.match(s.group)]
    test = [
        replace(s, group=f"{view} {s.group}")
        for view, of_view in slices.items()
        for s in of_view
        if held.match(s.group)
    ]
    return train_and_score(config, balance_patients(train, config.train.patient_balance), test)


def main(
    work: Annotated[Path, typer.Option(help="Folder of make_model.")],
    only: Annotated[list[str], typer.Option(help="Variants to train; all by default.")] = [],  # noqa: B006
    seed: Annotated[list[int], typer.Option(help="Seeds; 0 by default.")] = [0],  # noqa: B006
) -> None:
    """Do the trainings that results/across_collections.json lacks."""

    def train(variant: str, number: int) -> dict[str, Any]:
        job = {"work": str(work), "variant": variant, "seed": number}
        return {
            part: ask_child("scripts.bench.across_collections", {**job, "part": part})
            for part in HELD_BACK
        }

    fill_in(RESULTS, only or VARIANTS, seed, train)


if __name__ == "__main__":
    if "--child" in sys.argv:
        sys.stdout.write(json.dumps(child(json.load(sys.stdin))) + "\n")
    else:
        typer.run(main)
