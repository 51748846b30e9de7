"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.errors import UsageError


def input_folder(
    given: Path | None, configured: Path | None, what: str, option: str, key: str
) -> Path:
    """Return the folder to read: the command line's, or the config's if the option is absent.

    Args:
        given: the value of the option.
        configured: the value in the config.
        what: what the folder holds, for the errors.
        option: name of the option.
        key: the config key.

    Raises:
        UsageError: if neither names a folder, or the folder does not exist.
    """
    from lungseg.system.files import existing_folder

    path = given or configured
    if path is None:
        raise UsageError(
            f"No folder of {what} was given: use {option}, or set {key} in the config."
        )
    return existing_folder(path, what, option)


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        help="YAML config, or - for standard input; by default what lungseg config prints.",
    ),
]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-s", "--set", metavar="KEY=VALUE", help="Override, e.g. train.epochs=3; repeatable."
    ),
]

Seed = Annotated[int | None, typer.Option(help="Override the config's seed.")]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what this command wrote there before.")
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]

Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print details too.")]

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check the input and print what would be done.")
]

ImagesFolder = Annotated[Path | None, typer.Option("--images", help="Folder of raw images.")]

MasksFolder = Annotated[
    Path | None, typer.Option("--masks", help="Folder of raw masks, paired as data.pairing says.")
]

PreparedOutput = Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write.")]

PreparedFolder = Annotated[
    Path | None,
    typer.Option("--input", help="Folder that prepare wrote, or a train|valid|test data set."),
]

DatasetOutput = Annotated[Path | None, typer.Option("-o", "--output", help="Data set to write.")]

DataFolder = Annotated[Path | None, typer.Option("--data", help="Data set that split wrote.")]

ScoredData = Annotated[
    Path | None, typer.Option("--data", help="Slices to score; by default the run's own data set.")
]

NewRun = Annotated[Path | None, typer.Option("--run", help="Run folder to write.")]

EvaluationOutput = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="Folder for the results; by default the run's. The shipped network needs one.",
    ),
]

# A text, because `shipped` is the shipped network and `./shipped` a folder.
RunFolder = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="RUN|shipped",
        help="Run folder; by default train.run if it is set, otherwise the shipped network.",
    ),
]

ModelFile = Annotated[
    Path | None, typer.Option("--model", help="ONNX file, with its model.json beside it.")
]
