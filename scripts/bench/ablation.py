"""Measure what each choice in the default recipe gains, by full trainings on real slices.

Each variant changes one thing of configs/lung.yaml. All are trained on the same slices and scored
on other patients: whole volumes (`--test`) and single slices of another collection (`--slices`).
The scores are those of the last epoch, so no validation slice influences them. A result is kept at
once in results/ablation.json and not computed again, so a stopped measurement goes on.
docs/networks.md says how `--data` and `--test` are made.

Example:
    python -m scripts.bench.ablation --data work/dataset --test work/others --slices work/mini
    python -m scripts.bench.ablation --data work/dataset --test work/others --slices work/mini \
        --only "no lesions" --seed 1
"""

import os
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from scripts.bench.real_slices import ask, fill_in

RESULTS = Path(__file__).parent / "results" / "ablation.json"
# The side of a slice in pixels, slices shown, epochs: as many steps as the default on a small set.
SIDE, SLICES, EPOCHS = 256, 12_000, 60
VARIANTS: dict[str, dict[str, Any]] = {
    "as chosen": {},
    "lesions on half of the slices": {"augment.online.lesion.p": 0.5},
    "lesions on a quarter of the slices": {"augment.online.lesion.p": 0.25},
    "no lesions": {"augment.online.lesion.p": 0.0},
    "group normalisation": {"model.normalization": "group"},
    "rate 0.001": {"train.learning_rate": 0.001},
    "rate 0.004": {"train.learning_rate": 0.004},
    "no average of weights": {"train.weight_average": 0},
    "no random windows, no gamma": {
        "augment.online.window.p": 0.0,
        "augment.online.gamma.p": 0.0,
    },
    "3,000 slices": {"train.epochs": 15},
    "6,000 slices": {"train.epochs": 30},
}


def main(
    data: Annotated[Path, typer.Option(help="Data set with train.")],
    test: Annotated[Path, typer.Option(help="Prepared folder of other patients, whole volumes.")],
    slices: Annotated[Path, typer.Option(help="Prepared folder of slices of other patients.")],
    only: Annotated[list[str], typer.Option(help="Variants to train; all by default.")] = [],  # noqa: B006
    seed: Annotated[list[int], typer.Option(help="Seeds; 0 by default.")] = [0],  # noqa: B006
) -> None:
    """Do the trainings that results/ablation.json lacks."""

    def train(name: str, number: int) -> dict[str, Any]:
        settings = {
            "data.image_size": [SIDE, SIDE],
            # The default works on a quarter of 512 pixels; it works on as many here.
            "model.stem_stride": SIDE // 128,
            "train.epochs": EPOCHS,
            "train.samples_per_epoch": SLICES // EPOCHS,
            "seed": number,
            **VARIANTS[name],
        }
        return ask(with_overrides(Config(), settings), data, (test, slices))

    fill_in(RESULTS, only or VARIANTS, seed, train)


if __name__ == "__main__":
    typer.run(main)
