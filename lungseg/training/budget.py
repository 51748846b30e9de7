"""A training that ends in time: epochs and their length planned from the measured speed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.errors import UsageError

# Epochs shorter than this many batches would spend their time on validation and checkpoints.
FEWEST_BATCHES = 8


# An epoch's checkpoint, pictures and tables, in seconds; loading and exporting the best model.
EPOCH_OVERHEAD_S, EXPORT_S = 1.0, 20.0


# Machines slow down: plan with a little less than there is.
SHARE_PLANNED = 0.93


# A slice is predicted in about a third of the time of its training step.
VALIDATION_SHARE = 1 / 3


@dataclass(frozen=True)
class Plan:
    """Epochs and slices an epoch that fit a time, and the speed this follows from."""

    epochs: int
    samples_per_epoch: int
    seconds_per_slice: float

    def __str__(self) -> str:
        """Say what was planned."""
        return (
            f"{self.epochs} epochs of {self.samples_per_epoch} slices, "
            f"at {self.seconds_per_slice:.3g} s a slice"
        )

    def apply(self, config: Config) -> Config:
        """Return the config with this plan's epochs."""
        return with_overrides(
            config,
            {"train.epochs": self.epochs, "train.samples_per_epoch": self.samples_per_epoch},
        )


def plan(config: Config, seconds: float, seconds_per_slice: float, validation_slices: int) -> Plan:
    """Fit a training into `seconds` that are left.

    `train.epochs` is kept as long as an epoch has some batches, and its length follows; a very
    short time takes fewer epochs.

    Raises:
        UsageError: where not even one short epoch fits.
    """
    batch = config.train.batch_size
    usable = SHARE_PLANNED * seconds - EXPORT_S
    aside = EPOCH_OVERHEAD_S + validation_slices * seconds_per_slice * VALIDATION_SHARE
    shortest = FEWEST_BATCHES * batch * seconds_per_slice + aside
    epochs = min(config.train.epochs, math.floor(usable / shortest))
    if epochs < 1:
        raise UsageError(
            f"train.time_budget leaves {max(0.0, seconds):.0f} s after loading, but one short "
            f"epoch takes {shortest + EXPORT_S:.0f} s here ({seconds_per_slice:.2g} s a slice)."
        )
    samples = (usable / epochs - aside) / seconds_per_slice
    return Plan(epochs, max(batch, int(samples / batch) * batch), seconds_per_slice)


class Deadline:
    """Whether another epoch like the last one still fits."""

    def __init__(self, end: float) -> None:
        """Take the end, on the clock of `time.monotonic`."""
        self.end = end
        self._began = time.monotonic()

    def begin_epoch(self) -> None:
        """Note when an epoch begins."""
        self._began = time.monotonic()

    def allows_another(self) -> bool:
        """Ask at the end of an epoch."""
        now = time.monotonic()
        return now + (now - self._began) + EXPORT_S <= self.end
