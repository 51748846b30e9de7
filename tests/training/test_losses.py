"""Losses and training metrics against values computed in another way."""

import keras
import numpy as np
import pytest

from lungseg.config.classes import class_metrics
from lungseg.evaluation import metrics
from lungseg.training.losses import LOSSES, METRICS, ClassDice, class_dice


@pytest.fixture(scope="module")
def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (3, 24, 24)).astype(np.uint8)
    truth[2] = 0
    raw = rng.uniform(size=(3, 24, 24, 2)).astype(np.float32)
    return truth, raw / raw.sum(axis=-1, keepdims=True)


def test_crossentropy_and_the_originals_metric_equal_the_evaluations(
    batch: tuple[np.ndarray, np.ndarray],
) -> None:
    truth, guess = batch
    for name in ("categorical_crossentropy", "dice_coef_multiclass"):
        found = np.asarray({**LOSSES, **METRICS}[name](truth, guess))
        expected = [getattr(metrics, name)(t, g) for t, g in zip(truth, guess, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_lung_dice_iou_and_accuracy_equal_the_evaluations(
    batch: tuple[np.ndarray, np.ndarray],
) -> None:
    truth, guess = batch
    labels = guess.argmax(-1).astype(np.uint8)
    counts = [metrics.count(t > 0, g > 0) for t, g in zip(truth, labels, strict=True)]
    dice, iou = METRICS["lung_dice"](truth, guess), METRICS["lung_iou"](truth, guess)
    np.testing.assert_allclose(np.asarray(dice), [metrics.dice(c) for c in counts], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(iou), [metrics.iou(c) for c in counts], rtol=1e-6)
    accuracy = [metrics.pixel_accuracy(t, g) for t, g in zip(truth, labels, strict=True)]
    np.testing.assert_allclose(np.asarray(METRICS["pixel_accuracy"](truth, guess)), accuracy)


def test_the_dice_of_each_class_equals_the_evaluations() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (3, 24, 24)).astype(np.uint8)
    truth[2] = 0
    guess = rng.uniform(size=(3, 24, 24, 4)).astype(np.float32)
    guess[2, ..., 3] = 0  # neither mask has the last class
    labels = guess.argmax(-1)
    watched = class_metrics(["background", "left lung", "right lung", "nodule"])
    assert watched == {"dice_left_lung": 1, "dice_right_lung": 2, "dice_nodule": 3}
    for name, index in watched.items():
        counts = [metrics.count(t == index, g == index) for t, g in zip(truth, labels, strict=True)]
        expected = [metrics.dice(c) for c in counts]
        np.testing.assert_allclose(np.asarray(class_dice(truth, guess, index)), expected, rtol=1e-6)
        metric = ClassDice(index, name)
        metric.update_state(truth, guess)
        assert float(metric.result()) == pytest.approx(np.mean(expected))
    assert class_metrics(["background", "lung"]) == {}
    alike = class_metrics(["background", "left lung", "left-lung"])
    assert alike == {"dice_left_lung": 1, "dice_left_lung_2": 2}


@pytest.mark.parametrize("name", [*LOSSES, *METRICS])
def test_logits_give_what_their_probabilities_give(name: str) -> None:
    """Keras keeps the logits at what its softmax returns; plain arrays have none."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, (2, 24, 24)).astype(np.uint8)
    logits = rng.normal(0, 3, (2, 24, 24, 3)).astype(np.float32)
    logits[0, :4] = 1.5  # equal ones
    kept = keras.layers.Softmax()(keras.ops.convert_to_tensor(logits))
    assert hasattr(kept, "_keras_logits")
    powers = np.exp(logits.astype(np.float64))
    plain = (powers / powers.sum(-1, keepdims=True)).astype(np.float32)
    function = {**LOSSES, **METRICS}[name]
    np.testing.assert_allclose(function(truth, kept), function(truth, plain), rtol=2e-5)


def test_of_equally_probable_classes_the_first_counts_as_argmax_says() -> None:
    truth = np.array([[[0, 1, 2, 1, 2, 2]]], np.uint8)
    guess = np.array(
        [[[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.2, 0.4, 0.4], [1, 1, 1], [0.3, 0.3, 0.4], [0, 0, 1]]]
    )[None].astype(np.float32)
    labels = guess.argmax(-1)
    np.testing.assert_allclose(METRICS["pixel_accuracy"](truth, guess), [(truth == labels).mean()])
    for index in (1, 2):
        counted = metrics.count(truth[0] == index, labels[0] == index)
        np.testing.assert_allclose(class_dice(truth, guess, index), [metrics.dice(counted)])
    found = metrics.dice(metrics.count(truth[0] > 0, labels[0] > 0))
    np.testing.assert_allclose(METRICS["lung_dice"](truth, guess), [found], rtol=1e-6)


def test_two_empty_masks_are_equal() -> None:
    truth = np.zeros((1, 8, 8), np.uint8)
    guess = np.zeros((1, 8, 8, 2), np.float32)
    guess[..., 0] = 1
    assert np.asarray(METRICS["lung_dice"](truth, guess)) == [1.0]
    assert np.asarray(METRICS["lung_iou"](truth, guess)) == [1.0]
    assert np.asarray(LOSSES["dice"](truth, guess)) == pytest.approx([0.0], abs=1e-6)


def test_dice_and_iou_losses_equal_their_formula(batch: tuple[np.ndarray, np.ndarray]) -> None:
    truth, guess = batch
    t, g = (truth > 0).astype(float), guess[..., 1].astype(float)
    overlap, total = (t * g).sum((1, 2)), t.sum((1, 2)) + g.sum((1, 2))
    np.testing.assert_allclose(
        np.asarray(LOSSES["dice"](truth, guess)), 1 - (2 * overlap + 1) / (total + 1), rtol=1e-5
    )
    np.testing.assert_allclose(
        np.asarray(LOSSES["iou"](truth, guess)),
        1 - (overlap + 1) / (total - overlap + 1),
        rtol=1e-5,
    )


def test_ssim_equals_tensorflows(batch: tuple[np.ndarray, np.ndarray]) -> None:
    import tensorflow as tf

    truth, guess = batch
    expected = 1 - tf.image.ssim(
        (truth > 0).astype(np.float32)[..., None], guess[..., 1:], max_val=1.0
    )
    np.testing.assert_allclose(np.asarray(LOSSES["ssim"](truth, guess)), expected, atol=1e-5)


@pytest.mark.parametrize("grey", [0.0, 0.002, 0.01, 0.1])
def test_ssim_of_even_planes_is_that_of_their_means_alone(grey: float) -> None:
    truth = np.zeros((1, 16, 16), np.uint8)
    guess = np.full((1, 16, 16, 2), grey, np.float32)
    guess[..., 0] = 1 - grey
    expected = 1 - 0.0001 / (grey**2 + 0.0001)  # C1 is (0.01 x 1)^2
    assert float(np.asarray(LOSSES["ssim"](truth, guess))[0]) == pytest.approx(expected, abs=1e-4)


def test_ssim_of_stripes_is_that_of_their_variance() -> None:
    width, grey, step = 16, 0.01, 0.01
    truth = np.zeros((1, width, width), np.uint8)
    guess = np.empty((1, width, width, 2), np.float32)
    guess[..., 1] = grey + step * (-1) ** np.arange(width)
    guess[..., 0] = 1 - guess[..., 1]
    weights = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    weights /= weights.sum()
    found = []
    for sign in (1, -1):  # the window begins at a bright or at a dark stripe
        values = grey + sign * step * (-1.0) ** np.arange(11)
        mean = weights @ values
        variance = weights @ values**2 - mean**2
        # C2 is (0.03 x 1)^2; the truth has neither mean nor variance.
        found.append(0.0001 * 0.0009 / ((mean**2 + 0.0001) * (variance + 0.0009)))
    expected = 1 - np.mean(found)
    assert float(np.asarray(LOSSES["ssim"](truth, guess))[0]) == pytest.approx(expected, abs=1e-4)


def test_hybrids_are_sums_of_their_parts(batch: tuple[np.ndarray, np.ndarray]) -> None:
    value = {name: np.asarray(loss(*batch)) for name, loss in LOSSES.items()}
    np.testing.assert_allclose(
        value["ce_dice"], value["categorical_crossentropy"] + value["dice"], rtol=1e-5
    )
    bce = value["bce_dice"] - value["dice"]
    np.testing.assert_allclose(value["bce_iou"], bce + value["iou"], rtol=1e-5)
    np.testing.assert_allclose(
        value["basnet_hybrid"], bce + value["ssim"] + value["iou"], rtol=1e-5
    )


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_lower_for_a_better_guess(name: str) -> None:
    truth = np.zeros((1, 24, 24), np.uint8)
    truth[:, 6:18, 6:18] = 1
    onehot = np.eye(2, dtype=np.float32)[truth]
    values = [
        float(np.asarray(LOSSES[name](truth, share * onehot + (1 - share) / 2))[0])
        for share in (0.0, 0.5, 0.99)
    ]
    assert values[0] > values[1] > values[2]


def test_sensitivity_and_specificity_are_the_originals() -> None:
    truth = np.array([[[0, 1], [1, 1]]], np.uint8)
    guess = np.array([[[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.4, 0.6]]]], np.float32)
    # Three of four pixels are right; with one-hot classes both come to that.
    assert np.asarray(METRICS["sensitivity"](truth, guess)) == pytest.approx([0.75])
    assert np.asarray(METRICS["specificity"](truth, guess)) == pytest.approx([0.75])


def test_the_edge_loss_weighs_pixels_near_a_boundary() -> None:
    truth = np.zeros((1, 40, 40), np.uint8)
    truth[:, :, 20:] = 1
    right = np.stack([1.0 - truth, truth * 1.0], axis=-1).astype(np.float32) * 0.98 + 0.01

    def with_error(column: int) -> float:
        guess = right.copy()
        guess[:, :, column] = guess[:, :, column, ::-1]
        return float(np.asarray(LOSSES["ce_dice_edge"](truth, guess))[0])

    plain = float(np.asarray(LOSSES["ce_dice"](truth, right))[0])
    assert float(np.asarray(LOSSES["ce_dice_edge"](truth, right))[0]) == pytest.approx(plain)
    assert with_error(18) > 2 * with_error(5)


@pytest.mark.parametrize("lung", [slice(20, None), slice(20)])
@pytest.mark.parametrize(
    ("column", "weight"), [(16, 1), (17, 5), (19, 5), (20, 5), (22, 5), (23, 1)]
)
def test_the_three_pixels_on_both_sides_of_a_boundary_weigh_five_times(
    column: int, weight: int, lung: slice
) -> None:
    truth = np.zeros((1, 40, 40), np.uint8)
    truth[:, :, lung] = 1
    guess = np.stack([1.0 - truth, truth * 1.0], axis=-1).astype(np.float32) * 0.98 + 0.01
    guess[:, :, column] = guess[:, :, column, ::-1]
    found = float(np.asarray(LOSSES["ce_dice_edge"](truth, guess))[0])
    found -= float(np.asarray(LOSSES["dice"](truth, guess))[0])
    # 40 columns, of which 3 + 3 weigh five times.
    right, wrong = -np.log(0.99), -np.log(0.01)
    assert found == pytest.approx(right + (wrong - right) * weight / (34 + 6 * 5), rel=1e-4)


def test_binary_crossentropy_of_several_classes_equals_its_formula() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, (2, 16, 16)).astype(np.uint8)
    raw = rng.uniform(0.05, 1, (2, 16, 16, 4)).astype(np.float32)
    p = raw / raw.sum(axis=-1, keepdims=True)
    found = np.asarray(LOSSES["bce_dice"](truth, p)) - np.asarray(LOSSES["dice"](truth, p))
    t, q = np.eye(4)[truth][..., 1:], p[..., 1:].astype(float)
    expected = -(t * np.log(q) + (1 - t) * np.log(1 - q)).mean((1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("name", [*LOSSES, *METRICS])
def test_a_saved_model_finds_each_loss_and_metric_again(name: str) -> None:
    function = {**LOSSES, **METRICS}[name]
    assert keras.saving.get_registered_object(f"lungseg>{name}") is function


def one_pixel(p_lung: float, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a slice of one pixel and its probabilities."""
    return np.full((1, 1, 1), label, np.uint8), np.array([[[[1 - p_lung, p_lung]]]], np.float32)


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        # With t = 1, p = 0.75 of the lung: the overlap is 0.75, the sum 1.75, the union 1.
        ("dice", 1, 1 - (1.5 + 1) / (1.75 + 1)),
        ("iou", 1, 1 - (0.75 + 1) / (1 + 1)),
        ("dice", 0, 1 - 1 / (0.75 + 1)),
        ("iou", 0, 1 - 1 / (0.75 + 1)),
        ("categorical_crossentropy", 1, -np.log(0.75)),
        ("categorical_crossentropy", 0, -np.log(0.25)),
        ("ce_dice", 0, -np.log(0.25) + 1 - 1 / 1.75),
        ("ce_dice_edge", 0, -np.log(0.25) + 1 - 1 / 1.75),  # no boundary
        ("bce_dice", 1, -np.log(0.75) + 1 - 2.5 / 2.75),
        ("bce_iou", 0, -np.log(0.25) + 1 - 1 / 1.75),
        # Over both classes: the overlap is the probability of the true class, each sum is 1.
        ("dice_coef_multiclass", 1, (1.5 + 1) / (2 + 1)),
        ("sensitivity", 1, 1.0),
        ("sensitivity", 0, 0.0),
        ("specificity", 1, 1.0),
        ("specificity", 0, 0.0),
        ("lung_dice", 1, 1.0),
        ("lung_iou", 0, 0.0),
        ("pixel_accuracy", 1, 1.0),
    ],
)
def test_a_single_pixel_has_its_value_in_closed_form(
    name: str, label: int, expected: float
) -> None:
    found = np.asarray({**LOSSES, **METRICS}[name](*one_pixel(0.75, label)))
    assert found == pytest.approx([expected], rel=1e-5, abs=1e-6)


