"""U2-Net: a U-Net each of whose stages is a small U-Net, with the sum of its input added.

Source: Qin et al., 2020, https://arxiv.org/abs/2005.09007. `base_filters: 64`, `max_filters: 512`
and `num_layers: 6` make the published network of 176.3 MB. Left out here: the losses of the side
outputs; the scores of all stages are fused as in the paper.
"""

from __future__ import annotations

from functools import partial

import keras
from keras import layers

from lungseg.config.networks import U2NetConfig
from lungseg.models import blocks

# Dilation rates of the deepest stages, which do not halve their input.
RATES = (1, 2, 4, 8)


def build(config: U2NetConfig, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Stage `i`, from 0, returns `base_filters * 2**i` filters, at most `max_filters`. Within it, a
    quarter of that number works, or a half where the limit has been reached; in the encoder's first
    stage, a half. A nested U-Net halves its input as often as the stages below it do.

    Example:
        >>> small = U2NetConfig(name="u2net", base_filters=4, num_layers=3)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """
    convolve = partial(blocks.convolve, activation=config.activation)
    deepest = config.num_layers - 1
    first_dilated = config.num_layers - 2
    widths = [
        min(config.base_filters * 2**level, config.max_filters)
        for level in range(config.num_layers)
    ]

    def nested(x: keras.KerasTensor, inner: int, filters: int, halvings: int) -> keras.KerasTensor:
        """Apply a U-Net of `inner` filters that halves `halvings` times; add its own input."""
        start = convolve(x, filters)
        x = convolve(start, inner)
        skips = [x]
        for _ in range(halvings):
            x = convolve(layers.MaxPooling2D(2)(x), inner)
            skips.append(x)
        x = convolve(x, inner, dilation=2)
        for depth in reversed(range(halvings + 1)):
            x = convolve(layers.Concatenate()([x, skips[depth]]), inner if depth else filters)
            x = blocks.enlarge(x, 2) if depth else x
        return layers.Add()([x, start])

    def dilated(x: keras.KerasTensor, inner: int, filters: int) -> keras.KerasTensor:
        """Apply the same without halvings; dilation widens the field of view instead."""
        start = x = convolve(x, filters)
        skips = []
        for rate in RATES:
            x = convolve(x, inner, dilation=rate)
            skips.append(x)
        for depth in reversed(range(len(RATES) - 1)):
            joined = layers.Concatenate()([x, skips[depth]])
            x = convolve(joined, inner if depth else filters, dilation=RATES[depth])
        return layers.Add()([x, start])

    def stage(x: keras.KerasTensor, level: int, filters: int, share: int = 4) -> keras.KerasTensor:
        inner = max(1, min(config.base_filters * 2**level, 2 * config.max_filters) // share)
        if level >= first_dilated:
            return dilated(x, inner, filters)
        return nested(x, inner, filters, deepest - level)

    inputs, x = blocks.grey_input(input_shape, config.side_multiple)
    skips = []
    for level in range(config.num_layers):
        if level:
            x = layers.MaxPooling2D(2)(x)
        x = stage(x, level, widths[level], share=4 if level else 2)
        skips.append(x)
    x = layers.Dropout(config.dropout_rate)(x)
    outputs = [x]
    for level in reversed(range(deepest)):
        joined = layers.Concatenate()([blocks.enlarge(x, 2), skips[level]])
        x = stage(joined, level, widths[max(level - 1, 0)])
        outputs.append(x)
    # The scores of each stage, from the first one on, are enlarged and then weighed together.
    scores = [
        blocks.enlarge(layers.Conv2D(num_classes, 3, padding="same")(x), 2**level)
        for level, x in enumerate(reversed(outputs))
    ]
    fused = layers.Concatenate()(scores)
    return keras.Model(inputs, blocks.class_scores(fused, num_classes, inputs), name="u2net")
