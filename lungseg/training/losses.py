"""Losses, and the metrics shown during training. They use only `keras.ops`.

Each function takes `y_true`, class indices `(B, H, W)`, and `y_pred`, probabilities
`(B, H, W, C)`, and returns one float32 value per slice, `(B,)`, which Keras averages. The
foreground is every class except 0. With the two classes background and lung, it is the lung. The
scores of `lungseg evaluate` are in `lungseg.evaluation.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import keras
from keras import ops

Tensor = Any
Function = Callable[[Tensor, Tensor], Tensor]

_serializable: Callable[[Function], Function] = keras.saving.register_keras_serializable("lungseg")

# Axes of `(B, H, W, C)`: the pixels of a slice, and its pixels and classes.
PIXELS = (1, 2)
ALL = (1, 2, 3)

EPSILON = 1e-7
SMALLEST = 1.1754944e-38  # the smallest normal float32


def _truths(y_true: Tensor, y_pred: Tensor) -> list[Tensor]:
    """Return where each class is true, 1 or 0, float32 `(B, H, W)` per class."""
    labels = ops.cast(y_true, "int32")
    return [ops.cast(labels == index, "float32") for index in range(y_pred.shape[-1])]


def _logits(y_pred: Tensor) -> Tensor | None:
    """Return what Keras' softmax was given, `(B, H, W, C)`, or None for plain probabilities."""
    return getattr(y_pred, "_keras_logits", None)


def _scores(y_pred: Tensor) -> list[Tensor]:
    """Return the logits, or else the probabilities, float32 `(B, H, W)` per class.

    A softmax, an argmax or a choice along a last axis of two classes is slow in TensorFlow: with
    them, the loss took a third of a training step. So all here is computed on whole planes, and
    the classes are moved to the front first, which is quicker than taking them from the end.
    """
    logits = _logits(y_pred)
    tensor = ops.cast(y_pred if logits is None else logits, "float32")
    return list(ops.unstack(ops.moveaxis(tensor, -1, 0), axis=0))


def _log_probabilities(y_pred: Tensor) -> list[Tensor]:
    """Return log p of each class, float32 `(B, H, W)` per class, however small p is.

    A softmax of two logits 104 or more apart gives a probability of exactly 0 in float32. The
    gradient of log p is then lost, and clipping p only replaces the infinite loss by a constant.
    Keras keeps the logits at the tensor that its softmax returns; the log is computed from these.
    Probabilities without logits (NumPy arrays) are clipped at the smallest normal float32.
    """
    planes = _scores(y_pred)
    if _logits(y_pred) is None:
        return [ops.log(ops.maximum(plane, SMALLEST)) for plane in planes]
    total = _log_sum_exp(planes)
    return [plane - total for plane in planes]


def _log_sum_exp(planes: list[Tensor]) -> Tensor:
    """Return log(sum(exp(planes))) without overflow."""
    largest = ops.stop_gradient(reduce(ops.maximum, planes))
    return largest + ops.log(sum(ops.exp(plane - largest) for plane in planes))


def _probabilities(y_pred: Tensor) -> list[Tensor]:
    """Return p of each class, float32 `(B, H, W)` per class.

    They come from the logits if Keras has kept them. The network's own softmax is then left out of
    the training step, because nothing reads it.
    """
    if _logits(y_pred) is None:
        return _scores(y_pred)
    return [ops.exp(plane) for plane in _log_probabilities(y_pred)]


