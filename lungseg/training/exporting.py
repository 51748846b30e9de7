"""Export a trained network to a file for inference and compare the file with Keras.

`evaluate` and `infer` need the ONNX file and the `model.json` beside it, nothing else.
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
from lungseg.system.files import put_in_place
from lungseg.system.outputs import staged_output
from lungseg.system.privacy import private_import
from lungseg.system.run_files import EXPORTED_FILES, open_run
from lungseg.system.tables import read_json, write_json
from lungseg.training.backend import import_tensorflow, require_tensorflow

# The largest difference allowed between a probability of Keras and of the exported file is at least
# this.
TOLERANCE = 1e-4

# A score is a float32 and its rounding grows with its size, so two exact runtimes differ by a
# multiple of `largest score * 2**-23`. The multiple was 0.9 to 5.6 for FlexUNet, ResUNet and
# UNet 3+ with random weights, three seeds each; FlexUNet's scores were up to 386 there.
ROUNDINGS = 32

# Name of the file, or of the folder, in each format.
FILES = {"onnx": "model.onnx", "savedmodel": "saved_model", "litert": "model.tflite"}


def export_run(
    run: Path, format: str = "onnx", output: Path | None = None, *, overwrite: bool = False
) -> float:
    """Write the best model of a run as ONNX (with `model.json`), SavedModel or LiteRT.

    Args:
        run: a run folder with `model.keras` and `config.yaml`.
        format: a key of `FILES`.
        output: folder to write; by default the run.
        overwrite: replace an `output` that `export` wrote.

    Returns:
        The largest difference of a probability between Keras and the runtime of the format.

    Raises:
        UsageError: if the run or its model is missing, or the folder may not be written.
        DataError: if the model is damaged, or the exported file differs from Keras.
    """
    path = run / "model.keras"
    for needed in (path, run / "config.yaml"):
        if not needed.is_file():
            raise UsageError(f"{needed}: there is no such file; {run} is not a finished run.")
    require_tensorflow()  # before the run folder is changed
    if output is None:
        with open_run(run, EXPORTED_FILES):
            return export_best(run, format)
    with staged_output(output, "export", [run], overwrite=overwrite) as folder:
        return export_best(run, format, folder)


def export_best(run: Path, format: str = "onnx", output: Path | None = None) -> float:
    """Do the same in a folder that is locked already: the run's, or `output`."""
    folder = output or run
    import_tensorflow()
    console.note(f"writing {FILES[format]} ...")
    best = load_best(run)
    config = load_config(run / "config.yaml")
    if config.train.mixed_precision:
        # Float16 convolutions are for GPUs, but exported files also run on CPUs.
        from lungseg.training.compiling import build_in_float32

        best = build_in_float32(config, best.get_weights())
    if format != "onnx":
        return export(best, config, folder, format)
    if folder != run and (run / "model.json").exists():
        shutil.copyfile(run / "model.json", folder / "model.json")  # for what `export_onnx` keeps
    return export_onnx(best, config, folder)


def load_best(run: Path) -> Any:
    """Return the `keras.Model` that a run kept, not compiled. TensorFlow must be set up.

    Raises:
        DataError: if its `model.keras` is no usable model.
    """
    import keras

    path = run / "model.keras"
    try:
        # Safe mode refuses a model file with code inside instead of running the code.
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise DataError(path, f"this is not a usable Keras model: {reason}") from None


def export_onnx(model: Any, config: Config, folder: Path) -> float:
    """Write `model.onnx` and `model.json` to a run folder.

    Args:
        model: a built `keras.Model`.
        config: the config the model was trained with.
        folder: the run folder.

    Returns:
        The largest difference of a probability between Keras and ONNX Runtime on one batch.

    Raises:
        DataError: if they differ by more than `allowed_difference`. Nothing is written then.
    """
    path = folder / "model.json"
    known = read_json(path) if path.exists() else {}
    difference = export(model, config, folder, "onnx")
    kept = {key: known[key] for key in ("certainty",) if key in known}
    write_json(path, describe(model, config, difference) | kept)
    return difference


def export(model: Any, config: Config, folder: Path, format: str) -> float:
    """Write a model in one of the formats of `FILES` and compare it with Keras.

    Args:
        model: a built `keras.Model`.
        config: the config the model was trained with.
        folder: the run folder.
        format: `onnx`, `savedmodel` or `litert`.

    Returns:
        The largest difference of a probability between Keras and the runtime of the format.

    Raises:
        DataError: if they differ by more than `allowed_difference`. Nothing is written then.
    """
    shape = (2, *config.data.image_size, config.data.channels)
    rng = np.random.default_rng(config.seed)
    batch = rng.uniform(0, 255, shape).astype(np.float32)
    expected = np.asarray(model.predict(batch, batch_size=1, verbose=0))
    final = folder / FILES[format]
    # Always the same name, so that the next export removes what a killed one left here.
    staged = folder / ".partial.export"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    try:
        partial = staged / final.name
        _export_quietly(model, partial, format)
        predicted = np.concatenate([_predict(partial, format, image[None]) for image in batch])
        difference = float(np.abs(predicted - expected).max())
        if not difference <= TOLERANCE and not difference <= allowed_difference(model, batch):
            raise DataError(
                final,
                f"its runtime and Keras differ by {difference:.2e} on one batch, more than "
                "rounding explains; it was not kept. model.keras is complete.",
            )
        if final.is_dir():
            shutil.rmtree(final)
        put_in_place(partial, final)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return difference


