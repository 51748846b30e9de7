"""`lungseg train` on the command line."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, read_config, shell
from lungseg.cli.options import (
    ConfigFile,
    DataFolder,
    Debug,
    DryRun,
    Json,
    NewRun,
    Overwrite,
    Quiet,
    Seed,
    Settings,
    Verbose,
    input_folder,
)
from lungseg.errors import UsageError
from lungseg.system import console

EXAMPLE = "Example: lungseg train --data data/dataset --run runs/lung -s train.epochs=9"

# Written by scripts/bench/networks.py.
MEASURED = Path(__file__).parent.parent / "models" / "measured.json"


class _TrainCommand(TyperCommand):
    """A command whose help ends with the table of networks, which other commands never read."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example and the table below the options."""
        self.epilog = f"{EXAMPLE}\n\n{_networks()}"
        super().format_epilog(ctx, formatter)


def _networks() -> str:
    """Return the table of networks for `train --help`."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    lines = [
        f"  {'model.name':15}{'parameters':>12}{'GFLOP':>8}{'train s':>9}{'infer s':>9}{'rate':>8}"
        "  Dice"
    ]

    def format_or_dash(row: dict[str, float], key: str) -> str:
        return f"{row[key]:.3f}" if key in row else "-"

    lines += [
        f"  {name:15}{row['parameters']:>12,}{row['gflop']:>8.1f}"
        f"{format_or_dash(row, 'train_s'):>9}{format_or_dash(row, 'infer_s'):>9}"
        f"{row['learning_rate']:>8g}  {format_or_dash(row, 'dice')}"
        for name, row in measured["networks"].items()
    ]
    hardware = f"on {measured['hardware']['cores']} cores, {measured['date']}"
    about = [
        f"Networks at 512 x 512, {hardware}.",
        "GFLOP and seconds are per slice. The rate is train.learning_rate if that is null.",
        "Dice is that of other patients after 3,000 real slices of 256 x 256.",
    ]
    # The mark "\b" stops Click from joining these lines.
    return "\n".join(["\b", *about, *lines])


@app.command(cls=_TrainCommand, short_help="Train a network, or resume a training.")
def train(
    config: ConfigFile = None,
    data: DataFolder = None,
    run: NewRun = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN|shipped",
            help="Run whose weights the training starts with; or shipped, the shipped network.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped.")
    ] = False,
    fold: Annotated[
        str | None,
        typer.Option("--fold", metavar="K", help="Fold to train (split.folds), 1 to k, or all."),
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
    """Train a network on the train part of a data set, and validate it on the valid part.

    The run folder holds the best model (model.keras, model.onnx), history, plots and all that is
    needed to repeat the run. Stop it with Ctrl-C and continue with --resume.
    """
    with shell(quiet, verbose, debug, json):
        if resume and overwrite:
            raise UsageError("--resume and --overwrite exclude each other.")
        from lungseg.config.loading import with_overrides
        from lungseg.system.environment import this_command
        from lungseg.verbs.train import count_slices, stored_config, train, training_jobs

        if resume and config is None:
            config = stored_config(run)
        cfg = read_config(config, settings, seed)
        if start_from is not None:
            cfg = with_overrides(cfg, {"train.start_from": start_from})
        source = input_folder(data, cfg.data.dataset, "slices", "--data", "data.dataset")
        results: list[dict[str, Any]] = []
        for dataset, target in training_jobs(source, run or cfg.train.run, fold):
            if dry_run:
                parts = count_slices(cfg, dataset, target, resume=resume, overwrite=overwrite)
                counts = ", ".join(f"{count} {part}" for part, count in parts.items())
                console.note(f"{cfg.model.name} would be trained on {counts} slices into {target}")
                results.append({"run": target, "network": cfg.model.name, "slices": parts})
                continue
            result = train(
                cfg, dataset, target, resume=resume, overwrite=overwrite, command=this_command()
            )
            kept = f"best {result.monitor} {result.best:.4f} in epoch {result.best_epoch}"
            if result.monitor == "last":
                kept = "the last epoch's model is kept"
            console.note(
                f"{result.run}: {result.epochs} epochs in {result.seconds:.0f} s; {kept}; ONNX "
                f"differs from Keras by {result.onnx_difference:.1e}"
            )
            results.append(asdict(result))
        if json and results:
            console.emit_json(results if fold == "all" else results[0])
