"""The original system's INI config (`train_eval_infer.config`) in terms of our schema.

Values are read as Python literals and never evaluated as code.
"""

from __future__ import annotations

import ast
import configparser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lungseg.errors import UsageError

NETWORKS = {"TensorFlowFlexUNet": "flexunet", "TensorflowFlexUNet": "flexunet"}
LOSSES = {
    "categorical_crossentropy": "categorical_crossentropy",
    "dice_loss": "dice",
    "bce_dice_loss": "bce_dice",
    "iou_loss": "iou",
    "bce_iou_loss": "bce_iou",
    "ssim_loss": "ssim",
    "basnet_hybrid_loss": "basnet_hybrid",
}
METRICS = {"dice_coef_multiclass", "sensitivity", "specificity"}


def _same(value: Any) -> Any:
    return value


def _dataset_of(folder: str) -> str:
    """`dataset/Lung/train/images/` names the data set `dataset/Lung`."""
    return str(Path(folder).parent.parent)


def _colours_of(rgb_map: dict[Any, Any]) -> dict[str, list[int]]:
    """Turn `{colour: index}` into the colour of each class, in the order of the indices."""
    ordered = sorted(rgb_map.items(), key=lambda item: item[1])
    names = _class_names(len(ordered))
    return {name: list(colour) for name, (colour, _) in zip(names, ordered, strict=True)}


# (section, key) there -> (dotted key here, how the value changes).
KEYS: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("model", "model"): ("model.name", lambda name: NETWORKS[name]),
    ("model", "image_channels"): ("data.channels", _same),
    ("model", "input_normalize"): ("model.input_normalize", bool),
    ("model", "normalization"): ("model.normalization", bool),
    ("model", "activation"): ("model.activation", lambda name: name.lower()),
    ("model", "base_filters"): ("model.base_filters", _same),
    ("model", "base_kernels"): ("model.base_kernels", list),
    ("model", "num_layers"): ("model.num_layers", _same),
    ("model", "dropout_rate"): ("model.dropout_rate", _same),
    ("model", "dilation"): ("model.dilation", list),
    ("model", "optimizer"): ("train.optimizer", lambda name: name.lower()),
    ("model", "learning_rate"): ("train.learning_rate", _same),
    ("model", "clipvalue"): ("train.clipvalue", _same),
    ("model", "loss"): ("train.loss", lambda name: LOSSES[name]),
    ("model", "metrics"): (
        "train.metrics",
        lambda names: [*(n for n in names if n in METRICS), "lung_dice"],
    ),
    ("train", "epochs"): ("train.epochs", _same),
    ("train", "batch_size"): ("train.batch_size", _same),
    ("train", "patience"): ("train.patience", _same),
    ("train", "num_infer_images"): ("train.epoch_change_images", _same),
    ("train", "images_dir"): ("data.dataset", _dataset_of),
    ("infer", "images_dir"): ("train.mini_test", _same),
    ("mask", "rgb_map"): ("data.rgb_map", _colours_of),
}
# Keys that need no entry above: they are read with another key, or they hold for every run here.
UNDERSTOOD = {
    ("model", "image_width"), ("model", "image_height"), ("model", "num_classes"),
    ("train", "learning_rate_reducer"), ("train", "reducer_factor"), ("train", "reducer_patience"),
    ("train", "epoch_change_infer"),
}  # fmt: skip


def convert_ini(text: str, origin: str) -> tuple[dict[str, Any], list[str]]:
    """Convert the text of an INI config.

    Args:
        text: content of the file.
        origin: name of the file, for an error.

    Returns:
        Plain data for our schema, and one line per key that was not carried over.

    Raises:
        UsageError: if it is no INI file.
    """
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    try:
        parser.read_string(text)
    except configparser.Error as problem:
        reason = str(problem).splitlines()[0]
        raise UsageError(f"{origin}: this is not a usable INI file: {reason}") from None
    given = {
        (section, key): _literal(value)
        for section in parser.sections()
        for key, value in parser.items(section)
    }
    data: dict[str, Any] = {}
    lost = []
    for (section, key), value in given.items():
        if (section, key) in UNDERSTOOD:
            continue
        if (section, key) not in KEYS:
            lost.append(f"[{section}] {key} = {value!r}")
            continue
        target, change = KEYS[section, key]
        try:
            _put(data, target, change(value))
        except (KeyError, TypeError, ValueError, AttributeError):
            lost.append(f"[{section}] {key} = {value!r}: has no counterpart")
    if ("model", "image_height") in given and ("model", "image_width") in given:
        size = [given["model", "image_height"], given["model", "image_width"]]
        _put(data, "data.image_size", size)
    if given.get(("train", "learning_rate_reducer")):
        reducer = {
            name: given["train", f"reducer_{name}"]
            for name in ("factor", "patience")
            if ("train", f"reducer_{name}") in given
        }
        _put(data, "train.reducer", reducer)
    if given.get(("train", "epoch_change_infer")) is False:
        _put(data, "train.epoch_change_images", 0)
    # What the original always does.
    _put(data, "train.samples_per_epoch", 0)
    _put(data, "train.schedule", "constant")
    _put(data, "train.monitor", "val_loss")
    data["augment"] = {"online": {}}
    return data, lost


def _class_names(count: int) -> list[str]:
    return ["background", "lung"] if count == 2 else [f"class_{i}" for i in range(count)]


def _literal(text: str) -> Any:
    """Read a Python literal; any other text stays text."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.strip()


def _put(data: dict[str, Any], dotted: str, value: Any) -> None:
    section, key = dotted.split(".")
    data.setdefault(section, {})[key] = value
