"""Swin-Unet: a U-Net of transformers alone, whose positions attend within shifted windows.

Sources: Cao et al., 2021, https://arxiv.org/abs/2105.05537; the blocks are those of Liu et al.,
2021, https://arxiv.org/abs/2103.14030. Different here: a bias belongs to a pair of places in a
window, where the paper's belongs to their offset; each head learns its scale; and a map that is no
multiple of the window is padded, so slices of any size are taken.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from lungseg.config.networks import SwinUNetConfig
from lungseg.models.blocks import class_scores, grey_input
from lungseg.models.transformer import attend, feed_forward, normalise

# Added to the score of two positions that may not see each other. Float16 holds it.
HIDDEN = -1e4


def build(
    config: SwinUNetConfig, input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Build the network; see `lungseg.models`.

    Example:
        >>> small = SwinUNetConfig(name="swin_unet", base_filters=4, num_layers=3)
        >>> build(small, (32, 32, 1), 2).output_shape
        (None, 32, 32, 2)
    """

    def level_blocks(x: keras.KerasTensor, level: int) -> keras.KerasTensor:
        for k in range(config.blocks):
            seen = attend_in_windows(
                normalise(x), config.heads * 2**level, config.window, shifted=k % 2 == 1
            )
            x = feed_forward(layers.Add()([x, seen]), config.mlp_ratio, config.activation)
        return x

    inputs, x = grey_input(input_shape, config.side_multiple)
    patch = config.patch_size
    x = normalise(layers.Conv2D(config.base_filters, patch, strides=patch)(x))
    skips = []
    for level in range(config.num_layers):
        if level:
            x = normalise(x)
            x = layers.Conv2D(config.base_filters * 2**level, 2, strides=2, use_bias=False)(x)
        x = level_blocks(x, level)
        skips.append(x)
    x = layers.Dropout(config.dropout_rate)(normalise(x))
    for level in reversed(range(config.num_layers - 1)):
        filters = config.base_filters * 2**level
        # Each position becomes 2 x 2 positions by a linear map, as in the paper.
        x = normalise(layers.Conv2DTranspose(filters, 2, strides=2, use_bias=False)(x))
        x = layers.Dense(filters)(layers.Concatenate()([x, skips[level]]))
        x = level_blocks(x, level)
    x = layers.Conv2DTranspose(config.base_filters, patch, strides=patch, use_bias=False)(
        normalise(x)
    )
    return keras.Model(inputs, class_scores(normalise(x), num_classes, inputs), name="swin_unet")


def attend_in_windows(
    x: keras.KerasTensor, heads: int, window: int, *, shifted: bool
) -> keras.KerasTensor:
    """Return what each position takes from those of its window, `(B, H, W, C)` as given.

    Args:
        x: `(B, H, W, C)`.
        heads: number of attention heads.
        window: side of a window; a map that is smaller is one window.
        shifted: whether the windows lie half a side further. Those that then reach over the end of
            the map hold positions of both ends, which do not see each other.
    """
    height, width = x.shape[1:3]
    sides = min(window, height), min(window, width)
    below, right = -height % sides[0], -width % sides[1]
    shift = (
        sides[0] // 2 if shifted and height > sides[0] else 0,
        sides[1] // 2 if shifted and width > sides[1] else 0,
    )
    # What lies in the map is marked 1 and what pads it 0. What a shift moves to the other end is
    # marked on top of that.
    marks = ops.ones_like(x[:1, :, :, :1])
    if below or right:
        x, marks = (layers.ZeroPadding2D(((0, below), (0, right)))(part) for part in (x, marks))
    for axis, (step, mark) in enumerate(zip(shift, (2, 4), strict=True), 1):
        if step:
            x, marks = _roll(x, step, axis), _roll(marks, step, axis, mark)
    mask = _mask(_split(marks, sides)) if below or right or any(shift) else None
    size = x.shape[1:3]
    seen = _join(attend(_split(x, sides), heads, pair_bias=True, mask=mask), size, sides)
    for axis, step in enumerate(shift, 1):
        if step:
            seen = _roll(seen, size[axis - 1] - step, axis)
    return layers.Cropping2D(((0, below), (0, right)))(seen) if below or right else seen


def _roll(x: keras.KerasTensor, step: int, axis: int, mark: float = 0) -> keras.KerasTensor:
    """Move the first `step` rows (axis 1) or columns (axis 2) to the end, and add `mark` there."""
    rest = x.shape[axis] - step
    none = (0, 0)
    moved, kept = (
        layers.Cropping2D((cut, none) if axis == 1 else (none, cut))(x)
        for cut in ((0, rest), (step, 0))
    )
    return layers.Concatenate(axis=axis)([kept, ops.add(moved, mark) if mark else moved])


def _split(x: keras.KerasTensor, sides: tuple[int, int]) -> keras.KerasTensor:
    """Cut `(B, H, W, C)` into windows, `(B, windows, positions, C)`."""
    height, width, filters = x.shape[1:]
    rows, columns = height // sides[0], width // sides[1]
    x = layers.Reshape((rows, sides[0], columns, sides[1], filters))(x)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    return layers.Reshape((rows * columns, sides[0] * sides[1], filters))(x)


def _join(x: keras.KerasTensor, size: tuple[int, int], sides: tuple[int, int]) -> keras.KerasTensor:
    """Do the reverse of `_split`."""
    filters = x.shape[-1]
    rows, columns = size[0] // sides[0], size[1] // sides[1]
    x = layers.Reshape((rows, columns, sides[0], sides[1], filters))(x)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    return layers.Reshape((size[0], size[1], filters))(x)


def _mask(marks: keras.KerasTensor) -> keras.KerasTensor:
    """Return `(1, windows, 1, positions, positions)`: 0 for equal marks, `HIDDEN` for others."""
    windows, positions, _ = marks.shape[1:]
    apart = ops.absolute(ops.subtract(marks, layers.Permute((1, 3, 2))(marks)))
    hidden = ops.multiply(ops.minimum(apart, 1), HIDDEN)
    return layers.Reshape((windows, 1, positions, positions))(hidden)
