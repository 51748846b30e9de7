"""Training on several GPUs or hosts with `tf.distribute`.

Keras 3 can train under `MirroredStrategy`. Under `MultiWorkerMirroredStrategy` its `Model.fit`
(seen in Keras 3.15, `keras/src/backend/tensorflow/trainer.py`) fails in two places:

- `_maybe_symbolic_build` passes the first batch, a tuple of images and labels, to
  `strategy.reduce`. Under this strategy `reduce` accepts one tensor only and raises ValueError
  ("unsupported type PerReplica"). We build the network from a batch of zeros instead.
- `reduce_per_replica` averages each logged value over axis 0, but the values are scalars ("Invalid
  reduction dimension 0 for input with 0 dimensions"). We give them an axis.

`patch_for_workers` makes both changes on one model. TensorFlow does the rest, including the
communication. A test shows that two processes train to the same weights as one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lungseg.config.schema import Config
from lungseg.errors import UsageError

# Keras' private methods that `patch_for_workers` calls or replaces, and a version that has them.
PRIVATE_METHODS = ("_symbolic_build", "_maybe_symbolic_build")
TESTED_KERAS = "3.15"


def is_chief() -> bool:
    """Return whether this process writes the run folder.

    It does if it trains alone or is worker 0 of the environment variable `TF_CONFIG`.

    Raises:
        UsageError: if `TF_CONFIG` is not a JSON object with a task.
    """
    given = os.environ.get("TF_CONFIG")
    if not given:
        return True
    try:
        task = json.loads(given)["task"]
        return task["type"] == "chief" or (task["type"] == "worker" and int(task["index"]) == 0)
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            "TF_CONFIG: expected JSON with the cluster and this worker's task, like "
            '{"cluster": {"worker": ["host1:4000", "host2:4000"]}, '
            '"task": {"type": "worker", "index": 0}}.'
        ) from None


def make_strategy(config: Config) -> Any:
    """Return the `tf.distribute` strategy of `train.strategy`. `none` means the default one.

    Call it before any other use of TensorFlow, because several workers connect here.

    Raises:
        UsageError: if several workers are wanted but `TF_CONFIG` is not set, or if the batch size
            is not a multiple of the number of replicas.
    """
    import tensorflow as tf

    name = config.train.strategy
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "multiworker":
        if not os.environ.get("TF_CONFIG"):
            raise UsageError(
                "train.strategy: multiworker needs the environment variable TF_CONFIG on every "
                "host; docs/how-to/use-several-gpus.md shows it."
            )
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    replicas = strategy.num_replicas_in_sync
    if config.train.batch_size % replicas:
        raise UsageError(
            f"train.batch_size is {config.train.batch_size} and is divided among the {replicas} "
            "replicas of train.strategy; it must be a multiple of their number."
        )
    return strategy


def patch_for_workers(model: Any, strategy: Any, config: Config) -> Any:
    """Change a compiled model so that `fit` works under `strategy`; the module says why.

    Args:
        model: a `keras.Model` that was compiled inside `strategy.scope()`. It is changed in place.
        strategy: from `make_strategy`.
        config: the whole config.

    Returns:
        The model.

    Raises:
        UsageError: if this version of Keras lacks the private methods that have to be replaced.
    """
    import keras
    import tensorflow as tf

    if strategy.num_replicas_in_sync > 1:
        for layer in model.layers:
            # Use the statistics of the whole batch, as a single device would.
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return model
    missing = [name for name in PRIVATE_METHODS if not hasattr(model, name)]
    if missing:
        raise UsageError(
            f"train.strategy: multiworker needs {' and '.join(missing)} of keras.Model, which "
            f"Keras {keras.__version__} does not have. Install Keras {TESTED_KERAS}, or train on "
            "one host."
        )
    images = np.zeros((1, *config.data.image_size, config.data.channels), np.float32)
    labels = np.zeros((1, *config.data.image_size), np.uint8)
    with strategy.scope():
        model._symbolic_build(data_batch=(images, labels))
    model._maybe_symbolic_build = lambda **_: None
    model.train_step = _add_axis(model.train_step)
    model.test_step = _add_axis(model.test_step)
    return model


def _add_axis(step: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    from keras import ops

    return lambda data: {name: ops.reshape(value, (1,)) for name, value in step(data).items()}
