"""The weights that are validated and saved, and the statistics that belong to them."""

import keras
import numpy as np
import pytest

from lungseg.training.averaging import (
    AveragingAdam,
    AveragingAdamW,
    NormalizationStatistics,
    ValidatedWeights,
)


@pytest.fixture
def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    # Batches that differ in mean and spread, as those of several sources do.
    rng = np.random.default_rng(0)
    return [
        (rng.normal(shift, spread, (4, 8, 8, 3)).astype(np.float32), np.zeros((4, 8, 8), np.uint8))
        for shift, spread in ((0.0, 1.0), (5.0, 0.5), (-2.0, 3.0))
    ]


def network(dropout: float = 0.0) -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Dropout(dropout, name="dropout")(inputs)
    x = keras.layers.BatchNormalization(momentum=0.9, name="first")(x)
    x = keras.layers.Conv2D(2, 1, name="conv")(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.BatchNormalization(name="second")(x))


def statistics_of(model: keras.Model, name: str) -> tuple[np.ndarray, np.ndarray]:
    layer = model.get_layer(name)
    return np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_statistics_are_those_of_all_slices_together(
    batches: list[tuple[np.ndarray, np.ndarray]], dropout: float
) -> None:
    model = network(dropout)
    NormalizationStatistics(batches).refresh(model)
    everything = np.concatenate([images for images, _ in batches]).astype(np.float64)
    mean, variance = statistics_of(model, "first")
    np.testing.assert_allclose(mean, everything.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(variance, everything.var((0, 1, 2)), rtol=1e-4)


def test_layers_behind_see_each_batch_normalised_by_itself(
    batches: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    model = network()
    NormalizationStatistics(batches).refresh(model)
    kernel, bias = (np.asarray(w, np.float64) for w in model.get_layer("conv").get_weights())
    outputs = []
    for images, _ in batches:
        x = images.astype(np.float64)
        x = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3)
        outputs.append(np.maximum(x, 0) @ kernel[0, 0] + bias)
    mean, variance = statistics_of(model, "second")
    np.testing.assert_allclose(mean, np.concatenate(outputs).mean((0, 1, 2)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(variance, np.concatenate(outputs).var((0, 1, 2)), rtol=1e-3)


def test_a_refresh_leaves_layers_and_random_states_as_they_were(
    batches: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    model = network(0.5)
    before = [np.asarray(v) for v in model.variables if "seed" in v.path]
    NormalizationStatistics(batches).refresh(model)
    assert model.get_layer("first").momentum == 0.9
    assert model.get_layer("dropout").rate == 0.5
    after = [np.asarray(v) for v in model.variables if "seed" in v.path]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_network_without_normalisation_needs_no_slices() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])

    def never() -> object:
        raise AssertionError("read in vain")

    NormalizationStatistics(iter(never, None)).refresh(model)  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer_class", [AveragingAdam, AveragingAdamW])
def test_the_average_covers_the_last_share_of_the_steps_so_far(optimizer_class: type) -> None:
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer = optimizer_class(0.1, use_ema=True, ema_momentum=0.8)
    optimizer.build([weight])
    expected = np.zeros(1)
    for step in range(1, 61):
        optimizer.apply([np.ones(1, np.float32)], [weight])
        newest = 1 / max(1.0, 0.2 * step)
        expected = (1 - newest) * expected + newest * np.asarray(weight, np.float64)
        if step == 5:
            # Up to here the window holds one step: nothing of the first weights is left.
            assert expected == pytest.approx(np.asarray(weight))
    (average,) = optimizer._model_variables_moving_average
    np.testing.assert_allclose(np.asarray(average), expected, rtol=1e-5)


def test_the_optimizer_is_the_same_after_a_reload(tmp_path: object) -> None:
    optimizer = AveragingAdamW(0.1, use_ema=True, ema_momentum=0.8)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, AveragingAdamW)
    assert again.ema_momentum == 0.8


def test_statistics_are_computed_once_for_the_same_weights() -> None:
    class Counting(NormalizationStatistics):
        calls = 0

        def refresh(self, model: keras.Model) -> None:
            self.calls += 1

    statistics = Counting([])
    weights = ValidatedWeights(statistics, averages=False)
    weights.set_model(network())
    for _ in range(2):
        weights.on_test_begin()
        weights.on_test_end()
    assert statistics.calls == 1
    weights.on_train_batch_end(0)
    weights.on_test_begin()
    assert statistics.calls == 2
