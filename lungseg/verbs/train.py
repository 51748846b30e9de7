"""`lungseg train`: a data set -> a run folder with the best model and all to repeat it."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lungseg.config.schema import Config
from lungseg.dataset.leakage import leakage
from lungseg.dataset.patients import grouped
from lungseg.dataset.reading import fold_folders, is_layout, read_layout, read_manifest
from lungseg.dataset.slices import Slice, mix_sources
from lungseg.errors import DataError, UsageError
from lungseg.system import console
from lungseg.system.files import existing_folder, refuse_nonempty
from lungseg.system.locks import only_one
from lungseg.system.tables import read_json, write_json
from lungseg.training import budget
from lungseg.training.backend import Execution, start_tensorflow
from lungseg.training.distribution import is_chief
from lungseg.training.exporting import export_run
from lungseg.training.run_folder import (
    check_same_config,
    describe_run,
    write_config,
    write_data_list,
)
from lungseg.training.tuning import LONG_RUN_SLICES, choose, seconds_per_slice


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        run: the run folder.
        epochs: epochs done, over all resumes.
        best_epoch: the epoch of the kept model, from 1.
        monitor: name of the value that picked it.
        best: that value.
        learning_rate: of the last epoch.
        seconds: of this call.
        onnx_difference: largest difference of ONNX Runtime to Keras.
    """

    run: Path
    epochs: int
    best_epoch: int
    monitor: str
    best: float
    learning_rate: float
    seconds: float
    onnx_difference: float


def jobs(dataset: Path, run: Path, fold: str | None) -> list[tuple[Path, Path]]:
    """Return the data set and run folder of each training a command asks for.

    Args:
        dataset: data set, or a folder of folds.
        run: run folder; a fold's run is `fold_k` in it.
        fold: None, a fold's number, or `all`.

    Raises:
        UsageError: for a fold that is not there, or folds without `fold`.
    """
    dataset = existing_folder(dataset, "slices", "--data")
    folds = fold_folders(dataset)
    if fold is None:
        if folds and not is_layout(dataset):
            raise UsageError(
                f"{dataset}: holds {len(folds)} folds; train one with --fold 1, or --fold all."
            )
        return [(dataset, run)]
    chosen = [f for f in folds if fold in ("all", f.name.removeprefix("fold_"))]
    if not chosen:
        raise UsageError(
            f"--fold {fold}: {dataset} holds {len(folds)} folds. lungseg split -s split.folds=5 "
            "makes five."
        )
    return [(folder, run / folder.name) for folder in chosen]


def train(
    config: Config,
    dataset: Path | None,
    run: Path,
    resume: bool = False,
    overwrite: bool = False,
    command: Sequence[str] = (),
) -> TrainResult:
    """Train a network, or go on with a training that was stopped.

    Args:
        config: the whole config.
        dataset: folder in the `train|valid|test/{images,masks}` layout.
        run: the run folder.
        resume: go on from the newest checkpoint in `run`; start where there is none.
        overwrite: replace a run folder that is not empty.
        command: the command line, for `run.json`.

    Raises:
        UsageError: for a missing folder, a run folder that exists or is in use, or a resume with
            another config.
        DataError: for unusable data, or a loss that is no number.
    """
    # The other workers write nothing.
    with only_one(run) if is_chief() else contextlib.nullcontext():
        return _train(config, dataset, run, resume, overwrite, command)


