"""The original system's INI config (`train_eval_infer.config`) in terms of our schema.

Values are read as Python literals and never evaluated as code. The keys are those that the original
reads (TensorFlow-FlexUNet-Image-Segmentation-Model, antillia, 2025) and those in the configs of its
older library (Tensorflow-Image-Segmentation-API).
"""

from __future__ import annotations

import ast
import configparser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lungseg.config.original_augmentation import SECTIONS, SWITCHES, convert_augmentation
from lungseg.config.original_keys import HELD, WITHOUT
from lungseg.config.original_networks import (
    PARAMETERS,
    Keys,
    NoCounterpartError,
    convert_network,
    kind_of,
    same,
)
from lungseg.errors import UsageError

LOSSES = {
    "categorical_crossentropy": "categorical_crossentropy",
    # Of one class by a sigmoid, which is a softmax of two.
    "binary_crossentropy": "categorical_crossentropy",
    "dice_loss": "dice",
    "dice_loss_multiclass": "dice",
    "bce_dice_loss": "bce_dice",
    "iou_loss": "iou",
    "bce_iou_loss": "bce_iou",
    "ssim_loss": "ssim",
    "basnet_hybrid_loss": "basnet_hybrid",
}
METRICS = {
    "dice_coef_multiclass": "dice_coef_multiclass",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "binary_accuracy": "pixel_accuracy",
    "dice_coef": "lung_dice",
    "iou_coef": "lung_iou",
}
# Folders of the parts of the data set; the older library's names come second.
FOLDERS = {
    (section, key): (part, kind)
    for part, sections in (("train", ["train"]), ("valid", ["valid"]), ("test", ["test", "eval"]))
    for section in sections
    for kind, keys in (
        ("images", ("images_dir", "image_datapath")),
        ("masks", ("masks_dir", "mask_datapath")),
    )
    for key in keys
}
TILES = {"split_size": 512, "overlapping": 64}  # the original's defaults, in pixels
FILM = ("video_dir", "video_fileformat", "video_fps", "video_type")

Given = Mapping[tuple[str, str], Any]
Lost = dict[tuple[str, str], str]


def _colours_of(rgb_map: dict[Any, Any]) -> dict[str, list[int]]:
    """Turn `{colour: index}` into the colour of each class, in the order of the indices."""
    ordered = sorted(rgb_map.items(), key=lambda item: item[1])
    names = _class_names(len(ordered))
    return {name: list(colour) for name, (colour, _) in zip(names, ordered, strict=True)}


# (section, key) there -> (dotted key here, how the value changes).
KEYS: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("model", "image_channels"): ("data.channels", same),
    ("model", "optimizer"): ("train.optimizer", lambda name: name.lower()),
    ("model", "learning_rate"): ("train.learning_rate", same),
    ("model", "clipvalue"): ("train.clipvalue", same),
    ("model", "loss"): ("train.loss", lambda name: LOSSES[name]),
    ("train", "epochs"): ("train.epochs", same),
    ("train", "batch_size"): ("train.batch_size", same),
    ("train", "patience"): ("train.patience", same),
    ("train", "num_infer_images"): ("train.epoch_change_images", same),
    ("eval", "batch_size"): ("evaluate.batch_size", same),
    ("infer", "images_dir"): ("train.mini_test", same),
    ("infer", "merged_dir"): ("infer.overlay", bool),
    ("infer3d", "mask_overlay"): ("infer.overlay", bool),
    ("mask", "rgb_map"): ("data.rgb_map", _colours_of),
}


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
    given = _read(text, origin)
    data: dict[str, Any] = {}
    # The steps below take the keys they know; `lost` says why a value could not be carried over.
    lost: Lost = {}
    taken = set(HELD)
    for key, (target, change) in KEYS.items():
        if key in given:
            taken.add(key)
            try:
                _put(data, target, change(given[key]))
            except (KeyError, TypeError, ValueError, AttributeError):
                lost[key] = "has no counterpart"
    for step in (_network, _slices, _folders, _schedule, _metrics, _augmentation, _inference):
        taken |= step(given, data, lost)
    for key in given:
        if key not in taken and key not in lost:
            lost[key] = WITHOUT.get(key, "the original does not read it")
    # What the original always does.
    data.setdefault("train", {}).setdefault("samples_per_epoch", 0)
    _put(data, "train.schedule", "constant")
    _put(data, "train.monitor", "val_loss")
    return data, [
        f"[{section}] {key} = {given[section, key]!r}: {lost[section, key]}"
        for section, key in given
        if (section, key) in lost
    ]


def _read(text: str, origin: str) -> dict[tuple[str, str], Any]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    try:
        parser.read_string(text)
    except configparser.Error as problem:
        reason = str(problem).splitlines()[0]
        raise UsageError(f"{origin}: this is not a usable INI file: {reason}") from None
    return {
        (section, key): _literal(value)
        for section in parser.sections()
        for key, value in parser.items(section)
    }


def _network(given: Given, data: dict[str, Any], lost: Lost) -> set[tuple[str, str]]:
    """Carry over the network and its parameters; return the keys that this step takes."""
    section = {key: value for (where, key), value in given.items() if where == "model"}
    name = section.get("model")
    read: Keys = {}
    reason = "the network that reads it is not known"
    try:
        kind = kind_of(name)
    except NoCounterpartError as problem:
        lost["model", "model"] = str(problem)
    else:
        data["model"], unfit = convert_network(kind, section)
        lost |= {("model", key): why for key, why in unfit.items()}
        read, reason = PARAMETERS[kind], f"{name} does not read it"
    of_networks = {key for keys in PARAMETERS.values() for key in keys}
    lost |= {("model", key): reason for key in section if key in of_networks - set(read)}
    return {("model", key) for key in ("model", *read)}


