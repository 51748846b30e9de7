"""`lungseg convert` on the command line."""

from pathlib import Path
from typing import Annotated

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, shell
from lungseg.cli.options import Debug, Json, Quiet, Verbose
from lungseg.system import console


@app.command(
    short_help="Convert an INI config of the original system to YAML.",
    epilog="Example: lungseg convert train_eval_infer.config -o mine.yaml",
)
def convert(
    source: Annotated[
        Path, typer.Argument(help="INI config of the original system.", metavar="INI")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="YAML file to write; by default standard output."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what convert wrote there before.")
    ] = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Convert a train_eval_infer.config of the original system to a YAML config.

    Nothing in the file is run as code. Keys that have no counterpart here are listed as warnings.
    """
    with shell(quiet, verbose, debug, json):
        from lungseg.verbs.convert import convert

        target = None if output in (None, Path("-")) else output
        result = convert(source, target, overwrite=overwrite)
        for line in result.lost:
            console.warn(f"not carried over: {line}")
        if json:
            config = result.config.model_dump(mode="json")
            console.emit_json({"output": target, "config": config, "not_carried_over": result.lost})
        elif target is None:
            console.emit_text(result.yaml.rstrip("\n"))
        if target is not None:
            console.note(f"{target}: converted; {len(result.lost)} keys not carried over")
