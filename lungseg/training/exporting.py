"""`lungseg export`: a trained network as a file for inference, checked against Keras.

The ONNX file and `model.json` beside it are all that `evaluate` and `infer` need.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.loading import load_config
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.system import console
from lungseg.system.tables import write_json
from lungseg.training.backend import import_tensorflow

# Probabilities of Keras and of the exported file may differ by this much at the most.
TOLERANCE = 1e-4


FILES = {"onnx": "model.onnx", "savedmodel": "saved_model", "litert": "model.tflite"}


def export_onnx(model: Any, config: Config, folder: Path) -> float:
    """Write `model.onnx` and `model.json` to a run folder.

    Args:
        model: a built `keras.Model`.
        config: says what the model was trained on.
        folder: the run folder.

    Returns:
        The largest difference of a probability between Keras and ONNX Runtime on one batch.

    Raises:
        DataError: where they differ by more than `TOLERANCE`; nothing is written then.
    """
    difference = export(model, config, folder, "onnx")
    write_json(folder / "model.json", describe(model, config, difference))
    return difference


def export(model: Any, config: Config, folder: Path, format: str) -> float:
    """Write a model in one of the formats of `FILES`, and compare it with Keras.

    Args:
        model: a built `keras.Model`.
        config: says what the model was trained on.
        folder: the run folder.
        format: `onnx`, `savedmodel` or `litert`.

    Returns:
        The largest difference of a probability between Keras and the file's own runtime.

    Raises:
        DataError: where they differ by more than `TOLERANCE`; nothing is written then.
    """
    shape = (2, *config.data.image_size, config.data.channels)
    rng = np.random.default_rng(config.seed)
    batch = rng.uniform(0, 255, shape).astype(np.float32)
    expected = np.asarray(model.predict(batch, batch_size=1, verbose=0))
    final = folder / FILES[format]
    # One name, so that what a kill left here is found and removed.
    staged = folder / ".partial.export"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        partial = staged / final.name
        _export_quietly(model, partial, format)
        found = np.concatenate([_predict(partial, format, one[None]) for one in batch])
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise DataError(
                final,
                f"its runtime and Keras differ by {difference:.2e} on one batch, more "
                f"than {TOLERANCE:.0e}; it was not kept. model.keras is whole.",
            )
        if final.is_dir():
            shutil.rmtree(final)
        partial.replace(final)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return difference


def _predict(path: Path, format: str, slices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Predict as a user of the exported file would."""
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {session.get_inputs()[0].name: slices})[0])
    if format == "savedmodel":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))
        return np.asarray(loaded.serve(slices))
    interpreter = _litert_interpreter(path)
    given, found = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(given["index"], slices.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], slices)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(found["index"]))


def _litert_interpreter(path: Path) -> Any:
    """Open a LiteRT file with LiteRT's own package where it is, else with TensorFlow's copy."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter
    return Interpreter(model_path=str(path))


def describe(model: Any, config: Config, difference: float) -> dict[str, Any]:
    """Return what inference must know of a model: the content of `model.json`."""
    return {
        "format": 1,
        "network": config.model.name,
        "parameters": int(model.count_params()),
        "input": {
            "size": list(config.data.image_size),
            "channels": config.data.channels,
            "layout": "NHWC",
            "values": "grey 0..255 as float32",
            "window": list(config.data.window),
            "unsigned_16bit": config.data.unsigned_16bit,
        },
        "output": "class probabilities, NHWC, in the order of rgb_map",
        "rgb_map": {name: list(colour) for name, colour in config.data.rgb_map.items()},
        "onnx_difference": difference,
    }


def _export_quietly(model: Any, path: Path, format: str) -> None:
    """Export without the converters' chatter: progress, deprecations, notes on stdout."""
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    # Else tf2onnx copies the whole graph, weights included, before each of its optimisations: for
    # the original's 500 MB that took more than 24 GB.
    os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
    named = {"onnx": "onnx", "savedmodel": "tf_saved_model", "litert": "litert"}[format]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        model.export(path, format=named, verbose=False)
    if format == "onnx":
        _name_by_order(path)


def _name_by_order(path: Path) -> None:
    """Name nodes, weights and values by the order of their use: one network, one file.

    tf2onnx makes names up from a counter, names a constant after any one of the layers that share
    it, and writes the constants in any order.
    """
    import onnx

    network = onnx.load(path)
    graph = network.graph
    graph.ClearField("doc_string")
    graph.ClearField("value_info")  # shapes of values within, which ONNX Runtime works out itself
    # "" stands for an optional input that is not given.
    names = {"": ""} | {value.name: value.name for value in (*graph.input, *graph.output)}
    for count, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{count}"
        node.input[:] = [names.setdefault(name, f"value_{len(names)}") for name in node.input]
        node.output[:] = [names.setdefault(name, f"value_{len(names)}") for name in node.output]
    order = {name: place for place, name in enumerate(names)}
    graph.initializer.sort(key=lambda weights: order[weights.name])
    for weights in graph.initializer:
        weights.name = names[weights.name]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "slices"
    onnx.save(network, path)


def export_run(run: Path, format: str = "onnx") -> float:
    """Write a run's best model as ONNX (with `model.json`), SavedModel or LiteRT.

    Returns:
        The largest difference of a probability between Keras and the file's own runtime.

    Raises:
        UsageError: where the run or its model is missing.
        DataError: for a damaged model.
    """
    path = run / "model.keras"
    for needed in (path, run / "config.yaml"):
        if not needed.is_file():
            raise UsageError(f"{needed}: there is no such file; {run} is no finished run.")
    import_tensorflow()
    import keras

    pass

    console.note(f"writing {FILES[format]} ...")
    try:
        # Safe mode: a model file with code inside is refused, not run.
        best = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise DataError(path, f"this is not a usable Keras model: {reason}") from None
    config = load_config(run / "config.yaml")
    if config.train.mixed_precision:
        # What is deployed computes in float32: float16 convolutions are for GPUs.
        from lungseg.training.compiling import build_in_float32

        best = build_in_float32(config, best.get_weights())
    if format == "onnx":
        return export_onnx(best, config, run)
    return export(best, config, run, format)
