"""History, plots, the best model and a checkpoint after every epoch."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.reporting.plots import plot_history
from lungseg.system import console
from lungseg.system.files import partial_path
from lungseg.system.tables import read_json, write_csv, write_json
from lungseg.training.callbacks import averaged, direction

# Drawing takes a third of a second, which short epochs should not pay each time.
SECONDS_BETWEEN_PLOTS = 10.0


# Attributes that hold what these callbacks have learnt so far.
STATE_OF = {
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "EarlyStopping": ("best", "wait", "best_epoch", "stopped_epoch"),
}


def is_better(name: str, value: float, best: float | None) -> bool:
    """Whether a monitored value beats the best; a loss should fall, a score rise."""
    if not math.isfinite(value):
        return False
    if best is None:
        return True
    return value < best if direction(name) == "min" else value > best


def save_model(model: keras.Model, path: Path) -> None:
    """Write a Keras file.

    Raises:
        DataError: where it cannot be written; HDF5 says so in ways of its own.
    """
    try:
        model.save(path)
    except (OSError, RuntimeError) as problem:
        raise DataError(path, f"cannot be written: {problem}.") from None


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Write history, plots, the best model and a checkpoint after every epoch.

    Must come last among the callbacks: it saves what the others have come to, and puts it back
    after their `on_train_begin` has reset them.
    """

    def __init__(
        self,
        run: Path,
        config: Config,
        others: list[Any],
        state: Mapping[str, Any],
        average: keras.callbacks.SwapEMAWeights | None = None,
        writes: bool = True,
    ) -> None:
        """Take the run folder, the `state` of a checkpoint, empty for a new run, and `average`.

        `writes` is false for a worker that is not the chief: it keeps the history alone.
        """
        super().__init__()
        self.writes = writes
        self.run, self.config, self.others, self.average = run, config, others, average
        self.monitor = config.train.monitor
        self.history: list[dict[str, float]] = list(state.get("history", []))
        self.best: float | None = state.get("best")
        self.best_epoch: int = state.get("best_epoch", 0)
        self.learning_rate = math.nan
        self._plotted = -math.inf
        self._restore = state.get("callbacks", {})
        self._random_states: list[list[int]] = state.get("random_states", [])

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Give the other callbacks, and the dropout layers, back what they knew."""
        if self._random_states:
            for variable, value in zip(
                _random_state_variables(self.model), self._random_states, strict=True
            ):
                variable.assign(value)
        for callback in self.others:
            for key, value in self._restore.get(type(callback).__name__, {}).items():
                setattr(callback, key, value)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Note the rate the epoch starts with; the reducer changes it at the end."""
        self.learning_rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Record the epoch; `epoch` counts from 0."""
        row = {"epoch": epoch + 1, **{key: float(value) for key, value in (logs or {}).items()}}
        row["learning_rate"] = self.learning_rate
        self.history.append(row)
        value = float(epoch + 1) if self.monitor == "last" else row[self.monitor]
        better = is_better(self.monitor, value, self.best)
        if better:
            self.best, self.best_epoch = value, epoch + 1
        if self.writes:
            self._write(epoch, better)
        shown = ", ".join(
            f"{k} {v:.4f}" for k, v in row.items() if k not in ("epoch", "learning_rate")
        )
        mark = "  best" if better and self.monitor != "last" else ""
        console.note(f"epoch {epoch + 1}/{self.config.train.epochs}: {shown}{mark}")

    def _write(self, epoch: int, better: bool) -> None:
        # The best model first: swapping weights in and out rounds them, and a resumed run has to go
        # on from the very same ones.
        if better:
            final = self.run / "model.keras"
            with averaged(self.average):
                save_model(self.model, partial_path(final))
            partial_path(final).replace(final)
        self._save_checkpoint(epoch + 1)
        self._write_history()
        if time.monotonic() - self._plotted >= SECONDS_BETWEEN_PLOTS:
            self._plot()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Draw the plots a last time."""
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
                type(c).__name__: {
                    key: _plain(getattr(c, key)) for key in STATE_OF[type(c).__name__]
                }
                for c in self.others
                if type(c).__name__ in STATE_OF
            },
        }
        write_json(partial / "state.json", state)
        final = folder / f"epoch_{epochs_done:04d}"
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
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
                plot_history(self.run / f"{name}.png", self.history, keys)
        self._plotted = time.monotonic()

    def _tables(self) -> list[tuple[str, list[str]]]:
        return [("train_losses", ["loss"]), ("train_metrics", list(self.config.train.metrics))]


def last_checkpoint(run: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest whole checkpoint of a run, its model file and its state."""
    folders = sorted((run / "checkpoints").glob("epoch_*"))
    if not folders:
        return None
    return folders[-1] / "model.keras", read_json(folders[-1] / "state.json")


def _random_state_variables(model: keras.Model) -> list[Any]:
    """Return the state of each random generator (dropout), which Keras' model file leaves out."""
    return [variable for variable in model.variables if "seed_generator" in variable.path]


def _plain(value: Any) -> float | int:
    """Turn a NumPy scalar, as Keras' callbacks hold them, into what JSON holds."""
    plain: float | int = value.item() if hasattr(value, "item") else value
    return plain
