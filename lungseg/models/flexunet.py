"""FlexUNet, the network of the original system, rebuilt layer by layer.

Source: TensorFlow-FlexUNet-Image-Segmentation-Lung-CT (antillia, 2025), after the U-Net of
Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597. With the original parameters it has
124,996,866 weights.
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config.networks import FlexUNetConfig
from lungseg.models import blocks


def build(
    config: FlexUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Level `i`, from 0, has `base_filters * 2**i` filters. Its kernel is `2 * i` smaller than
    `base_kernels`, but at least 3. Its dilation is `i` less than `dilation`, but at least 1. Its
    dropout rate is `dropout_rate * i`. The decoder mirrors the encoder.

    Example:
        >>> small = FlexUNetConfig(name="flexunet", base_filters=4, num_layers=3)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """

    def convolve(x: keras.KerasTensor, level: int) -> keras.KerasTensor:
        x = layers.Conv2D(
            config.base_filters * 2**level,
            tuple(max(side - 2 * level, 3) for side in config.base_kernels),
            dilation_rate=tuple(max(rate - level, 1) for rate in config.dilation),
            padding="same",
            activation=config.activation,
            kernel_initializer="he_normal",
        )(x)
        return layers.BatchNormalization()(x) if config.normalization else x

    def block(x: keras.KerasTensor, level: int) -> keras.KerasTensor:
        x = convolve(x, level)
        x = layers.Dropout(config.dropout_rate * level)(x)
        return convolve(x, level)

    inputs = keras.Input(input_shape, name="image")
    x = blocks.pad(inputs, config.side_multiple)
    x = layers.Rescaling(1 / 255)(x) if config.input_normalize else x
    skips = []
    for level in range(config.num_layers):
        if level:
            x = layers.MaxPooling2D(2)(x)
        x = block(x, level)
        skips.append(x)
    for level in reversed(range(config.num_layers - 1)):
        x = layers.Conv2DTranspose(config.base_filters * 2**level, 2, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, skips[level]])
        x = block(x, level)
    x = layers.Conv2D(num_classes, 1, dtype="float32", name="scores")(x)
    return keras.Model(inputs, blocks.classify(x, inputs), name="flexunet")
