"""ONNX and Keras files that are damaged, of another network, or an attack."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

from tests.bad_inputs.kinds import DATA, kind, model
from tests.bad_inputs.samples import png


def beside_model(folder: Path, content: bytes) -> None:
    """Write `model.onnx`, the good model's description, and a good image."""
    (folder / "model.onnx").write_bytes(content)
    shutil.copyfile(folder.parent / "run" / "model.json", folder / "model.json")
    (folder / "good.png").write_bytes(png())


def good_model(folder: Path) -> bytes:
    """Return the good model's bytes."""
    return (folder.parent / "run" / "model.onnx").read_bytes()


class Payload:
    """What an unpickler would run: it leaves a file called `attacked`."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Say what to call."""
        return os.mkdir, ("attacked",)


@model()
def onnx_empty(folder: Path) -> None:
    """An ONNX file of zero bytes."""
    beside_model(folder, b"")


@model()
def onnx_cut_short(folder: Path) -> None:
    """An ONNX file cut in half."""
    content = good_model(folder)
    beside_model(folder, content[: len(content) // 2])


@model()
def onnx_is_text(folder: Path) -> None:
    """A text file named as ONNX."""
    beside_model(folder, b"not a network\n")


@model()
def onnx_is_pickle(folder: Path) -> None:
    """A pickle that runs code, named as ONNX."""
    beside_model(folder, pickle.dumps(Payload()))


def _one_node(operator: str, external: str = "") -> bytes:
    """Return an ONNX network of one node on inputs of 8 x 8, perhaps with weights in a file."""
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 8, 8, 1])
    found = helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 8, 8, 2])
    weight = helper.make_tensor("weight", TensorProto.FLOAT, [1], [1.0])
    if external:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", external), ("offset", "0"), ("length", "4")):
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
    node = helper.make_node(operator, ["image", "weight"], ["classes"])
    graph = helper.make_graph([node], "graph", [given], [found], [weight])
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


@model()
def onnx_of_another_network(folder: Path) -> None:
    """A network for slices of another size than model.json says."""
    beside_model(folder, _one_node("Mul"))


@model()
def onnx_unknown_operator(folder: Path) -> None:
    """A network with an operator that does not exist."""
    beside_model(folder, _one_node("Explode"))


@model()
def onnx_that_reads_elsewhere(folder: Path) -> None:
    """A network that names a system file as its weights."""
    beside_model(folder, _one_node("Mul", "../../../../../../etc/hostname"))


@model("model.json")
def description_missing(folder: Path) -> None:
    """An ONNX file without model.json."""
    beside_model(folder, good_model(folder))
    (folder / "model.json").unlink()


@model("model.json")
def description_cut_short(folder: Path) -> None:
    """A model.json cut in half."""
    beside_model(folder, good_model(folder))
    content = (folder / "model.json").read_text()
    (folder / "model.json").write_text(content[: len(content) // 2])


@model("model.json")
def description_nested(folder: Path) -> None:
    """A model.json nested 100,000 deep."""
    beside_model(folder, good_model(folder))
    (folder / "model.json").write_text("[" * 100_000)


@model("model.json")
def description_of_something_else(folder: Path) -> None:
    """A model.json with other keys."""
    beside_model(folder, good_model(folder))
    (folder / "model.json").write_text(json.dumps({"input": [1, 2], "rgb_map": "blue"}))


def _run_folder(folder: Path) -> Path:
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text("seed: 1\n")
    return folder / "run" / "model.keras"


@kind("export", "--run", "run", exit_code=DATA, says="model.keras")
def keras_with_code(folder: Path) -> None:
    """A Keras file with a Lambda layer, code inside."""
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}
    layer: dict[str, object] = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "attack", "function": code},
        "registered_name": None,
        "name": "attack",
        "inbound_nodes": [],
    }
    document = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [layer]},
    }
    with zipfile.ZipFile(_run_folder(folder), "w") as archive:
        archive.writestr("config.json", json.dumps(document))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.12.0"}))
        archive.writestr("model.weights.h5", b"")


@kind("export", "--run", "run", exit_code=DATA, says="model.keras")
def keras_is_pickle(folder: Path) -> None:
    """A pickle that runs code, named as Keras file."""
    _run_folder(folder).write_bytes(pickle.dumps(Payload()))
