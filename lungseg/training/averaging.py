"""The weights that are validated and saved: averaged over steps, with statistics of their own.

A network is judged and kept with the average of its weights over the last steps. Two things make
that average worth judging at any epoch:

- The window of the average grows with the training (`AveragingAdam`, `AveragingAdamW`). A window
  of fixed length would hold the first, random weights for many epochs.
- Batch normalisation is given the statistics that the averaged weights produce
  (`NormalizationStatistics`). The running statistics that Keras keeps belong to the raw weights of
  earlier steps. While the learning rate is high they fit neither the raw nor the averaged weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import layers, ops

_serializable = keras.saving.register_keras_serializable("lungseg")


class _GrowingWindow:
    """An optimizer whose average covers the last `1 - ema_momentum` of all steps so far.

    The average after step t has momentum `1 - 1 / max(1, (1 - ema_momentum) * t)`, so it depends on
    the steps done alone, not on how long the training is planned to be.
    """

    iterations: Any
    ema_momentum: float
    _model_variables_moving_average: Sequence[Any]

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        step = ops.cast(self.iterations, "float32") + 1
        newest = 1 / ops.maximum(1.0, (1 - self.ema_momentum) * step)
        for variable, average in zip(
            trainable_variables, self._model_variables_moving_average, strict=True
        ):
            if average is not None:
                share = ops.cast(newest, average.dtype)
                average.assign((1 - share) * average + share * variable)


@_serializable
class AveragingAdam(_GrowingWindow, keras.optimizers.Adam):  # type: ignore[misc]
    """Adam with an average of the weights over the last share of the steps so far."""


@_serializable
class AveragingAdamW(_GrowingWindow, keras.optimizers.AdamW):  # type: ignore[misc]
    """AdamW with an average of the weights over the last share of the steps so far."""


class NormalizationStatistics:
    """Computes the mean and variance of each batch normalisation anew for a network's weights.

    The slices pass through the network in batches, each normalised by itself, as in training;
    dropout is off, as in inference. The variance is that over all slices: the mean of the batches'
    variances plus the variance of their means. After Wu and Johnson, 2021, "Rethinking 'Batch' in
    BatchNorm", https://arxiv.org/abs/2105.07576, section 3 ("precise" statistics).
    """

    def __init__(self, batches: Iterable[tuple[Any, Any]]) -> None:
        """Take batches of equal size, read anew each time: images `(B, H, W, channels)`, labels."""
        self.batches = batches
        self._forward: Any = None

    def refresh(self, model: keras.Model) -> None:
        """Set the statistics of every batch normalisation of a network; nothing without one."""
        normalizations = [
            layer
            for layer in model._flatten_layers(include_self=False)
            if isinstance(layer, layers.BatchNormalization)
        ]
        if not normalizations:
            return
        if self._forward is None:
            self._forward = _forward_by_batches(model)
        means = [np.zeros(layer.moving_mean.shape) for layer in normalizations]
        squares = [np.zeros(layer.moving_mean.shape) for layer in normalizations]
        count = 0
        for images, _ in self.batches:
            self._forward(images)
            count += 1
            for layer, mean, square in zip(normalizations, means, squares, strict=True):
                batch_mean = np.asarray(layer.moving_mean, np.float64)
                mean += batch_mean
                square += np.asarray(layer.moving_variance, np.float64) + batch_mean**2
        for layer, total, square in zip(normalizations, means, squares, strict=True):
            mean = total / count
            layer.moving_mean.assign(mean.astype(np.float32))
            layer.moving_variance.assign(np.maximum(square / count - mean**2, 0).astype(np.float32))


def _forward_by_batches(model: keras.Model) -> Any:
    """Return a compiled function that leaves a batch's own statistics in each normalisation."""
    import tensorflow as tf

    def forward(images: Any) -> None:
        # The layers are read while TensorFlow traces the function, once.
        with _as_measured(model):
            model(images, training=True)

    return tf.function(forward)


@contextmanager
def _as_measured(model: keras.Model) -> Iterator[None]:
    """Make each normalisation keep the last batch's statistics alone, and switch dropout off."""
    changes: list[tuple[Any, str, Any]] = []
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, layers.BatchNormalization):
            changes += [(layer, "momentum", 0.0), (layer, "synchronized", False)]
        elif isinstance(layer, layers.Dropout):
            changes.append((layer, "rate", 0.0))
    with ExitStack() as restore:
        for layer, name, value in changes:
            restore.callback(setattr, layer, name, getattr(layer, name))
            setattr(layer, name, value)
        yield


class ValidatedWeights(keras.callbacks.Callback):  # type: ignore[misc]
    """Puts the weights that are validated and saved into the model for as long as that takes."""

    def __init__(self, statistics: NormalizationStatistics, averages: bool) -> None:
        """Take what computes the statistics, and whether the optimizer averages the weights."""
        super().__init__()
        self._statistics = statistics
        self._swap = keras.callbacks.SwapEMAWeights() if averages else None
        self._stale = True

    def set_model(self, model: keras.Model) -> None:
        """Take the model."""
        super().set_model(model)
        if self._swap is not None:
            self._swap.set_model(model)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note that the weights have changed."""
        self._stale = True

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Put the averaged weights in, and their statistics.

        The statistics stay afterwards: training normalises by each batch and does not read them.
        """
        if self._swap is not None:
            self._swap.on_test_begin()
        if self._stale:
            self._statistics.refresh(self.model)
            self._stale = False

    def on_test_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Put the raw weights back."""
        if self._swap is not None:
            self._swap.on_test_end()
