"""Describe a run in its folder, and check that a config may resume it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lungseg import __version__
from lungseg.config.loading import (
    dump_config,
    load_config,
    with_absolute_paths,
    with_overrides,
)
from lungseg.config.schema import Config
from lungseg.dataset.seen import BEFORE
from lungseg.dataset.slices import PARTS, SeenRow, Slice
from lungseg.errors import UsageError
from lungseg.system.environment import describe_hardware, describe_software
from lungseg.system.files import write_text
from lungseg.system.tables import read_rows, write_json, write_rows
from lungseg.training.distribution import is_chief


def write_data_list(
    path: Path, parts: dict[str, list[Slice]], before: Sequence[SeenRow] = ()
) -> None:
    """Write the slices of each part, so that `evaluate` can detect a slice of the training.

    Args:
        path: the file.
        parts: the slices of each part.
        before: what the network was trained on that the training started with.
    """
    rows = [
        SeenRow(
            part,
            s.case,
            s.source,
            s.group,
            s.lung_fraction,
            s.sha256,
            s.likeness,
            s.grouped_by,
        )
        for part in PARTS
        for s in parts.get(part, ())
    ]
    write_rows(path, SeenRow, [*rows, *(replace(row, part=BEFORE) for row in before)])


def check_same_slices(parts: dict[str, list[Slice]], run: Path) -> None:
    """Check that a run is resumed on the slices that it began with. Folders may have moved.

    Raises:
        UsageError: if slices to train on or to validate on were added, removed or changed.
    """
    path = run / "data.csv"
    if not path.exists():
        return
    begun = read_rows(path, SeenRow)
    for part in ("train", "valid"):
        was = {(row.case, row.sha256) for row in begun if row.part == part}
        now = {(s.case, s.sha256) for s in parts.get(part, ())}
        if was != now:
            raise UsageError(
                f"{run}: --resume needs the slices of the run, but in {part} {len(was - now)} of "
                f"its {len(was)} slices are missing or have other pixels, and {len(now - was)} are "
                "new. Give --data with the data set of the run, or start another run."
            )


def describe_run(
    config: Config, parts: dict[str, list[Slice]], command: Sequence[str]
) -> dict[str, Any]:
    """Return the circumstances of a run, for `run.json`.

    Args:
        config: the whole config.
        parts: the slices of each part.
        command: the command line.

    Returns:
        Versions, seed, number of slices, hashes of the data, machine, start and command line.
    """
    digests = {
        part: hashlib.sha256("".join(sorted(s.sha256 for s in slices)).encode()).hexdigest()
        for part, slices in parts.items()
    }
    return {
        "lungseg": __version__,
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join(command),
        "seed": config.seed,
        "slices": {part: len(slices) for part, slices in parts.items()},
        "data_sha256": digests,
        "versions": describe_software(),
        "hardware": {**describe_hardware(), "devices": _devices()},
    }


class RunRecord:
    """The file `run.json` of a run: how it began, its status and its result."""

    def __init__(self, run: Path, start: Mapping[str, Any]) -> None:
        """Set the run folder and what the record begins with."""
        self.path = run / "run.json"
        self.start = dict(start)

    def write(self, status: Literal["running", "interrupted", "finished"], **result: Any) -> None:
        """Write the record. Workers other than the chief write nothing."""
        if is_chief():
            write_json(self.path, {**self.start, "status": status, **result})


def _devices() -> list[str]:
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices()]


def write_config(config: Config, dataset: Path, run: Path) -> None:
    """Write the config of a run, with absolute paths: a resume works from any folder."""
    write_text(run / "config.yaml", dump_config(_used(config, dataset, run)))


def is_written(config: Config, dataset: Path, run: Path) -> bool:
    """Whether the config in a run folder, which a person may have edited, says the same."""
    path = run / "config.yaml"
    return path.exists() and with_absolute_paths(load_config(path)) == _used(config, dataset, run)


def _used(config: Config, dataset: Path, run: Path) -> Config:
    used = with_overrides(_settled(config), {"data.dataset": dataset, "train.run": run})
    return with_absolute_paths(used)


def _settled(config: Config) -> Config:
    """Return a config with its learning rate as a number.

    A run is then resumed at the rate it began with, even if another version of this program has
    another default for its network.
    """
    return with_overrides(config, {"train.learning_rate": config.learning_rate})


# A resumed run may train for longer, and its folders may have moved. Any other change would make it
# another run.
MAY_CHANGE_ON_RESUME = {
    "train.epochs",
    "train.patience",
    "train.log",
    "train.run",
    "data.dataset",
    "data.images",
    "data.masks",
    "data.prepared",
}


def check_same_config(config: Config, run: Path) -> None:
    """Check that a config may resume the run in a folder.

    Raises:
        UsageError: if it may not; the message lists the keys that differ.
    """
    path = run / "config.yaml"
    if not path.exists():
        return
    old, new = (
        flatten(with_absolute_paths(_settled(each)).model_dump(mode="json"))
        for each in (load_config(path), config)
    )
    allowed = set(MAY_CHANGE_ON_RESUME)
    if config.train.schedule != "constant":
        allowed.discard("train.epochs")  # the learning rate depends on the number of epochs
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    unused = ("evaluate.", "infer.", "split.", "data.pairing", "data.structures")
    changed = [key for key in changed if key not in allowed and not key.startswith(unused)]
    if changed:
        lines = "\n".join(f"  {key}: was {old.get(key)!r}, now {new.get(key)!r}" for key in changed)
        raise UsageError(
            f"{run}: --resume needs the config of the run, but these keys differ:\n{lines}\n"
            f"Resume with -c {path}, or start another run."
        )


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Turn nested dicts into one with dotted keys, such as `train.epochs`."""
    if not (isinstance(tree, dict) and tree):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
