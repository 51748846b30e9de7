"""`lungseg prepare` on the command line."""

from dataclasses import asdict

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, read_config, shell
from lungseg.cli.options import (
    ConfigFile,
    Debug,
    DryRun,
    ImagesFolder,
    Json,
    MasksFolder,
    Overwrite,
    PreparedOutput,
    Quiet,
    Seed,
    Settings,
    Verbose,
    input_folder,
)
from lungseg.errors import ExitCode
from lungseg.system import console


@app.command(
    short_help="Check and resize images and masks.",
    epilog="Example: lungseg prepare --images ct --masks lungs -o data/prepared",
)
def prepare(
    config: ConfigFile = None,
    images: ImagesFolder = None,
    masks: MasksFolder = None,
    output: PreparedOutput = None,
    settings: Settings = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check and resize raw images and masks; write a manifest, a list of issues and a plot.

    Reads PNG, JPG, TIF and BMP of 8 or 16 bits, HU as signed or float TIFF, and CT volumes.
    Exits with 4 if some cases could not be used. issues.csv lists them.
    """
    with shell(quiet, verbose, debug, json):
        cfg = read_config(config, settings, seed)
        from lungseg.system.outputs import check_output
        from lungseg.verbs.prepare import plan, prepare

        images = input_folder(images, cfg.data.images, "images", "--images", "data.images")
        # Most layouts of data sets have both in one folder.
        both = images if cfg.data.pairing != "stem" else None
        masks = input_folder(masks, cfg.data.masks or both, "masks", "--masks", "data.masks")
        output = output or cfg.data.prepared
        if dry_run:
            check_output(output, "prepare", (images, masks), overwrite=overwrite)
            pairs, issues = plan(cfg, images, masks)
            count = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
            console.note(f"{count} would be prepared into {output}")
            for issue in issues:
                console.note(f"  {issue}")
            if json:
                listed = [asdict(issue) for issue in issues]
                console.emit_json({"output": output, "pairs": len(pairs), "issues": listed})
            return
        result = prepare(cfg, images, masks, output, overwrite=overwrite)
        console.note(f"{result.output}: {result.slices} slices, {result.copies} augmented copies")
        for code, number in result.count().items():
            first = next(issue for issue in result.issues if issue.code == code)
            which = ", the first" if number > 1 else ""
            found = f"{first.file}: {first.detail}"
            console.note(f"  {number} x {code} ({first.severity}){which}: {found}")
        if result.issues:
            console.note(f"  all findings: {result.output / 'issues.csv'}")
        if json:
            console.emit_json({**asdict(result), "failed": result.failed})
        if result.failed:
            console.warn(f"{result.failed} cases failed and are not in the data set")
            raise typer.Exit(ExitCode.SOME_FAILED)
