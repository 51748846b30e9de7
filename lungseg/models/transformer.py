"""Parts of transformers, made of layers of Keras alone, so that a saved model loads anywhere.

Tokens are `(B, groups, tokens, filters)`: a position attends to the positions of its group.
Source: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762, with the order of Dosovitskiy et
al., 2020, https://arxiv.org/abs/2010.11929: normalisation first, then the sum.
"""

from __future__ import annotations

import keras
from keras import layers, ops

# Of normalisation, as in both papers' code.
EPSILON = 1e-6

# Standard deviation with which what is learned of positions begins.
POSITION_SPREAD = 0.02


def normalise(x: keras.KerasTensor) -> keras.KerasTensor:
    """Normalise the filters of each position."""
    return layers.LayerNormalization(epsilon=EPSILON)(x)


def embed(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Map each pixel of `(B, H, W, C)` to `filters` values and add what is learned of its place."""
    height, width = x.shape[1:3]
    return layers.EinsumDense(
        "bhwc,cd->bhwd",
        output_shape=(height, width, filters),
        bias_axes="hwd",
        bias_initializer=keras.initializers.RandomNormal(stddev=POSITION_SPREAD),
        name="positions",
    )(x)


def attend(
    x: keras.KerasTensor,
    heads: int,
    *,
    pair_bias: bool = False,
    mask: keras.KerasTensor | None = None,
) -> keras.KerasTensor:
    """Return what each position takes from the others of its group, `(B, G, N, C)` as given.

    Args:
        x: `(B, G, N, C)`.
        heads: number of attention heads; C is a multiple of it.
        pair_bias: whether each pair of places in a group has a bias that is learned.
        mask: `(1, G, 1, N, N)`, added to the scores; None for none.
    """
    groups, count, filters = x.shape[1:]
    size = filters // heads

    def split(order: tuple[int, int, int, int]) -> keras.KerasTensor:
        one = layers.Reshape((groups, count, heads, size))(layers.Dense(filters)(x))
        return layers.Permute(order)(one)

    # (B, G, heads, N, N)
    scores = ops.matmul(split((1, 3, 2, 4)), split((1, 3, 4, 2)))
    if pair_bias:
        # Begins as the usual division by sqrt(size); each head learns its scale, too.
        scores = layers.EinsumDense(
            "bghij,h->bghij",
            output_shape=(groups, heads, count, count),
            bias_axes="hij",
            kernel_initializer=keras.initializers.Constant(size**-0.5),
            bias_initializer=keras.initializers.RandomNormal(stddev=POSITION_SPREAD),
        )(scores)
    else:
        scores = layers.Rescaling(size**-0.5)(scores)
    if mask is not None:
        scores = ops.add(scores, mask)
    taken = ops.matmul(layers.Softmax()(scores), split((1, 3, 2, 4)))
    joined = layers.Reshape((groups, count, filters))(layers.Permute((1, 3, 2, 4))(taken))
    return layers.Dense(filters)(joined)


def feed_forward(x: keras.KerasTensor, ratio: int, activation: str) -> keras.KerasTensor:
    """Add to each position what a hidden layer, `ratio` times as wide, makes of it."""
    filters = x.shape[-1]
    hidden = layers.Activation(activation)(layers.Dense(ratio * filters)(normalise(x)))
    return layers.Add()([x, layers.Dense(filters)(hidden)])
