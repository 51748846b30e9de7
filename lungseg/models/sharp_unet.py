"""Sharp U-Net: each skip connection passes through a fixed filter that keeps edges.

Source: Zunair and Ben Hamza, 2021, https://arxiv.org/abs/2107.12461. Different here: batch
normalisation; bilinear enlargement; and beyond the border of a slice the filter sees nothing, where
the paper's sees zeros and finds an edge.
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config.networks import SharpUNetConfig
from lungseg.models.blocks import (
    class_scores,
    convolve,
    convolve_twice,
    descend,
    enlarge,
    grey_input,
)


def build(
    config: SharpUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> small = SharpUNetConfig(name="sharp_unet", base_filters=4, num_layers=3)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """
    inputs, x = grey_input(input_shape, config.side_multiple)
    *skips, x = descend(x, config)
    x = layers.Dropout(config.dropout_rate)(x)
    for level in reversed(range(config.num_layers - 1)):
        filters = config.base_filters * 2**level
        x = convolve(enlarge(x, 2), filters, activation=config.activation)
        x = convolve_twice(
            layers.Concatenate()([sharpen(skips[level]), x]), filters, config.activation
        )
    return keras.Model(inputs, class_scores(x, num_classes, inputs), name="sharp_unet")


def sharpen(x: keras.KerasTensor) -> keras.KerasTensor:
    """Apply the kernel of the paper, 8 in the middle and -1 around it, to each channel.

    It equals 9 times the difference from the mean of 3 x 3 pixels. The mean is over the pixels
    that exist, so a flat map becomes 0 at the border of a slice, too.
    """
    mean = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    return layers.Rescaling(9)(layers.Subtract()([x, mean]))
