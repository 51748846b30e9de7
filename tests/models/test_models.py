"""Networks have the size they are said to have, and turn slices into probabilities."""

from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import check_config, load_config
from lungseg.config.schema import Config
from lungseg.dataset.slices import Slice
from lungseg.evaluation import metrics
from lungseg.imaging.masks import read_labels
from lungseg.imaging.pixels import read_slice
from lungseg.models import NETWORKS, build_model
from lungseg.verbs.inspect import inspect
from tests.support.phantoms import write_phantoms

SIDE = 64  # of the slices that every network is trained on
# These work on a sixteenth and a thirty-second of the size: 4 and 2 pixels would be left.
LARGER = {"deeplabv3plus": 128, "efficientunet": 128}
# Its encoder has its full width and is slow, but learns from fewer slices.
SHOWN = {"efficientunet": 120}
# What keeps the parts that have a width of their own small.
SMALL: dict[str, dict[str, object]] = {
    "transunet": {"embedding": 16, "heads": 2, "transformer_layers": 1},
    "swin_unet": {"patch_size": 2, "window": 4},
}
EASY: dict[str, dict[str, object]] = {
    # Made for 512 pixels; with its own settings it would see 4 x 4 at the deepest level.
    "resunet": {"stem_stride": 1},
    "flexunet": {"base_kernels": [5, 5], "input_normalize": True, "normalization": True},
    "transunet": {"embedding": 32, "heads": 4, "transformer_layers": 2},
    # Made for 512 pixels as well; its deepest level would see 2 x 2.
    "swin_unet": {"patch_size": 2, "window": 4, "num_layers": 3},
}
ORIGINAL = Path(__file__).parents[2] / "configs" / "original.yaml"


def small(height: int = 32, width: int = 32, **model: object) -> Config:
    sizes: dict[str, object] = {"base_filters": 4}
    if model["name"] not in ("deeplabv3plus", "efficientunet"):
        sizes["num_layers"] = 3
    sizes |= SMALL.get(str(model["name"]), {})
    sides = {"image_size": [height, width]}
    return check_config({"data": sides, "model": {**sizes, **model}}, "test")


def test_the_original_has_exactly_its_parameters_and_operations() -> None:
    network = inspect(load_config(ORIGINAL))
    assert network.parameters == 124_996_866
    first = next(row for row in network.layers if row.kind == "Conv2D")
    # 9 x 9 x 3 x 16 multiply-adds and as many sums for each of 512 x 512 pixels.
    assert first.gflop == pytest.approx(2 * 9 * 9 * 3 * 16 * 512 * 512 / 1e9)
    # Without the transposed convolutions: the published design's 113.8 GFLOP.
    plain = sum(row.gflop for row in network.layers if row.kind == "Conv2D")
    assert plain == pytest.approx(113.8, abs=0.05)