def allowed_difference(model: Any, batch: NDArray[np.float32]) -> float:
    """Return the largest difference of a probability that rounding alone can cause.

    Args:
        model: a built `keras.Model`.
        batch: grey values 0..255, float32 `(B, H, W, channels)`.

    Returns:
        `TOLERANCE`, or more if the class scores that the softmax reads are large.
    """
    import keras

    softmax = model.layers[-1]
    if not isinstance(softmax, keras.layers.Softmax):  # models trained by 0.1
        return TOLERANCE
    scores = keras.Model(model.inputs, softmax.input).predict(batch, batch_size=1, verbose=0)
    return max(TOLERANCE, ROUNDINGS * float(np.abs(scores).max()) * 2**-23)


def _predict(path: Path, format: str, slices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Predict with the runtime of the format.

    Args:
        path: the exported file.
        format: a key of `FILES`.
        slices: grey values 0..255, float32 `(B, H, W, channels)`.

    Returns:
        Class probabilities, float32 `(B, H, W, num_classes)`.
    """
    if format == "onnx":
        with private_import("onnxruntime"):
            import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {session.get_inputs()[0].name: slices})[0])
    if format == "savedmodel":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))
        return np.asarray(loaded.serve(slices))
    interpreter = _litert_interpreter(path)
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(input_index, slices.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(input_index, slices)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(output_index))


def _litert_interpreter(path: Path) -> Any:
    """Open a LiteRT file with the package `ai_edge_litert` if it is installed, or TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter
    return Interpreter(model_path=str(path))


def describe(model: Any, config: Config, difference: float) -> dict[str, Any]:
    """Return the content of `model.json`: what inference needs to know about the model."""
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
            "square_pixels": config.data.square_pixels,
        },
        "output": "class probabilities, NHWC, in the order of rgb_map",
        "rgb_map": {name: list(colour) for name, colour in config.data.rgb_map.items()},
        "onnx_difference": difference,
    }


def _export_quietly(model: Any, path: Path, format: str) -> None:
    """Export without the messages of the converters: progress, warnings, notes on stdout."""
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    # By default, tf2onnx copies the whole graph with its weights before each of its optimisations.
    # For the 500 MB of the original network this took more than 24 GB.
    os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
    if format == "onnx":
        import tf2onnx

        # tf2onnx orders nodes by names from a counter that goes on from export to export, so the
        # file would depend on what the process exported before.
        tf2onnx.utils.INTERNAL_NAME = 1
        _teach_erfc()
    keras_format = {"onnx": "onnx", "savedmodel": "tf_saved_model", "litert": "litert"}[format]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        model.export(path, format=keras_format, verbose=False)
    if format == "onnx":
        _name_by_order(path)


def _teach_erfc() -> None:
    """Teach tf2onnx the function of TensorFlow's GELU that ONNX lacks: erfc(x) = 1 - erf(x)."""
    import tf2onnx
    from tf2onnx.handler import tf_op

    class Erfc:
        """Called by tf2onnx for each `Erfc` of a graph."""

        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            """Replace the node; ONNX has `Erf` from version 9 on."""
            kind = ctx.get_dtype(node.output[0])
            shape = ctx.get_shape(node.output[0])
            number = tf2onnx.utils.map_onnx_to_numpy_type(kind)
            one = ctx.make_const(tf2onnx.utils.make_name("one"), np.array(1, number))
            erf = ctx.make_node("Erf", node.input, dtypes=[kind], shapes=[shape])
            ctx.remove_node(node.name)
            ctx.make_node(
                "Sub",
                [one.output[0], erf.output[0]],
                name=node.name,
                outputs=node.output,
                dtypes=[kind],
                shapes=[shape],
            )

    tf_op("Erfc")(Erfc)


def _name_by_order(path: Path) -> None:
    """Rename nodes, weights and values in the order of their use.

    With that, the same network always gives the same file. tf2onnx takes names from a counter,
    names a constant after any one of the layers that share it, and writes the constants in
    arbitrary order.
    """
    import onnx

    network = onnx.load(path)
    graph = network.graph
    graph.ClearField("doc_string")
    graph.ClearField("value_info")  # shapes of inner values, which ONNX Runtime infers itself
    # "" means that an optional input is absent.
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
