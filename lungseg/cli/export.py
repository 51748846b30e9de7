"""`lungseg export` on the command line."""

from pathlib import Path
from typing import Annotated

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, shell
from lungseg.cli.options import Debug, Json, Overwrite, Quiet, Verbose
from lungseg.errors import UsageError
from lungseg.system import console


@app.command(
    short_help="Write the best model as ONNX, SavedModel or LiteRT.",
    epilog="Example: lungseg export --run runs/lung --format litert",
)
def export(
    run: Annotated[
        str,
        typer.Option(
            "--run", metavar="RUN|shipped", help="Run folder with model.keras; or shipped, with -o."
        ),
    ],
    format: Annotated[str, typer.Option("--format", help="onnx, savedmodel or litert.")] = "onnx",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write; by default the run.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a run's best model in another format, checked against Keras.

    onnx: model.onnx and model.json, which training writes too; savedmodel: the folder saved_model,
    for TensorFlow Serving; litert: model.tflite, for phones and small devices.
    """
    with shell(quiet, verbose, debug, json):
        from lungseg.system.shipped import as_run
        from lungseg.verbs.export import FILES, export_run

        if format not in FILES:
            raise UsageError(f"--format {format}: expected one of {', '.join(FILES)}.")
        folder = as_run(run)
        difference = export_run(folder, format, output, overwrite=overwrite)
        path = (output or folder) / FILES[format]
        console.note(f"{path}: differs from Keras by {difference:.1e} at most")
        if json:
            console.emit_json({format: path, "difference": difference})