@pytest.mark.parametrize("size", [(32, 32), (39, 21)])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_probabilities_of_the_inputs_size(name: str, size: tuple[int, int]) -> None:
    model = build_model(small(*size, name=name))
    slices = np.random.default_rng(0).uniform(0, 255, (2, *size, 1)).astype("float32")
    found = np.asarray(model(slices))
    assert found.shape == (2, *size, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_the_phantom_and_leaves_keras_unchanged(
    name: str, tmp_path: Path
) -> None:
    import keras

    from lungseg.inference.predictor import Predictor
    from lungseg.training.compiling import compile_model
    from lungseg.training.exporting import export_onnx
    from lungseg.training.pipeline import Pipeline

    keras.utils.set_random_seed(0)
    side = LARGER.get(name, SIDE)
    layers = {} if name in ("deeplabv3plus", "efficientunet") else {"num_layers": 4}
    config = check_config(
        {
            "data": {"image_size": [side, side]},
            "augment": {"online": {"hflip": 0.5, "affine": {"p": 0.5}}},
            "model": {"name": name, "base_filters": 8, **layers, **EASY.get(name, {})},
            "train": {
                "samples_per_epoch": SHOWN.get(name, 240),
                "epochs": 6,
                "learning_rate": 0.003,
            },
        },
        "test",
    )
    write_phantoms(tmp_path, patients=12, slices=6, side=side)
    slices = [
        Slice(p.stem, p.stem, p.stem[:9], p, tmp_path / "masks" / p.name, 0.2, "", "")
        for p in sorted((tmp_path / "images").iterdir())
    ]
    train, test = slices[:54], slices[54:]
    pipeline = Pipeline(config, train, [])
    model = compile_model(config, pipeline.steps)
    model.fit(
        pipeline.training(0, 6), epochs=6, steps_per_epoch=pipeline.steps, shuffle=False, verbose=0
    )
    assert export_onnx(model, config, tmp_path) <= 1e-4
    predictor = Predictor(tmp_path / "model.onnx")
    found = []
    for s in test:
        guess = predictor.probabilities([read_slice(s.image, config.data)])[0].argmax(-1)
        truth = read_labels(s.mask, config.data)
        found.append(metrics.dice(metrics.count(truth > 0, guess > 0)))
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("name", ["sharp_unet", "u2net", "transunet", "swin_unet"])
def test_a_seed_gives_one_network_and_a_saved_one_loads_anywhere(name: str, tmp_path: Path) -> None:
    import keras

    models = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        models.append(build_model(small(39, 21, name=name)))
    one, same, other = (np.concatenate([w.ravel() for w in m.get_weights()]) for m in models)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    models[0].save(tmp_path / "model.keras")
    # Safe mode loads what Keras itself has, and no class of ours.
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    slices = np.random.default_rng(0).uniform(0, 255, (2, 39, 21, 1)).astype("float32")
    np.testing.assert_array_equal(np.asarray(loaded(slices)), np.asarray(models[0](slices)))


def test_the_sharpening_of_skips_is_the_kernel_of_the_paper() -> None:
    import keras
    from scipy import ndimage

    from lungseg.models.sharp_unet import sharpen

    inputs = keras.Input((9, 11, 2))
    model = keras.Model(inputs, sharpen(inputs))
    values = np.random.default_rng(0).uniform(-1, 1, (1, 9, 11, 2)).astype("float32")
    found = np.asarray(model(values))[0]
    kernel = np.full((3, 3), -1.0)
    kernel[1, 1] = 8
    for channel in range(2):
        expected = ndimage.convolve(values[0, ..., channel], kernel)
        np.testing.assert_allclose(
            found[1:-1, 1:-1, channel], expected[1:-1, 1:-1], rtol=1e-4, atol=1e-5
        )
    flat = np.asarray(model(np.ones((1, 9, 11, 2), np.float32)))
    np.testing.assert_allclose(flat, 0, atol=1e-5)
    assert model.count_params() == 0


def test_u2net_can_be_as_large_as_published() -> None:
    config = check_config(
        {
            "data": {"image_size": [320, 320], "channels": 3},
            "model": {"name": "u2net", "base_filters": 64, "max_filters": 512},
        },
        "test",
    )
    model = build_model(config)
    # Its convolutions have biases as well, one for each filter that is normalised.
    biases = sum(
        int(layer.gamma.shape[0])
        for layer in model.layers
        if type(layer).__name__ == "BatchNormalization"
    )
    # Qin et al., 2020, table 1: 176.3 MB of float32, for one class instead of two.
    assert 4 * (model.count_params() + biases) / 1e6 == pytest.approx(176.3, abs=0.1)


def test_a_position_attends_as_the_formula_says() -> None:
    import keras

    from lungseg.models.transformer import attend

    inputs = keras.Input((2, 5, 8))
    model = keras.Model(inputs, attend(inputs, 2))
    tokens = np.random.default_rng(0).normal(size=(3, 2, 5, 8)).astype("float32")
    dense = [layer for layer in model.layers if type(layer).__name__ == "Dense"]
    query, key, value = (np.asarray(layer(tokens)).reshape(3, 2, 5, 2, 4) for layer in dense[:3])
    expected = np.zeros((3, 2, 5, 2, 4))
    for batch, group, head in np.ndindex(3, 2, 2):
        q, k, v = (part[batch, group, :, head] for part in (query, key, value))
        weights = np.exp(q @ k.T / 2)  # sqrt of 4 values for a head
        expected[batch, group, :, head] = weights / weights.sum(axis=1, keepdims=True) @ v
    joined = expected.reshape(3, 2, 5, 8).astype("float32")
    np.testing.assert_allclose(
        np.asarray(model(tokens)), np.asarray(dense[3](joined)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shifted", [False, True])
def test_windows_see_what_lies_in_them_and_in_the_map(shifted: bool) -> None:
    import keras

    from lungseg.models.swin_unet import attend_in_windows

    inputs = keras.Input((6, 9, 4))
    model = keras.Model(inputs, attend_in_windows(inputs, 2, 4, shifted=shifted))
    tokens = np.random.default_rng(0).normal(size=(1, 6, 9, 4)).astype("float32")
    plain = np.asarray(model(tokens))
    # Windows of 4 begin at 0, or at 2 with what is before as a window of its own. The map ends
    # before the last of them do, and no window reaches around to the other end.
    lie = [(np.arange(side) + (2 if shifted else 0)) // 4 for side in (6, 9)]
    for row, column in ((0, 0), (1, 3), (2, 5), (5, 8), (3, 8), (0, 7)):
        changed = tokens.copy()
        changed[0, row, column] += 1
        seen = np.abs(np.asarray(model(changed)) - plain).max(axis=-1)[0] > 1e-6
        expected = np.outer(lie[0] == lie[0][row], lie[1] == lie[1][column])
        np.testing.assert_array_equal(seen, expected)


def test_matrix_products_count_as_operations() -> None:
    network = inspect(
        check_config(
            {
                "data": {"image_size": [32, 32]},
                "model": {
                    "name": "transunet", "num_layers": 3, "embedding": 16, "heads": 2,
                    "transformer_layers": 1,
                },
            },
            "test",
        )
    )  # fmt: skip
    found = {"Matmul": 0.0, "Dense": 0.0}
    for row in network.layers:
        if row.kind in found:
            found[row.kind] += row.gflop * 1e9
    # 64 positions of 16 values: scores and what is taken by them; four maps of 16 to 16 and the
    # hidden layer of 64.
    assert found["Matmul"] == pytest.approx(2 * 2 * 64 * 64 * 16)
    assert found["Dense"] == pytest.approx(2 * 64 * (4 * 16 * 16 + 2 * 16 * 64))


def test_what_pads_a_slice_is_black_and_cut_off_again() -> None:
    odd, whole = build_model(small(30, 27, name="resunet")), build_model(small(name="resunet"))
    whole.set_weights(odd.get_weights())
    slices = np.random.default_rng(0).uniform(0, 255, (2, 30, 27, 1)).astype("float32")
    black = np.pad(slices, [(0, 0), (0, 2), (0, 5), (0, 0)])
    np.testing.assert_allclose(
        np.asarray(odd(slices)), np.asarray(whole(black))[:, :30, :27], atol=1e-6
    )


def test_flexunet_takes_each_of_its_parameters() -> None:
    model = build_model(
        small(
            name="flexunet",
            base_kernels=[7, 5],
            dilation=[3, 2],
            dropout_rate=0.1,
            normalization=True,
            activation="mish",
            input_normalize=True,
        )
    )
    convolutions = [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]
    encoder = convolutions[:6]
    assert [layer.filters for layer in encoder] == [4, 4, 8, 8, 16, 16]
    assert [layer.kernel_size for layer in encoder[::2]] == [(7, 5), (5, 3), (3, 3)]
    assert [layer.dilation_rate for layer in encoder[::2]] == [(3, 2), (2, 1), (1, 1)]
    assert all(layer.activation.__name__ == "mish" for layer in encoder)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("BatchNormalization") == 10
    assert kinds.count("Rescaling") == 1
    rates = [layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.1, 0.0])


def test_resunet_stays_below_its_cap_on_filters() -> None:
    model = build_model(small(name="resunet", max_filters=6))
    widths = {layer.filters for layer in model.layers if type(layer).__name__ == "Conv2D"}
    assert max(widths) == 6


def test_resunet_normalises_by_groups_or_batches() -> None:
    for kind, layer in (("group", "GroupNormalization"), ("batch", "BatchNormalization")):
        model = build_model(small(name="resunet", normalization=kind))
        found = {type(part).__name__ for part in model.layers if "Norm" in type(part).__name__}
        assert found == {layer}


def test_with_groups_inference_computes_what_training_did_whatever_is_in_the_batch() -> None:
    slices = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1)).astype("float32")
    slices[1] *= 0.1
    difference = {}
    for kind in ("group", "batch"):
        model = build_model(small(name="resunet", normalization=kind, dropout_rate=0.0))
        trained = np.asarray(model(slices, training=True))[:1]
        difference[kind] = np.abs(np.asarray(model(slices[:1], training=False)) - trained).max()
    assert difference["group"] < 1e-5
    assert difference["batch"] > 1e-2
