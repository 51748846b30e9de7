"""The networks, by the name that a config gives them.

Each module has a function `build(config, input_shape, num_classes)`, which uses `keras` alone:

Args:
    config: the parameters of the network, from `lungseg.config.networks`.
    input_shape: `(H, W, channels)`. Sides that are not a multiple of `config.side_multiple` are
        padded inside the network, and the result is cropped.
    num_classes: number of classes, the background included.

Returns:
    An uncompiled `keras.Model` from grey values 0..255, float32 `(B, H, W, channels)`, to class
    probabilities, float32 `(B, H, W, num_classes)`.

Except for FlexUNet, which is rebuilt as published, each network scales the grey values to -1..1,
normalises its features, and applies `dropout_rate` to the deepest ones.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lungseg.config.schema import Config

# Name in the config -> module.
NETWORKS = {
    name: f"lungseg.models.{name}"
    for name in (
        "resunet",
        "flexunet",
        "attention_unet",
        "unet3plus",
        "multiresunet",
        "sharp_unet",
        "u2net",
        "transunet",
        "swin_unet",
        "deeplabv3plus",
        "efficientunet",
    )
}


def build_model(config: Config) -> Any:
    """Build the network of a config; the module's docstring describes the result."""
    module = import_module(NETWORKS[config.model.name])
    input_shape = (*config.data.image_size, config.data.channels)
    return module.build(config.model, input_shape, config.num_classes)
