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
EASY: dict[str, dict[str, object]] = {
    # Made for 512 pixels; with its own settings it would see 4 x 4 at the deepest level.
    "resunet": {"stem_stride": 1},
    "flexunet": {"base_kernels": [5, 5], "input_normalize": True, "normalization": True},
}
ORIGINAL = Path(__file__).parents[2] / "configs" / "original.yaml"


def small(height: int = 32, width: int = 32, **model: object) -> Config:
    sizes = {"base_filters": 4}
    if model["name"] not in ("deeplabv3plus", "efficientunet"):
        sizes["num_layers"] = 3
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
            "train": {"samples_per_epoch": 240, "epochs": 6, "learning_rate": 0.003},
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
