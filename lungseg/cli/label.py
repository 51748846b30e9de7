"""`lungseg label` on the command line."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, shell
from lungseg.cli.options import Debug, Json, Overwrite, Quiet, Verbose
from lungseg.errors import ExitCode, UsageError
from lungseg.system import console


@app.command(
    short_help="Label the lungs of CT by a threshold.",
    epilog="Example: lungseg label ct/ -o labelled --slices 0:39",
)
def label(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="CT volumes, DICOM folders, and folders of both at any depth.", metavar="CT"
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for images/ and masks/.")],
    slices: Annotated[
        str,
        typer.Option(metavar="A:B", help="Slices to keep, A to B-1, counted from the feet."),
    ] = ":",
    corrections: Annotated[
        Path | None,
        typer.Option(help="Folder of corrections by hand: CASE.yaml for each CT that needs some."),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also draw the labels on 24 slices of each CT.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Label the lungs of CT volumes by a threshold and connected parts, as further training data.

    These labels are no ground truth. They are good where lungs are healthy, but they miss disease:
    consolidation, tumours and fluid. Look at each label before use (--overlay), correct it by hand
    (--corrections), and keep only the slices whose labels are right (--slices). Writes each CT and
    its mask as NIfTI, which prepare reads.
    Exits with 4 if some CTs could not be used.
    """
    with shell(quiet, verbose, debug, json):
        kept = _parse_range(slices)
        from lungseg.verbs.label import label

        result = label(
            inputs,
            output,
            slices=kept,
            corrections=corrections,
            overlay=overlay,
            overwrite=overwrite,
        )
        for case in result.cases:
            litres = case.lung_ml / 1000
            console.note(f"{case.case}: {case.slices} slices, {litres:.2f} L labelled as lung")
            for remark in case.remarks:
                console.warn(f"{case.source}: {remark}")
        console.note(
            f"{result.output}: look at these labels before you use them; they miss disease and are "
            "no ground truth"
        )
        if json:
            console.emit_json(asdict(result))
        for reason in result.failed:
            console.warn(reason)
        if result.failed:
            raise typer.Exit(ExitCode.SOME_FAILED)


def _parse_range(text: str) -> slice:
    """Turn `A:B` into a slice; either end may be left out."""
    ends = re.fullmatch(r"(\d*):(\d*)", text)
    if ends is None:
        raise UsageError(f"--slices {text}: expected A:B, as in 0:39.")
    return slice(*(int(end) if end else None for end in ends.groups()))