def _slices(given: Given, data: dict[str, Any], lost: Lost) -> set[tuple[str, str]]:
    """Carry over the size of slices and the number of classes."""
    height, width, classes = (
        ("model", key) for key in ("image_height", "image_width", "num_classes")
    )
    if height in given and width in given:
        _put(data, "data.image_size", [given[height], given[width]])
    colours = data.get("data", {}).get("rgb_map")
    known = len(colours) if colours else 2
    # One class by a sigmoid is two here, the background included.
    if classes in given and given[classes] != known and (given[classes] != 1 or known != 2):
        lost[classes] = f"data.rgb_map has the colours of {known} classes"
    return {height, width, classes}


def _folders(given: Given, data: dict[str, Any], lost: Lost) -> set[tuple[str, str]]:
    """Carry over where the data set lies, if it is laid out as lungseg reads it."""
    roots = {}
    for key, (part, kind) in FOLDERS.items():
        if key not in given:
            continue
        folder = Path(str(given[key]))
        if folder.parts[-2:] == (part, kind):
            roots[key] = str(folder.parent.parent)
        else:
            lost[key] = f"the folder is read as {part}/{kind} of the data set (data.dataset)"
    for key in roots:
        root = data.setdefault("data", {}).setdefault("dataset", roots[key])
        if roots[key] != root:
            lost[key] = f"all parts lie in one data set, which is {root}"
    return set(FOLDERS)


def _schedule(given: Given, data: dict[str, Any], lost: Lost) -> set[tuple[str, str]]:
    """Carry over the reducer, the length of an epoch and the pictures after it."""
    if given.get(("train", "learning_rate_reducer")):
        reducer = {
            name: given["train", f"reducer_{name}"]
            for name in ("factor", "patience")
            if ("train", f"reducer_{name}") in given
        }
        _put(data, "train.reducer", reducer)
    if given.get(("train", "epoch_change_infer")) is False:
        _put(data, "train.epoch_change_images", 0)
    steps = given.get(("train", "steps_per_epoch"))
    # The original counts steps only if a generator makes the batches.
    if isinstance(steps, int) and given.get(("model", "generator")):
        batch = given.get(("train", "batch_size"), 4)
        if isinstance(batch, int):
            _put(data, "train.samples_per_epoch", steps * batch)
    names = ("learning_rate_reducer", "reducer_factor", "reducer_patience", "epoch_change_infer")
    return {("train", name) for name in (*names, "steps_per_epoch")}


def _metrics(given: Given, data: dict[str, Any], lost: Lost) -> set[tuple[str, str]]:
    """Carry over the metrics; lung Dice is always among them."""
    key = ("model", "metrics")
    names = given.get(key)
    if isinstance(names, list | tuple):
        known = [METRICS[name] for name in names if name in METRICS]
        _put(data, "train.metrics", list(dict.fromkeys([*known, "lung_dice"])))
        if unknown := [str(name) for name in names if name not in METRICS]:
            lost[key] = f"{', '.join(unknown)} is not computed here"
    elif key in given:
        lost[key] = "has no counterpart"
    return {key}


def _augmentation(given: Given, data: dict[str, Any], lost: Lost) -> set[tuple[str, str]]:
    """Carry over the online augmentation; without a generator the original has none."""
    switches = {("augmentor", name) for name in (*SWITCHES, *SECTIONS)}
    values = {(section, name) for section, names in SECTIONS.items() for name in names}
    values -= set(WITHOUT)
    online: dict[str, Any] = {}
    try:
        online = convert_augmentation(given)
    except (TypeError, ValueError, AttributeError):
        for key in given:
            if key in switches | values:
                lost[key] = "a value of the augmentation has no counterpart, so there is none"
    data["augment"] = {"online": online}
    return switches | values | {("generator", "augmentation"), ("model", "generator")}


def _inference(given: Given, data: dict[str, Any], lost: Lost) -> set[tuple[str, str]]:
    """Carry over tiles and films."""
    tiles = {("tiledinfer", key): given.get(("tiledinfer", key), TILES[key]) for key in TILES}
    if any(section == "tiledinfer" for section, _ in given):
        split, margin = tiles.values()
        if all(isinstance(size, int) for size in (split, margin)) and split > 0 and margin >= 0:
            # There, a margin is added on each side of a tile and cut off again.
            side = split + 2 * margin
            data.setdefault("infer", {}).update(
                tiles=True, tile_size=[side, side], tile_overlap=round(2 * margin / side, 6)
            )
        else:
            lost |= {key: "is no number of pixels" for key in tiles if key in given}
    films = {("infer3d", key) for key in FILM}
    if films & given.keys():
        suffix = given.get(("infer3d", "video_fileformat"), ".mp4")
        if suffix in (".mp4", ".gif"):
            rate = given.get(("infer3d", "video_fps"), 10)
            data.setdefault("infer", {}).update(video=True, video_format=suffix[1:], video_fps=rate)
        else:
            lost["infer3d", "video_fileformat"] = "a film is a .gif or an .mp4"
    if given.get(("infer3d", "video_type"), "overlays") != "overlays":
        lost["infer3d", "video_type"] = "a film shows the slices with outlines"
    return set(tiles) | (films - set(WITHOUT))


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
