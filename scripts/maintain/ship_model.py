"""Copy a finished run to the folder of a package, with its weights in 16 bits.

The copy is a run folder: `infer`, `evaluate` and `train --from` read it. Both files of weights,
`model.onnx` and `model.keras`, hold the same weights rounded to float16, and compute in float32.
Paths of the machine it was trained on are left out.

Example:
    python -m scripts.maintain.ship_model runs/final lungseg/shipped
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from lungseg.config.loading import dump_config, load_config
from lungseg.config.schema import Config
from lungseg.system.files import write_text
from lungseg.system.tables import read_json, write_json
from lungseg.training.backend import import_tensorflow
from lungseg.training.exporting import export_onnx, load_best

# Smaller arrays, such as biases, stay in 32 bits.
SMALLEST = 1000
COPIED = ("data.csv", "history.csv")
# What `run.json` says of the machine it was made on beyond its hardware.
LEFT_OUT = ("command",)
_PLACE = object()  # stands for a path to leave out


def ship(run: Path, folder: Path) -> None:
    """Write the copy of a run.

    Args:
        run: a finished run.
        folder: a new folder, or one that this function wrote.
    """
    import_tensorflow()
    folder.mkdir(parents=True, exist_ok=True)
    config = without_places(load_config(run / "config.yaml"))
    write_text(folder / "config.yaml", dump_config(config))
    for name in COPIED:
        (folder / name).write_bytes((run / name).read_bytes())
    record = read_json(run / "run.json")
    write_json(folder / "run.json", {k: v for k, v in record.items() if k not in LEFT_OUT})
    known = read_json(run / "model.json")
    write_json(folder / "model.json", known)  # `export_onnx` keeps what is usual for the network
    model = load_best(run)
    model.set_weights([_rounded(weights) for weights in model.get_weights()])
    model.save(folder / "model.keras")
    _compress(folder / "model.keras")
    export_onnx(model, config, folder)
    kernels = [each.transpose(3, 2, 0, 1) for each in model.get_weights() if each.ndim == 4]
    _halve(folder / "model.onnx", kernels)


def without_places(config: Config) -> Config:
    """Return a config without absolute paths: the defaults take their place."""

    def relative(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: relative(below) for key, below in value.items()}
            return {key: below for key, below in kept.items() if below is not _PLACE}
        if isinstance(value, list):
            return [each for each in map(relative, value) if each is not _PLACE]
        return _PLACE if isinstance(value, Path) and value.is_absolute() else value

    return Config.model_validate(relative(config.model_dump()))


def _rounded(weights: np.ndarray) -> np.ndarray:
    return weights.astype(np.float16).astype(np.float32) if weights.size >= SMALLEST else weights


def _compress(path: Path) -> None:
    """Write a Keras file again, compressed; numbers rounded to 16 bits need half of the space."""
    with zipfile.ZipFile(path) as archive:
        contents = {each.filename: archive.read(each) for each in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def _halve(path: Path, kernels: Sequence[np.ndarray]) -> None:
    """Store the large arrays of an ONNX file in 16 bits, with a cast to 32 bits behind each.

    In the file, kernels are multiplied by the scales of the normalisation that follows them. These
    products have more digits than 16 bits hold. So the kernel that Keras has is stored, and a
    multiplication, which ONNX Runtime does once, when it loads the file.

    Args:
        path: the file.
        kernels: those of the Keras model, `(outputs, inputs, height, width)`, rounded.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    network = onnx.load(path)
    graph = network.graph
    nodes = []
    for weights in list(graph.initializer):
        array = numpy_helper.to_array(weights)
        if weights.data_type != TensorProto.FLOAT or array.size < SMALLEST:
            continue
        name = weights.name
        stored, scale = _factors(array, kernels)
        weights.CopyFrom(numpy_helper.from_array(stored.astype(np.float16), f"{name}_half"))
        whole = name if scale is None else f"{name}_kernel"
        nodes.append(helper.make_node("Cast", [weights.name], [whole], to=TensorProto.FLOAT))
        if scale is not None:
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
            nodes.append(helper.make_node("Mul", [whole, f"{name}_scale"], [name]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(network)
    onnx.save(network, path)


def _factors(
    array: np.ndarray, kernels: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the kernel of which an array is a multiple, and the factor of each output.

    If there is none, it is the array itself, and None.
    """
    for kernel in kernels:
        if kernel.shape == array.shape:
            size = (kernel**2).sum(axis=(1, 2, 3), keepdims=True)
            scale = (kernel * array).sum(axis=(1, 2, 3), keepdims=True) / np.maximum(size, 1e-30)
            if np.allclose(kernel * scale, array, rtol=1e-4, atol=1e-5 * np.abs(array).max()):
                return kernel, scale.astype(np.float32)
    return array, None


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))
