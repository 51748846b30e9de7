"""Keras callbacks that watch a training: NaN, time budget, progress bar, pictures per epoch.

`lungseg.training.recorder` has the callback that saves the results.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from lungseg.errors import DataError
from lungseg.imaging.pixels import labels_of, to_batch, write_png
from lungseg.reporting.overlays import contact_sheet, outline
from lungseg.system import console
from lungseg.training.averaging import ValidatedWeights
from lungseg.training.budget import Deadline
from lungseg.training.pipeline import Pipeline


def direction(name: str) -> str:
    """Return `min` if a lower value of `name` is better, as for a loss, otherwise `max`."""
    return "min" if name.removeprefix("val_") == "loss" else "max"


@contextlib.contextmanager
def averaged(average: ValidatedWeights) -> Iterator[None]:
    """Use the weights that validation uses inside the `with` block.

    Args:
        average: the callback that puts them in and the raw weights back.
    """
    average.on_test_begin()
    try:
        yield
    finally:
        average.on_test_end()


class NotANumber(keras.callbacks.Callback):  # type: ignore[misc]
    """Stop if the loss is NaN or infinite, and name the cases of that batch.

    The best model so far stays in the run folder.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        """Set the pipeline, which knows the cases of each batch."""
        super().__init__()
        self.pipeline = pipeline

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember the epoch, which counts from 0."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Check the mean loss of the epoch so far.

        Raises:
            DataError: if it is NaN or infinite.
        """
        if logs and not math.isfinite(logs["loss"]):
            cases = ", ".join(self.pipeline.cases_of(self.epoch, batch))
            raise DataError(
                None,
                f"The loss became {logs['loss']} in epoch {self.epoch + 1}, batch {batch + 1}, "
                f"with the cases {cases}. The best model so far is kept. Look at these cases, "
                "or lower train.learning_rate.",
            )


class StopAtDeadline(keras.callbacks.Callback):  # type: ignore[misc]
    """Stop early if the machine became slower and another epoch would exceed the time budget."""

    def __init__(self, deadline: Deadline) -> None:
        """Set the deadline."""
        super().__init__()
        self.deadline = deadline

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Start the clock of this epoch."""
        self.deadline.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Stop the training if the next epoch would end too late."""
        if not self.deadline.allows_another() and epoch + 1 < self.params["epochs"]:
            console.warn(
                f"the time budget ends after epoch {epoch + 1}, before the planned "
                f"{self.params['epochs']}: this machine is now slower than the measurement"
            )
            self.model.stop_training = True


class Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Advance the progress bar after each batch."""

    def __init__(self, bar: console.Bar, pipeline: Pipeline, epochs: int) -> None:
        """Set the bar, the pipeline and the number of epochs."""
        super().__init__()
        self.bar, self.pipeline, self.epochs = bar, pipeline, epochs

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember the epoch, which counts from 0."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count the slices of the batch and show the loss."""
        loss = (logs or {}).get("loss", math.nan)
        self.bar.advance(
            self.pipeline.batch_size, f"epoch {self.epoch + 1}/{self.epochs} loss {loss:.4f}"
        )


class EpochChangeInference(keras.callbacks.Callback):  # type: ignore[misc]
    """Predict the same few slices after each epoch and draw them as one contact sheet."""

    def __init__(
        self,
        folder: Path,
        names: list[str],
        slices: list[NDArray[np.uint8]],
        average: ValidatedWeights,
    ) -> None:
        """Set what to predict.

        Args:
            folder: where the contact sheets are written.
            names: one caption per slice.
            slices: uint8 `(H, W)` or `(H, W, channels)`, of the network's size.
            average: the callback that holds the averaged weights, None if the config has none.
        """
        super().__init__()
        self.folder, self.names, self.slices, self.average = folder, names, slices, average

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write `epoch_0001.png` after the first epoch, and so on."""
        # One slice per call, so that the memory needed does not grow with their number.
        with averaged(self.average):
            labels = [
                labels_of(np.asarray(self.model(to_batch([image]), training=False))[0])
                for image in self.slices
            ]
        self.folder.mkdir(parents=True, exist_ok=True)
        pictures = [outline(image, mask) for image, mask in zip(self.slices, labels, strict=True)]
        captions = [f"{name}  epoch {epoch + 1}" for name in self.names]
        write_png(self.folder / f"epoch_{epoch + 1:04d}.png", contact_sheet(pictures, captions))
