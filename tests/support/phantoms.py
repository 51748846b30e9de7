"""Phantom slices, and a config for a network so small that it trains in seconds."""

from pathlib import Path
from typing import Any

from lungseg.phantom import dataset

SIDE = 64


def tiny(**train: Any) -> dict[str, Any]:
    """Return config data for slices of 64 pixels and a network of a few thousand weights."""
    return {
        "data": {"image_size": [SIDE, SIDE]},
        "split": {
            "fractions": [0.6, 0.2, 0.2],
            "group_regex": r"^(patient\d+)_",
            "patient_similarity": 0.9,  # phantoms resemble each other more than patients do
        },
        "augment": {"online": {"hflip": 0.5, "affine": {"p": 0.5}, "noise": {"p": 0.5}}},
        "model": {
            "name": "resunet",
            "base_filters": 4,
            "num_layers": 3,
            "max_filters": 16,
            "stem_stride": 1,
        },
        "train": {
            "epochs": 2,
            "samples_per_epoch": 0,
            "batch_size": 4,
            "learning_rate": 0.01,
            "warmup_epochs": 0,
            # So that the average differs from the last weights after a few steps already.
            "weight_average": 0.5,
            "epoch_change_images": 2,
            **train,
        },
    }


def write_phantoms(folder: Path, patients: int, slices: int, side: int = SIDE) -> None:
    dataset.write_phantoms(folder, patients, slices, side)
