"""`lungseg train`: train on a data set and write a run folder with the best model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lungseg.config.schema import Config
from lungseg.dataset.augmentation import mirrored_classes
from lungseg.dataset.patients import assign_patients, warn_of_unknown_patients
from lungseg.dataset.reading import (
    check_layout,
    fold_folders,
    is_layout,
    read_layout,
    read_manifest,
)
from lungseg.dataset.seen import BEFORE
from lungseg.dataset.similarity import most_alike_pairs, report_leaks
from lungseg.dataset.slices import SeenRow, Slice, balance_patients, mix_sources
from lungseg.errors import DataError, UsageError
from lungseg.imaging.pixels import read_slice
from lungseg.inference.certainty import Usual
from lungseg.reporting.model_card import write_model_card
from lungseg.system.files import existing_folder
from lungseg.system.outputs import check_output
from lungseg.system.run_files import ALSO, TRAINING_FILES, open_run
from lungseg.system.tables import read_json, read_rows, write_json
from lungseg.training.backend import require_tensorflow
from lungseg.training.distribution import is_chief
from lungseg.training.exporting import export_best
from lungseg.training.run_folder import (
    RunRecord,
    check_same_config,
    check_same_slices,
    describe_run,
    is_written,
    write_config,
    write_data_list,
)
from lungseg.training.setup import check_packages, set_up
from lungseg.training.starting import check_start, slices_before, starting_run

# The usual certainty is that of so many slices.
CERTAINTY_SLICES = 64


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Attributes:
        run: the run folder.
        epochs: number of finished epochs, those before a resume included.
        best_epoch: the epoch of the model that is kept, from 1.
        monitor: name of the value by which this epoch was chosen, or `last`.
        best: that value.
        learning_rate: learning rate of the last epoch.
        seconds: duration of this call.
        onnx_difference: largest difference of a probability between ONNX Runtime and Keras.
    """

    run: Path
    epochs: int
    best_epoch: int
    monitor: str
    best: float
    learning_rate: float
    seconds: float
    onnx_difference: float


def stored_config(run: Path | None) -> Path | None:
    """Return the config in a run folder, which a resumed training uses, or None."""
    path = None if run is None else run / "config.yaml"
    return path if path is not None and path.exists() else None


def count_slices(
    config: Config, dataset: Path, run: Path, *, resume: bool = False, overwrite: bool = False
) -> dict[str, int]:
    """Check folders and slices as `train` does, and return the number of slices in each part."""
    parts, _ = _read_parts(config, _check_folders(config, dataset, run, resume, overwrite))
    if resume:
        check_same_slices(parts, run)
    return {part: len(slices) for part, slices in parts.items()}


def training_jobs(
    dataset: str | Path, run: str | Path, fold: str | None = None
) -> list[tuple[Path, Path]]:
    """Return the data set and the run folder of each training that a command asks for.

    Args:
        dataset: a data set, or a folder of folds.
        run: the run folder. The run of a fold is the folder `fold_k` in it.
        fold: None, the number of a fold, or `all`.

    Raises:
        UsageError: if the fold does not exist, or if `dataset` holds folds and `fold` is None.
    """
    dataset, run = existing_folder(dataset, "slices"), Path(run)
    folds = fold_folders(dataset)
    if fold is None:
        if folds and not is_layout(dataset):
            raise UsageError(
                f"{dataset}: holds {len(folds)} folds; train one with --fold 1, or --fold all."
            )
        return [(dataset, run)]
    chosen = [path for path in folds if fold in ("all", path.name.removeprefix("fold_"))]
    if not chosen:
        raise UsageError(
            f"--fold {fold}: {dataset} holds {len(folds)} folds. lungseg split -s split.folds=5 "
            "makes five."
        )
    return [(folder, run / folder.name) for folder in chosen]


def train(
    config: Config,
    dataset: str | Path,
    run: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    command: Sequence[str] = (),
) -> TrainResult:
    """Train a network, or resume a training that was stopped.

    Args:
        config: the whole config.
        dataset: folder in the `train|valid|test/{images,masks}` layout.
        run: the run folder.
        resume: continue from the newest checkpoint in `run`, or start if there is none.
        overwrite: replace a run that `train` wrote.
        command: the command line, for `run.json`.

    Raises:
        UsageError: if a folder is missing, the run folder exists or is in use, the config or the
            slices of a resumed run have changed, or `resume` and `overwrite` are both true.
        DataError: if the data are unusable, or the loss became NaN or infinite.

    Examples:
        >>> config = lungseg.load_config("lung.yaml", ["train.epochs=1"])
        >>> result = lungseg.train(config, "data/dataset", "runs/lung")
        >>> result.epochs, (result.run / "model.onnx").is_file()
        (1, True)
    """
    if resume and overwrite:
        raise UsageError("resume and overwrite exclude each other.")
    require_tensorflow()  # before anything is read or written
    dataset, run = Path(dataset), Path(run)
    dataset = _check_folders(config, dataset, run, resume, overwrite)
    parts, epoch_slices = _read_parts(config, dataset)
    if not is_chief():  # only the chief writes
        return _train(config, parts, epoch_slices, run, command)
    if resume:
        check_same_slices(parts, run)
    before = _slices_before(config, run if resume else None)
    read = [*_folders_read(config, dataset)]
    read += [path for part in parts.values() for s in part for path in (s.image, s.mask)]
    # A config that a person has edited is left as it is if it says the same.
    keep = {"config.yaml"} if resume and is_written(config, dataset, run) else set()
    claims = [name for name in TRAINING_FILES if name not in keep]
    with open_run(run, claims, read, overwrite=overwrite, resume=resume) as output:
        if overwrite:
            output.clear()
        if not keep:
            write_config(config, dataset, run)
        write_data_list(run / "data.csv", parts, before)
        result = _train(config, parts, epoch_slices, run, command)
        write_model_card(run, output)
        return result


