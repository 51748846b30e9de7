"""Networks have the size they are said to have, and turn slices into probabilities."""

from pathlib import Path

import numpy as np
import pytest

from lungseg.config import Config
from lungseg.configfile import check_config, load_config
from lungseg.inspect import inspect
from lungseg.models import NETWORKS, build_model

ORIGINAL = Path(__file__).parent.parent / "configs" / "original.yaml"


def small(**model: object) -> Config:
    return check_config(
        {"data": {"image_size": [32, 32]}, "model": {"base_filters": 4, "num_layers": 3, **model}},
        "test",
    )


def test_the_original_has_exactly_its_parameters_and_operations() -> None:
    network = inspect(load_config(ORIGINAL))
    assert network.parameters == 124_996_866
    first = next(row for row in network.layers if row.kind == "Conv2D")
    # 9 x 9 x 3 x 16 multiply-adds and as many sums for each of 512 x 512 pixels.
    assert first.gflop == pytest.approx(2 * 9 * 9 * 3 * 16 * 512 * 512 / 1e9)
    # Without the transposed convolutions: the published design's 113.8 GFLOP.
    plain = sum(row.gflop for row in network.layers if row.kind == "Conv2D")
    assert plain == pytest.approx(113.8, abs=0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_probabilities_of_the_inputs_size(name: str) -> None:
    model = build_model(small(name=name))
    slices = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype("float32")
    found = np.asarray(model(slices))
    assert found.shape == (2, 32, 32, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)


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
