"""Train every network on the same real slices and score it on other patients.

Each training runs in a process of its own, with the network's own learning rate. Its result is kept
at once in results/real_slices.json and not computed again, so a stopped measurement goes on.
docs/networks.md says how the data are made.

Example:
    python -m scripts.bench.real_slices --data work/dataset --test work/others
    python -m scripts.bench.real_slices --data work/dataset --test work/others --only unet3plus
    python -m scripts.bench.real_slices --data work/dataset --rate 0.0005 --rate 0.001

With `--rate`, short trainings at several learning rates are scored on the valid part of the data
instead: the networks' defaults were chosen from these. No slice of `--test` takes part in it.
"""

import datetime
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.dataset.reading import read_layout, read_manifest
from lungseg.dataset.slices import Slice
from lungseg.evaluation import metrics
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.models import NETWORKS
from lungseg.system.environment import describe_hardware, describe_software
from lungseg.system.tables import read_json, write_json

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "real_slices.json"
# The full training of the table, and the short one that learning rates are compared with.
SIDE, SLICES, EPOCHS = 256, 3000, 15
SHORT = 128, 600, 5
SEEDS = {"resunet": 3, "flexunet": 3}


def config_of(network: str, seed: int, rate: float | None = None) -> Config:
    """Return the config of one training: the default, except for the network and its length."""
    side, slices, epochs = (SIDE, SLICES, EPOCHS) if rate is None else SHORT
    train: dict[str, Any] = {"epochs": epochs, "samples_per_epoch": slices // epochs}
    if rate is not None:
        train["learning_rate"] = rate
    # The default works on a quarter of 512 pixels; it works on as many here.
    stride = {"stem_stride": side // 128} if network == "resunet" else {}
    return check_config(
        {
            "seed": seed,
            "data": {"image_size": [side, side]},
            "model": {"name": network, **stride},
            "train": train,
        },
        network,
    )


def train_and_score(
    config: Config, train: Sequence[Slice], test: Sequence[Slice], start: Path | None = None
) -> dict[str, Any]:
    """Train a network by a config; return its lung Dice on each patient of `test`.

    Args:
        config: of the training.
        train: slices to train on.
        test: slices to score on.
        start: the run whose weights to begin with; without it they are random.
    """
    import keras

    from lungseg.training.averaging import NormalizationStatistics, ValidatedWeights
    from lungseg.training.compiling import compile_model
    from lungseg.training.pipeline import Pipeline
    from lungseg.training.starting import start_with

    keras.utils.set_random_seed(config.seed)
    pipeline = Pipeline(config, train, [])
    model = compile_model(config, pipeline.steps)
    if start is not None:
        start_with(model, start)
    validated = ValidatedWeights(
        NormalizationStatistics(pipeline.typical()), bool(config.train.weight_average)
    )
    validated.set_model(model)
    started = time.monotonic()
    history = model.fit(
        pipeline.training(0, config.train.epochs),
        epochs=config.train.epochs,
        steps_per_epoch=pipeline.steps,
        shuffle=False,
        verbose=0,
    )
    seconds = time.monotonic() - started
    validated.on_test_begin()
    return {
        **score(config, model, test),
        "loss": [round(float(loss), 4) for loss in history.history["loss"]],
        "seconds": round(seconds),
        "learning_rate": config.learning_rate,
        "date": datetime.date.today().isoformat(),
    }


def score(config: Config, model: Any, test: Sequence[Slice]) -> dict[str, Any]:
    """Return the lung Dice of a `keras.Model` on each patient of `test`, and its mean."""
    pixels: dict[str, Any] = defaultdict(lambda: np.zeros(4, int))
    for s in test:
        shape = (1, *config.data.image_size, config.data.channels)
        image = read_slice(s.image, config.data).astype(np.float32).reshape(shape)
        guess = np.asarray(model.predict_on_batch(image))[0].argmax(-1) > 0
        found = metrics.count(read_labels(s.mask, config.data) > 0, guess)
        pixels[s.group or s.case] += [found.tp, found.fp, found.fn, found.tn]
    patients = {
        patient: round(metrics.dice(metrics.Counts(*map(int, sums))), 4)
        for patient, sums in pixels.items()
    }
    return {
        "dice": round(float(np.mean(list(patients.values()))), 4),
        "patients": patients,
    }


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Do one training in this process and score it."""
    config = check_config(job["config"], "real_slices")
    parts = read_layout(Path(job["data"]), config)
    test = [s for folder in job["tests"] for s in read_manifest(Path(folder))] or parts["valid"]
    return train_and_score(config, parts["train"], test)


def main(
    data: Annotated[Path, typer.Option(help="Data set with train and valid.")],
    test: Annotated[Path | None, typer.Option(help="Prepared folder of other patients.")] = None,
    only: Annotated[list[str], typer.Option(help="Networks to train; all by default.")] = [],  # noqa: B006
    rate: Annotated[list[float], typer.Option(help="Compare these learning rates instead.")] = [],  # noqa: B006
) -> None:
    """Do the trainings that results/real_slices.json lacks."""
    if not rate and test is None:
        raise typer.BadParameter("--test or --rate is needed")
    known: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {}
    known |= {"hardware": describe_hardware(), "software": describe_software()}
    for network in only or NETWORKS:
        values: list[float | None] = [*rate] or [None]
        for value in values:
            for seed in range(1 if value else SEEDS.get(network, 1)):
                table, key = ("rates", f"{value:g}") if value else ("trainings", f"{seed}")
                found = known.setdefault(table, {}).setdefault(network, {})
                if key in found:
                    continue
                tests = [test] if test and not value else []
                found[key] = ask(config_of(network, seed, value), data, tests)
                write_json(RESULTS, known)
                typer.echo(f"{network} {key}: {found[key]}", err=True)


def ask(config: Config, data: Path, tests: Sequence[Path]) -> dict[str, Any]:
    """Run `child` in a separate process, so that each training starts alike.

    Args:
        config: the config of the training.
        data: the data set.
        tests: the prepared folders to score on; without any, the part valid of the data set.
    """
    job = {"config": config.model_dump(mode="json"), "data": str(data)}
    return ask_child("scripts.bench.real_slices", {**job, "tests": [str(f) for f in tests]})


def ask_child(module: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run a module with `--child` in a process of its own: JSON in, JSON out."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--child"],
        cwd=ROOT,
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def fill_in(
    results: Path,
    variants: Iterable[str],
    seeds: Sequence[int],
    train: Callable[[str, int], dict[str, Any]],
) -> None:
    """Do the trainings that a file of results lacks; each is kept in it at once.

    Args:
        results: the file.
        variants: names of the trainings.
        seeds: the seeds of each.
        train: does the training of a name with a seed.
    """
    known: dict[str, Any] = read_json(results) if results.exists() else {"variants": {}}
    known |= {"hardware": describe_hardware(), "software": describe_software()}
    for seed in seeds:
        for name in variants:
            found = known["variants"].setdefault(name, {})
            if str(seed) in found:
                continue
            found[str(seed)] = train(name, seed)
            write_json(results, known)
            typer.echo(f"{name} {seed}: {found[str(seed)]}", err=True)


if __name__ == "__main__":
    if "--child" in sys.argv:
        sys.stdout.write(json.dumps(child(json.load(sys.stdin))) + "\n")
    else:
        typer.run(main)
