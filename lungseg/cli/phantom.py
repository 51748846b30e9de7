"""`lungseg phantom` on the command line."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, shell
from lungseg.cli.options import Debug, Json, Overwrite, Quiet, Verbose
from lungseg.system import console


@app.command(
    short_help="Draw synthetic CT with lung masks.",
    epilog="Example: lungseg phantom -o demo/raw --patients 12 --slices 8",
)
def phantom(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for images/ and masks/.")],
    patients: Annotated[int, typer.Option(min=1, help="Number of patients.")] = 12,
    slices: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Slices per patient, from apex to base: 8. With --volumes 58, of which the first "
            "and the last lie beyond the lungs.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=16, help="Pixels per side.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first patient.")] = 0,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="CT volumes in HU as NIfTI, not slices.")
    ] = False,
    hu: Annotated[
        bool, typer.Option("--hu", help="Slices in HU as signed 16-bit TIFF, not PNG.")
    ] = False,
    low: Annotated[float, typer.Option(help="HU shown as black in PNG.")] = -1000.0,
    high: Annotated[float, typer.Option(help="HU shown as white in PNG.")] = 400.0,
    overwrite: Overwrite = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw synthetic chest CT with lung masks, to try the program without data.

    The same options give the same files. With --volumes there is one CT per patient, to try
    infer on. Phantoms test a program. A score on them says nothing about patients.
    """
    with shell(quiet, verbose, debug, json):
        from lungseg.verbs.phantom import phantom

        result = phantom(
            output,
            patients=patients,
            slices=slices,
            size=size,
            seed=seed,
            window=(low, high),
            hounsfield=hu,
            volumes=volumes,
            overwrite=overwrite,
        )
        pairs = _count(result.pairs, "CT volume" if volumes else "slice")
        of = _count(result.patients, "patient")
        console.note(f"{result.output}: {pairs} of {of}, each with its lung mask")
        if json:
            console.emit_json(asdict(result))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
