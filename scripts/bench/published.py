"""Train the published network by configs/original.yaml as it is, and keep the curve.

A training that was stopped goes on from its last epoch when the command is given again. Writes
results/published.json; `python -m scripts.bench.write_networks` puts it into docs/networks.md.

Example:
    python -m scripts.bench.published --images slices/images --masks slices/masks \
        --work work/published
"""

import os
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer

from lungseg.config.loading import load_config
from lungseg.system.tables import read_csv, read_json, write_json
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from lungseg.verbs.train import train

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "published.json"
# The original's shares would leave one of 13 slices for validation. Slices with neighbouring
# numbers look alike and may be one patient's: they stay together.
FOR_FEW_SLICES = ["split.fractions=[0.7, 0.3, 0]", "split.neighbour_similarity=0"]


def main(
    images: Annotated[Path, typer.Option(help="Folder of slices.")],
    masks: Annotated[Path, typer.Option(help="Folder of their masks.")],
    work: Annotated[Path, typer.Option(help="Folder for the data set and the run.")],
) -> None:
    """Train until early stopping ends the training, or go on with a stopped training."""
    config = load_config(ROOT / "configs" / "original.yaml", FOR_FEW_SLICES)
    dataset, run = work / "dataset", work / "run"
    if not (work / "prepared").exists():
        prepare(config, images, masks, work / "prepared")
    if not dataset.exists():
        split(config, work / "prepared", dataset)
    if not _is_finished(run):
        train(config, dataset, run, resume=True)
    record = read_json(run / "run.json")
    kept = ("started", "hardware", "versions", "execution", "slices", "seconds", "best_epoch")
    write_json(
        RESULTS,
        {key: record[key] for key in kept}
        | {
            "onnx_difference": record["onnx_difference"],
            "config": config.model_dump(mode="json", include={"data", "model", "train", "seed"}),
            "curve": [
                {key: round(float(row[key]), 6) for key in CURVE}
                for row in read_csv(run / "history.csv")
            ],
        },
    )


CURVE = ("loss", "val_loss", "lung_dice", "val_lung_dice", "learning_rate")


def _is_finished(run: Path) -> bool:
    record = run / "run.json"
    return record.exists() and read_json(record)["status"] == "finished"


if __name__ == "__main__":
    typer.run(main)
