"""Fit a network to the slices of a pipeline, from the start or from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.slices import Slice
from lungseg.errors import DataError
from lungseg.imaging.folders import list_images
from lungseg.imaging.pixels import read_slice
from lungseg.system import console
from lungseg.system.files import existing_folder
from lungseg.training.averaging import NormalizationStatistics, ValidatedWeights
from lungseg.training.backend import Execution
from lungseg.training.budget import Deadline
from lungseg.training.callbacks import (
    EpochChangeInference,
    NotANumber,
    Progress,
    StopAtDeadline,
    direction,
)
from lungseg.training.compiling import compile_model
from lungseg.training.distribution import is_chief, patch_for_workers
from lungseg.training.pipeline import Pipeline
from lungseg.training.recorder import Recorder, last_checkpoint
from lungseg.training.starting import start_with, starting_run
from lungseg.training.tracking import MlflowLog, told_the_end


def fit(
    config: Config,
    run: Path,
    pipeline: Pipeline,
    parts: dict[str, list[Slice]],
    execution: Execution,
    strategy: Any,
    deadline: Deadline | None,
) -> Recorder:
    """Train from the newest checkpoint of `run`, or from the start, to the last epoch.

    Args:
        config: the whole config.
        run: the run folder.
        pipeline: the training and validation streams.
        parts: the slices of `train` and `valid`, of which some are predicted after each epoch.
        execution: how to run TensorFlow.
        strategy: from `lungseg.training.distribution.make_strategy`.
        deadline: the end of the time budget, None if there is none.

    Returns:
        The recorder, which holds the history and the best epoch.

    Raises:
        DataError: if the data are unusable, the loss became NaN or infinite, or the monitored value
            was never finite.
    """
    settings = config.train
    model, state = _load_or_compile(config, run, pipeline.steps, execution, strategy)
    model = patch_for_workers(model, strategy, config)
    console.note(
        f"{config.model.name}: {model.count_params():,} parameters; {len(pipeline.train)} slices "
        f"to train on, {len(pipeline.valid)} to validate; {pipeline.steps} batches of "
        f"{pipeline.batch_size} per epoch"
    )
    callbacks, recorder = _callbacks(config, run, pipeline, parts, state, deadline)
    epochs_done = int(state.get("epochs_done", 0))
    if epochs_done < settings.epochs and not _stopped_early(state, settings.patience):
        with told_the_end(callbacks):
            _fit_epochs(model, pipeline, epochs_done, settings.epochs, callbacks, recorder)
    if recorder.best is None:
        raise DataError(
            run,
            f"{settings.monitor} was never a number, so there is no best model. "
            "Lower train.learning_rate, or look at history.csv.",
        )
    return recorder


def _load_or_compile(
    config: Config, run: Path, steps: int, execution: Execution, strategy: Any
) -> tuple[keras.Model, dict[str, Any]]:
    """Return the compiled model of the newest checkpoint and its state, or a new one and {}."""
    checkpoint = last_checkpoint(run)
    with strategy.scope():
        if checkpoint is None:
            model = compile_model(config, steps, execution)
            if (start := starting_run(config)) is not None:
                start_with(model, start)
            return model, {}
        path, state = checkpoint
        model = keras.saving.load_model(path, safe_mode=True)
    console.note(f"resuming after epoch {state['epochs_done']}")
    return model, state


def _stopped_early(state: dict[str, Any], patience: int) -> bool:
    """Return whether a training has waited for `train.patience` epochs at this checkpoint.

    The patience may have been raised since. 0 means that nothing ends a training early.
    """
    early_stopping = state.get("callbacks", {}).get("EarlyStopping") or {}
    return 0 < patience <= int(early_stopping.get("wait", 0))


def _fit_epochs(
    model: keras.Model,
    pipeline: Pipeline,
    epochs_done: int,
    epochs: int,
    callbacks: list[Any],
    recorder: Recorder,
) -> None:
    """Fit with a progress bar. An error while reading is raised in place of TensorFlow's error."""
    samples = (epochs - epochs_done) * pipeline.samples_per_epoch
    with console.progress(samples, "train") as bar:
        try:
            model.fit(
                pipeline.training(epochs_done, epochs),
                validation_data=pipeline.validation(),
                initial_epoch=epochs_done,
                epochs=epochs,
                steps_per_epoch=pipeline.steps,
                callbacks=[*callbacks, Progress(bar, pipeline, epochs), recorder],
                shuffle=False,
                verbose=0,
            )
        except Exception:
            if pipeline.problem is not None:
                raise pipeline.problem from None
            raise


def _callbacks(
    config: Config,
    run: Path,
    pipeline: Pipeline,
    parts: dict[str, list[Slice]],
    state: dict[str, Any],
    deadline: Deadline | None,
) -> tuple[list[Any], Recorder]:
    """Return the callbacks of the config, and the recorder, which must come after them."""
    settings = config.train
    mode = direction(settings.monitor)
    stateful: list[Any] = []
    if settings.reducer is not None:
        stateful.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=settings.monitor,
                mode=mode,
                factor=settings.reducer.factor,
                patience=settings.reducer.patience,
                min_lr=settings.reducer.min_learning_rate,
                min_delta=0.0,
            )
        )
    if settings.patience:
        stateful.append(
            keras.callbacks.EarlyStopping(
                monitor=settings.monitor, mode=mode, patience=settings.patience
            )
        )
    callbacks: list[Any] = [NotANumber(pipeline), *stateful]
    average = ValidatedWeights(
        NormalizationStatistics(pipeline.typical()), averages=bool(settings.weight_average)
    )
    callbacks.insert(0, average)
    writes = is_chief()
    if settings.epoch_change_images and writes:
        names, slices = _mini_test(config, parts)
        if slices:
            folder = run / "epoch_change_infer"
            callbacks.append(EpochChangeInference(folder, names, slices, average))
    if "tensorboard" in settings.log and writes:
        callbacks.append(keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False))
    if "mlflow" in settings.log and writes:
        stateful.append(MlflowLog(run, config))
        callbacks.append(stateful[-1])
    if deadline is not None:
        callbacks.append(StopAtDeadline(deadline))
    return callbacks, Recorder(run, config, stateful, state, average, writes)


def _mini_test(
    config: Config, parts: dict[str, list[Slice]]
) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Return the names and slices that are predicted after each epoch.

    They come from `train.mini_test` if it is set, otherwise from the part `valid`, or from `train`
    if `valid` is empty.
    """
    if config.train.mini_test is not None:
        folder = existing_folder(config.train.mini_test, "images", "train.mini_test")
        paths, _ = list_images(folder)
    else:
        chosen = parts["valid"] or parts["train"]
        step = max(1, len(chosen) // config.train.epoch_change_images)
        paths = [s.image for s in chosen[::step]]
    paths = paths[: config.train.epoch_change_images]
    return [path.stem for path in paths], [read_slice(path, config.data) for path in paths]
