"""The networks of the original system, and what the parameters of each mean here.

The original has eleven networks (TensorFlow-FlexUNet-Image-Segmentation-Model, antillia, 2025), and
each reads parameters of its own. Names of its older library (Tensorflow-Image-Segmentation-API) are
known, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# What follows `TensorFlowFlex`, `TensorflowFlex` or `Tensorflow` in the original's name -> ours.
NETWORKS = {
    "UNet": "flexunet",
    "AttentionUNet": "attention_unet",
    "DeepLabV3Plus": "deeplabv3plus",
    "EfficientNetB7UNet": "efficientunet",
    "EfficientUNet": "efficientunet",
    "MultiResUNet": "multiresunet",
    "SharpUNet": "sharp_unet",
    "SwinUNet": "swin_unet",
    "TransUNet": "transunet",
    "U2Net": "u2net",
    "UNet3Plus": "unet3plus",
}
PREFIX = re.compile(r"Tensor[Ff]low(SlightlyFlexible|Flex)?")

Value = Callable[[Any], Any]
# Key in the section `model` there -> (key here, how the value changes).
Keys = dict[str, tuple[str, Value]]


class NoCounterpartError(ValueError):
    """A value that cannot be carried over; the message says why."""


def same(value: Any) -> Any:
    """Return a value as it is."""
    return value


def _only(*allowed: Any, why: str) -> Value:
    """Accept what holds here for every run, so that there is no key for it."""

    def check(value: Any) -> None:
        if value not in allowed:
            raise NoCounterpartError(why)

    return check


def _lower(name: str) -> str:
    return name.lower()


def _first_of_doubled(filters: list[int]) -> int:
    if list(filters) != [filters[0] * 2**i for i in range(len(filters))]:
        raise NoCounterpartError("the filters of a level are twice those of the level above")
    return int(filters[0])


def _first(values: Any) -> int:
    return int(values[0]) if isinstance(values, list | tuple) else int(values)


def _square(sides: tuple[int, int]) -> int:
    if sides[0] != sides[1]:
        raise NoCounterpartError("a patch is square")
    return int(sides[0])


def _kernel(kernel: tuple[int, int]) -> None:
    if tuple(kernel) != (3, 3):
        raise NoCounterpartError("kernels are 3 x 3")


def _variant(name: str) -> str:
    if name not in ("B0", "B1", "B2", "B3"):
        raise NoCounterpartError(
            "an EfficientNet of the first version; model.variant has B0 to B3, S, M and L"
        )
    return name


SEED = ("", same)  # the seed of the config covers all of them
FROM_SCRATCH = "the weights start at random, and all are trained"
UNUSED = ("", _only(None, why="the encoder is that of a U-Net"))
STACK = ("", _only(2, why="a level has two convolutions"))
FILTERS: Keys = {"base_filters": ("base_filters", same), "num_layers": ("num_layers", same)}
DROPOUT: Keys = {"dropout_rate": ("dropout_rate", same)}
# The classes of the original's one-class masks are two here, so a softmax says the same.
FINAL: Keys = {"final_activation": ("", _only("sigmoid", "softmax", why="softmax comes last"))}

# Parameters of each network. The key "" means: it holds for every run, so no key is written.
PARAMETERS: dict[str, Keys] = {
    "UNet": {
        **FILTERS,
        **DROPOUT,
        **FINAL,
        "input_normalize": ("input_normalize", bool),
        "normalization": ("normalization", bool),
        "activation": ("activation", _lower),
        "base_kernels": ("base_kernels", list),
        "dilation": ("dilation", list),
        "dropout_seed_fixing": SEED,
    },
    "AttentionUNet": {**FILTERS, **DROPOUT},
    "DeepLabV3Plus": {},
    "EfficientNetB7UNet": {},
    "EfficientUNet": {"efficientnet": ("variant", _variant)},
    "MultiResUNet": FILTERS,
    "SharpUNet": {
        "filters": ("base_filters", _first_of_doubled),
        "max_filter": ("", same),
        "base_ksize": ("", _kernel),
        "dilation": ("", _only((1, 1), [1, 1], why="convolutions are not dilated")),
    },
    "SwinUNet": {
        "filter_num_begin": ("base_filters", same),
        "depth": ("num_layers", same),
        "stack_num_down": ("blocks", same),
        "stack_num_up": ("", same),
        "patch_size": ("patch_size", _square),
        "num_heads": ("heads", _first),
        "window_size": ("window", _first),
        "num_mlp": ("", same),
        "shift_window": ("", _only(True, why="every second block shifts its windows")),
    },
    "TransUNet": {
        "filter_num": ("base_filters", _first_of_doubled),
        "embed_dim": ("embedding", same),
        "num_heads": ("heads", same),
        "num_transformer": ("transformer_layers", same),
        "num_mlp": ("", same),
        "activation": ("activation", _lower),
        "stack_num_down": STACK,
        "stack_num_up": STACK,
        "mlp_activation": ("", _only("GELU", why="the transformer's activation is GELU")),
        "batch_norm": ("", _only(True, why="convolutions are normalised")),
        "pool": ("", _only(True, "max", why="levels are halved by their maximum")),
        "backbone": UNUSED,
        "weights": ("", same),
        "freeze_backbone": ("", same),
        "freeze_batch_norm": ("", same),
    },
    "U2Net": {
        "base_filters": ("base_filters", same),
        # The original puts two dilated stages below its levels.
        "num_layers": ("num_layers", lambda levels: levels + 2),
    },
    "UNet3Plus": DROPOUT,
}

# What the original takes for a parameter that its config lacks, where ours differs.
LEVELS = {"base_filters": 16, "num_layers": 6}
DEFAULTS: dict[str, dict[str, Any]] = {
    "AttentionUNet": LEVELS,
    "MultiResUNet": LEVELS,
    "SharpUNet": {"filters": [32, 64, 128, 256]},
    "SwinUNet": {"filter_num_begin": 128, "num_heads": [4, 8, 16, 32], "num_mlp": 512},
    "TransUNet": {
        "filter_num": [64, 128, 256, 512],
        "embed_dim": 768,
        "num_heads": 12,
        "num_mlp": 3072,
        "num_transformer": 12,
    },
    "U2Net": LEVELS,
}


def kind_of(name: Any) -> str:
    """Return which of the original's networks a name means, as a key of `NETWORKS`.

    Raises:
        NoCounterpartError: if it is none of the eleven.
    """
    found = PREFIX.match(str(name))
    kind = str(name)[found.end() :] if found else ""
    if kind not in NETWORKS:
        raise NoCounterpartError("none of the original's eleven networks")
    return kind


def convert_network(kind: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Convert the parameters that a network of the original reads.

    Args:
        kind: a key of `NETWORKS`.
        given: section `model`, values read.

    Returns:
        Section `model` here, and the reason for each parameter that was not carried over.
    """
    given = DEFAULTS.get(kind, {}) | dict(given)
    model: dict[str, Any] = {"name": NETWORKS[kind]}
    lost: dict[str, str] = {}
    for key, (target, change) in PARAMETERS[kind].items():
        if key not in given:
            continue
        try:
            value = change(given[key])
        except NoCounterpartError as problem:
            lost[key] = str(problem)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            lost[key] = "has no counterpart"
        else:
            if target:
                model[target] = value
    _convert_together(kind, given, model, lost)
    return model, lost


