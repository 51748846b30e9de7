"""TransUNet: at the deepest level of a U-Net, a transformer relates all positions of the slice.

Source: Chen et al., 2021, https://arxiv.org/abs/2102.04306. Different here: the encoder is that of
a U-Net and not a ResNet-50; its weights start at random; and by default the transformer is smaller
(the paper's: `embedding: 768`, `heads: 12`, `transformer_layers: 12`).
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config.networks import TransUNetConfig
from lungseg.models.blocks import (
    class_scores,
    convolve,
    convolve_twice,
    descend,
    enlarge,
    grey_input,
)
from lungseg.models.transformer import attend, embed, feed_forward, normalise


def build(
    config: TransUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> small = TransUNetConfig(name="transunet", base_filters=4, num_layers=3, embedding=16)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """
    inputs, x = grey_input(input_shape, config.side_multiple)
    *skips, x = descend(x, config)
    height, width, filters = x.shape[1:]
    x = layers.Reshape((1, height * width, config.embedding))(embed(x, config.embedding))
    for _ in range(config.transformer_layers):
        x = layers.Add()([x, attend(normalise(x), config.heads)])
        x = feed_forward(x, config.mlp_ratio, "gelu")
    x = layers.Reshape((height, width, config.embedding))(normalise(x))
    x = layers.Dropout(config.dropout_rate)(convolve(x, filters, activation=config.activation))
    for level in reversed(range(config.num_layers - 1)):
        filters = config.base_filters * 2**level
        x = convolve(enlarge(x, 2), filters, activation=config.activation)
        x = convolve_twice(layers.Concatenate()([skips[level], x]), filters, config.activation)
    return keras.Model(inputs, class_scores(x, num_classes, inputs), name="transunet")
