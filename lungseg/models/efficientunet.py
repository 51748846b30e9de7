"""U-Net with an EfficientNet encoder, its weights drawn at random: nothing is downloaded.

Sources: Tan and Le, 2019, https://arxiv.org/abs/1905.11946 (encoder, from `keras.applications`);
Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597 (decoder).
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config import EfficientUNetConfig
from lungseg.models.blocks import (
    BATCH_NORM_MOMENTUM,
    class_scores,
    convolve,
    enlarge,
)

# The last layers before the encoder halves the image: a half, a quarter, an eighth, a sixteenth.
SKIPS = (
    "block2a_expand_activation",
    "block3a_expand_activation",
    "block4a_expand_activation",
    "block6a_expand_activation",
)


def build(
    config: EfficientUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network.

    Args:
        config: the network's parameters.
        input_shape: `(H, W, channels)`; both sides multiples of 32.
        num_classes: classes, background included.

    Example:
        >>> small = EfficientUNetConfig(name="efficientunet", base_filters=4)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """
    inputs = keras.Input(input_shape, name="image")
    family = getattr(keras.applications, f"EfficientNet{config.variant}")
    # It scales grey values 0..255 itself.
    encoder = family(include_top=False, weights=None, input_tensor=inputs)
    for layer in encoder.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    x = layers.Dropout(config.dropout_rate)(encoder.output)
    for level, name in reversed(list(enumerate(SKIPS))):
        x = layers.Concatenate()([enlarge(x, 2), encoder.get_layer(name).output])
        for _ in range(2):
            x = convolve(x, config.base_filters * 2**level, activation=config.activation)
    # Class scores at half the size, enlarged: full-size maps cost most and gain little.
    return keras.Model(inputs, class_scores(x, num_classes, 2), name="efficientunet")
