"""The cross-entropies have a gradient however sure and wrong a network is."""

from typing import Any

import numpy as np
import pytest

from lungseg.config.loading import check_config
from lungseg.models import NETWORKS
from lungseg.training.compiling import compile_model
from tests.support.phantoms import tiny

GAP = 1000.0
# 20 rows are no multiple of any network's stride, so all of them pad and crop.
SIZE = [20, 16]


def config_of(network: str, **train: Any) -> Any:
    data = tiny(**train)
    model: dict[str, Any] = {"name": network}
    if network not in ("deeplabv3plus", "efficientunet"):
        model |= {"base_filters": 2, "num_layers": 3}
    if network == "transunet":
        model |= {"embedding": 8, "heads": 2, "transformer_layers": 1}
    if network == "swin_unet":
        model |= {"patch_size": 2, "window": 2}
    return check_config({**data, "data": {"image_size": SIZE}, "model": model}, network)


def sure_and_wrong(model: Any) -> Any:
    """Make every pixel background by a logit gap of `GAP`; return the bias of the class scores."""
    import keras

    scores = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][-1]
    kernel, bias = scores.get_weights()
    scores.set_weights([np.zeros_like(kernel), np.array([GAP, 0.0], bias.dtype)])
    return scores.bias


def gradient_of(model: Any, bias: Any, truth: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    images = np.full((len(truth), *SIZE, 1), 100, np.float32)

    def gradient() -> Any:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(images, truth, model(images, training=True))
        return tape.gradient(loss, bias.value)

    return np.asarray(tf.function(gradient)(), np.float64)


def truth_with_lung() -> np.ndarray:
    truth = np.zeros((2, *SIZE), np.uint8)
    truth[0, 5:15, 3:9] = 1
    return truth


def edge_weights(truth: np.ndarray) -> np.ndarray:
    """Return 5 within 3 pixels of a boundary and 1 elsewhere, by SciPy."""
    from scipy import ndimage

    weights = np.ones(truth.shape)
    for one, mask in zip(weights, truth, strict=True):
        near = ndimage.maximum_filter(mask, 7, mode="nearest") != ndimage.minimum_filter(
            mask, 7, mode="nearest"
        )
        one[near] = 5
    return weights


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("mixed_precision", [False, True])
def test_the_gradient_at_a_gap_of_1000_is_the_closed_form(
    network: str, mixed_precision: bool
) -> None:
    import keras

    keras.mixed_precision.set_global_policy("mixed_float16" if mixed_precision else "float32")
    try:
        config = config_of(network, loss="categorical_crossentropy")
        model = compile_model(config, 1)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    truth = truth_with_lung()
    gradient = gradient_of(model, sure_and_wrong(model), truth)
    # d loss / d bias_c is the mean of p_c - t_c; p is (1, 0) everywhere.
    expected = truth.mean()
    np.testing.assert_allclose(gradient, [expected, -expected], rtol=1e-3)


@pytest.mark.parametrize(
    "loss", ["ce_dice", "ce_dice_edge", "bce_dice", "bce_iou", "basnet_hybrid"]
)
def test_every_entropy_keeps_its_gradient(loss: str) -> None:
    model = compile_model(config_of("resunet", loss=loss), 1)
    truth = truth_with_lung()
    gradient = gradient_of(model, sure_and_wrong(model), truth)
    # The overlap terms of these losses have no gradient here: their p is saturated.
    weights = edge_weights(truth) if loss == "ce_dice_edge" else np.ones(truth.shape)
    shares = (weights * truth).sum((1, 2)) / weights.sum((1, 2))
    # Binary entropy of two classes is the same function of the logits as the categorical one.
    np.testing.assert_allclose(gradient, [shares.mean(), -shares.mean()], rtol=1e-4)


def test_a_reloaded_network_keeps_its_gradient(tmp_path: Any) -> None:
    import keras

    model = compile_model(config_of("flexunet", loss="categorical_crossentropy"), 1)
    sure_and_wrong(model)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    truth = truth_with_lung()
    gradient = gradient_of(reloaded, sure_and_wrong(reloaded), truth)
    np.testing.assert_allclose(gradient, [truth.mean(), -truth.mean()], rtol=1e-4)
