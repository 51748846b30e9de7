"""Compare a training that starts with a network with one that starts anew, on few slices.

`--work` is the folder of scripts.maintain.make_model after its cross-validation, or at least after
the training of one fold. A training begins with the network of that fold. All slices are of the
patients that it held back, and show lung. A draw divides these patients in halves: some slices of
one half are trained on, and every slice of the other half is scored. A result is kept at once in
results/finetuning.json and not computed again.

Example:
    python -m scripts.bench.finetuning --work work/model
    python -m scripts.bench.finetuning --work work/model --slices 10 --seed 0
"""

import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_manifest
from lungseg.dataset.slices import Slice
from lungseg.system.tables import read_csv
from scripts.bench.real_slices import ask_child, fill_in, score, train_and_score

RESULTS = Path(__file__).parent / "results" / "finetuning.json"
SIZES, DRAWS = (5, 10, 50), (0, 1, 2)
FOLD = 3  # it holds back so many patients that each half of them has 50 slices
# Slices shown and epochs. A training anew needs more of them.
AS_IT_IS = "the network as it is"
SHOWN = {"anew": (1600, 16), "from the network": (600, 6)}


def config_of(start: str, seed: int) -> Config:
    """Return the config of one training: the default, but for its length."""
    shown, epochs = SHOWN[start]
    settings = {"train.epochs": epochs, "train.samples_per_epoch": shown // epochs, "seed": seed}
    return with_overrides(Config(), settings)


def draw(slices: Sequence[Slice], count: int, seed: int) -> tuple[list[Slice], list[Slice]]:
    """Draw slices to train on, and return all slices of other patients beside them.

    Args:
        slices: slices whose patient is known.
        count: how many to draw.
        seed: of the draw. The halves are the same for every count.

    Raises:
        ValueError: if the first half has fewer slices.
    """
    chance = random.Random(seed)
    patients = sorted({each.group for each in slices})
    chance.shuffle(patients)
    labelled = set(patients[: len(patients) // 2])
    mine = sorted((s for s in slices if s.group in labelled), key=lambda s: s.case)
    chance.shuffle(mine)
    if len(mine) < count:
        raise ValueError(f"draw {seed} has {len(mine)} slices to train on, not {count}")
    return mine[:count], [s for s in slices if s.group not in labelled]


def held_back(work: Path, fold: int) -> list[Slice]:
    """Return the slices with lung of all patients that a fold held back."""
    patients = {r["case"]: r["group"] for r in read_csv(work / "labels" / "patients.csv")}
    test = {path.stem for path in (work / "folds" / f"fold_{fold}" / "test" / "images").iterdir()}
    return [
        replace(s, group=patients[s.case], named=True)
        for s in read_manifest(work / "prepared")
        if s.case in test and s.lung_fraction > 0
    ]


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Do one training in this process, and score it."""
    from lungseg.training.exporting import load_best

    work, fold, start = Path(job["work"]), job["fold"], job["start"]
    run = work / "cross-validation" / f"fold_{fold}"
    train, test = draw(held_back(work, fold), job["slices"], job["seed"])
    if start == AS_IT_IS:
        return score(Config(), load_best(run), test)
    return train_and_score(
        config_of(start, job["seed"]), train, test, None if start == "anew" else run
    )


def main(
    work: Annotated[Path, typer.Option(help="Folder of make_model.")],
    slices: Annotated[list[int], typer.Option(help="Slices to train on.")] = list(SIZES),  # noqa: B006
    seed: Annotated[list[int], typer.Option(help="Draws.")] = list(DRAWS),  # noqa: B006
    fold: Annotated[int, typer.Option(min=1, help="Fold of the network to begin with.")] = FOLD,
) -> None:
    """Do the trainings that results/finetuning.json lacks."""

    def train(name: str, number: int) -> dict[str, Any]:
        start, _, count = name.partition(", ")
        job = {"work": str(work), "start": start, "slices": int(count or 1), "fold": fold}
        return ask_child("scripts.bench.finetuning", {**job, "seed": number})

    names = [f"{start}, {count}" for count in slices for start in SHOWN]
    fill_in(RESULTS, [AS_IT_IS, *names], seed, train)


if __name__ == "__main__":
    if "--child" in sys.argv:
        sys.stdout.write(json.dumps(child(json.load(sys.stdin))) + "\n")
    else:
        typer.run(main)
