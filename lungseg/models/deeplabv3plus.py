"""DeepLabV3+: dilated convolutions at several rates on a sixteenth of the size, and one skip.

Source: Chen et al., 2018, https://arxiv.org/abs/1802.02611. The encoder here is a small residual
network of separable convolutions, similar to the Xception of the paper.
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config.networks import DeepLabV3PlusConfig
from lungseg.models.blocks import BATCH_NORM_MOMENTUM, class_scores, convolve, enlarge, grey_input

# How many times smaller than the input the deepest features and those of the skip are.
OUTPUT_STRIDE = 16
SKIP_STRIDE = 4

# Dilation rates of the paper.
RATES = (6, 12, 18)


def build(
    config: DeepLabV3PlusConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> small = DeepLabV3PlusConfig(name="deeplabv3plus", base_filters=4)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """

    def separable(
        x: keras.KerasTensor, filters: int, stride: int = 1, dilation: int = 1
    ) -> keras.KerasTensor:
        x = layers.DepthwiseConv2D(
            3, stride, padding="same", dilation_rate=dilation, use_bias=False
        )(x)
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        return convolve(x, filters, 1, activation=config.activation)

    def residual(x: keras.KerasTensor, filters: int, stride: int) -> keras.KerasTensor:
        shortcut = convolve(x, filters, 1, stride, activation=None)
        x = separable(separable(x, filters), filters, stride)
        return layers.Add()([x, shortcut])

    inputs, x = grey_input(input_shape, config.side_multiple)
    filters = config.base_filters
    x = convolve(x, filters, 3, 2, activation=config.activation)
    x = convolve(x, 2 * filters, activation=config.activation)
    x = skip = residual(x, 4 * filters, 2)
    x = residual(residual(x, 8 * filters, 2), 16 * filters, 2)
    for _ in range(config.middle_blocks):
        x = residual(x, 16 * filters, 1)

    pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
    pooled = layers.Conv2D(8 * filters, 1, activation=config.activation)(pooled)
    # The mean over the slice, repeated at each pixel.
    spread = layers.UpSampling2D(x.shape[1:3], interpolation="nearest")(pooled)
    context = [spread, convolve(x, 8 * filters, 1, activation=config.activation)]
    context += [separable(x, 8 * filters, dilation=rate) for rate in RATES]
    x = convolve(layers.Concatenate()(context), 8 * filters, 1, activation=config.activation)
    x = layers.Dropout(config.dropout_rate)(x)

    skip = convolve(skip, 3 * filters, 1, activation=config.activation)
    x = layers.Concatenate()([enlarge(x, OUTPUT_STRIDE // SKIP_STRIDE), skip])
    x = separable(separable(x, 8 * filters), 8 * filters)
    return keras.Model(
        inputs, class_scores(x, num_classes, inputs, SKIP_STRIDE), name="deeplabv3plus"
    )
