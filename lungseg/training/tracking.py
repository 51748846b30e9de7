"""Log a training to MLflow: into `mlruns`, a folder beside the run folder, and nowhere else.

The runs in one folder share one `mlruns`, because MLflow is there to compare them. MLflow's own
variables, such as MLFLOW_TRACKING_URI, may name a server. They are not followed, so that nothing
leaves the machine.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from lungseg import __version__
from lungseg.config.schema import Config
from lungseg.system.environment import require
from lungseg.system.privacy import environment, private_import
from lungseg.training.run_folder import flatten

STORE = "mlruns"
EXPERIMENT = "lungseg"
LOGGED_SECTIONS = ("seed", "data", "augment", "model", "train")
# MLflow takes so many parameters at a time, and so many characters each.
AT_A_TIME, MOST_CHARACTERS = 100, 500


class MlflowLog(keras.callbacks.Callback):  # type: ignore[misc]
    """Log the config once and the losses and metrics of each epoch.

    Attributes:
        run_id: MLflow's name of this training; None before its first epoch. A checkpoint keeps it,
            so that a resumed training goes on in the same place.
    """

    def __init__(self, run: Path, config: Config) -> None:
        """Set the run folder, whose name the training gets, and the config."""
        super().__init__()
        self.run, self.config = run.resolve(), config
        self.run_id: str | None = None
        self._client: Any = None
        self._started = 0
        self._learning_rate = 0.0
        self._goes_on = False

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Open the store, before the first epoch takes its time."""
        self._started = _now()
        self._client = _open_store(self.run.parent / STORE)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Remember the learning rate at the start, which `history.csv` has, too."""
        self._learning_rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Log an epoch, which counts from 0 here and from 1 in MLflow."""
        from mlflow.entities import Metric

        if not self._goes_on:
            self.run_id = self._resumed() or self._begin()
            self._goes_on = True
        values = {**(logs or {}), "learning_rate": self._learning_rate}
        metrics = [
            Metric(_key(name), float(value), _now(), epoch + 1) for name, value in values.items()
        ]
        self._client.log_batch(self.run_id, metrics=metrics)

    def end(self, status: str) -> None:
        """Tell MLflow how the training ended: FINISHED, FAILED or KILLED."""
        if self._goes_on:
            self._client.set_terminated(self.run_id, status)

    def _resumed(self) -> str | None:
        """Return the name of the run that a checkpoint knows, if the store still has it."""
        from mlflow.exceptions import MlflowException

        if self.run_id is not None:
            with contextlib.suppress(MlflowException):
                self._client.update_run(self.run_id, status="RUNNING")
                return self.run_id
        return None

    def _begin(self) -> str:
        """Begin a run of MLflow, log the config, and return the name of the run."""
        from mlflow.entities import Param

        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
        begun = self._client.create_run(
            experiment,
            start_time=self._started,
            run_name=self.run.name,
            tags={"lungseg.version": __version__, "lungseg.run": str(self.run)},
        )
        run_id = str(begun.info.run_id)
        chosen = self.config.model_dump(mode="json", include=set(LOGGED_SECTIONS))
        params = [
            Param(_key(name), str(value)[:MOST_CHARACTERS])
            for name, value in flatten(chosen).items()
        ]
        for first in range(0, len(params), AT_A_TIME):
            self._client.log_batch(run_id, params=params[first : first + AT_A_TIME])
        return run_id


@contextlib.contextmanager
def told_the_end(callbacks: Sequence[Any]) -> Iterator[None]:
    """Tell each `MlflowLog` among the callbacks how the training in this block ended."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        for callback in callbacks:
            if isinstance(callback, MlflowLog):
                callback.end(status)


def _open_store(folder: Path) -> Any:
    """Return a client of the store of files in a folder, which is made if needed."""
    with private_import("mlflow"):
        require("mlflow", "mlflow", "train.log: mlflow")
    from mlflow.tracking import MlflowClient

    address = folder.as_uri()
    # MLflow 3 wants to be asked for files, because its makers prefer a database. A database has to
    # be converted for another version of MLflow, and files do not.
    with environment({"MLFLOW_ALLOW_FILE_STORE": "true"}):
        client = MlflowClient(tracking_uri=address, registry_uri=address)
        client.get_experiment_by_name(EXPERIMENT)
    return client


def _key(name: str) -> str:
    """Return a name without the characters that MLflow refuses."""
    return re.sub(r"[^/\w.\- ]", "_", name)


def _now() -> int:
    return int(time.time() * 1000)
