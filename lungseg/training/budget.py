"""Fit a training into `train.time_budget`: plan its epochs from the measured speed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.errors import UsageError

# In shorter epochs, validation and checkpoints would take most of the time.
MIN_BATCHES = 8

# Per epoch, to write the checkpoint, pictures and tables.
EPOCH_OVERHEAD_S = 1.0

# At the end, to load and export the best model.
EXPORT_S = 20.0

# Plan with slightly less time than there is, because machines slow down.
SHARE_PLANNED = 0.93

# Predicting a slice takes about a third of the time that training on it takes.
VALIDATION_SHARE = 1 / 3


@dataclass(frozen=True)
class Plan:
    """How long to train.

    Attributes:
        epochs: number of epochs.
        samples_per_epoch: slices per epoch.
        seconds_per_slice: the measured training time that the plan is based on.
    """

    epochs: int
    samples_per_epoch: int
    seconds_per_slice: float

    def __str__(self) -> str:
        """Return a short description for messages."""
        return (
            f"{self.epochs} epochs of {self.samples_per_epoch} slices, "
            f"at {self.seconds_per_slice:.3g} s per slice"
        )

    def apply(self, config: Config) -> Config:
        """Return a copy of the config with the epochs and slices per epoch of this plan."""
        return with_overrides(
            config,
            {"train.epochs": self.epochs, "train.samples_per_epoch": self.samples_per_epoch},
        )


def plan(config: Config, seconds: float, seconds_per_slice: float, validation_slices: int) -> Plan:
    """Plan a training that ends in time.

    The plan keeps `train.epochs` and chooses the length of an epoch. If an epoch would have fewer
    than `MIN_BATCHES` batches, it has fewer epochs instead.

    Args:
        config: the whole config.
        seconds: time left, in seconds.
        seconds_per_slice: measured training time per slice.
        validation_slices: number of slices that are validated after each epoch.

    Raises:
        UsageError: if the time is too short for one epoch of `MIN_BATCHES` batches.
    """
    batch = config.train.batch_size
    usable = SHARE_PLANNED * seconds - EXPORT_S
    overhead = EPOCH_OVERHEAD_S + validation_slices * seconds_per_slice * VALIDATION_SHARE
    shortest = MIN_BATCHES * batch * seconds_per_slice + overhead
    epochs = min(config.train.epochs, math.floor(usable / shortest))
    if epochs < 1:
        raise UsageError(
            f"train.time_budget leaves {max(0.0, seconds):.0f} s after loading, but one short "
            f"epoch takes {shortest + EXPORT_S:.0f} s here ({seconds_per_slice:.2g} s per slice)."
        )
    samples = (usable / epochs - overhead) / seconds_per_slice
    return Plan(epochs, max(batch, int(samples / batch) * batch), seconds_per_slice)


class Deadline:
    """The end of the time budget, and whether another epoch still fits before it."""

    def __init__(self, end: float) -> None:
        """Set the end, in seconds of the clock `time.monotonic`."""
        self.end = end
        self._began = time.monotonic()

    def begin_epoch(self) -> None:
        """Remember when this epoch began."""
        self._began = time.monotonic()

    def allows_another(self) -> bool:
        """Return whether another epoch as long as this one, and the export, end in time."""
        now = time.monotonic()
        return now + (now - self._began) + EXPORT_S <= self.end
