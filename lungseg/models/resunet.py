"""A compact residual U-Net for CPUs.

Source: the residual U-Net of Zhang et al., 2018, https://arxiv.org/abs/1711.10684. To be fast, this
one differs:

- The first convolution has a stride, so all levels work on a smaller map. The class scores are
  enlarged bilinearly at the end.
- The first level, which has the most pixels, has few filters and few convolutions.
- Skip connections are added, not concatenated.
- The number of filters is limited.
"""

from __future__ import annotations

from functools import partial

import keras
from keras import layers

from lungseg.config.networks import ResUNetConfig
from lungseg.models import blocks


def build(
    config: ResUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> build(ResUNetConfig(base_filters=4, num_layers=3), (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """
    convolve = partial(blocks.convolve, normalization=config.normalization)

    def activate(x: keras.KerasTensor) -> keras.KerasTensor:
        return layers.Activation(config.activation)(x)

    def residual(x: keras.KerasTensor, filters: int, stride: int = 1) -> keras.KerasTensor:
        shortcut = x
        if stride > 1 or x.shape[-1] != filters:
            shortcut = layers.AveragePooling2D(stride)(x) if stride > 1 else x
            shortcut = convolve(shortcut, filters, 1, activation=None)
        x = convolve(x, filters, 3, stride, activation=config.activation)
        return activate(layers.Add()([convolve(x, filters, activation=None), shortcut]))

    widths = [
        min(config.base_filters * 2**level, config.max_filters)
        for level in range(config.num_layers)
    ]
    inputs, x = blocks.grey_input(input_shape, config.side_multiple)
    stride = config.stem_stride
    # The first level has one convolution on the way down and one on the way up. It has most of the
    # pixels and takes most of the time, but only adds the exact position of edges.
    x = convolve(x, widths[0], 2 * stride + 1, stride, activation=config.activation)
    skips = [x]
    for filters in widths[1:]:
        x = residual(x, filters, stride=2)
        skips.append(x)
    x = layers.Dropout(config.dropout_rate)(x)
    for level in reversed(range(config.num_layers - 1)):
        x = blocks.enlarge(convolve(x, widths[level], 1, activation=None), 2)
        x = activate(layers.Add()([x, skips[level]]))
        if level:
            x = residual(x, widths[level])
    x = convolve(x, widths[0], activation=config.activation)
    return keras.Model(inputs, blocks.class_scores(x, num_classes, inputs, stride), name="resunet")
