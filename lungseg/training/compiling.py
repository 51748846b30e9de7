"""A network is built and compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.models import build_model
from lungseg.training import losses
from lungseg.training.averaging import AveragingAdam, AveragingAdamW
from lungseg.training.backend import Execution, configured


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
        options |= {"use_ema": True, "ema_momentum": 1 - settings.weight_average}
    if settings.optimizer == "adamw":
        optimizer = AveragingAdamW(rate, weight_decay=settings.weight_decay, **options)
    else:
        optimizer = AveragingAdam(rate, **options)
    model = build_model(config)
    model.compile(
        optimizer,
        loss=losses.LOSSES[settings.loss],
        metrics=[losses.METRICS[name] for name in settings.metrics],
        jit_compile=(execution or configured(config)).jit_compile,
    )
    return model


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
