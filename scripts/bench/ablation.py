"""Measure the gain of each choice in the default recipe: variants of configs/lung.yaml.

Each variant changes one thing. For every seed and fold, a network is trained on the labelled slices
of the other folds. It is scored on two test sets: the slices of its fold, and volumes of other
scanners in four grey windows. The scores are those of the last epoch, so no validation slice
influences them. Each training appends a row to a CSV file and is not repeated if its row exists.

Example:
    python -m scripts.bench.ablation --images slices/images --masks slices/masks \
        --volumes labelled --results ablation.csv --variant chosen --variant no_window
"""

import csv
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer

from lungseg.config.loading import load_config, with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_layout
from lungseg.dataset.slices import Slice
from lungseg.evaluation import metrics
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.phantom.dataset import write_phantoms
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split

RECIPE = Path(__file__).parents[2] / "configs" / "lung.yaml"
# Windows in HU: the default, for lung, for soft tissue, and the range of a 12-bit scanner.
WINDOWS = {
    "default": (-1000, 400),
    "lung": (-1350, 150),
    "soft": (-160, 240),
    "full": (-1024, 3071),
}
VARIANTS: dict[str, list[str]] = {
    "chosen": [],
    "group_normalization": ["model.normalization=group"],
    "no_lesion": ["augment.online.lesion.p=0"],
    "no_window": ["augment.online.window.p=0", "augment.online.gamma.p=0"],
    "no_affine": ["augment.online.affine.p=0", "augment.online.elastic.p=0"],
    "no_augmentation": ["augment.online={}"],
    "cross_entropy": ["train.loss=categorical_crossentropy"],
    "dice_loss": ["train.loss=dice"],
    "edge_loss": ["train.loss=ce_dice_edge"],
    "no_average": ["train.weight_average=0"],
    "constant_rate": ["train.schedule=constant", "train.warmup_epochs=0"],
    "rate_1e-3": ["train.learning_rate=0.001"],
    "rate_4e-3": ["train.learning_rate=0.004"],
    "adam": ["train.optimizer=adam"],
    "narrower": ["model.base_filters=8", "model.max_filters=128"],
    "half_the_pixels": ["model.stem_stride=2"],
}
# Variants with more slices to train on: synthetic ones, or those of the volumes. In the second case
# the volumes are not a test set.
WITH_PHANTOMS, WITH_VOLUMES = "phantoms", "volumes"