def _foreground(y_true: Tensor, y_pred: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return truth and probability of each class but the background, float32 `(B, H, W)`."""
    return _truths(y_true, y_pred)[1:], _probabilities(y_pred)[1:]


def _crossentropy_of_pixels(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return -log p(true class), float32 `(B, H, W)`."""
    pairs = zip(_truths(y_true, y_pred), _log_probabilities(y_pred), strict=True)
    return -sum(truth * log_p for truth, log_p in pairs)


def _mean_loss(score: Callable[[Tensor, Tensor], Tensor], y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return 1 - the mean score of the foreground classes, each `(B, H, W)` to `(B,)`."""
    truths, guesses = _foreground(y_true, y_pred)
    scores = [score(truth, guess) for truth, guess in zip(truths, guesses, strict=True)]
    return 1 - sum(scores) / len(scores)


@_serializable
def categorical_crossentropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Mean over pixels of -log p(true class)."""
    return ops.mean(_crossentropy_of_pixels(y_true, y_pred), axis=PIXELS)


@_serializable
def dice(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 - soft Dice, averaged over the foreground classes.

    Soft Dice is `(2 * sum(t p) + 1) / (sum(t) + sum(p) + 1)`. Because of the 1, two empty masks
    score 1. Source: Milletari et al., 2016, https://arxiv.org/abs/1606.04797.
    """

    def score(truth: Tensor, guess: Tensor) -> Tensor:
        overlap = ops.sum(truth * guess, axis=PIXELS)
        total = ops.sum(truth, axis=PIXELS) + ops.sum(guess, axis=PIXELS)
        return (2 * overlap + 1) / (total + 1)

    return _mean_loss(score, y_true, y_pred)


@_serializable
def iou(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 - soft intersection over union (Jaccard), averaged over the foreground classes."""

    def score(truth: Tensor, guess: Tensor) -> Tensor:
        overlap = ops.sum(truth * guess, axis=PIXELS)
        union = ops.sum(truth, axis=PIXELS) + ops.sum(guess, axis=PIXELS) - overlap
        return (overlap + 1) / (union + 1)

    return _mean_loss(score, y_true, y_pred)


def _binary_crossentropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Mean over pixels and foreground classes of -log p, or of -log(1 - p) where it is absent."""
    logs = _log_probabilities(y_pred)
    terms = []
    for index, (truth, log_p) in enumerate(zip(_truths(y_true, y_pred), logs, strict=True)):
        if index:
            # 1 - p is the sum of the other classes, whose logs stay exact where p rounds to 1.
            absent = _log_sum_exp([*logs[:index], *logs[index + 1 :]])
            terms.append(ops.mean(truth * log_p + (1 - truth) * absent, axis=PIXELS))
    return -sum(terms) / len(terms)


@_serializable
def ssim(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 - structural similarity of the truth and the foreground probability.

    Gaussian window of 11 pixels, sigma 1.5; K1 0.01, K2 0.03, dynamic range 1. Source: Wang et al.,
    2004, https://doi.org/10.1109/TIP.2003.819861.
    """
    truth, guess = (ops.stack(planes, axis=-1) for planes in _foreground(y_true, y_pred))
    channels = truth.shape[-1]
    offsets = ops.arange(-5, 6, dtype="float32")
    line = ops.exp(-(offsets**2) / (2 * 1.5**2))
    line = line / ops.sum(line)
    window = ops.tile((line[:, None] * line[None, :])[..., None, None], (1, 1, channels, 1))

    def smooth(x: Tensor) -> Tensor:
        return ops.depthwise_conv(x, window, padding="valid")

    mean_t, mean_g = smooth(truth), smooth(guess)
    var_t = smooth(truth * truth) - mean_t * mean_t
    var_g = smooth(guess * guess) - mean_g * mean_g
    covariance = smooth(truth * guess) - mean_t * mean_g
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_t * mean_g + c1) * (2 * covariance + c2)
    score = score / ((mean_t**2 + mean_g**2 + c1) * (var_t + var_g + c2))
    return 1 - ops.mean(score, axis=ALL)


@_serializable
def ce_dice(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Cross-entropy, which has smooth gradients, plus the soft Dice loss, which is the overlap."""
    return categorical_crossentropy(y_true, y_pred) + dice(y_true, y_pred)


@_serializable
def ce_dice_edge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`ce_dice`, with cross-entropy weighted five times within 3 pixels of the true boundary."""
    truth = ops.stack(_truths(y_true, y_pred), axis=-1)
    widest = ops.max_pool(truth, 7, 1, "same")
    narrowest = -ops.max_pool(-truth, 7, 1, "same")
    weight = 1 + 4 * ops.max(widest - narrowest, axis=-1)
    entropy = _crossentropy_of_pixels(y_true, y_pred)
    weighted = ops.sum(weight * entropy, axis=PIXELS) / ops.sum(weight, axis=PIXELS)
    return weighted + dice(y_true, y_pred)


@_serializable
def bce_dice(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Binary cross-entropy of the foreground plus soft Dice loss."""
    return _binary_crossentropy(y_true, y_pred) + dice(y_true, y_pred)


@_serializable
def bce_iou(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Binary cross-entropy of the foreground plus soft IoU loss."""
    return _binary_crossentropy(y_true, y_pred) + iou(y_true, y_pred)


@_serializable
def basnet_hybrid(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Binary cross-entropy plus SSIM plus IoU loss (BASNet, Qin et al., 2021, arXiv:2101.04704)."""
    return _binary_crossentropy(y_true, y_pred) + ssim(y_true, y_pred) + iou(y_true, y_pred)


def _is_class(scores: list[Tensor], index: int) -> Tensor:
    """Return where a class is the most probable one, float32; of equal ones, the first is."""
    chosen = scores[index]
    others = [chosen > score for score in scores[:index]]
    others += [chosen >= score for score in scores[index + 1 :]]
    return ops.cast(reduce(ops.logical_and, others), "float32")


def _hard_dice(truth: Tensor, guess: Tensor) -> Tensor:
    """Return `2 TP / (2 TP + FP + FN)` of two masks, or 1 if both are empty, `(B,)`."""
    total = ops.sum(truth, axis=PIXELS) + ops.sum(guess, axis=PIXELS)
    overlap = 2 * ops.sum(truth * guess, axis=PIXELS)
    return ops.where(total > 0, overlap / ops.maximum(total, 1.0), 1.0)


def _hard_foreground(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    truth = ops.cast(ops.cast(y_true, "int32") > 0, "float32")
    return truth, 1 - _is_class(_scores(y_pred), 0)


@_serializable
def lung_dice(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Hard Dice of the foreground, `2 TP / (2 TP + FP + FN)`; 1 if both masks are empty."""
    return _hard_dice(*_hard_foreground(y_true, y_pred))


@_serializable
def lung_iou(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Hard IoU of the foreground, `TP / (TP + FP + FN)`; 1 if both masks are empty."""
    truth, guess = _hard_foreground(y_true, y_pred)
    union = ops.sum(ops.maximum(truth, guess), axis=PIXELS)
    overlap = ops.sum(truth * guess, axis=PIXELS)
    return ops.where(union > 0, overlap / ops.maximum(union, 1.0), 1.0)


@_serializable
def pixel_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Fraction of pixels whose most probable class is the true one."""
    scores = _scores(y_pred)
    truths = _truths(y_true, y_pred)
    same = sum(truth * _is_class(scores, index) for index, truth in enumerate(truths))
    return ops.mean(same, axis=PIXELS)


@_serializable
def dice_coef_multiclass(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Soft Dice over all classes together, with the background; a metric of the original system.

    The smoothing term is 1. For one-hot masks each of the two sums in the denominator is the number
    of pixels, so the result is the mean probability of the true class. It is close to pixel
    accuracy and changes little if a lung is missed.
    """
    truths, guesses = _truths(y_true, y_pred), _probabilities(y_pred)
    overlap = sum(
        ops.sum(truth * guess, axis=PIXELS) for truth, guess in zip(truths, guesses, strict=True)
    )
    total = sum(ops.sum(plane, axis=PIXELS) for plane in [*truths, *guesses])
    return (2 * overlap + 1) / (total + 1)


@_serializable
def sensitivity(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Rounded true positives over positives of all classes, as in the original system."""
    truths, guesses = _truths(y_true, y_pred), _probabilities(y_pred)
    return _rounded_share(truths, guesses)


@_serializable
def specificity(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Rounded true negatives over negatives of all classes, as in the original system."""
    absent = [1 - truth for truth in _truths(y_true, y_pred)]
    return _rounded_share(absent, [1 - guess for guess in _probabilities(y_pred)])


def _rounded_share(truths: list[Tensor], guesses: list[Tensor]) -> Tensor:
    found = sum(
        ops.sum(ops.round(truth * guess), axis=PIXELS)
        for truth, guess in zip(truths, guesses, strict=True)
    )
    return found / (sum(ops.sum(truth, axis=PIXELS) for truth in truths) + EPSILON)


LOSSES: dict[str, Function] = {
    f.__name__: f
    for f in (
        categorical_crossentropy,
        ce_dice,
        ce_dice_edge,
        dice,
        bce_dice,
        iou,
        bce_iou,
        ssim,
        basnet_hybrid,
    )
}

METRICS: dict[str, Function] = {
    f.__name__: f
    for f in (lung_dice, lung_iou, dice_coef_multiclass, pixel_accuracy, sensitivity, specificity)
}


def class_dice(y_true: Tensor, y_pred: Tensor, index: int) -> Tensor:
    """Hard Dice of one class, as `lung_dice` is of the foreground; 1 if both masks lack it."""
    truth = ops.cast(ops.cast(y_true, "int32") == index, "float32")
    guess = _is_class(_scores(y_pred), index)
    return _hard_dice(truth, guess)


@keras.saving.register_keras_serializable("lungseg")
class ClassDice(keras.metrics.MeanMetricWrapper):  # type: ignore[misc]
    """The mean of `class_dice` over slices."""

    def __init__(self, index: int, name: str, dtype: Any = None) -> None:
        """Watch the class of this index."""
        super().__init__(class_dice, name, dtype, index=index)
        self.index = index

    def get_config(self) -> dict[str, Any]:
        """Return what a saved network needs to make the metric again."""
        return {"index": self.index, "name": self.name}
