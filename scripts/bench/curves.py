"""Train by the default recipe, and check what the training reports of itself.

Every model that the training keeps is copied. Each copy is loaded and scored again on the held-back
slices: does it score as `history.csv` reports for its epoch? The newest copy of the first third of
the epochs is exported, as after Ctrl-C, and compared with the finished model by ONNX Runtime. With
`--before`, the folder of an older checkout, its program trains on the same data for comparison; its
training is stopped after a third of the epochs. A measurement that was stopped goes on.

Writes results/curves.json; `python -m scripts.bench.write_curves` draws it into the documentation.

Example:
    python -m scripts.bench.curves --name phantoms --data work/phantoms --work work/curves -s \
        train.epochs=20 --before ../older
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer

from lungseg.config.loading import load_config
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_layout
from lungseg.dataset.slices import Slice
from lungseg.evaluation import metrics
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.system.environment import describe_hardware, describe_software
from lungseg.system.tables import read_csv, read_json, write_json

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "curves.json"
STOPPED = 3  # a training stopped after one of this many parts of its epochs


def main(
    name: Annotated[str, typer.Option(help="Name of the data in the results.")],
    data: Annotated[Path, typer.Option(help="Data set with train and valid.")],
    work: Annotated[Path, typer.Option(help="Folder for the runs.")],
    settings: Annotated[list[str], typer.Option("-s", help="Settings of the training.")] = [],  # noqa: B006
    before: Annotated[Path | None, typer.Option(help="An older checkout to compare with.")] = None,
) -> None:
    """Train with this program and with an older one; write both curves and the checks."""
    run = work.resolve() / name
    train(ROOT, data.resolve(), run, settings)
    config = load_config(run / "config.yaml")
    held_back = read_layout(data, config)["valid"]
    found: dict[str, Any] = {
        "settings": settings,
        "slices": len(held_back),
        "seconds": read_json(run / "run.json")["seconds"],
        "epochs": config.train.epochs,
        "after": curve(run),
        "kept": score_copies(config, run, data),
        "held_back": {
            "stopped": score(export_copy(run, config.train.epochs // STOPPED), config, held_back),
            "finished": score(run, config, held_back),
        },
        "hardware": describe_hardware(),
        "software": describe_software(),
    }
    if before:
        old = work.resolve() / f"{name}_before"
        train(before.resolve(), data.resolve(), old, settings, config.train.epochs // STOPPED)
        found["before"] = curve(old)
    known = read_json(RESULTS) if RESULTS.exists() else {}
    write_json(RESULTS, {**known, name: found})


def train(root: Path, data: Path, run: Path, settings: Sequence[str], stop: int = 0) -> None:
    """Train with the program in `root`, copying each model that is kept; stop after an epoch."""
    history = run / "history.csv"
    if (run / "model.onnx").exists() or (stop and history.exists() and len(curve(run)) >= stop):
        return
    command = [sys.executable, "-m", "lungseg", "train", "-c", str(root / "configs" / "lung.yaml")]
    command += ["--data", str(data), "--run", str(run)]
    command += [argument for setting in settings for argument in ("-s", setting)]
    if history.exists():
        command.append("--resume")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    model = run / "model.keras"
    newest = model.stat().st_mtime_ns if model.exists() else 0  # copied before it was stopped
    with subprocess.Popen(command, cwd=root, env=environment) as training:
        while training.poll() is None:
            newest = copy_model(run, newest)
            if stop and history.exists() and len(curve(run)) >= stop:
                training.kill()
            time.sleep(0.2)
    if training.returncode and not stop:
        raise SystemExit(f"the training of {run} failed")


def copy_model(run: Path, newest: int) -> int:
    """Copy a new `model.keras`, named by its epoch; return its time of writing."""
    model, kept = run / "model.keras", run.with_name(f"{run.name}_kept")
    written = model.stat().st_mtime_ns if model.exists() else newest
    if written != newest:
        kept.mkdir(exist_ok=True)
        history = run / "history.csv"
        # A model is written during its epoch's end, before its row in the history.
        epoch = 1 + (len(curve(run)) if history.exists() else 0)
        shutil.copy(model, kept / f"{epoch:03d}.keras")
    return written


def curve(run: Path) -> list[float]:
    """Return the validation lung Dice of each epoch."""
    return [round(float(row["val_lung_dice"]), 5) for row in read_csv(run / "history.csv")]


def copies(run: Path) -> dict[int, Path]:
    """Return the copies of the models that a training kept, by epoch."""
    return {int(f.stem): f for f in sorted(run.with_name(f"{run.name}_kept").glob("*.keras"))}


def score_copies(config: Config, run: Path, data: Path) -> dict[str, Any]:
    """Score every copy as the training did; return how many there are and the largest difference.

    A training that was cut off within the end of an epoch leaves a copy that it then replaces, so
    only the last copy of an epoch counts.
    """
    import keras

    from lungseg.training import losses
    from lungseg.training.pipeline import Pipeline

    parts = read_layout(data, config)
    pipeline = Pipeline(config, parts["train"], parts["valid"])
    reported = [float(row["val_lung_dice"]) for row in read_csv(run / "history.csv")]
    differences = []
    for epoch, path in copies(run).items():
        model = keras.models.load_model(path, compile=False)
        model.compile(loss=losses.LOSSES[config.train.loss], metrics=[losses.METRICS["lung_dice"]])
        found = model.evaluate(pipeline.validation(), verbose=0, return_dict=True)["lung_dice"]
        differences.append(abs(found - reported[epoch - 1]))
        typer.echo(f"{run.name} {epoch}: {found:.5f}, reported {reported[epoch - 1]:.5f}", err=True)
    return {"models": len(differences), "largest_difference": max(differences)}


def export_copy(run: Path, epoch: int) -> Path:
    """Export the newest model that was kept up to an epoch, as `lungseg export` does."""
    from lungseg.training.exporting import export_run

    folder = run.with_name(f"{run.name}_stopped")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(run / "config.yaml", folder)
    newest = max(kept for kept in copies(run) if kept <= epoch)
    shutil.copy(copies(run)[newest], folder / "model.keras")
    export_run(folder)
    return folder


def score(run: Path, config: Config, slices: Sequence[Slice]) -> float:
    """Return the mean lung Dice of an exported model over the slices that show lung."""
    from lungseg.inference.predictor import Predictor

    predictor = Predictor([run / "model.onnx"])
    dice = []
    for s in slices:
        truth = read_labels(s.mask, config.data) > 0
        guess = predictor.probabilities([read_slice(s.image, config.data)])[0].argmax(-1) > 0
        dice.append(metrics.dice(metrics.count(truth, guess)) if truth.any() else np.nan)
    return round(float(np.nanmean(dice)), 4)


if __name__ == "__main__":
    typer.run(main)
