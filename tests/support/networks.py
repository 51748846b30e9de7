"""A network of two lines, for tests that need a run folder but no training and no TensorFlow."""

from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from lungseg.config.loading import check_config, dump_config
from lungseg.config.schema import DataConfig
from lungseg.system.tables import read_json, write_json
from lungseg.training.run_folder import write_data_list
from tests.support.phantoms import tiny


def write_network(run: Path, size: tuple[int, int], reach: int = 0) -> Path:
    """Write a run folder whose network takes dark for lung: p(lung) = 1 - grey / 255.

    Args:
        run: the folder to make.
        size: height and width of the slices it takes.
        reach: the grey value of a pixel is the mean over so many neighbours to each side, so that
            the network sees shapes.
    """
    run.mkdir(parents=True, exist_ok=True)
    shape = ["slices", *size]
    side = 2 * reach + 1
    nodes = [
        helper.make_node("Transpose", ["grey"], ["channels first"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool",
            ["channels first"],
            ["mean"],
            kernel_shape=[side, side],
            pads=[reach] * 4,
        ),
        helper.make_node("Transpose", ["mean"], ["channels last"], perm=[0, 2, 3, 1]),
        helper.make_node("Div", ["channels last", "white"], ["background"]),
        helper.make_node("Sub", ["one", "background"], ["lung"]),
        helper.make_node("Concat", ["background", "lung"], ["classes"], axis=3),
    ]
    graph = helper.make_graph(
        nodes,
        "dark is lung",
        [helper.make_tensor_value_info("grey", TensorProto.FLOAT, [*shape, 1])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [*shape, 2])],
        [
            helper.make_tensor("white", TensorProto.FLOAT, [1], [255.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, run / "model.onnx")
    data = DataConfig(image_size=size)
    write_json(
        run / "model.json",
        {
            "input": {
                "size": list(size),
                "channels": data.channels,
                "window": list(data.window),
                "unsigned_16bit": data.unsigned_16bit,
                "square_pixels": data.square_pixels,
            },
            "rgb_map": {name: list(colour) for name, colour in data.rgb_map.items()},
        },
    )
    return run


def write_sides(run: Path, size: tuple[int, int]) -> Path:
    """Write a run folder whose network knows the side by the place, as one trained with flips.

    Dark is lung, as for `write_network`. In the left half of the picture it is the right lung, in
    the other half the left lung.
    """
    write_network(run, size)
    shape = ["slices", *size]
    height, width = size
    half = [float(column < width / 2) for _ in range(height) for column in range(width)]
    other = [1 - value for value in half]
    nodes = [
        helper.make_node("Div", ["grey", "white"], ["background"]),
        helper.make_node("Sub", ["one", "background"], ["lung"]),
        helper.make_node("Mul", ["lung", "right half"], ["left lung"]),
        helper.make_node("Mul", ["lung", "left half"], ["right lung"]),
        helper.make_node("Concat", ["background", "left lung", "right lung"], ["classes"], axis=3),
    ]
    graph = helper.make_graph(
        nodes,
        "sides by place",
        [helper.make_tensor_value_info("grey", TensorProto.FLOAT, [*shape, 1])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [*shape, 3])],
        [
            helper.make_tensor("white", TensorProto.FLOAT, [1], [255.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("left half", TensorProto.FLOAT, [1, height, width, 1], half),
            helper.make_tensor("right half", TensorProto.FLOAT, [1, height, width, 1], other),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, run / "model.onnx")
    description = read_json(run / "model.json")
    names = ("background", "left lung", "right lung")
    description["rgb_map"] = {name: [i, i, i] for i, name in enumerate(names)}
    write_json(run / "model.json", description)
    return run


def write_classes(run: Path, size: tuple[int, int], greys: Mapping[str, int]) -> Path:
    """Write a run folder whose network gives each pixel the class whose grey is nearest.

    Args:
        run: the folder to make.
        size: height and width of the slices it takes.
        greys: the grey of each class by its name, background first.
    """
    write_network(run, size)
    shape = ["slices", *size]
    # The softmax of 2 g c - c^2, which is highest for the nearest c.
    nodes = [
        helper.make_node("Mul", ["grey", "slope"], ["product"]),
        helper.make_node("Add", ["product", "offset"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["classes"], axis=3),
    ]
    values = [float(grey) for grey in greys.values()]
    count = len(values)
    graph = helper.make_graph(
        nodes,
        "nearest grey",
        [helper.make_tensor_value_info("grey", TensorProto.FLOAT, [*shape, 1])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [*shape, count])],
        [
            helper.make_tensor("slope", TensorProto.FLOAT, [count], [2 * v for v in values]),
            helper.make_tensor("offset", TensorProto.FLOAT, [count], [-v * v for v in values]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, run / "model.onnx")
    description = read_json(run / "model.json")
    description["rgb_map"] = {name: [i, i, i] for i, name in enumerate(greys)}
    write_json(run / "model.json", description)
    return run


def write_run(run: Path, side: int) -> None:
    """Write such a network with the config and the list of slices that training leaves."""
    write_network(run, (side, side))
    (run / "config.yaml").write_text(dump_config(check_config(tiny(), "tiny")))
    write_data_list(run / "data.csv", {})
