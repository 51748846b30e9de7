"""`lungseg export`: a trained network as a file for inference, checked against Keras.

The ONNX file and `model.json` beside it are all that `evaluate` and `infer` need.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.config import Config
from lungseg.errors import DataError
from lungseg.files import write_json

# Probabilities of Keras and of the exported file may differ by this much at the most.
TOLERANCE = 1e-4


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
    import onnxruntime

    shape = (2, *config.data.image_size, config.data.channels)
    rng = np.random.default_rng(config.seed)
    batch = rng.uniform(0, 255, shape).astype(np.float32)
    expected = np.asarray(model.predict(batch, batch_size=1, verbose=0))
    partial = folder / ".partial.model.onnx"
    try:
        _export_quietly(model, partial)
        session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        found = np.concatenate([session.run(None, {name: one[None]})[0] for one in batch])
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise DataError(
                f"{folder / 'model.onnx'}: ONNX Runtime and Keras differ by {difference:.2e} on "
                f"one batch, more than {TOLERANCE:.0e}; it was not kept. model.keras is whole."
            )
        partial.replace(folder / "model.onnx")
    finally:
        partial.unlink(missing_ok=True)
    write_json(folder / "model.json", describe(model, config, difference))
    return difference


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


def _export_quietly(model: Any, path: Path) -> None:
    """Export without the converter's chatter: progress, deprecations, notes on stdout."""
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        model.export(path, format="onnx", verbose=False)
