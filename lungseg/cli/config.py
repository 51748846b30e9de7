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
            help="lung: the default; original: the published system's; smoke: tiny, for a trial.",
        ),
    ] = "lung",
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print the JSON schema for editors (lungseg.schema.json) instead."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Print a config on standard output, with a comment on each key.

    Save it to a file and change its keys, or pipe it into a command:
    lungseg config lung | lungseg train -c - --data DATASET

    To change only a few keys of another file, begin yours with "extends: lung.yaml".
    """
    with shell(False, False, debug):
        from lungseg.config.writing import json_schema, preset_config

        console.emit_text((json_schema() if schema else preset_config(name)).rstrip("\n"))
