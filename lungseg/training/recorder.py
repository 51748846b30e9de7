"""Write the history, plots, the best model and a checkpoint after every epoch.

The checkpoint includes the inner state of Keras' own reducer and early stopping, which
`keras.callbacks.BackupAndRestore` leaves out.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from lungseg.config.classes import class_metrics
from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.reporting.plots import class_columns, plot_history
from lungseg.system import console
from lungseg.system.files import partial_path, put_in_place
from lungseg.system.tables import read_json, write_csv, write_json
from lungseg.training.averaging import ValidatedWeights
from lungseg.training.callbacks import averaged, direction

# Drawing takes a third of a second, too much for every short epoch.
SECONDS_BETWEEN_PLOTS = 10.0

# The attributes in which these callbacks keep their state.
STATE_OF = {
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "EarlyStopping": ("best", "wait", "best_epoch", "stopped_epoch"),
    "MlflowLog": ("run_id",),
}


def is_better(name: str, value: float, best: float | None) -> bool:
    """Return whether a monitored value is better than the best so far.

    Args:
        name: what is monitored. A lower loss is better, a higher score is better.
        value: the new value. NaN and infinity are never better.
        best: the best value so far, None if there is none.
    """
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    return value < best if direction(name) == "min" else value > best


def epoch_in_words(row: Mapping[str, float], epochs: int, monitor: str, better: bool) -> str:
    """Return the line about an epoch.

    Args:
        row: its row in `history.csv`.
        epochs: how many there are to be.
        monitor: name of the value by which the best epoch is chosen, or `last`.
        better: whether this epoch is the best so far. A Dice of 0, as a network has in its first
            steps, is kept if there is no other, but not called the best.
    """
    values = ", ".join(
        f"{key} {value:.4f}" for key, value in row.items() if key not in ("epoch", "learning_rate")
    )
    named = better and monitor != "last"
    nothing = named and direction(monitor) == "max" and f"{row[monitor]:.4f}" == "0.0000"
    mark = "  best" if named and not nothing else ""
    return f"epoch {row['epoch']:.0f}/{epochs}: {values}{mark}"


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model to a Keras file.

    Raises:
        DataError: if the file cannot be written. HDF5 reports that by several kinds of error.
    """
    try:
        model.save(path)
    except (OSError, RuntimeError) as problem:
        raise DataError(path, f"cannot be written: {problem}.") from None


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Write the history, plots, the best model and a checkpoint after every epoch.

    It must be the last callback, because it saves the state of the others, and restores it after
    their `on_train_begin` has reset them.

    Attributes:
        history: one row per epoch: its number from 1, the losses and metrics, the learning rate.
        best: the best monitored value, None before the first epoch.
        best_epoch: the epoch of that value, from 1.
    """

    def __init__(
        self,
        run: Path,
        config: Config,
        others: list[Any],
        state: Mapping[str, Any],
        average: ValidatedWeights,
        writes: bool = True,
    ) -> None:
        """Set what to record.

        Args:
            run: the run folder.
            config: the whole config.
            others: the callbacks whose state belongs to a checkpoint; see `STATE_OF`.
            state: the state of the checkpoint to resume from, empty for a new run.
            average: the callback that holds the averaged weights, None if the config has none.
            writes: whether to write files. Workers other than the chief keep only the history.
        """
        super().__init__()
        self.writes = writes
        self.run, self.config, self.others, self.average = run, config, others, average
        self.monitor = config.train.monitor
        self._classes = list(config.data.rgb_map)
        self._class_metrics = class_metrics(self._classes)
        self.history: list[dict[str, float]] = list(state.get("history", []))
        self.best: float | None = state.get("best")
        self.best_epoch: int = state.get("best_epoch", 0)
        self.learning_rate = math.nan
        self._plotted = -math.inf
        self._restore = state.get("callbacks", {})
        self._random_states: list[list[int]] = state.get("random_states", [])

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Restore the state of the other callbacks and of the dropout layers."""
        if self._random_states:
            variables = _random_state_variables(self.model)
            for variable, value in zip(variables, self._random_states, strict=True):
                variable.assign(value)
        for callback in self.others:
            for key, value in self._restore.get(type(callback).__name__, {}).items():
                setattr(callback, key, value)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember the learning rate at the start; the reducer changes it at the end."""
        self.learning_rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Record the epoch, which counts from 0 here and from 1 in the files."""
        row = {"epoch": epoch + 1, **{key: float(value) for key, value in (logs or {}).items()}}
        row["learning_rate"] = self.learning_rate
        self.history.append(row)
        value = float(epoch + 1) if self.monitor == "last" else row[self.monitor]
        better = is_better(self.monitor, value, self.best)
        if better:
            self.best, self.best_epoch = value, epoch + 1
        if self.writes:
            self._write(epoch, better)
        console.note(epoch_in_words(row, self.config.train.epochs, self.monitor, better))

    def _write(self, epoch: int, better: bool) -> None:
        # Save the best model before the checkpoint: swapping in the averaged weights rounds them,
        # and a resumed run must start from the rounded ones.
        if better:
            final = self.run / "model.keras"
            with averaged(self.average):
                save_model(self.model, partial_path(final))
            put_in_place(partial_path(final), final)
        self._save_checkpoint(epoch + 1)
        self._write_history()
        if time.monotonic() - self._plotted >= SECONDS_BETWEEN_PLOTS:
            self._plot()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Draw the final plots."""
        if self.writes:
            self._plot()

    def _save_checkpoint(self, epochs_done: int) -> None:
        folder = self.run / "checkpoints"
        partial = folder / f".epoch_{epochs_done:04d}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_model(self.model, partial / "model.keras")
        state = {
            "epochs_done": epochs_done,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": self.history,
            "random_states": [
                keras.ops.convert_to_numpy(variable).tolist()
                for variable in _random_state_variables(self.model)
            ],
            "callbacks": {
                type(callback).__name__: {
                    key: _to_json(getattr(callback, key))
                    for key in STATE_OF[type(callback).__name__]
                }
                for callback in self.others
                if type(callback).__name__ in STATE_OF
            },
        }
        write_json(partial / "state.json", state)
        final = folder / f"epoch_{epochs_done:04d}"
        shutil.rmtree(final, ignore_errors=True)
        put_in_place(partial, final)
        for old in folder.iterdir():
            if old != final:
                shutil.rmtree(old, ignore_errors=True)

    def _write_history(self) -> None:
        write_csv(self.run / "history.csv", list(self.history[-1]), self.history)
        for name, keys in self._tables():
            columns = ["epoch", *(k for key in keys for k in (key, f"val_{key}"))]
            columns = [column for column in columns if column in self.history[-1]]
            rows = [{key: row[key] for key in columns} for row in self.history]
            write_csv(self.run / f"{name}.csv", columns, rows)

    def _plot(self) -> None:
        for name, keys in self._tables():
            if keys and self.history:
                # One panel shows all classes: a panel for each of 100 would take a minute to draw.
                of_classes = [key for key in keys if key in self._class_metrics]
                shown = class_columns(self.history, self._classes) if of_classes else None
                plotted = [key for key in keys if key not in of_classes]
                plot_history(self.run / f"{name}.png", self.history, plotted, shown)
        self._plotted = time.monotonic()

    def _tables(self) -> list[tuple[str, list[str]]]:
        watched = [*self.config.train.metrics, *self._class_metrics]
        # A run of an earlier version that is resumed does not watch each class.
        known = [name for name in watched if self.history and name in self.history[-1]]
        return [("train_losses", ["loss"]), ("train_metrics", known)]


def last_checkpoint(run: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the model file and the state of a run's newest complete checkpoint, or None."""
    folders = sorted((run / "checkpoints").glob("epoch_*"))
    if not folders:
        return None
    return folders[-1] / "model.keras", read_json(folders[-1] / "state.json")


def _random_state_variables(model: keras.Model) -> list[Any]:
    """Return the state of each random generator (dropout); Keras' model file lacks it."""
    return [variable for variable in model.variables if "seed_generator" in variable.path]


def _to_json(value: Any) -> float | int | str | None:
    """Convert a NumPy scalar, as in Keras' callbacks, to a Python number."""
    plain: float | int | str | None = value.item() if hasattr(value, "item") else value
    return plain
