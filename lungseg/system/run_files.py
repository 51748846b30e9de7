"""The files of a run folder, and opening it to add to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from lungseg.system.in_place import Output, open_output
from lungseg.system.shipped import refuse_shipped

TRAINING_FILES = (
    "config.yaml",
    "run.json",
    "data.csv",
    "plan.json",
    "history.csv",
    *(f"train_{name}.{suffix}" for name in ("losses", "metrics") for suffix in ("csv", "png")),
    "model.keras",
    "model.onnx",
    "model.json",
    "checkpoints/",
    "epoch_change_infer/",
    "tensorboard/",
)
EXPORTED_FILES = ("model.onnx", "model.json", "model.tflite", "saved_model/")
ALSO = "continue its training with --resume (resume=True), "
EVALUATION_FILES = ("per_case.csv", "evaluation.csv", "evaluation.json", "report.html")


@contextlib.contextmanager
def open_run(
    run: Path,
    claims: Iterable[str] = (),
    inputs: Iterable[Path | None] = (),
    *,
    overwrite: bool = False,
    resume: bool = True,
) -> Iterator[Output]:
    """Lock a run folder and yield it. A run that an old version wrote is recognised.

    Args:
        run: the run folder.
        claims: the files that will be written.
        inputs: what is read meanwhile.
        overwrite: whether a run may be replaced.
        resume: whether files are added to the folder.

    Raises:
        UsageError: if the folder may not be written, or another process writes there.
    """
    refuse_shipped(run)
    with open_output(run, "train", inputs, overwrite=overwrite, resume=resume, also=ALSO) as output:
        old = (run / "config.yaml").is_file() and (
            (run / "data.csv").is_file() or (run / "run.json").is_file()
        )
        if old:
            output.adopt((*TRAINING_FILES, *EXPORTED_FILES, *EVALUATION_FILES))
        elif all((run / name).is_file() for name in EVALUATION_FILES):
            output.adopt(EVALUATION_FILES)  # of the folds of an old run, or of a model alone
        output.claim(claims)
        yield output
