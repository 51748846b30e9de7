"""`lungseg train`: a data set -> a run folder with the best model and all to repeat it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lungseg import console
from lungseg.config import Config
from lungseg.configfile import dump_config, load_config
from lungseg.errors import DataError, UsageError
from lungseg.files import existing_folder, refuse_nonempty, write_json, write_text
from lungseg.images import list_images, read_slice
from lungseg.layout import is_layout, read_layout
from lungseg.provenance import describe_run, write_data_list
from lungseg.slices import Slice
from lungseg.split import leakage
from lungseg.workers import cores

if TYPE_CHECKING:
    from lungseg.dataset import Pipeline

# A resumed run may go on longer; anything else would make it another run.
MAY_CHANGE_ON_RESUME = {"train.epochs", "train.patience", "train.run", "data.dataset"}


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        run: the run folder.
        epochs: epochs done, over all resumes.
        best_epoch: the epoch of the kept model, from 1.
        monitor: name of the value that picked it.
        best: that value.
        learning_rate: of the last epoch.
        seconds: of this call.
        onnx_difference: largest difference of ONNX Runtime to Keras.
    """

    run: Path
    epochs: int
    best_epoch: int
    monitor: str
    best: float
    learning_rate: float
    seconds: float
    onnx_difference: float


def train(
    config: Config,
    dataset: Path | None,
    run: Path,
    resume: bool = False,
    overwrite: bool = False,
    command: Sequence[str] = (),
) -> TrainResult:
    """Train a network, or go on with a training that was stopped.

    Args:
        config: the whole config.
        dataset: folder in the `train|valid|test/{images,masks}` layout.
        run: the run folder.
        resume: go on from the newest checkpoint in `run`; start where there is none.
        overwrite: replace a run folder that is not empty.
        command: the command line, for `run.json`.

    Raises:
        UsageError: for a missing folder, a run folder that exists, or a resume with another config.
        DataError: for unusable data, or a loss that is no number.
    """
    dataset = existing_folder(dataset, "slices", "--data")
    if not is_layout(dataset):
        raise DataError(f"{dataset}: expected train/images and train/masks; run lungseg split.")
    if not resume:
        refuse_nonempty(run, overwrite, also="--resume to go on with it, or ")
    elif run.exists():
        _check_same_config(config, run)
    parts = read_layout(dataset, config)
    _check_parts(parts, config, dataset)
    if overwrite and not resume and run.exists():
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    write_text(run / "config.yaml", dump_config(config))
    write_data_list(run / "data.csv", parts)

    _set_up_tensorflow(config)
    from lungseg.dataset import Pipeline

    pipeline = Pipeline(config, parts["train"], parts["valid"])
    started = time.monotonic()
    record = describe_run(config, parts, command)
    write_json(run / "run.json", {**record, "status": "running"})
    try:
        outcome = _fit(config, run, pipeline, parts)
    except KeyboardInterrupt:
        write_json(run / "run.json", {**record, "status": "interrupted"})
        raise
    seconds = time.monotonic() - started
    result = TrainResult(run=run, seconds=seconds, **outcome)
    write_json(
        run / "run.json",
        {
            **record,
            "status": "finished",
            "seconds": round(seconds, 1),
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "monitor": result.monitor,
            "best": result.best,
            "onnx_difference": result.onnx_difference,
        },
    )
    return result


def _check_same_config(config: Config, run: Path) -> None:
    path = run / "config.yaml"
    if not path.exists():
        return
    old, new = (
        _flat(load_config(path).model_dump(mode="json")),
        _flat(config.model_dump(mode="json")),
    )
    allowed = set(MAY_CHANGE_ON_RESUME)
    if config.train.schedule != "constant":
        allowed.discard("train.epochs")  # the schedule is laid over the epochs
    changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    changed = [k for k in changed if k not in allowed and not k.startswith(("evaluate.", "infer."))]
    if changed:
        lines = "\n".join(f"  {k}: was {old.get(k)!r}, now {new.get(k)!r}" for k in changed)
        raise UsageError(
            f"{run}: --resume goes on with the same config, but these differ:\n{lines}\n"
            f"Resume with -c {path}, or start another run."
        )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict) and tree:
        pairs = [
            _flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in tree.items()
        ]
        return {key: value for pair in pairs for key, value in pair.items()}
    return {prefix: tree}