def _train(
    config: Config,
    parts: dict[str, list[Slice]],
    epoch_slices: list[Slice],
    run: Path,
    command: Sequence[str],
) -> TrainResult:
    started = time.monotonic()
    setup = set_up(config, run, started, len(epoch_slices), len(parts["valid"]))
    from lungseg.training.fitting import fit
    from lungseg.training.pipeline import Pipeline

    config = setup.config
    pipeline = Pipeline(config, epoch_slices, parts["valid"])
    record = RunRecord(run, {**setup.describe(), **describe_run(config, parts, command)})
    record.write("running")
    try:
        recorder = fit(
            config, run, pipeline, parts, setup.execution, setup.strategy, setup.deadline
        )
    except KeyboardInterrupt:
        record.write("interrupted")
        raise
    assert recorder.best is not None
    difference = math.nan
    if is_chief():
        difference = export_best(run)
        _note_certainty(run, config, parts["valid"] or parts["train"])
    result = TrainResult(
        run=run,
        epochs=len(recorder.history),
        best_epoch=recorder.best_epoch,
        monitor=config.train.monitor,
        best=recorder.best,
        learning_rate=recorder.history[-1]["learning_rate"],
        onnx_difference=difference,
        seconds=time.monotonic() - started,
    )
    outcome = asdict(result)
    del outcome["run"], outcome["learning_rate"]
    record.write("finished", **{**outcome, "seconds": round(result.seconds, 1)})
    return result


def _note_certainty(run: Path, config: Config, slices: Sequence[Slice]) -> None:
    """Add to `model.json` what certainty is usual for the network, for the flags of `infer`."""
    from lungseg.inference.predictor import Predictor

    predictor = Predictor(run / "model.onnx")
    chosen = np.unique(np.linspace(0, len(slices) - 1, CERTAINTY_SLICES).round().astype(int))
    images = (read_slice(slices[k].image, config.data) for k in chosen)
    usual = Usual.of(predictor.probabilities([image])[0] for image in images)
    if usual is not None:
        path = run / "model.json"
        write_json(path, {**read_json(path), "certainty": asdict(usual)})


def _check_folders(config: Config, dataset: Path, run: Path, resume: bool, overwrite: bool) -> Path:
    """Return the data set, after a check that it exists and that the run folder may be written."""
    dataset = existing_folder(dataset, "slices")
    check_layout(dataset)
    check_packages(config)
    mirrored_classes(config.augment.online, list(config.data.rgb_map))  # before a run is begun
    if is_chief():
        read = _folders_read(config, dataset)
        check_output(run, "train", read, overwrite=overwrite, resume=resume, also=ALSO)
        if resume and run.exists():
            check_same_config(config, run)
        elif (start := starting_run(config)) is not None:
            check_start(existing_folder(start, "a trained network", "--from"))
    return dataset


def _folders_read(config: Config, dataset: Path) -> list[Path | None]:
    """Return the folders that a training reads."""
    others = [config.train.mini_test, config.split.group_csv, starting_run(config)]
    return [dataset, *config.data.train_only, *others]


def _slices_before(config: Config, resumed: Path | None) -> list[SeenRow]:
    """Return what the network was trained on that the training starts with, or started with."""
    listing = None if resumed is None else resumed / "data.csv"
    if listing is not None and listing.exists():
        return [row for row in read_rows(listing, SeenRow) if row.part == BEFORE]
    start = starting_run(config)
    return [] if start is None else slices_before(start)


def _read_parts(config: Config, dataset: Path) -> tuple[dict[str, list[Slice]], list[Slice]]:
    """Read the lists of slices.

    Returns:
        The slices of each part, with those of `data.train_only` in `train`; and the slices of an
        epoch, in which slices are repeated by `train.patient_balance` and those of the data set
        until the others have at most their share.
    """
    parts = read_layout(dataset, config)
    own = list(parts["train"])
    for folder in config.data.train_only:
        prepared = existing_folder(folder, "prepared slices", "data.train_only")
        slices = read_manifest(prepared, config.data)
        parts["train"] += assign_patients(slices, config.split)[0]
    _check_parts(parts, config, dataset)
    balance = config.train.patient_balance
    added = balance_patients(parts["train"][len(own) :], balance)
    own = balance_patients(own, balance)
    return parts, mix_sources(own, added, config.data.train_only_share)


def _check_parts(parts: dict[str, list[Slice]], config: Config, dataset: Path) -> None:
    """Check that there are slices to train on, and to validate on if needed; warn of leaks."""
    if not parts["train"]:
        raise DataError(dataset / "train", "holds no usable pair of image and mask.")
    if not parts["valid"] and config.train.monitor.startswith("val_"):
        raise DataError(
            dataset / "valid",
            "holds no usable pair, but train.monitor is "
            f"{config.train.monitor}. Give valid a share (split.fractions), or keep the last "
            "epoch's weights: train.monitor=last.",
        )
    warn_of_unknown_patients([s for slices in parts.values() for s in slices])
    report_leaks(most_alike_pairs(parts, config.split), config.split, strict=False)
