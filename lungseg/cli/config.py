"""`lungseg config` on the command line."""

from typing import Annotated

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, shell
from lungseg.cli.options import Debug
from lungseg.config.presets import PRESETS
from lungseg.system import console


@app.command(
    short_help="Print a config with a comment on each key.",
    epilog="Example: lungseg config lung > lung.yaml",
)
def config(
    name: Annotated[
        str,
        typer.Argument(
            metavar=f"[{'|'.join(PRESETS)}]",
            help="Which config: the default, the published system's, or a tiny one for a trial.",
        ),
    ] = "lung",
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print the JSON schema for editors, lungseg.schema.json, instead."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Print a config on standard output, with a comment on each key.

    Keep it in a file and change what you like, or pipe it into a command:
    lungseg config lung | lungseg train -c - --data DATASET

    A file that changes only a few keys of another begins with "extends: lung.yaml".
    """
    with shell(False, False, debug):
        from lungseg.config.writing import json_schema, preset_config

        console.emit_text((json_schema() if schema else preset_config(name)).rstrip("\n"))
