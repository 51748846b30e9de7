"""Attention U-Net: on each skip connection, a gate weighs the pixels by the deeper features.

Source: Oktay et al., 2018, https://arxiv.org/abs/1804.03999. Different here: batch normalisation,
and the deeper features are enlarged bilinearly.
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config.networks import AttentionUNetConfig
from lungseg.models.blocks import (
    class_scores,
    convolve,
    convolve_twice,
    descend,
    enlarge,
    grey_input,
)


def build(
    config: AttentionUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> small = AttentionUNetConfig(name="attention_unet", base_filters=4, num_layers=3)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """

    def gate(skip: keras.KerasTensor, signal: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        """Multiply each pixel of `skip` by a weight 0..1 computed from it and from `signal`."""
        both = layers.Add()([convolve(x, filters, 1, activation=None) for x in (skip, signal)])
        weight = layers.Conv2D(1, 1, activation="sigmoid")(layers.Activation("relu")(both))
        return layers.Multiply()([skip, weight])

    inputs, x = grey_input(input_shape, config.side_multiple)
    *skips, x = descend(x, config)
    x = layers.Dropout(config.dropout_rate)(x)
    for level in reversed(range(config.num_layers - 1)):
        filters = config.base_filters * 2**level
        x = convolve(enlarge(x, 2), filters, activation=config.activation)
        x = layers.Concatenate()([gate(skips[level], x, max(1, filters // 2)), x])
        x = convolve_twice(x, filters, config.activation)
    return keras.Model(inputs, class_scores(x, num_classes, inputs), name="attention_unet")
