"""Parts that the networks share: the input, a normalised convolution, the output."""

from __future__ import annotations

import math

import keras
from keras import layers

from lungseg.config.networks import LevelsConfig

# Keras' default of 0.99 needs more steps than a training on a small data set has.
BATCH_NORM_MOMENTUM = 0.9

# Of group normalisation, at most; a common divisor with the number of filters.
GROUPS = 4


def grey_input(
    shape: tuple[int, int, int], multiple: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input and its scaled, padded values.

    Args:
        shape: `(H, W, channels)`.
        multiple: both sides are padded to a multiple of it.

    Returns:
        The input, grey values 0..255, and the same values padded by `pad` and scaled to -1..1.
    """
    inputs = keras.Input(shape, name="image")
    return inputs, layers.Rescaling(1 / 127.5, offset=-1)(pad(inputs, multiple))


def pad(x: keras.KerasTensor, multiple: int) -> keras.KerasTensor:
    """Add rows and columns of 0 at the end until both sides are multiples of `multiple`."""
    bottom, right = (-side % multiple for side in x.shape[1:3])
    return layers.ZeroPadding2D(((0, bottom), (0, right)))(x) if bottom or right else x


def crop(x: keras.KerasTensor, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Remove the rows and columns that `pad` added to the inputs."""
    bottom, right = (x.shape[axis] - inputs.shape[axis] for axis in (1, 2))
    return layers.Cropping2D(((0, bottom), (0, right)))(x) if bottom or right else x


def classify(x: keras.KerasTensor, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Turn class scores (logits) into probabilities, float32, of the size of the inputs.

    The softmax comes last, after `crop`: Keras keeps the logits at the tensor that a softmax
    returns, and the cross-entropies of `training.losses` are computed from them.
    """
    return layers.Softmax(dtype="float32", name="classes")(crop(x, inputs))


def convolve(
    x: keras.KerasTensor,
    filters: int,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    activation: str | None = "relu",
    normalization: str = "batch",
) -> keras.KerasTensor:
    """Apply a convolution without bias, a normalisation and an activation.

    Args:
        x: `(B, H, W, C)`.
        filters: number of filters.
        kernel: side of the kernel.
        stride: step between output pixels.
        dilation: distance between the kernel's points.
        activation: a name that Keras knows, or None for none.
        normalization: `batch`, or `group`, which uses no statistics of the batch and so computes
            the same in training and in inference. Source: Wu and He, 2018,
            https://arxiv.org/abs/1803.08494.
    """
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    if normalization == "group":
        x = layers.GroupNormalization(math.gcd(GROUPS, filters))(x)
    else:
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    return layers.Activation(activation)(x) if activation else x


def convolve_twice(x: keras.KerasTensor, filters: int, activation: str) -> keras.KerasTensor:
    """Apply the two convolutions of a level of a U-Net."""
    x = convolve(x, filters, activation=activation)
    return convolve(x, filters, activation=activation)


def descend(x: keras.KerasTensor, config: LevelsConfig) -> list[keras.KerasTensor]:
    """Return the features of each level of a U-Net's encoder, the finest first.

    Each level has twice the filters of the one above, and half of its height and width.
    """
    features = []
    for level in range(config.num_layers):
        if level:
            x = layers.MaxPooling2D(2)(x)
        x = convolve_twice(x, config.base_filters * 2**level, config.activation)
        features.append(x)
    return features


def enlarge(x: keras.KerasTensor, factor: int) -> keras.KerasTensor:
    """Enlarge bilinearly by a whole factor."""
    return layers.UpSampling2D(factor, interpolation="bilinear")(x) if factor > 1 else x


def class_scores(
    x: keras.KerasTensor, num_classes: int, inputs: keras.KerasTensor, factor: int = 1
) -> keras.KerasTensor:
    """Return class probabilities of the input's size.

    Args:
        x: features, `factor` times smaller than the padded input.
        num_classes: number of classes.
        inputs: the input from `grey_input`.
        factor: the scores are enlarged by it before they become probabilities.
    """
    return classify(enlarge(layers.Conv2D(num_classes, 1)(x), factor), inputs)
