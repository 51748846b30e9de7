"""MultiResUNet: each block sees three scales, and each skip passes through convolutions.

Source: Ibtehaz and Rahman, 2020, https://arxiv.org/abs/1902.04049.
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config.networks import MultiResUNetConfig
from lungseg.models.blocks import BATCH_NORM_MOMENTUM, class_scores, convolve, grey_input

# The paper's alpha: it gives a block about as many weights as the two convolutions of a U-Net.
WIDTH = 1.67


def build(
    config: MultiResUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> small = MultiResUNetConfig(name="multiresunet", base_filters=4, num_layers=3)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """

    def finish(x: keras.KerasTensor) -> keras.KerasTensor:
        x = layers.Activation(config.activation)(x)
        return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)

    def block(x: keras.KerasTensor, level: int) -> keras.KerasTensor:
        width = WIDTH * config.base_filters * 2**level
        # A chain of three 3 x 3 convolutions has fields of view of 3 x 3, 5 x 5 and 7 x 7.
        parts, chained = [], x
        for share in (1 / 6, 1 / 3, 1 / 2):
            chained = convolve(chained, max(1, int(width * share)), activation=config.activation)
            parts.append(chained)
        joined = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(
            layers.Concatenate()(parts)
        )
        shortcut = convolve(x, joined.shape[-1], 1, activation=None)
        return finish(layers.Add()([joined, shortcut]))

    def path(skip: keras.KerasTensor, level: int) -> keras.KerasTensor:
        """Apply residual convolutions to a skip; the higher the level, the more of them."""
        filters = config.base_filters * 2**level
        for _ in range(config.num_layers - 1 - level):
            straight = convolve(skip, filters, activation=config.activation)
            skip = finish(layers.Add()([straight, convolve(skip, filters, 1, activation=None)]))
        return skip

    inputs, x = grey_input(input_shape, config.side_multiple)
    skips = []
    for level in range(config.num_layers):
        if level:
            x = layers.MaxPooling2D(2)(x)
        x = block(x, level)
        skips.append(x)
    x = layers.Dropout(config.dropout_rate)(x)
    for level in reversed(range(config.num_layers - 1)):
        x = layers.Conv2DTranspose(config.base_filters * 2**level, 2, strides=2, padding="same")(x)
        x = block(layers.Concatenate()([x, path(skips[level], level)]), level)
    return keras.Model(inputs, class_scores(x, num_classes, inputs), name="multiresunet")