def _convert_together(
    kind: str, given: Mapping[str, Any], model: dict[str, Any], lost: dict[str, str]
) -> None:
    """Convert what depends on several parameters, or on none."""
    if kind == "EfficientNetB7UNet":
        # 66 million parameters (Tan and Le, 2019); EfficientNetV2-M has 54 and L 120.
        model["variant"] = "M"
        lost["model"] = "EfficientNet-B7 became EfficientNetV2-M, the nearest of its size"
    if kind == "U2Net" and "base_filters" in model and "num_layers" in model:
        model["max_filters"] = model["base_filters"] * 2 ** (model["num_layers"] - 3)
    filters = given.get({"SharpUNet": "filters", "TransUNet": "filter_num"}.get(kind, ""))
    if filters is not None and "base_filters" in model:
        # SharpUNet's bridge is a level of its own.
        model["num_layers"] = len(filters) + (kind == "SharpUNet")
        if kind == "SharpUNet" and given.get("max_filter", 512) != 2 * filters[-1]:
            lost["max_filter"] = "the bridge has twice the filters of the level above"
    if kind in ("SwinUNet", "TransUNet") and "num_mlp" in given:
        width = model.get("base_filters" if kind == "SwinUNet" else "embedding", 0)
        if not isinstance(width, int) or width < 1 or given["num_mlp"] % width:
            lost["num_mlp"] = "the hidden layer is a multiple of the filters (model.mlp_ratio)"
        else:
            model["mlp_ratio"] = given["num_mlp"] // width
    if kind == "SwinUNet":
        if given.get("stack_num_up", 2) != given.get("stack_num_down", 2):
            lost["stack_num_up"] = "levels on the way up have as many blocks as those down"
        for key, ours, factor, rule in (
            ("num_heads", "heads", 2, "the heads double at each level"),
            ("window_size", "window", 1, "all levels have the same window"),
        ):
            values, first = given.get(key), model.get(ours)
            if isinstance(values, list) and values != [
                (first or 0) * factor**i for i in range(len(values))
            ]:
                lost[key] = f"{rule}; the first value was taken"