def _check_parts(parts: dict[str, list[Slice]], config: Config, dataset: Path) -> None:
    if not parts["train"]:
        raise DataError(f"{dataset / 'train'}: holds no usable pair of image and mask.")
    if not parts["valid"] and config.train.monitor.startswith("val_"):
        raise DataError(
            f"{dataset / 'valid'}: holds no usable pair, but train.monitor is "
            f"{config.train.monitor}. Give valid a share (split.fractions), or set "
            f"train.monitor={config.train.monitor.removeprefix('val_')}."
        )
    for likeness in leakage(parts):
        if likeness.similarity >= config.split.leak_similarity:
            console.warn(
                f"{' and '.join(likeness.parts)} hold slices that look like one patient's "
                f"({likeness.cases[0]}, {likeness.cases[1]}, similarity "
                f"{likeness.similarity:.3f}): scores will be too good."
            )


def import_tensorflow() -> Any:
    """Import TensorFlow, quietly.

    Raises:
        UsageError: where it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console.note("loading TensorFlow ...")
    try:
        with _silenced_stderr():
            import tensorflow
    except ImportError:
        raise UsageError(
            "This needs TensorFlow, which is not installed: pip install tensorflow-cpu, "
            'or for an NVIDIA GPU pip install "lungseg[gpu]".'
        ) from None
    return tensorflow


def _set_up_tensorflow(config: Config) -> None:
    """Give TensorFlow its threads and the seed."""
    tf = import_tensorflow()
    import keras

    keras.utils.set_random_seed(config.seed)
    threads = config.train.threads or cores()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        console.detail("TensorFlow is running already; its number of threads stays as it is")
    if config.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    console.note(f"device: {', '.join(gpus) if gpus else f'CPU, {threads} threads'}")


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Drop what C++ code writes to file descriptor 2.

    TensorFlow logs notes on oneDNN there as it is imported, whatever its log level is set to.
    """
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def compile_model(config: Config, steps: int) -> Any:
    """Build and compile the network of a config, its schedule laid over epochs of `steps`."""
    import keras

    from lungseg.losses import LOSSES, METRICS
    from lungseg.models import build_model

    model = build_model(config)
    settings = config.train
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        warmup = settings.warmup_epochs * steps
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else settings.learning_rate,
            decay_steps=max(1, settings.epochs * steps - warmup),
            warmup_target=settings.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    average: dict[str, Any] = {}
    if settings.weight_average:
        average = {"use_ema": True, "ema_momentum": settings.weight_average}
    if settings.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(
            rate, weight_decay=settings.weight_decay, clipvalue=settings.clipvalue, **average
        )
    else:
        optimizer = keras.optimizers.Adam(rate, clipvalue=settings.clipvalue, **average)
    model.compile(
        optimizer,
        loss=LOSSES[settings.loss],
        metrics=[METRICS[name] for name in settings.metrics],
        jit_compile=settings.jit_compile,
    )
    return model


