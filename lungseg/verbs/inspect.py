"""`lungseg inspect`: show the network of a config layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lungseg.config.schema import Config


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        name: its name in the network.
        kind: its Keras class.
        shape: output shape without the batch, such as `(H, W, channels)`.
        parameters: number of parameters.
        gflop: 10^9 floating-point operations per slice.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    gflop: float


@dataclass(frozen=True)
class Network:
    """A network and the sums over its layers.

    Attributes:
        name: `model.name` of the config.
        layers: its layers in order.
        parameters: number of parameters.
        gflop: 10^9 floating-point operations per slice.
    """

    name: str
    layers: list[LayerRow]
    parameters: int
    gflop: float


def inspect(config: Config) -> Network:
    """Build the network of a config and describe it. Imports TensorFlow."""
    from lungseg.models import build_model

    model = build_model(config)
    rows = [
        LayerRow(
            layer.name,
            type(layer).__name__,
            tuple(int(side) for side in layer.output.shape[1:]),
            int(layer.count_params()) if hasattr(layer, "count_params") else 0,
            _flop(layer) / 1e9,
        )
        for layer in model.operations
    ]
    parameters = int(model.count_params())
    return Network(config.model.name, rows, parameters, sum(row.gflop for row in rows))


def _flop(layer: Any) -> float:
    """Return the floating-point operations of a matrix product or a convolution per slice.

    A multiplication and an addition count as two. Other layers need few and count as 0.
    """
    kind = type(layer).__name__
    if kind == "Matmul":
        inner = int(layer.input[0].shape[-1])
        return 2.0 * inner * math.prod(int(side) for side in layer.output.shape[1:])
    if kind == "Dense" or (kind == "EinsumDense" and layer.equation == "bhwc,cd->bhwd"):
        places = math.prod(int(side) for side in layer.output.shape[1:-1])
        return 2.0 * places * math.prod(int(side) for side in layer.kernel.shape)
    if kind not in ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose"):
        return 0.0
    kernel = math.prod(int(side) for side in layer.kernel.shape)
    # A transposed convolution applies its kernel at each input pixel, others at each output pixel.
    tensor = layer.input if kind == "Conv2DTranspose" else layer.output
    _, height, width, _ = tensor.shape
    return 2.0 * kernel * int(height) * int(width)
