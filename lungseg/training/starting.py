"""Start a training with the weights of another run (`lungseg train --from RUN`)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lungseg.config.schema import Config
from lungseg.dataset.reading import fold_folders
from lungseg.dataset.seen import TRAINED
from lungseg.dataset.slices import SeenRow
from lungseg.errors import UsageError
from lungseg.system import console
from lungseg.system.shipped import as_run, name_of
from lungseg.system.tables import read_rows
from lungseg.training.exporting import load_best


def starting_run(config: Config) -> Path | None:
    """Return the run whose weights a training starts with; None for random weights."""
    start = config.train.start_from
    return None if start is None else as_run(start)


def check_start(run: Path) -> None:
    """Check that a training can start from a run.

    Raises:
        UsageError: if it has no `model.keras`, or holds folds, each of which has one.
    """
    if folds := fold_folders(run):
        raise UsageError(
            f"{run}: holds the networks of {len(folds)} folds. Start from one: --from {folds[0]}"
        )
    if not (run / "model.keras").is_file():
        raise UsageError(
            f"{run / 'model.keras'}: there is no such file, so no training can start from {run} "
            "(--from). lungseg train writes it."
        )


def slices_before(run: Path) -> list[SeenRow]:
    """Return what the network of a run was trained on, and the one that it started with."""
    path = run / "data.csv"
    if not path.exists():
        console.warn(
            f"{run}: has no data.csv, so evaluate cannot know which slices its network was "
            "trained on"
        )
        return []
    return [row for row in read_rows(path, SeenRow) if row.part in TRAINED]


def start_with(model: Any, run: Path) -> list[str]:
    """Give a network the weights of the best model of a run, where their shapes agree.

    The weights are paired by their order, because Keras numbers the names of layers anew for each
    model that it builds.

    Args:
        model: a built `keras.Model`, which is changed.
        run: the run folder.

    Returns:
        The weights that stay as they were, by name and shape: those of the last layer if the number
        of classes differs.

    Raises:
        UsageError: if the networks differ in more than that.
        DataError: if the model of the run is damaged.
    """
    given, own = load_best(run).weights, model.weights
    carried = [(mine, its) for mine, its in zip(own, given, strict=False) if _alike(mine, its)]
    share = sum(_size(mine) for mine, _ in carried) / sum(_size(mine) for mine in own)
    if len(given) != len(own) or share < 0.5:
        raise UsageError(
            f"{name_of(run)}: it has other layers than the config's, so a training cannot start "
            f"from it. Section model must be as in {run / 'config.yaml'}."
        )
    for mine, its in carried:
        mine.assign(its)
    kept = {id(mine) for mine, _ in carried}
    new = [f"{mine.path} {tuple(mine.shape)}" for mine in own if id(mine) not in kept]
    console.note(
        f"starts with the weights of {name_of(run)}: {share:.1%} of them carried over"
        + (f"; new: {', '.join(new)}" if new else "")
    )
    return new


def _alike(one: Any, other: Any) -> bool:
    return one.name == other.name and tuple(one.shape) == tuple(other.shape)


def _size(weight: Any) -> int:
    return math.prod(weight.shape)