def test_a_probability_of_nought_has_the_loss_of_the_smallest_float() -> None:
    found = np.asarray(LOSSES["categorical_crossentropy"](*one_pixel(0.0, 1)))
    assert found == pytest.approx([-np.log(np.finfo(np.float32).tiny)], rel=1e-6)


def test_each_foreground_class_counts_alike_in_a_soft_loss() -> None:
    truth = np.array([[[1, 1, 2, 0]]], np.uint8)
    guess = np.full((1, 1, 4, 3), 0.25, np.float32)
    guess[..., 0] = 0.5
    # Class 1: overlap 0.5, sums 2 and 1. Class 2: overlap 0.25, sums 1 and 1.
    dice = ((1 + 1) / (3 + 1) + (0.5 + 1) / (2 + 1)) / 2
    iou = ((0.5 + 1) / (2.5 + 1) + (0.25 + 1) / (1.75 + 1)) / 2
    assert np.asarray(LOSSES["dice"](truth, guess)) == pytest.approx([1 - dice])
    assert np.asarray(LOSSES["iou"](truth, guess)) == pytest.approx([1 - iou])


def test_a_saved_metric_of_a_class_is_the_same_metric() -> None:
    metric = ClassDice(2, "dice_right_lung", dtype="float32")
    config = metric.get_config()
    assert config == {"index": 2, "name": "dice_right_lung"}
    again = keras.saving.get_registered_object("lungseg>ClassDice").from_config(config)
    assert (type(again), again.index, again.name) == (ClassDice, 2, "dice_right_lung")


def test_the_tables_hold_each_function_under_its_name() -> None:
    assert {name: f.__name__ for name, f in {**LOSSES, **METRICS}.items()} == {
        name: name for name in [*LOSSES, *METRICS]
    }
