"""`lungseg split` on the command line."""

from dataclasses import asdict
from typing import TYPE_CHECKING

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, read_config, shell
from lungseg.cli.options import (
    ConfigFile,
    DatasetOutput,
    Debug,
    Json,
    Overwrite,
    PreparedFolder,
    Quiet,
    Seed,
    Settings,
    Verbose,
    input_folder,
)
from lungseg.system import console

if TYPE_CHECKING:
    from lungseg.verbs.split import SplitResult


@app.command(
    short_help="Divide slices into parts by patient.",
    epilog="Example: lungseg split --input data/prepared -s split.group_regex='^(p\\d+)_'",
)
def split(
    config: ConfigFile = None,
    input: PreparedFolder = None,
    output: DatasetOutput = None,
    settings: Settings = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Divide slices into train, valid and test by patient, and look for leaks.

    Name the patients with split.group_regex or split.group_csv. Without either, slices that look
    alike count as one patient's.
    """
    with shell(quiet, verbose, debug, json):
        cfg = read_config(config, settings, seed)
        from lungseg.verbs.split import split

        source = input_folder(
            input, cfg.data.prepared, "prepared slices", "--input", "data.prepared"
        )
        results = split(cfg, source, output or cfg.data.dataset, overwrite=overwrite)
        for result in results:
            show(result)
        if json:
            console.emit_json([summarise(result) for result in results])


def show(result: "SplitResult") -> None:
    """Print the table of a split, the groups it made, and its audit."""
    from lungseg.dataset.patients import what_is_a_group

    every = [s for slices in result.parts.values() for s in slices]
    people = "groups" if what_is_a_group(every) else "patients"
    rows = []
    for part, slices in result.parts.items():
        originals = [s for s in slices if not s.is_copy]
        area = sum(s.lung_fraction for s in originals) / max(len(originals), 1)
        groups = len({s.group for s in slices})
        rows.append([part, len(originals), len(slices) - len(originals), groups, f"{area:.1%}"])
    console.table(str(result.folder), ["part", "slices", "copies", people, "lung area"], rows)
    for cases in result.merged:
        console.note(f"one group, because they look alike: {', '.join(cases)}")
    for like in result.audit:
        console.note(
            f"most similar slices of {like.parts[0]} and {like.parts[1]}: {like.cases[0]}, "
            f"{like.cases[1]}, similarity {like.similarity:.3f}"
        )


def summarise(result: "SplitResult") -> dict[str, object]:
    """Return a split as plain data, for `--json`."""
    return {
        "folder": result.folder,
        "parts": {part: [s.case for s in slices] for part, slices in result.parts.items()},
        "audit": [asdict(like) for like in result.audit],
        "merged": result.merged,
    }