def main(
    images: Annotated[Path, typer.Option(help="Folder of labelled slices.")],
    masks: Annotated[Path, typer.Option(help="Folder of their masks.")],
    volumes: Annotated[Path, typer.Option(help="Folder with images/ and masks/ of CT volumes.")],
    results: Annotated[Path, typer.Option(help="CSV file to append to.")],
    variant: Annotated[list[str], typer.Option(help="Variants to run; all by default.")] = [],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per variant and fold.")] = 3,
    folds: Annotated[int, typer.Option(min=2, help="Number of folds of the labelled slices.")] = 3,
    size: Annotated[int, typer.Option(min=32, help="Pixels per side.")] = 256,
    samples: Annotated[int, typer.Option(min=1, help="Slices per training.")] = 1200,
) -> None:
    """Train and score every variant, seed and fold."""
    work = results.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    base = [f"data.image_size=[{size}, {size}]", "split.fractions=[1, 0, 0]"]
    base += [f"split.folds={folds}", "split.neighbour_similarity=0.8"]
    base += [f"train.samples_per_epoch={samples // 10}", "train.epochs=10"]
    config = load_config(RECIPE, base)
    prepare(config, images, masks, work / "prepared")
    split(config, work / "prepared", work / "folds")
    elsewhere = {
        name: _volumes(config, volumes, window, work / name) for name, window in WINDOWS.items()
    }
    synthetic = _phantoms(work / "phantoms", size)
    chosen = variant or [*VARIANTS, WITH_PHANTOMS, WITH_VOLUMES]
    done = _done(results)
    for seed in range(seeds):
        for name in chosen:
            changed = load_config(RECIPE, [*base, *VARIANTS.get(name, []), f"seed={seed}"])
            for fold in range(1, folds + 1):
                if (name, str(seed), str(fold)) in done:
                    continue
                parts = read_layout(work / "folds" / f"fold_{fold}", changed)
                more: Sequence[Slice] = ()
                if name == WITH_PHANTOMS:
                    more = synthetic[:: max(1, len(synthetic) // len(parts["train"]))]
                elif name == WITH_VOLUMES:
                    more = elsewhere["soft"][::2]
                tests = {"held_out": parts["test"]}
                if name != WITH_VOLUMES:
                    tests |= elsewhere
                started = time.monotonic()
                scores = _run(changed, [*parts["train"], *more], tests)
                row = {"variant": name, "seed": seed, "fold": fold, **scores}
                row["seconds"] = round(time.monotonic() - started)
                _append(results, row)
                typer.echo(str(row), err=True)
    shutil.rmtree(work, ignore_errors=True)
    typer.echo(table(results))


def table(results: Path) -> str:
    """Return the mean of each variant over its folds, and its spread over seeds, as Markdown."""
    with results.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = ["| variant | seeds | " + " | ".join(SCORES) + " |", "|---|---|" + "---|" * len(SCORES)]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant]
        seeds = sorted({row["seed"] for row in own})
        cells = []
        for score in SCORES:
            of_seeds = [
                np.mean([float(row[score]) for row in own if row["seed"] == seed and row[score]])
                for seed in seeds
                if any(row[score] for row in own if row["seed"] == seed)
            ]
            cells.append(f"{np.mean(of_seeds):.4f} ± {np.std(of_seeds):.4f}" if of_seeds else "-")
        lines.append(f"| {variant} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _volumes(config: Config, folder: Path, window: Sequence[float], work: Path) -> list[Slice]:
    """Cut the volumes into slices in one window. Every sixth slice is enough for the scores."""
    changed = with_overrides(config, {"data.window": window})
    prepare(changed, folder / "images", folder / "masks", work / "prepared")
    plain = with_overrides(changed, {"split.folds": 0, "split.neighbour_gap": 0})
    split(plain, work / "prepared", work / "dataset")
    return read_layout(work / "dataset", changed)["train"][::6]


def _phantoms(folder: Path, size: int, patients: int = 12) -> list[Slice]:
    """Draw synthetic slices. Each patient has another window."""
    windows = list(WINDOWS.values())
    slices = []
    for number in range(patients):
        window = windows[number % len(windows)]
        for f in write_phantoms(folder / str(number), 1, 8, size, seed=number, window=window):
            name = f"phantom{number:02d}_{f.image.stem}"
            slices.append(Slice(name, name, name, f.image, f.mask, f.lung_fraction, "", ""))
    return slices


def _run(config: Config, train: Sequence[Slice], tests: dict[str, list[Slice]]) -> dict[str, Any]:
    """Train one network and return its mean lung Dice on each of the tests."""
    import keras

    from lungseg.training.compiling import compile_model
    from lungseg.training.pipeline import Pipeline

    keras.utils.clear_session()
    keras.utils.set_random_seed(config.seed)
    pipeline = Pipeline(config, train, [])
    model = compile_model(config, pipeline.steps)
    model.fit(
        pipeline.training(0, config.train.epochs),
        epochs=config.train.epochs,
        steps_per_epoch=pipeline.steps,
        shuffle=False,
        verbose=0,
    )
    scores: dict[str, Any] = {}
    for name, slices in tests.items():
        dice = []
        for s in slices:
            image = read_slice(s.image, config.data).astype(np.float32)[None, ..., None]
            guess = np.asarray(model.predict_on_batch(image))[0].argmax(-1) > 0
            truth = read_labels(s.mask, config.data) > 0
            dice.append(metrics.dice(metrics.count(truth, guess)))
        scores[name] = round(float(np.mean(dice)), 4)
        if name == "held_out":
            scores["held_out_worst"] = round(min(dice), 4)
    return scores


SCORES = ["held_out", "held_out_worst", *WINDOWS]
COLUMNS = ["variant", "seed", "fold", *SCORES, "seconds"]


def _append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _done(path: Path) -> set[tuple[str, str, str]]:
    if not path.exists():
        return set()
    with path.open(newline="") as stream:
        return {(row["variant"], row["seed"], row["fold"]) for row in csv.DictReader(stream)}


if __name__ == "__main__":
    typer.run(main)