def _train(
    config: Config,
    dataset: Path | None,
    run: Path,
    resume: bool,
    overwrite: bool,
    command: Sequence[str],
) -> TrainResult:
    dataset = existing_folder(dataset, "slices", "--data")
    if not is_layout(dataset):
        raise DataError(f"{dataset}: expected train/images and train/masks; run lungseg split.")
    chief = is_chief()
    if chief and not resume:
        refuse_nonempty(run, overwrite, also="--resume to go on with it, or ")
    elif chief and run.exists():
        check_same_config(config, run)
    parts = read_layout(dataset, config)
    own = list(parts["train"])
    for folder in config.data.train_only:
        added = read_manifest(existing_folder(folder, "prepared slices", "data.train_only"))
        parts["train"] += grouped(added, config.split)[0]
    _check_parts(parts, config, dataset)
    if chief:
        if overwrite and not resume and run.exists():
            shutil.rmtree(run)
        run.mkdir(parents=True, exist_ok=True)
        write_config(config, dataset, run)
        write_data_list(run / "data.csv", parts)

    started = time.monotonic()
    shown = mix_sources(own, parts["train"][len(own) :], config.data.train_only_share)
    slices_to_see = config.train.epochs * config.train.slices_an_epoch(len(shown))
    if config.train.time_budget:
        slices_to_see = LONG_RUN_SLICES
    execution = choose(config, slices_to_see)
    strategy = _set_up_tensorflow(config, execution)
    from lungseg.training.fitting import fit
    from lungseg.training.pipeline import Pipeline

    deadline = None
    record: dict[str, Any] = {"execution": asdict(execution)}
    if config.train.time_budget:
        end = started + config.train.budget_seconds
        planned = _plan(config, run, end, execution, strategy, len(parts["valid"]))
        record["plan"] = asdict(planned)
        config, deadline = planned.apply(config), budget.Deadline(end)
    pipeline = Pipeline(config, shown, parts["valid"])
    record |= describe_run(config, parts, command)

    def write_record(status: str, **outcome: Any) -> None:
        if chief:
            write_json(run / "run.json", {**record, "status": status, **outcome})

    write_record("running")
    try:
        recorder = fit(config, run, pipeline, parts, execution, strategy, deadline)
    except KeyboardInterrupt:
        write_record("interrupted")
        raise
    assert recorder.best is not None
    result = TrainResult(
        run=run,
        epochs=len(recorder.history),
        best_epoch=recorder.best_epoch,
        monitor=config.train.monitor,
        best=recorder.best,
        learning_rate=recorder.history[-1]["learning_rate"],
        onnx_difference=export_run(run) if chief else math.nan,
        seconds=time.monotonic() - started,
    )
    outcome = asdict(result)
    del outcome["run"], outcome["learning_rate"]
    write_record("finished", **{**outcome, "seconds": round(result.seconds, 1)})
    return result


def _plan(
    config: Config,
    run: Path,
    end: float,
    execution: Execution,
    strategy: Any,
    validation_slices: int,
) -> budget.Plan:
    """Return the plan of a run with a time budget: the one it began with, or a new one."""
    from lungseg.training.compiling import compile_model

    path = run / "plan.json"
    if path.exists():
        return budget.Plan(**read_json(path))
    console.note("measuring the speed of training ...")
    with strategy.scope():
        speed = seconds_per_slice(compile_model(config, 1, execution), config)
    planned = budget.plan(config, end - time.monotonic(), speed, validation_slices)
    console.note(f"planned for {config.train.time_budget}: {planned}")
    if is_chief():
        write_json(path, asdict(planned))
    return planned


def _set_up_tensorflow(config: Config, execution: Execution) -> Any:
    """Import TensorFlow with its settings and seed; return the strategy to train with."""
    tf = start_tensorflow(execution)
    import keras

    from lungseg.training.distribution import make_strategy

    strategy = make_strategy(config)
    keras.utils.set_random_seed(config.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    replicas = strategy.num_replicas_in_sync
    shared = f", {replicas} replicas ({config.train.strategy})" if replicas > 1 else ""
    console.note(f"device: {', '.join(gpus) if gpus else 'CPU'}; {execution}{shared}")
    return strategy


def _check_parts(parts: dict[str, list[Slice]], config: Config, dataset: Path) -> None:
    if not parts["train"]:
        raise DataError(f"{dataset / 'train'}: holds no usable pair of image and mask.")
    if not parts["valid"] and config.train.monitor.startswith("val_"):
        raise DataError(
            f"{dataset / 'valid'}: holds no usable pair, but train.monitor is "
            f"{config.train.monitor}. Give valid a share (split.fractions), or keep the last "
            "epoch's weights: train.monitor=last."
        )
    for likeness in leakage(parts):
        if likeness.similarity >= config.split.leak_similarity:
            console.warn(
                f"{' and '.join(likeness.parts)} hold slices that look like one patient's "
                f"({likeness.cases[0]}, {likeness.cases[1]}, similarity "
                f"{likeness.similarity:.3f}): scores will be too good."
            )
