"""Copy a finished run to the folder of a package, with its weights in 16 bits.

The copy is a run folder: `infer`, `evaluate` and `train --from` read it. Both files of weights,
`model.onnx` and `model.keras`, hold the same weights rounded to float16, and compute in float32.
Paths of the machine it was trained on are left out.

Example:
    python -m scripts.maintain.ship_model runs/final lungseg/shipped
"""

from __future__ import annotations

import contextlib
import os
import sys
import zipfile
from collections.abc import Iterator
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
    with _apart():
        export_onnx(model, config, folder)
    _halve(folder / "model.onnx")


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


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Let tf2onnx leave normalisation apart from the convolution before it.

    Otherwise it multiplies their weights, and the products, rounded to 16 bits, are not the product
    of the weights that Keras has. Probabilities then differed by 0.001, and masks at their edges.
    ONNX Runtime multiplies them when it loads the file.
    """
    from tf2onnx import optimizer

    steps = optimizer._optimizers
    name = "remove_back_to_back"
    kept = steps[name]
    del steps[name]
    try:
        yield
    finally:
        steps[name] = kept


def _rounded(weights: np.ndarray) -> np.ndarray:
    return weights.astype(np.float16).astype(np.float32) if weights.size >= SMALLEST else weights


def _compress(path: Path) -> None:
    """Write a Keras file again, compressed; numbers rounded to 16 bits need half of the space."""
    with zipfile.ZipFile(path) as archive:
        contents = {each.filename: archive.read(each) for each in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def _halve(path: Path) -> None:
    """Store the large arrays of an ONNX file in 16 bits, with a cast to 32 bits behind each."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    network = onnx.load(path)
    graph = network.graph
    casts = []
    for weights in graph.initializer:
        array = numpy_helper.to_array(weights)
        if weights.data_type != TensorProto.FLOAT or array.size < SMALLEST:
            continue
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [weights.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(network)
    onnx.save(network, path)


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))
