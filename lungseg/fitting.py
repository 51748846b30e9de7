"""A network is built, compiled and fitted to the slices of a pipeline. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

import lungseg.losses  # registers the functions a checkpoint refers to
from lungseg import console
from lungseg.budget import Deadline
from lungseg.callbacks import (
    EpochChangeInference,
    NotANumber,
    Progress,
    Recorder,
    StopAtDeadline,
    direction,
    last_checkpoint,
)
from lungseg.config import Config
from lungseg.dataset import Pipeline
from lungseg.distribution import adapt, is_chief
from lungseg.errors import DataError
from lungseg.execution import Execution, configured
from lungseg.files import existing_folder
from lungseg.images import list_images, read_slice
from lungseg.models import build_model
from lungseg.slices import Slice


def compile_model(config: Config, steps: int, execution: Execution | None = None) -> keras.Model:
    """Build and compile the network of a config, its schedule laid over epochs of `steps`."""
    settings = config.train
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        # Else a training of one epoch, as a first try is, would end before its rate has risen.
        warmup = int(min(settings.warmup_epochs, settings.epochs / 2) * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else settings.learning_rate,
            decay_steps=max(1, settings.epochs * steps - warmup),
            warmup_target=settings.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    options: dict[str, Any] = {"clipvalue": settings.clipvalue}
    if settings.weight_average:
        # As a share of the training: an average over a fixed number of steps would hold the first,
        # random weights of a short training, and hardly average a long one.
        window = max(1.0, settings.weight_average * settings.epochs * steps)
        options |= {"use_ema": True, "ema_momentum": 1 - 1 / window}
    if settings.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, **options)
    else:
        optimizer = keras.optimizers.Adam(rate, **options)
    model = build_model(config)
    model.compile(
        optimizer,
        loss=lungseg.losses.LOSSES[settings.loss],
        metrics=[lungseg.losses.METRICS[name] for name in settings.metrics],
        jit_compile=(execution or configured(config)).jit_compile,
    )
    return model


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
            f"{run}: {settings.monitor} was never a number, so there is no best model. "
            "Lower train.learning_rate, or look at history.csv."
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


def build_in_float32(config: Config, weights: Sequence[NDArray[np.float32]]) -> keras.Model:
    """Build the network of a config to compute in float32, whatever it was trained in."""
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        model = build_model(config)
    finally:
        keras.mixed_precision.set_global_policy(policy)
    model.set_weights(weights)
    return model
