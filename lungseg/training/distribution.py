"""Training on several GPUs or hosts with `tf.distribute`.

Keras 3 trains under `MirroredStrategy` as it is. Under `MultiWorkerMirroredStrategy` its
`Model.fit` (3.15, `keras/src/backend/tensorflow/trainer.py`) stands in the way twice:

- `_maybe_symbolic_build` averages the first batch, a tuple of images and labels, over the replicas
  by `strategy.reduce`, which takes one tensor under this strategy and raises ValueError
  ("unsupported type PerReplica"). The network is built from a batch of zeros instead.
- `reduce_per_replica` averages each logged value over its axis 0, and the values have none:
  "Invalid reduction dimension 0 for input with 0 dimensions". A step's values get one.

`adapt` does both on one model; the rest, communication included, is TensorFlow's. A test trains two
processes over loopback to the weights of one process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lungseg.config.schema import Config
from lungseg.errors import UsageError


def is_chief() -> bool:
    """Whether this process writes the run folder: the only one, or worker 0 of `TF_CONFIG`.

    Raises:
        UsageError: for a `TF_CONFIG` that is no JSON object with a task.
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
    """Return the `tf.distribute` strategy of `train.strategy`; the default one for `none`.

    Must come before any other use of TensorFlow: several workers find each other here.

    Raises:
        UsageError: for several workers without `TF_CONFIG`, or a batch that cannot be shared out.
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
            f"train.batch_size is {config.train.batch_size}, over all of the {replicas} replicas "
            "of train.strategy; it must be a multiple of their number."
        )
    return strategy


def adapt(model: Any, strategy: Any, config: Config) -> Any:
    """Prepare a compiled model, made within `strategy.scope()`, for `fit`; see the module."""
    import keras
    import tensorflow as tf

    if strategy.num_replicas_in_sync > 1:
        for layer in model.layers:
            # Statistics of the whole batch, as one device would have them.
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return model
    images = np.zeros((1, *config.data.image_size, config.data.channels), np.float32)
    labels = np.zeros((1, *config.data.image_size), np.uint8)
    with strategy.scope():
        model._symbolic_build(data_batch=(images, labels))
    model._maybe_symbolic_build = lambda **_: None
    model.train_step = _with_an_axis(model.train_step)
    model.test_step = _with_an_axis(model.test_step)
    return model


def _with_an_axis(step: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    from keras import ops

    return lambda data: {name: ops.reshape(value, (1,)) for name, value in step(data).items()}
