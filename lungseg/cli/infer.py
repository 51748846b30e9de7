"""`lungseg infer` on the command line."""

from pathlib import Path
from typing import Annotated

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, read_config, shell
from lungseg.cli.options import (
    ConfigFile,
    Debug,
    DryRun,
    Json,
    ModelFile,
    Overwrite,
    Quiet,
    RunFolder,
    Seed,
    Settings,
    Verbose,
)
from lungseg.errors import ExitCode, UsageError
from lungseg.system import console
from lungseg.system.tables import to_record


@app.command(
    short_help="Predict lung masks.",
    epilog="Example: lungseg infer ct/ -o masks --overlay",
)
def infer(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Images, CT volumes, and folders of both at any depth."),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for the masks, or the mask file of one input."),
    ],
    config: ConfigFile = None,
    run: RunFolder = None,
    model: ModelFile = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also draw each mask's outline.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep masks of the same input, model and settings.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            help="Address of a Dask scheduler that shares out the cases: tcp://host:8786.",
        ),
    ] = None,
    settings: Settings = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict lung masks in each input's own size and geometry.

    Without --run or --model, the network is the shipped one (lungseg models), or train.run if the
    config or -s sets it.
    Reads PNG, JPG, TIF and BMP slices, and CT in HU: DICOM folders and zips, NIfTI, MHA, NRRD.
    cases.csv lists the volume (mL), density (HU) and emphysema index of the lungs in each CT, flags
    for masks to look at, and the inputs that failed (exit code 4).
    """
    with shell(quiet, verbose, debug, json):
        cfg = read_config(
            config, [*(settings or []), *(["infer.overlay=true"] if overlay else [])], seed
        )
        from lungseg.system.shipped import choose_run
        from lungseg.verbs.infer import check, infer

        if run is not None and model is not None:
            raise UsageError("Give the trained model: either --run RUN or --model FILE.onnx.")
        if model is not None:
            console.note(f"network: {model}")
        network = choose_run(cfg, run) if model is None else None
        if dry_run:
            items, *_ = check(
                inputs, output, run=network, model=model, overwrite=overwrite, resume=resume
            )
            console.note(f"{len(items)} inputs would be segmented into {output}")
            if json:
                inputs_found = [{"case": item.name, "path": item.path} for item in items]
                console.emit_json({"output": output, "inputs": inputs_found})
            return
        result = infer(
            cfg,
            inputs,
            output,
            run=network,
            model=model,
            overwrite=overwrite,
            resume=resume,
            scheduler=scheduler,
        )
        done = len(result.cases) - len(result.failed)
        masks = "1 mask" if done == 1 else f"{done} masks"
        extras = ", overlays" if cfg.infer.overlay and done else ""
        extras += ", gallery.html" if cfg.infer.gallery != "none" else ""
        if output.is_dir():
            console.note(f"{result.output}: {masks}{extras} and cases.csv")
        elif done:
            console.note(f"{result.output}: {masks}")
        if json:
            cases = [to_record(case) for case in result.cases]
            console.emit_json({"output": result.output, "cases": cases})
        if result.failed:
            where = "; see cases.csv" if output.is_dir() else ""
            console.warn(f"{len(result.failed)} of {len(result.cases)} inputs failed{where}")
            raise typer.Exit(ExitCode.SOME_FAILED if done else ExitCode.DATA)
