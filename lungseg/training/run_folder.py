"""What a run folder says of its run, and whether a config may go on with it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lungseg import __version__
from lungseg.config.loading import (
    dump_config,
    load_config,
    with_absolute_paths,
    with_overrides,
)
from lungseg.config.schema import Config
from lungseg.dataset.slices import PARTS, SPLIT_COLUMNS, Slice
from lungseg.errors import UsageError
from lungseg.system.environment import describe_hardware, describe_software
from lungseg.system.files import write_text
from lungseg.system.tables import write_csv


def write_data_list(path: Path, parts: dict[str, list[Slice]]) -> None:
    """List what was trained on, so that `evaluate` can tell a slice it has seen."""
    columns = [c for c in SPLIT_COLUMNS if c not in ("image", "mask")]
    rows = [{"part": part, **vars(s)} for part in PARTS for s in parts.get(part, ())]
    write_csv(path, columns, [{key: row[key] for key in columns} for row in rows])


def describe_run(
    config: Config, parts: dict[str, list[Slice]], command: Sequence[str]
) -> dict[str, Any]:
    """Return how a run began, for `run.json`: versions, seed, hashes of the data, machine."""
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


def _devices() -> list[str]:
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices()]


def write_config(config: Config, dataset: Path, run: Path) -> None:
    """Write the config of a run, with absolute paths: a resume works from any folder."""
    used = with_overrides(config, {"data.dataset": dataset, "train.run": run})
    write_text(run / "config.yaml", dump_config(with_absolute_paths(used)))


# A resumed run may go on longer, and its folders may have moved; anything else would make it
# another run.
MAY_CHANGE_ON_RESUME = {
    "train.epochs",
    "train.patience",
    "train.run",
    "data.dataset",
    "data.images",
    "data.masks",
    "data.prepared",
}


def check_same_config(config: Config, run: Path) -> None:
    """Check that a config may go on with the run in a folder.

    Raises:
        UsageError: listing the keys that differ.
    """
    path = run / "config.yaml"
    if not path.exists():
        return
    old, new = (
        _flat(with_absolute_paths(each).model_dump(mode="json"))
        for each in (load_config(path), config)
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
