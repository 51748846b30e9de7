"""Build the network of a config and compile it with its loss, metrics and optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import class_metrics
from lungseg.config.schema import Config
from lungseg.models import build_model
from lungseg.training import losses
from lungseg.training.averaging import AveragingAdam, AveragingAdamW
from lungseg.training.backend import Execution, configured


def compile_model(config: Config, steps: int, execution: Execution | None = None) -> keras.Model:
    """Build and compile the network of a config.

    Args:
        config: the whole config.
        steps: batches per epoch, which the learning rate schedule depends on.
        execution: how to run TensorFlow. None means as in the config.

    Returns:
        A compiled `keras.Model`.
    """
    settings = config.train
    rate: Any = config.learning_rate
    if settings.schedule == "cosine":
        # Limit the warm-up to half of the training, so that a one-epoch test run still reaches the
        # full rate.
        warmup = int(min(settings.warmup_epochs, settings.epochs / 2) * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else config.learning_rate,
            decay_steps=max(1, settings.epochs * steps - warmup),
            warmup_target=config.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    options: dict[str, Any] = {"clipvalue": settings.clipvalue}
    if settings.weight_average:
        options |= {"use_ema": True, "ema_momentum": 1 - settings.weight_average}
    if settings.optimizer == "adamw":
        optimizer = AveragingAdamW(rate, weight_decay=settings.weight_decay, **options)
    else:
        optimizer = AveragingAdam(rate, **options)
    watched = class_metrics(list(config.data.rgb_map))
    model = build_model(config)
    model.compile(
        optimizer,
        loss=losses.LOSSES[settings.loss],
        metrics=[
            *(losses.METRICS[name] for name in settings.metrics),
            *(losses.ClassDice(index, name) for name, index in watched.items()),
        ],
        jit_compile=(execution or configured(config)).jit_compile,
    )
    return model


def build_in_float32(config: Config, weights: Sequence[NDArray[np.float32]]) -> keras.Model:
    """Build the network of a config so that it computes in float32.

    Args:
        config: the whole config.
        weights: the trained weights, as `keras.Model.get_weights` returns them.

    Returns:
        A `keras.Model` that is not compiled.
    """
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        model = build_model(config)
    finally:
        keras.mixed_precision.set_global_policy(policy)
    model.set_weights(weights)
    return model
