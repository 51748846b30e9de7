"""The networks, by the name a config gives them. Built with `keras` alone."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lungseg.config.schema import Config

# Name in the config -> module with `build(config, input_shape, num_classes)`.
NETWORKS = {
    name: f"lungseg.models.{name}"
    for name in (
        "resunet",
        "flexunet",
        "attention_unet",
        "unet3plus",
        "multiresunet",
        "deeplabv3plus",
        "efficientunet",
    )
}


def build_model(config: Config) -> Any:
    """Build the network of a config.

    Returns:
        An uncompiled `keras.Model` from grey values 0..255, float32 `(B, H, W, channels)`, to class
        probabilities, float32 `(B, H, W, num_classes)`.
    """
    module = import_module(NETWORKS[config.model.name])
    input_shape = (*config.data.image_size, config.data.channels)
    return module.build(config.model, input_shape, config.num_classes)
