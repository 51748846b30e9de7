"""Set up a training: how to run TensorFlow, on which devices, and for how many epochs.

TensorFlow is imported inside the functions, after oneDNN has been switched.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lungseg.config.schema import Config
from lungseg.system import console
from lungseg.system.environment import check_installed
from lungseg.system.tables import read_json, write_json
from lungseg.training import budget
from lungseg.training.backend import Execution, start_tensorflow
from lungseg.training.distribution import is_chief, make_strategy
from lungseg.training.tuning import MIN_SLICES_TO_CALIBRATE, choose, seconds_per_slice


@dataclass(frozen=True)
class Setup:
    """What a training needs besides its slices.

    Attributes:
        config: the config, with the epochs of the plan if there is one.
        execution: how to run TensorFlow.
        strategy: the `tf.distribute` strategy.
        plan: the plan for `train.time_budget`, None without one.
        deadline: the end of the time budget, None without one.
    """

    config: Config
    execution: Execution
    strategy: Any
    plan: budget.Plan | None = None
    deadline: budget.Deadline | None = None

    def describe(self) -> dict[str, Any]:
        """Return the settings and the plan, for `run.json`."""
        settings = {"execution": asdict(self.execution)}
        return settings if self.plan is None else {**settings, "plan": asdict(self.plan)}


def check_packages(config: Config) -> None:
    """Check that the packages of `train.log` are installed, before a run is begun.

    Raises:
        UsageError: if one is missing; the message gives the command that installs it.
    """
    if "mlflow" in config.train.log:
        check_installed("mlflow", "mlflow", "train.log: mlflow")


def set_up(
    config: Config, run: Path, started: float, epoch_slices: int, validation_slices: int
) -> Setup:
    """Choose the execution, start TensorFlow, and plan the epochs if there is a time budget.

    Args:
        config: the whole config.
        run: the run folder, which keeps the plan.
        started: when the training began, in seconds of the clock `time.monotonic`.
        epoch_slices: length of the list of slices to train on, repetitions included.
        validation_slices: number of slices that are validated after each epoch.

    Raises:
        UsageError: if TensorFlow is not installed, the time budget is too short, or
            `train.strategy` does not fit this machine.
    """
    slices_to_see = config.train.epochs * config.train.slices_per_epoch(epoch_slices)
    if config.train.time_budget:
        slices_to_see = MIN_SLICES_TO_CALIBRATE
    execution = choose(config, slices_to_see)
    strategy = _set_up_tensorflow(config, execution)
    if not config.train.time_budget:
        return Setup(config, execution, strategy)
    end = started + config.train.budget_seconds
    plan = _plan(config, run, end, execution, strategy, validation_slices)
    return Setup(plan.apply(config), execution, strategy, plan, budget.Deadline(end))


def _plan(
    config: Config,
    run: Path,
    end: float,
    execution: Execution,
    strategy: Any,
    validation_slices: int,
) -> budget.Plan:
    """Return the plan of a run with a time budget: its stored plan, or a new one."""
    from lungseg.training.compiling import compile_model

    path = run / "plan.json"
    if path.exists():
        return budget.Plan(**read_json(path))
    console.note("measuring the speed of training ...")
    with strategy.scope():
        speed = seconds_per_slice(compile_model(config, 1, execution), config)
    planned = budget.plan(config, end - time.monotonic(), speed, validation_slices)
    console.note(f"planned for {config.train.time_budget}: {planned}")
    if is_chief():
        write_json(path, asdict(planned))
    return planned


def _set_up_tensorflow(config: Config, execution: Execution) -> Any:
    """Import TensorFlow, set its settings and seed, and return the strategy to train with."""
    tf = start_tensorflow(execution)
    import keras

    strategy = make_strategy(config)
    keras.utils.set_random_seed(config.seed)
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    replicas = strategy.num_replicas_in_sync
    shared_by = f", {replicas} replicas ({config.train.strategy})" if replicas > 1 else ""
    console.note(f"device: {', '.join(gpus) if gpus else 'CPU'}; {execution}{shared_by}")
    return strategy
