"""U-Net 3+: a decoder level sees the encoder at its size and larger, and all deeper levels.

Source: Huang et al., 2020, https://arxiv.org/abs/2004.08790. Left out here: deep supervision and
the classification of whole slices.
"""

from __future__ import annotations

import keras
from keras import layers

from lungseg.config.networks import UNet3PlusConfig
from lungseg.models.blocks import class_scores, convolve, descend, enlarge, grey_input


def build(
    config: UNet3PlusConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> small = UNet3PlusConfig(name="unet3plus", base_filters=4, num_layers=3)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """

    def to_level(x: keras.KerasTensor, source: int, target: int) -> keras.KerasTensor:
        """Resize features from level `source` to level `target`, with `base_filters` filters."""
        if source < target:
            x = layers.MaxPooling2D(2 ** (target - source))(x)
        else:
            x = enlarge(x, 2 ** (source - target))
        return convolve(x, config.base_filters, activation=config.activation)

    inputs, x = grey_input(input_shape, config.side_multiple)
    encoder = descend(x, config)
    deepest = config.num_layers - 1
    decoder = {deepest: layers.Dropout(config.dropout_rate)(encoder[deepest])}
    for level in reversed(range(deepest)):
        maps = [to_level(encoder[source], source, level) for source in range(level + 1)]
        maps += [to_level(x, source, level) for source, x in sorted(decoder.items())]
        x = layers.Concatenate()(maps)
        decoder[level] = convolve(
            x, config.base_filters * config.num_layers, activation=config.activation
        )
    return keras.Model(inputs, class_scores(decoder[0], num_classes, inputs), name="unet3plus")
