"""U-Net with an EfficientNetV2 encoder. Its weights start at random; nothing is downloaded.

Sources: Tan and Le, 2021, https://arxiv.org/abs/2104.00298 (encoder, from `keras.applications`);
Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597 (decoder).
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config.networks import EfficientUNetConfig
from lungseg.models.blocks import BATCH_NORM_MOMENTUM, class_scores, convolve, enlarge, grey_input


def build(
    config: EfficientUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> small = EfficientUNetConfig(name="efficientunet", base_filters=4)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """
    inputs, scaled = grey_input(input_shape, config.side_multiple)
    family = getattr(keras.applications, f"EfficientNetV2{config.variant}")
    # Leave out its own scaling, a Normalization layer that cannot be exported to ONNX.
    encoder = family(
        include_top=False, weights=None, input_tensor=scaled, include_preprocessing=False
    )
    # For each size, the last features before the encoder halves them: a half, a quarter and so on.
    maps = {}
    for layer in encoder.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
        if len(layer.output.shape) == 4:
            maps[layer.output.shape[1:3]] = layer.output
    height, width = scaled.shape[1:3]
    x = layers.Dropout(config.dropout_rate)(encoder.output)
    for level in (3, 2, 1, 0):
        skip = maps[height >> (level + 1), width >> (level + 1)]
        x = layers.Concatenate()([enlarge(x, 2), skip])
        for _ in range(2):
            x = convolve(x, config.base_filters * 2**level, activation=config.activation)
    # Compute the scores at half the size, because full-size features cost most and gain little.
    return keras.Model(inputs, class_scores(x, num_classes, inputs, 2), name="efficientunet")
