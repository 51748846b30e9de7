"""Count the floating-point operations of an ONNX network, convolution by convolution."""

import math
from pathlib import Path
from typing import Any


def gflop(path: Path) -> float:
    """Return 10^9 floating-point operations per slice.

    A multiplication and an addition count as two, as in `lungseg inspect` and in PyTorch's
    `FlopCounterMode`. Only convolutions, transposed ones too, are counted; the rest needs little.

    Raises:
        ValueError: if the size of a convolution's output cannot be inferred.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    sizes = {
        value.name: _sides(value) for value in [*graph.input, *graph.value_info, *graph.output]
    }
    # Kernels that are stored as float16 are the output of a cast, others are stored as they are.
    sizes |= {each.name: list(each.dims) for each in graph.initializer}
    return sum(_flop(node, sizes) for node in graph.node) / 1e9


def _flop(node: Any, sizes: dict[str, list[int]]) -> float:
    if node.op_type not in ("Conv", "ConvTranspose"):
        return 0.0
    # A transposed convolution applies its kernel at each input pixel, others at each output pixel.
    tensor = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    height, width = sizes.get(tensor, [0, 0])[-2:]
    if not height * width:
        raise ValueError(f"{node.name}: the size of {tensor} is unknown.")
    # The kernel is (out, in / groups, h, w), in a transposed convolution (in, out / groups, h, w).
    return 2.0 * math.prod(sizes[node.input[1]]) * height * width


def _sides(value: Any) -> list[int]:
    """Return the sides of a tensor; 0 for a side that is not a number."""
    return [int(side.dim_value) for side in value.type.tensor_type.shape.dim]
