"""A small network whose weights and averaged weights are set by hand."""

import keras
import numpy as np

from lungseg.training.averaging import AveragingAdam, NormalizationStatistics


class NoStatistics(NormalizationStatistics):
    def refresh(self, model: keras.Model) -> None:
        """Leave a network without normalisation as it is."""


def network(raw: float, average: float) -> keras.Model:
    """Return a network whose weights are all `raw` and whose averaged weights are all `average`."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(AveragingAdam(0.1, use_ema=True, ema_momentum=0.9), loss="mse")
    model.optimizer.build(model.trainable_variables)
    set_weights(model, raw, average)
    return model


def set_weights(model: keras.Model, raw: float, average: float) -> None:
    model.set_weights([np.full_like(w, raw) for w in model.get_weights()])
    for variable in model.optimizer._model_variables_moving_average:
        variable.assign(np.full(variable.shape, average))


def average_of(model: keras.Model) -> list[float]:
    averages = model.optimizer._model_variables_moving_average
    return [float(np.mean(np.asarray(variable))) for variable in averages]
