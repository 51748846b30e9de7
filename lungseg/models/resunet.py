"""A compact residual U-Net for CPUs.

After the residual U-Net of Zhang et al., 2018, https://arxiv.org/abs/1711.10684, made light: a
strided stem, so that the levels work on half the pixels a side; skip connections added, not
concatenated; a cap on the filters; the class scores enlarged bilinearly at the end.
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config import ResUNetConfig


def build(
    config: ResUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network.

    Args:
        config: the network's parameters.
        input_shape: `(H, W, channels)`; both sides multiples of
            `stem_stride * 2 ** (num_layers - 1)`.
        num_classes: classes, background included.

    Example:
        >>> build(ResUNetConfig(base_filters=4, num_layers=3), (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """

    def convolve(x: keras.KerasTensor, filters: int, kernel: int, stride: int) -> keras.KerasTensor:
        x = layers.Conv2D(
            filters, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        # The default momentum of 0.99 needs more steps than a small data set gives.
        return layers.BatchNormalization(momentum=0.9)(x)

    def activate(x: keras.KerasTensor) -> keras.KerasTensor:
        return layers.Activation(config.activation)(x)

    def residual(x: keras.KerasTensor, filters: int, stride: int = 1) -> keras.KerasTensor:
        shortcut = x
        if stride > 1 or x.shape[-1] != filters:
            shortcut = layers.AveragePooling2D(stride)(x) if stride > 1 else x
            shortcut = convolve(shortcut, filters, 1, 1)
        x = activate(convolve(x, filters, 3, stride))
        return activate(layers.Add()([convolve(x, filters, 3, 1), shortcut]))

    widths = [
        min(config.base_filters * 2**level, config.max_filters)
        for level in range(config.num_layers)
    ]
    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = activate(convolve(x, widths[0], 2 * config.stem_stride + 1, config.stem_stride))
    skips = []
    for level, filters in enumerate(widths):
        x = residual(x, filters, stride=2 if level else 1)
        skips.append(x)
    x = layers.Dropout(config.dropout_rate)(x)
    for level in reversed(range(config.num_layers - 1)):
        x = convolve(x, widths[level], 1, 1)
        x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        x = residual(activate(layers.Add()([x, skips[level]])), widths[level])
    x = layers.Conv2D(num_classes, 1)(x)
    if config.stem_stride > 1:
        x = layers.UpSampling2D(config.stem_stride, interpolation="bilinear")(x)
    outputs = layers.Softmax(dtype="float32", name="classes")(x)
    return keras.Model(inputs, outputs, name="resunet")
