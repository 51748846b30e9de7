"""Every kind of bad input, and how to write them all, one folder per kind.

`test_bad_inputs.py` runs a command on each, and docs/robustness.md lists them.

Example:
    python -m tests.bad_inputs.corpus -o bad --run runs/lung
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Annotated

import typer

from tests.bad_inputs import (
    configs,
    contours,
    dicom,
    headers,
    images,
    masks,
    models,
    names,
    scales,
    tables,
    trees,
    volumes,
)
from tests.bad_inputs.kinds import Kind

MODULES = (
    images, names, volumes, dicom, headers, scales, trees, masks, contours, configs, models, tables,
)  # fmt: skip
KINDS = {
    value.name: value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, Kind)
}


def make_all(folder: Path, run: Path) -> None:
    """Write every kind to a folder of its name, and what is expected to `expected.csv`.

    Args:
        folder: to write to.
        run: folder of a trained run; its model.onnx and model.json are copied to `folder/run`.
    """
    (folder / "run").mkdir(parents=True)
    for name in ("model.onnx", "model.json", "config.yaml"):
        shutil.copyfile(run / name, folder / "run" / name)
    rows = []
    for kind in KINDS.values():
        place = folder / kind.name
        place.mkdir()
        kind.make(place)
        rows.append([kind.name, kind.what, " ".join(kind.command), kind.exit_code, kind.says])
    with (folder / "expected.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["kind", "what", "command", "exit_code", "says"])
        writer.writerows(rows)


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must be new.")],
    run: Annotated[Path, typer.Option("--run", help="A trained run, for a model that works.")],
) -> None:
    """Write every kind of bad input."""
    make_all(output, run)
    typer.echo(f"{output}: {len(KINDS)} kinds; expected.csv says how each should end", err=True)


if __name__ == "__main__":
    typer.run(main)