def _fit(
    config: Config, run: Path, pipeline: Pipeline, parts: dict[str, list[Slice]]
) -> dict[str, Any]:
    import keras

    import lungseg.losses  # noqa: F401 - registers the functions a checkpoint refers to
    from lungseg.callbacks import (
        EpochChangeInference,
        NotANumber,
        Progress,
        Recorder,
        direction,
        last_checkpoint,
    )

    settings = config.train
    checkpoint = last_checkpoint(run)
    state: dict[str, Any] = {}
    if checkpoint is None:
        model = compile_model(config, pipeline.steps)
    else:
        path, state = checkpoint
        model = keras.saving.load_model(path, safe_mode=True)
        console.note(f"going on after epoch {state['epochs_done']}")
    done = int(state.get("epochs_done", 0))
    console.note(
        f"{config.model.name}: {model.count_params():,} parameters; {len(pipeline.train)} slices "
        f"to train on, {len(pipeline.valid)} to validate; {pipeline.steps} batches of "
        f"{pipeline.batch_size} an epoch"
    )
    mode = direction(settings.monitor)
    stateful: list[Any] = []
    if settings.reducer is not None:
        stateful.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=settings.monitor,
                mode=mode,
                factor=settings.reducer.factor,
                patience=settings.reducer.patience,
                min_lr=settings.reducer.min_learning_rate,
                min_delta=0.0,
            )
        )
    if settings.patience:
        stateful.append(
            keras.callbacks.EarlyStopping(
                monitor=settings.monitor, mode=mode, patience=settings.patience
            )
        )
    average = keras.callbacks.SwapEMAWeights() if settings.weight_average else None
    recorder = Recorder(run, config, stateful, state, average)
    callbacks: list[Any] = [NotANumber(pipeline), *stateful]
    if average is not None:
        callbacks.insert(0, average)
    if settings.epoch_change_images:
        names, slices = _mini_test(config, parts)
        if slices:
            callbacks.append(
                EpochChangeInference(run / "epoch_change_infer", names, slices, average)
            )
    if settings.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False))
    stopped_early = (state.get("callbacks", {}).get("EarlyStopping") or {}).get("stopped_epoch", 0)
    if done < settings.epochs and not stopped_early:
        left = (settings.epochs - done) * pipeline.samples_per_epoch
        with console.progress(left, "train") as bar:
            try:
                model.fit(
                    pipeline.training(done, settings.epochs),
                    validation_data=pipeline.validation(),
                    initial_epoch=done,
                    epochs=settings.epochs,
                    steps_per_epoch=pipeline.steps,
                    callbacks=[*callbacks, Progress(bar, pipeline, settings.epochs), recorder],
                    shuffle=False,
                    verbose=0,
                )
            except Exception:
                if pipeline.problem is not None:
                    raise pipeline.problem from None
                raise
    if recorder.best is None:
        raise DataError(
            f"{run}: {settings.monitor} was never a number, so there is no best model. "
            "Lower train.learning_rate, or look at history.csv."
        )
    return {
        "epochs": len(recorder.history),
        "best_epoch": recorder.best_epoch,
        "monitor": settings.monitor,
        "best": recorder.best,
        "learning_rate": recorder.history[-1]["learning_rate"],
        "onnx_difference": export_run(run),
    }


def export_run(run: Path) -> float:
    """Write `model.onnx` and `model.json` from a run's best model.

    Returns:
        The largest difference of a probability between Keras and ONNX Runtime on one batch.

    Raises:
        UsageError: where the run or its model is missing.
        DataError: for a damaged model.
    """
    path = run / "model.keras"
    for needed in (path, run / "config.yaml"):
        if not needed.is_file():
            raise UsageError(f"{needed}: there is no such file; {run} is no finished run.")
    import_tensorflow()
    import keras

    from lungseg.export import export_onnx

    console.note("writing model.onnx ...")
    try:
        # Safe mode: a model file with code inside is refused, not run.
        best = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, KeyError, TypeError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise DataError(f"{path}: this is not a usable Keras model: {reason}") from None
    return export_onnx(best, load_config(run / "config.yaml"), run)


def _mini_test(
    config: Config, parts: dict[str, list[Slice]]
) -> tuple[list[str], list[np.ndarray[Any, np.dtype[np.uint8]]]]:
    """Choose the images predicted after each epoch: mini test, else valid, else train."""
    if config.train.mini_test is not None:
        folder = existing_folder(config.train.mini_test, "images", "train.mini_test")
        paths, _ = list_images(folder)
    else:
        chosen = parts["valid"] or parts["train"]
        step = max(1, len(chosen) // config.train.epoch_change_images)
        paths = [s.image for s in chosen[::step]]
    paths = paths[: config.train.epoch_change_images]
    return [path.stem for path in paths], [read_slice(path, config.data) for path in paths]
