"""A run folder with a network made by hand, for tests that need no training."""

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from lungseg.config.loading import check_config, dump_config
from lungseg.training.run_folder import write_data_list
from tests.support.phantoms import tiny


def write_run(run: Path, side: int) -> None:
    """Write a run as training leaves it: a network that takes dark pixels for lung."""
    run.mkdir(parents=True)
    shape = ["slices", side, side]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["grey", "scale"], ["background"]),
            helper.make_node("Sub", ["one", "background"], ["lung"]),
            helper.make_node("Concat", ["background", "lung"], ["classes"], axis=3),
        ],
        "dark",
        [helper.make_tensor_value_info("grey", TensorProto.FLOAT, [*shape, 1])],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, [*shape, 2])],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [1], [1 / 255]),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), run / "model.onnx")
    description = {
        "input": {
            "size": [side, side],
            "channels": 1,
            "window": [-1000, 400],
            "unsigned_16bit": "full_range",
        },
        "rgb_map": {"background": [0, 0, 0], "lung": [255, 255, 255]},
    }
    (run / "model.json").write_text(json.dumps(description))
    (run / "config.yaml").write_text(dump_config(check_config(tiny(), "tiny")))
    write_data_list(run / "data.csv", {})
