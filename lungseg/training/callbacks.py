"""What happens after each batch and epoch: progress, best model, state for a resume, plots.

Keras' own reducer and early stopping are used; `Recorder` saves and restores their inner state,
which `keras.callbacks.BackupAndRestore` leaves out.
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
from lungseg.imaging.pixels import write_png
from lungseg.reporting.overlays import contact_sheet, outline
from lungseg.system import console
from lungseg.training.budget import Deadline
from lungseg.training.pipeline import Pipeline


def direction(name: str) -> str:
    """`min` for a loss, `max` for a score."""
    return "min" if name.removeprefix("val_") == "loss" else "max"


@contextlib.contextmanager
def averaged(average: keras.callbacks.SwapEMAWeights | None) -> Iterator[None]:
    """Put the average of the weights in their place, as validation does; nothing without one."""
    if average is None:
        yield
        return
    average.on_test_begin()
    try:
        yield
    finally:
        average.on_test_end()


class NotANumber(keras.callbacks.Callback):  # type: ignore[misc]
    """Stop at a loss that is no number, and name the batch's cases; the best model stays."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Take the pipeline, which knows the cases of a batch."""
        super().__init__()
        self.pipeline = pipeline
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Look at the running loss."""
        if logs and not math.isfinite(logs["loss"]):
            cases = ", ".join(self.pipeline.cases_of(self.epoch, batch))
            raise DataError(
                None,
                f"The loss became {logs['loss']} in epoch {self.epoch + 1}, batch {batch + 1}, "
                f"with the cases {cases}. The best model so far is kept. Look at these cases, "
                "or lower train.learning_rate.",
            )


class StopAtDeadline(keras.callbacks.Callback):  # type: ignore[misc]
    """Stop where another epoch would not fit the time budget: the machine slowed down."""

    def __init__(self, deadline: Deadline) -> None:
        """Take the deadline."""
        super().__init__()
        self.deadline = deadline

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note the time."""
        self.deadline.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Stop if the next epoch would end too late."""
        if not self.deadline.allows_another() and epoch + 1 < self.params["epochs"]:
            console.warn(
                f"the time budget ends after epoch {epoch + 1}, before the planned "
                f"{self.params['epochs']}: this machine has become slower than it was measured"
            )
            self.model.stop_training = True


class Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Advance a bar after each batch."""

    def __init__(self, bar: console.Bar, pipeline: Pipeline, epochs: int) -> None:
        """Take the bar to advance."""
        super().__init__()
        self.bar, self.pipeline, self.epochs = bar, pipeline, epochs
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Count a batch of slices."""
        loss = (logs or {}).get("loss", math.nan)
        self.bar.advance(
            self.pipeline.batch_size, f"epoch {self.epoch + 1}/{self.epochs} loss {loss:.4f}"
        )


class EpochChangeInference(keras.callbacks.Callback):  # type: ignore[misc]
    """Predict the same few images after every epoch, as one contact sheet an epoch."""

    def __init__(
        self,
        folder: Path,
        names: list[str],
        slices: list[NDArray[np.uint8]],
        average: keras.callbacks.SwapEMAWeights | None = None,
    ) -> None:
        """Take the folder to write, the slices with their names, and `average`."""
        super().__init__()
        self.folder, self.names, self.slices, self.average = folder, names, slices, average

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write `epoch_0001.png` and so on."""
        batch = np.stack(self.slices).astype(np.float32)
        batch = batch[..., None] if batch.ndim == 3 else batch
        # One call a slice: memory as in training, whatever the number of images.
        with averaged(self.average):
            labels = [
                np.asarray(self.model(one[None], training=False))[0].argmax(-1).astype(np.uint8)
                for one in batch
            ]
        self.folder.mkdir(parents=True, exist_ok=True)
        pictures = [outline(s, mask) for s, mask in zip(self.slices, labels, strict=True)]
        captions = [f"{name}  epoch {epoch + 1}" for name in self.names]
        write_png(self.folder / f"epoch_{epoch + 1:04d}.png", contact_sheet(pictures, captions))
