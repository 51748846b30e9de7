"""A network is built, compiled and fitted to the slices of a pipeline. Imports TensorFlow."""

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
from lungseg.training.distribution import adapt, is_chief
from lungseg.training.pipeline import Pipeline
from lungseg.training.recorder import Recorder, last_checkpoint


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

    Returns:
        What was recorded: the history, and the best epoch.

    Raises:
        DataError: for unusable data, a loss that is no number, or a monitored value that never was.
    """
    settings = config.train
    checkpoint = last_checkpoint(run)
    state: dict[str, Any] = {}
    with strategy.scope():
        if checkpoint is None:
            model = compile_model(config, pipeline.steps, execution)
        else:
            path, state = checkpoint
            model = keras.saving.load_model(path, safe_mode=True)
            console.note(f"going on after epoch {state['epochs_done']}")
    model = adapt(model, strategy, config)
    done = int(state.get("epochs_done", 0))
    console.note(
        f"{config.model.name}: {model.count_params():,} parameters; {len(pipeline.train)} slices "
        f"to train on, {len(pipeline.valid)} to validate; {pipeline.steps} batches of "
        f"{pipeline.batch_size} an epoch"
    )
    callbacks, recorder = _callbacks(config, run, pipeline, parts, state, deadline)
    stopped_early = (state.get("callbacks", {}).get("EarlyStopping") or {}).get("stopped_epoch", 0)
    if done < settings.epochs and not stopped_early:
        left = (settings.epochs - done) * pipeline.samples_per_epoch
        with console.progress(left, "train") as bar:
            try:
                model.fit(
                    pipeline.training(done, settings.epochs),
                    validation_data=pipeline.validation(),
                    initial_epoch=done,
                    epochs=settings.epochs,
                    steps_per_epoch=pipeline.steps,
                    callbacks=[*callbacks, Progress(bar, pipeline, settings.epochs), recorder],
                    shuffle=False,
                    verbose=0,
                )
            except Exception:
                if pipeline.problem is not None:
                    raise pipeline.problem from None
                raise
    if recorder.best is None:
        raise DataError(
            run,
            f"{settings.monitor} was never a number, so there is no best model. "
            "Lower train.learning_rate, or look at history.csv.",
        )
    return recorder


def _callbacks(
    config: Config,
    run: Path,
    pipeline: Pipeline,
    parts: dict[str, list[Slice]],
    state: dict[str, Any],
    deadline: Deadline | None,
) -> tuple[list[Any], Recorder]:
    """Return what happens beside the training, and what records it, which must come last."""
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
    average = None
    if settings.weight_average:
        average = keras.callbacks.SwapEMAWeights()
        callbacks.insert(0, average)
    writes = is_chief()
    if settings.epoch_change_images and writes:
        names, slices = _mini_test(config, parts)
        if slices:
            folder = run / "epoch_change_infer"
            callbacks.append(EpochChangeInference(folder, names, slices, average))
    if settings.tensorboard and writes:
        callbacks.append(keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False))
    if deadline is not None:
        callbacks.append(StopAtDeadline(deadline))
    return callbacks, Recorder(run, config, stateful, state, average, writes)


def _mini_test(
    config: Config, parts: dict[str, list[Slice]]
) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Choose the images predicted after each epoch: mini test, else valid, else train."""
    if config.train.mini_test is not None:
        folder = existing_folder(config.train.mini_test, "images", "train.mini_test")
        paths, _ = list_images(folder)
    else:
        chosen = parts["valid"] or parts["train"]
        step = max(1, len(chosen) // config.train.epoch_change_images)
        paths = [s.image for s in chosen[::step]]
    paths = paths[: config.train.epoch_change_images]
    return [path.stem for path in paths], [read_slice(path, config.data) for path in paths]
